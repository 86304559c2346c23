package table

import (
	"runtime"
	"unsafe"

	"github.com/rootd/rootd/packetpath/prefetch"
	"github.com/rootd/rootd/packetpath/vl1"
)

// Prefetch brings the slots of all these peers into the cache, all misses at the same time, so that lookups of a batch
// that follow do not wait one after the other. It is a hint: it has no result.
func (t *Table) Prefetch(as []vl1.Address) {
	d := t.dir.Load()
	var lines prefetch.Lines
	for _, a := range as {
		d.prefetchHome(Hash(a), &lines)
	}
	lines.Fetch()
	for _, a := range as {
		d.prefetchHops(Hash(a), a, &lines)
	}
	lines.Fetch()
	runtime.KeepAlive(d)
}

// prefetchHome asks for the memory where a peer should be.
func (d *directory) prefetchHome(h uint64, lines *prefetch.Lines) {
	l := d.lane(h)
	shape := l.shape.Load()
	if slots := laneSlots(shape); slots != 0 {
		lines.Add(unsafe.Pointer(l.hot.slot(home(h, laneDepth(shape), slots))))
	}
}

// prefetchHops waits for that, and asks for where the peer may be otherwise.
func (d *directory) prefetchHops(h uint64, a vl1.Address, lines *prefetch.Lines) {
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
		lines.Add(unsafe.Pointer(l.hot.slot(after(at, n, slots))))
	}
}

// prefetchNext asks for where the next entry comes.
func (s *segment) prefetchNext(lines *prefetch.Lines) {
	if b := s.cold[s.used/blockUnits].Load(); b != nil {
		lines.Add(unsafe.Pointer(b.word(uint32(s.used) % blockUnits * unitWords)))
	}
}

// prefetchEntry asks for the entry of a slot.
func (s *segment) prefetchEntry(sl *slot, lines *prefetch.Lines) {
	p := placement(sl[5].Load())
	if b, at := s.entryAt(p); b != nil {
		lines.Add(unsafe.Pointer(b.word(at)))
		if p&longEntry != 0 || at%slotWords != 0 { // else it is one line
			lines.Add(unsafe.Pointer(b.word(at + p.words() - 1)))
		}
	}
}
