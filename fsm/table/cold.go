package table

import (
	"encoding/binary"
	"sync/atomic"
	"unsafe"

	"github.com/rootd/rootd/packetpath/vl1"
)

// Handoff is what the cluster did to a peer: an intent to send it to another member that is under way, and what is left of
// earlier ones. The zero value: nothing ever. Times are seconds since [Epoch], by the time of the log.
type Handoff struct {
	// Target is the member that the peer is being sent to, zero if no intent is under way; From is the member that sends it, or
	// that sent it last; V6 is the family of both.
	Target, From MemberID
	V6           bool
	// At is when the last intent began, or when the last push to the peer was due, whichever is later. Pushes is how many
	// pushes it got in a row: its gate.
	At     uint32
	Pushes uint8
	// Prio4 and Prio6 are the priorities that the peer's path of each family is assumed to have. 1, and 0 before anything
	// happened: never redirected.
	Prio4, Prio6 uint8
	// Fails is how many handoffs failed in a row, Failed the target of the last of them.
	Fails  uint8
	Failed MemberID
	// Moves is how many times the peer was sent on, less what time took off: see [Handoff.MovesAt].
	Moves uint8
	// Since4 and Since6 are when the peer was attached to the member that it is attached to, by family. 0: unknown.
	Since4, Since6 uint32
}

// MoveDecay is how many seconds take one off a peer's moves.
const MoveDecay = 20 * 60

// MovesAt returns how many of the peer's moves still count.
func (h *Handoff) MovesAt(now uint32) uint8 {
	if now <= h.At {
		return h.Moves
	}
	return h.Moves - uint8(min(uint32(h.Moves), (now-h.At)/MoveDecay))
}

// Prio returns the priority that the peer's path of a family is assumed to have, at least 1.
func (h *Handoff) Prio(v6 bool) uint8 {
	if v6 {
		return max(1, h.Prio6)
	}
	return max(1, h.Prio4)
}

// Since returns when the peer was attached to the member that it is attached to in a family. 0: unknown.
func (h *Handoff) Since(v6 bool) uint32 {
	if v6 {
		return h.Since6
	}
	return h.Since4
}

// An entry is the cold part of a record: the key and the state of handoffs, in eleven words.
//
//	word  bits 63..0
//	0..7  key (64 bytes)
//	8     target (16), from (16), at (32)
//	9     failed (16), IPv4 priority (8), IPv6 priority (8), attached since, IPv4 (32)
//	10    attached since, IPv6 (32), moves (8), pushes (8), fails (8), family of the intent (8): 1 is IPv6
//
// It takes two units of four words for the key, and a third one for the handoff, unless that is zero, as it is until the cluster does
// something to the peer. Entries are immutable: a change of either takes a new one.
type entry [entryWords]uint64

// handoffWords are words 8 to 10 of an entry.
type handoffWords [entryWords - keyWords]uint64

// zero reports whether they are those of the zero handoff.
func (w *handoffWords) zero() bool { return w[0]|w[1]|w[2] == 0 }

const (
	keyWords   = 8
	entryWords = 11

	unitWords      = 4
	blockUnits     = 1024 // of a block of entries
	maxEntryBlocks = 22   // for three times as many units as the fullest segment has peers, and stale ones: see segment.brimming
)

// An entryBlock is the unit of memory for entries: 32 KiB. All segments have much the same number of peers, so that all need their next block
// at much the same time: the smaller it is, the less a table grows at once.
type entryBlock [blockUnits * unitWords]atomic.Uint64

// word returns a word of the block as [block.slot] does a slot.
func (b *entryBlock) word(i uint32) *atomic.Uint64 {
	return (*atomic.Uint64)(unsafe.Add(unsafe.Pointer(b), i%(blockUnits*unitWords)*8))
}

// A placement is where an entry is in its segment: the number of its first unit, and longEntry if it has a handoff.
type placement uint16

const longEntry placement = 1 << 15

func (p placement) unit() uint32 { return uint32(p &^ longEntry) }

// units is how many units the entry takes.
func (p placement) units() int { return 2 + int(p>>15) }

