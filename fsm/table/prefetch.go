package table

import (
	"runtime"
	"unsafe"

	"github.com/rootd/rootd/packetpath/vl1"
)

// Prefetch brings the slots of all these peers into the cache, all misses at the same time, so that lookups of a batch
// that follow do not wait one after the other. It is a hint: it has no result.
func (t *Table) Prefetch(as []vl1.Address) {
	d := t.dir.Load()
	for _, a := range as {
		h := Hash(a)
		l := d.lane(h)
		shape := l.shape.Load()
		slots := laneSlots(shape)
		if slots == 0 {
			continue // it is being changed for the first time
		}
		i := home(h, laneDepth(shape), slots)
		prefetch(unsafe.Pointer(l.hot.slot(i)))
		i = min(i+1, slots-1)
		prefetch(unsafe.Pointer(l.hot.slot(i)))
	}
	runtime.KeepAlive(d)
}

// PrefetchAll is Prefetch for those who want keys and handoffs too: it waits for the slots, and leaves the entries on their way.
func (t *Table) PrefetchAll(as []vl1.Address) {
	t.Prefetch(as)
	d := t.dir.Load()
	for _, a := range as {
		h := Hash(a)
		s := d.segment(h)
		if s.slots == 0 {
			return
		}
		if i, _, known := s.hot.search(s.home(h), s.slots, a); known {
			s.prefetchEntry(s.slot(i))
		}
		runtime.KeepAlive(s)
	}
}

// prefetchEntry asks for the entry of a slot.
func (s *segment) prefetchEntry(sl *slot) {
	p := placement(sl[5].Load())
	if b, at := s.entryAt(p); b != nil {
		prefetch(unsafe.Pointer(b.word(at)))
		prefetch(unsafe.Pointer(b.word(at + p.words() - 1)))
	}
}
