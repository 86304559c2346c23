package table

import (
	"encoding/binary"
	"sync/atomic"
	"unsafe"

	"github.com/rootd/rootd/packetpath/prefetch"
	"github.com/rootd/rootd/packetpath/vl1"
)

// A Cursor goes through peers in a given order, for the writer, who may change each when it is its turn. While one peer is at hand, the
// memory of the next ones is on its way: a change waits for none of its cache misses, unless others keep the memory busy.
//
// Between Next and the Store, Insert or Delete that follows, if any does, nothing else may change the table.
type Cursor struct {
	t     *Table
	as    []vl1.Address
	next  int // of as
	ring  [ringSize]spot
	lines prefetch.Lines

	// The peer at hand.
	spot
	place placement
	held  Words
	now   Words
}

// A spot is where a peer is, or what a cursor knows of it before its turn comes.
type spot struct {
	hash  uint64
	seg   *segment
	moves uint64         // Table.moves when seg was current
	slot  uint32         // home, then where the peer is, if it was found
	known bool           // it was found
	at    *slot          // of slot, nil in a closed table, and for a reserved address
	key   *atomic.Uint64 // the first word of its entry, if it was found
}

// A peer's memory is asked for in three steps, each when the one before should have been answered: its home; where that says that the peer is,
// and what the way there, or to its entry, needs of the segment's header, for headers are too much for a processor's cache if there are
// thousands; and its entry. A group of peers takes a step
// together, since a processor goes on past few instructions only that wait for an address to be translated.
const (
	group    = 16 // peers
	steps    = 3
	ringSize = 4 * group // a power of two, and room for all steps
)

// Visit makes c go through these peers.
func (t *Table) Visit(c *Cursor, as []vl1.Address) {
	c.t, c.as, c.next = t, as, 0
	for i := (1 - steps) * group; i < 0; i += group {
		c.ask(i)
	}
}

// ask takes the next steps of the group that begins at i, which needs its entries now, and of the two that follow it.
func (c *Cursor) ask(i int) {
	d := c.t.dir.Load()
	for n := i + 2*group; n < min(i+3*group, len(c.as)); n++ {
		c.askHome(n, d)
	}
	for n := max(0, i+group); n < min(i+2*group, len(c.as)); n++ {
		c.askSlot(n)
	}
	for n := max(0, i); n < min(i+group, len(c.as)); n++ {
		c.askEntry(n)
	}
	c.lines.Fetch()
}

func (c *Cursor) upcoming(i int) *spot { return &c.ring[i%ringSize] }

// askHome finds the home by way of the lane, which stays in a cache, and not of the segment.
func (c *Cursor) askHome(i int, d *directory) {
	p := c.upcoming(i)
	h := Hash(c.as[i])
	s, l := d.segment(h), d.lane(h)
	p.hash, p.seg, p.moves, p.known, p.at = h, s, c.t.moves, false, nil
	if at, ok := l.home(h); ok && !c.as[i].Reserved() { // reserved ones stand for empty slots and deleted peers
		p.slot, p.at = at, l.hot.slot(at)
		c.lines.Add(unsafe.Pointer(p.at))
	}
}

// askSlot asks for the slots that the peer may be in, if it is not at home. It may be new, or far away: then it is one of the next two that a
// new one comes to.
func (c *Cursor) askSlot(i int) {
	p := c.upcoming(i)
	if p.at == nil {
		return
	}
	s := p.seg
	w0 := p.at[0].Load()
	if addressOf(w0) == c.as[i] {
		p.known = true
		c.lines.Add(unsafe.Pointer(&s.cold[p.at.place().unit()/blockUnits%maxEntryBlocks]))
		return
	}
	c.lines.Add(unsafe.Pointer(s))
	c.lines.Add(unsafe.Pointer(&s.used))
	near := hopsOf(w0)
	if !near.near() && w0 != 0 {
		near = 1<<0 | 1<<1
	}
	l := c.t.dir.Load().lane(p.hash)
	for near.near() {
		var k uint32
		k, near = near.first()
		c.lines.Add(unsafe.Pointer(l.hot.slot(neighbour(p.slot, k))))
	}
}

// askEntry asks for the entry of the peer, if it is known, or else for where the next one comes.
func (c *Cursor) askEntry(i int) {
	p := c.upcoming(i)
	if p.at == nil {
		return
	}
	s := p.seg
	if !p.known {
		var at uint32
		if at, _, p.known = s.hot.search(p.slot, s.slots, c.as[i]); !p.known {
			s.prefetchNext(&c.lines)
			return
		}
		p.slot, p.at = at, s.slot(at)
	}
	p.key = s.prefetchEntry(p.at.place(), &c.lines)
}

