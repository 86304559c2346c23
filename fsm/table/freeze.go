package table

import (
	"runtime"
	"slices"
	"sync/atomic"
)

// pageSlots is how many slots are saved together before the first change of one of them: 1 KiB.
const pageSlots = 16

// Frozen is the table as it was at a [Table.Freeze], while the table goes on. Its methods may be called from any
// goroutine. As long as one is not released, every page that the writer changes costs it a copy, and no replaced segment is
// used again: at most the memory of the table once more.
type Frozen struct {
	t     *Table
	dir   *directory
	epoch uint64
	peers int
}

// Freeze returns the present state of the table, in a moment that does not depend on the size of the table. For the
// writer. Any number of them may exist at once; each must be released.
//
// Nothing is copied here. A freeze begins an epoch, and from then on the writer, before it changes a page of slots of an
// older segment for the first time in the epoch, saves the page aside. A reader of the Frozen copies the page in the table, and
// then looks whether it was saved: if not, no change had begun when it copied, since the save comes first. Entries do not
// change, so they are not saved. A replaced segment stays as it is, in limbo. The directory is copied before its next change.
func (t *Table) Freeze() *Frozen {
	t.freezeMu.Lock()
	defer t.freezeMu.Unlock()
	t.epoch++
	t.frozen = append(t.frozen, t.epoch)
	t.active.Store(int32(len(t.frozen)))
	return &Frozen{t: t, dir: t.dir.Load(), epoch: t.epoch, peers: t.Len()}
}

// Release gives up the state and the memory that it costs. Range must have returned, and not be called again. A second Release does
// nothing.
func (f *Frozen) Release() {
	t := f.t
	t.freezeMu.Lock()
	var drop []savedRef
	if i, ok := slices.BinarySearch(t.frozen, f.epoch); ok {
		t.frozen = slices.Delete(t.frozen, i, i+1)
		if len(t.frozen) == 0 {
			drop, t.saved = t.saved, nil
		}
		t.active.Store(int32(len(t.frozen)))
	}
	t.freezeMu.Unlock()
	for _, ref := range drop {
		ref.seg.saves.CompareAndSwap(ref.set, nil) // unless the writer has begun another set, which forgets this one
	}
}

// Len returns the number of peers at the freeze.
func (f *Frozen) Len() int { return f.peers }

// Range calls yield for every record at the freeze, in ascending order of [Hash], until it returns false. So two tables with
// the same records give the same sequence, whatever their history. The record is used again for the next call.
func (f *Frozen) Range(yield func(*Record) bool) {
	type live struct {
		hash uint64
		slot uint32
	}
	var (
		slots = make([]words, maxBlocks*blockSlots)
		order = make([]live, 0, maxBlocks*blockSlots)
		e     entry
		r     Record
	)
	for i := 0; i < len(f.dir.segs); {
		s := f.dir.segs[i].Load()
		order = order[:0]
		for first := uint32(0); first < s.slots; first += pageSlots {
			page := slots[first : first+pageSlots]
			f.readPage(s, first, page)
			for j := range page {
				if a := addressOf(page[j][0]); a != 0 && a != dead {
					order = append(order, live{Hash(a), first + uint32(j)})
				}
			}
		}
		slices.SortFunc(order, func(a, b live) int {
			if a.hash < b.hash {
				return -1
			}
			return 1
		})
		for _, l := range order {
			w := &slots[l.slot]
			s.loadEntry(w.place(), &e)
			r.unpack(w)
			e.unpack(&r)
			if !yield(&r) {
				return
			}
		}
		i += 1 << (64 - f.dir.shift - s.depth)
	}
	runtime.KeepAlive(f)
}

// readPage copies the page of s that begins at slot first, as it was at the freeze.
func (f *Frozen) readPage(s *segment, first uint32, page []words) {
	p := s.savedPage(f.epoch, first)
	if p == nil {
		for j := range page {
			s.slot(first + uint32(j)).load(&page[j])
		}
		p = s.savedPage(f.epoch, first)
	}
	if p != nil {
		copy(page, p[:])
	}
}

// A savedPage is a page as it was at a freeze. It is complete before it is published, and never changes.
type savedPage [pageSlots]words

// A saveSet has the pages of one segment that were saved during one epoch. The writer publishes the set in the segment, and
// each page in the set, by an atomic store.
type saveSet struct {
	epoch uint64
	older *saveSet // of an earlier epoch that may still be wanted
	pages []atomic.Pointer[savedPage]
}

type savedRef struct {
	seg *segment
	set *saveSet
}

// savedPage returns the page that begins at slot first as it was in the given epoch, or nil if it has not changed since:
// that is, what the earliest set from that epoch on has.
func (s *segment) savedPage(epoch uint64, first uint32) (p *savedPage) {
	for set := s.saves.Load(); set != nil && set.epoch >= epoch; set = set.older {
		if q := set.pages[first/pageSlots].Load(); q != nil {
			p = q
		}
	}
	return p
}

// held reports whether a Frozen may lead to what was made in the given epoch.
func (t *Table) held(born uint64) bool { return born < t.epoch && t.active.Load() > 0 }

// save saves the page of slot i of s, if a Frozen may want it. The writer calls it before any change of the slot.
func (t *Table) save(s *segment, i uint32) {
	if t.active.Load() == 0 || s.born >= t.epoch { // not held, but a segment's line is not read for it
		return
	}
	set := s.saves.Load()
	if set == nil || set.epoch != t.epoch {
		if set = t.beginSaves(s, set); set == nil {
			return
		}
	}
	first := i &^ (pageSlots - 1)
	p := &set.pages[first/pageSlots]
	if p.Load() != nil {
		return
	}
	page := new(savedPage)
	for j := range page {
		s.slot(first + uint32(j)).load(&page[j])
	}
	p.Store(page)
}

// beginSaves publishes an empty set for the present epoch. It returns nil if the last Frozen was released just now.
func (t *Table) beginSaves(s *segment, older *saveSet) *saveSet {
	t.freezeMu.Lock()
	defer t.freezeMu.Unlock()
	if len(t.frozen) == 0 {
		return nil
	}
	set := &saveSet{epoch: t.epoch, pages: make([]atomic.Pointer[savedPage], s.slots/pageSlots)}
	if older != nil && older.epoch >= t.frozen[0] {
		set.older = older
	}
	t.saved = append(t.saved, savedRef{s, set})
	s.saves.Store(set)
	return set
}