// words is how many words of it are stored.
func (p placement) words() uint32 { return keyWords + uint32(p>>15)*(entryWords-keyWords) }

func (e *entry) pack(r *Record) {
	e.packKey(&r.Key)
	r.Handoff.pack(e.handoff())
}

func (e *entry) packKey(k *vl1.PublicKey) {
	for i := range keyWords {
		e[i] = binary.LittleEndian.Uint64(k[8*i:])
	}
}

// handoff is words 8 to 10.
func (e *entry) handoff() *handoffWords { return (*handoffWords)(e[keyWords:]) }

func (h *Handoff) pack(w *handoffWords) {
	family := uint64(0)
	if h.V6 {
		family = 1
	}
	w[0] = uint64(h.Target)<<48 | uint64(h.From)<<32 | uint64(h.At)
	w[1] = uint64(h.Failed)<<48 | uint64(h.Prio4)<<40 | uint64(h.Prio6)<<32 | uint64(h.Since4)
	w[2] = uint64(h.Since6)<<32 | uint64(h.Moves)<<24 | uint64(h.Pushes)<<16 | uint64(h.Fails)<<8 | family
}

func (e *entry) unpack(r *Record) {
	e.unpackKey(&r.Key)
	r.Handoff.unpack(e.handoff())
}

func (h *Handoff) unpack(w *handoffWords) {
	if w.zero() {
		*h = Handoff{}
		return
	}
	*h = Handoff{
		Target: MemberID(w[0] >> 48), From: MemberID(w[0] >> 32), At: uint32(w[0]),
		Failed: MemberID(w[1] >> 48), Prio4: uint8(w[1] >> 40), Prio6: uint8(w[1] >> 32), Since4: uint32(w[1]),
		Since6: uint32(w[2] >> 32), Moves: uint8(w[2] >> 24), Pushes: uint8(w[2] >> 16), Fails: uint8(w[2] >> 8), V6: w[2]&1 != 0,
	}
}

func (e *entry) unpackKey(k *vl1.PublicKey) {
	for i, v := range e[:keyWords] {
		binary.LittleEndian.PutUint64(k[8*i:], v)
	}
}

// placeOf is the place of the entry of the peer in slot i.
func (s *segment) placeOf(i uint32) placement { return s.slot(i).place() }

// entryAt returns the block of an entry, and which word of it is the first. There is none only for a reader of a replaced segment.
func (s *segment) entryAt(p placement) (b *entryBlock, word uint32) {
	u := p.unit()
	if u >= maxEntryBlocks*blockUnits || u%blockUnits+uint32(p.units()) > blockUnits {
		return nil, 0
	}
	return s.cold[u/blockUnits].Load(), u % blockUnits * unitWords
}

// loadEntry reads the entry at a place. It reports false if there is none.
func (s *segment) loadEntry(p placement, e *entry) bool {
	b, at := s.entryAt(p)
	if b == nil {
		return false
	}
	for j := range uint32(keyWords) {
		e[j] = b.word(at + j).Load()
	}
	e[8], e[9], e[10] = 0, 0, 0
	if p&longEntry != 0 {
		b.loadHandoff(at, e.handoff())
	}
	return true
}

// loadHandoff reads the handoff of the entry that begins at a word, which must have one.
func (b *entryBlock) loadHandoff(at uint32, h *handoffWords) {
	for j := range h {
		h[j] = b.word(at + keyWords + uint32(j)).Load()
	}
}

// addEntry stores an entry at the next place, which is in one block.
func (s *segment) addEntry(e *entry) (placement, error) {
	p := placement(0)
	if !e.handoff().zero() {
		p = longEntry
	}
	if left := blockUnits - s.used%blockUnits; left < p.units() {
		s.used += left
	}
	p |= placement(s.used)
	at := &s.cold[s.used/blockUnits]
	b := at.Load()
	if b == nil {
		var err error
		if b, _, err = s.mem.entries.get(s.mem); err != nil {
			return 0, err
		}
		at.Store(b)
	}
	s.used += p.units()
	s.units += p.units()
	first := p.unit() % blockUnits * unitWords
	for j := range p.words() {
		fill(b.word(first+j), e[j])
	}
	return p, nil
}