// Next goes on to the next peer, and reports whether the table has it. There must be a next one.
func (c *Cursor) Next() bool {
	i := c.next
	c.next++
	if i%group == 0 {
		c.ask(i)
	}
	a := c.as[i]
	c.spot = *c.upcoming(i)
	if !c.known || c.moves != c.t.moves || addressOf(c.at[0].Load()) != a {
		c.find(a)
	}
	if !c.known {
		c.held, c.now = Words{}, Words{}
		return false
	}
	c.hold()
	return true
}

// find looks for the peer at hand once more: the table, or the peer, may have changed since it was looked for.
func (c *Cursor) find(a vl1.Address) {
	s := c.t.dir.Load().segment(c.hash)
	c.seg, c.known = s, false
	if s.slots == 0 || a.Reserved() {
		return
	}
	if c.slot, c.known = s.find(c.hash, a); c.known {
		c.at = s.slot(c.slot)
		b, at := s.entryAt(c.at.place())
		c.key = b.word(at)
	}
}

// hold takes the words of the peer at hand. Each is stored on its own, as it is loaded again.
func (c *Cursor) hold() {
	for j := 1; j < slotWords; j++ {
		x := c.at[j].Load()
		if j == placeWord {
			c.place = placement(x)
			x &^= placeMask
		}
		c.held[j], c.now[j] = x, x
	}
	if c.place&longEntry == 0 {
		for j := keyWords; j < entryWords; j++ {
			c.held[j], c.now[j] = 0, 0
		}
		return
	}
	b, at := c.seg.entryAt(c.place)
	b.loadHandoff(at, c.held.handoff())
	*c.now.handoff() = *c.held.handoff()
}

// Address is that of the peer at hand.
func (c *Cursor) Address() vl1.Address { return c.as[c.next-1] }

// Held is what the table has of the peer at hand, zero if it is unknown.
func (c *Cursor) Held() *Words { return &c.held }

// Words is what Store or Insert will make of it: as it is held, until it is changed.
func (c *Cursor) Words() *Words { return &c.now }

// Record fills r with the peer at hand, as Words has it. Of an unknown one it has no key.
func (c *Cursor) Record(r *Record) {
	r.Address = c.Address()
	c.now.Record(r)
	r.Key = vl1.PublicKey{}
	if c.known {
		var e entry
		c.seg.loadEntry(c.place, &e)
		e.unpackKey(&r.Key)
	}
}

// KeyBegins reports whether the key of the known peer at hand begins with these bytes, at most 64.
func (c *Cursor) KeyBegins(with []byte) bool {
	word := c.key
	for ; len(with) >= 8; with = with[8:] {
		if word.Load() != binary.LittleEndian.Uint64(with) {
			return false
		}
		word = (*atomic.Uint64)(unsafe.Add(unsafe.Pointer(word), 8))
	}
	if len(with) == 0 {
		return true
	}
	for x := word.Load(); len(with) > 0; x, with = x>>8, with[1:] {
		if byte(x) != with[0] {
			return false
		}
	}
	return true
}

// Store makes Words of the known peer at hand, and returns which of them are others than before, as a bit for each: bit i for word i. The
// error is as of Put.
func (c *Cursor) Store() (changed uint64, err error) {
	t := c.t
	if t.closed {
		return 0, ErrClosed
	}
	t.reap()
	for j := 1; j < entryWords; j++ {
		if c.held[j] != c.now[j] {
			changed |= 1 << j
		}
	}
	if changed>>keyWords == 0 { // the entry stays
		t.save(c.seg, c.slot)
		w := c.now.slot()
		w.setPlace(c.place)
		t.overwrite(c.at, w, changed)
		w.setPlace(0)
		return changed, nil
	}
	w := *c.now.slot()
	var e entry
	c.seg.loadEntry(c.place, &e)
	*e.handoff() = *c.now.handoff()
	return changed, t.put(c.Address(), &w, &e, c.seg, c.hash, c.slot, true)
}

// Insert makes the table know the unknown peer at hand, with this key and Words. The error is as of Put.
func (c *Cursor) Insert(key *vl1.PublicKey) error {
	t, a := c.t, c.Address()
	switch {
	case t.closed:
		return ErrClosed
	case a.Reserved():
		return (&Record{Address: a}).check()
	}
	t.reap()
	if t.peers.Load() >= t.maxPeers {
		return ErrFull
	}
	w := *c.now.slot()
	var e entry
	e.packKey(key)
	*e.handoff() = *c.now.handoff()
	return t.put(a, &w, &e, c.seg, c.hash, c.slot, false)
}

// Delete forgets the peer at hand.
func (c *Cursor) Delete() {
	if c.known {
		c.t.remove(c.seg, c.slot)
	}
}
