package table

import (
	"fmt"
	"math/bits"
	"sync/atomic"

	"github.com/rootd/rootd/packetpath/vl1"
)

// Put inserts the record or replaces what is known of its peer. The error is [ErrFull] or [ErrClosed], wraps
// [ErrRecord], or says that the system gave no memory; the table is then as before.
func (t *Table) Put(r *Record) error {
	if err := r.check(); err != nil {
		return err
	}
	if t.closed {
		return ErrClosed
	}
	t.reap()
	h := Hash(r.Address)
	s := t.dir.Load().segment(h)
	i, known := s.find(h, r.Address)
	if !known && t.peers.Load() >= t.maxPeers {
		return ErrFull
	}
	var w words
	var e, held entry
	e.pack(r)
	if known {
		p := s.placeOf(i)
		r.pack(&w, p)
		if s.loadEntry(p, &held); e == held {
			t.keep(&w, s, i)
			return nil
		}
	} else {
		r.pack(&w, 0)
	}
	return t.put(r.Address, &w, &e, s, h, i, known)
}

// put stores words 1 to 7 of w and the entry e in slot i of s, which is where find said that a is, or may be. The place of the entry is put
// into w.
func (t *Table) put(a vl1.Address, w *words, e *entry, s *segment, h uint64, i uint32, known bool) error {
	t.rested++
	if s.full() && (t.rested >= restBetween || s.brimming()) {
		var err error
		if s, err = t.makeRoom(s, h); err != nil {
			return fmt.Errorf("peer %v: %w", a, err)
		}
		i, _ = s.find(h, a)
		t.rested = 0
	}
	place, err := s.addEntry(e)
	if err != nil {
		return fmt.Errorf("peer %v: %w", a, err)
	}
	w.setPlace(place)
	if known {
		s.units -= s.placeOf(i).units()
		t.keep(w, s, i)
		return nil
	}
	t.save(s, i)
	s.fillSlot(i, h, a, w)
	t.peers.Add(1)
	return nil
}

// keep stores words 1 to 7 of w in slot i of s, whose peer stays.
func (t *Table) keep(w *words, s *segment, i uint32) {
	t.save(s, i)
	sl := s.slot(i)
	t.overwrite(sl, w, sl.differs(w))
}

// Delete forgets a peer, and reports whether the table had it. Its slot and the place of its key are used again when
// the segment is next rebuilt.
func (t *Table) Delete(a vl1.Address) bool {
	if a.Reserved() || t.closed {
		return false
	}
	t.reap()
	h := Hash(a)
	s := t.dir.Load().segment(h)
	i, known := s.find(h, a)
	if !known {
		return false
	}
	t.remove(s, i)
	return true
}

// remove forgets the peer in slot i of s.
func (t *Table) remove(s *segment, i uint32) {
	t.save(s, i)
	sl := s.slot(i)
	store(&sl[0], next(sl[0].Load(), dead, 2))
	s.live--
	s.units -= s.placeOf(i).units()
	t.peers.Add(-1)
}

// differs returns which of words 1 to 7 are other than those of w, as a bit for each.
func (s *slot) differs(w *words) (changed uint64) {
	for j := 1; j < slotWords; j++ {
		if s[j].Load() != w[j] {
			changed |= 1 << j
		}
	}
	return changed
}

// overwrite changes those words of a filled slot of which a bit is set, bit j for word j, to those of w.
//
// A change of one word needs no more than that store and a new sequence after it: whoever copies the slot has either the
// old or the new word, and will see the new sequence before it can see any later change. For more words, the sequence is
// odd meanwhile; but before, the old words are put into undo, where readers find them: they never wait for the writer,
// even if it loses its processor half way.
func (t *Table) overwrite(sl *slot, w *words, changed uint64) {
	if changed == 0 {
		return
	}
	w0 := sl[0].Load()
	if changed&(changed-1) != 0 {
		t.begin(sl, changed)
	}
	for c := changed; c != 0; c &= c - 1 {
		j := bits.TrailingZeros64(c) % slotWords
		store(&sl[j], w[j])
	}
	store(&sl[0], next(w0, addressOf(w0), 2))
}

// begin leaves readers in undo what the changed words of the slot are now, of which bit j is word j, and makes its sequence odd.
func (t *Table) begin(sl *slot, changed uint64) {
	for c := changed; c != 0; c &= c - 1 {
		j := bits.TrailingZeros64(c) % slotWords
		store(&t.undo.w[j], sl[j].Load())
	}
	store(&t.undo.changed, changed)
	store(&sl[0], sl[0].Load()+1)
}

// undo is what the words of a slot were that the writer is changing.
//
// The writer stores it before it makes the slot's sequence odd, and not again before that is even. So a reader that sees an odd sequence,
// copies the slot, puts the words of undo in the place of those that are being changed, and sees the same odd sequence once more, has the slot
// as it was before: all the time it was this change that was going on, and undo was of this change. Otherwise the writer has
// gone on, and the slot is worth another look.
type undo struct {
	_       [64]byte
	changed atomic.Uint64 // bit j: word j
	w       slot
	_       [56]byte
}

// undo puts the old words into w, the copy of a slot whose sequence was odd, and still must be the same afterwards.
func (u *undo) load(w *words) {
	for c := u.changed.Load(); c != 0; c &= c - 1 {
		j := bits.TrailingZeros64(c) % slotWords
		w[j] = u.w[j].Load()
	}
}

// fillSlot makes the empty slot i that of a peer whose hash is h: word 0, which readers look for, comes last but for the hop to it.
func (s *segment) fillSlot(i uint32, h uint64, a vl1.Address, w *words) {
	sl := s.slot(i)
	for j := 1; j < slotWords; j++ {
		fill(&sl[j], w[j])
	}
	store(&sl[0], word0(a)|sl[0].Load()&hopMask)
	s.live++
	s.filled++
	if home := s.home(h); home != i {
		s.addHop(home, i)
	}
}
