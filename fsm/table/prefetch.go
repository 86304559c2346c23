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
		d.prefetchHome(Hash(a))
	}
	for _, a := range as {
		d.prefetchHops(Hash(a), a)
	}
	runtime.KeepAlive(d)
}

// stage is how many peers ahead of its turn each step of InTurn asks for memory: enough that it is there for the next step, few enough
// that it is still in the cache then.
const stage = 12

// InTurn calls do for the index of each address, and has the memory of those that follow on its way meanwhile: their segments and homes first,
// then where else they may be, then their entries. For the writer, who does with a peer what he likes when its turn has come.
func (t *Table) InTurn(as []vl1.Address, do func(i int)) {
	for i := -3 * stage; i < len(as); i++ {
		d := t.dir.Load()
		if j := i + 3*stage; j < len(as) {
			h := Hash(as[j])
			d.segment(h).prefetch()
			d.prefetchHome(h)
		}
		if j := i + 2*stage; j >= 0 && j < len(as) {
			d.prefetchHops(Hash(as[j]), as[j])
		}
		if j := i + stage; j >= 0 && j < len(as) {
			h := Hash(as[j])
			d.segment(h).prefetchEntryOf(h, as[j])
		}
		if i >= 0 {
			do(i)
		}
	}
}

// prefetchHome asks for the memory where a peer should be.
func (d *directory) prefetchHome(h uint64) {
	l := d.lane(h)
	shape := l.shape.Load()
	if slots := laneSlots(shape); slots != 0 {
		prefetch(unsafe.Pointer(l.hot.slot(home(h, laneDepth(shape), slots))))
	}
}

// prefetchHops waits for that, and asks for where the peer may be otherwise.
func (d *directory) prefetchHops(h uint64, a vl1.Address) {
	l := d.lane(h)
	shape := l.shape.Load()
	slots := laneSlots(shape)
	if slots == 0 {
		return // it is being changed for the first time
	}
	at := home(h, laneDepth(shape), slots)
	w0 := l.hot.slot(at)[0].Load()
	if addressOf(w0) == a {
		return
	}
	for near := hopsOf(w0); near.near(); {
		var n uint32
		n, near = near.first()
		prefetch(unsafe.Pointer(l.hot.slot(after(at, n, slots))))
	}
}

// prefetch asks for the header.
func (s *segment) prefetch() {
	for at := uintptr(0); at < unsafe.Sizeof(*s); at += 64 {
		prefetch(unsafe.Add(unsafe.Pointer(s), at))
	}
}

// prefetchEntryOf waits for the slot of a peer, and asks for its entry.
func (s *segment) prefetchEntryOf(h uint64, a vl1.Address) {
	if s.slots == 0 {
		return // the table is closed
	}
	if i, _, known := s.hot.search(s.home(h), s.slots, a); known {
		s.prefetchEntry(s.slot(i))
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
