package table

import (
	"runtime"
	"sync/atomic"
	"unsafe"

	"github.com/rootd/rootd/packetpath/prefetch"
	"github.com/rootd/rootd/packetpath/vl1"
)

// Prefetch brings the slots of all these peers into the cache, all misses at the same time, so that lookups of a batch
// that follow do not wait one after the other. It is a hint: it has no result.
func (t *Table) Prefetch(as []vl1.Address) {
	d := t.dir.Load()
	if len(as) <= few {
		for _, a := range as {
			d.prefetchNearest(Hash(a))
		}
	} else {
		d.prefetchMany(as)
	}
	runtime.KeepAlive(d)
}

// few peers are not enough to wait for their homes together. The nearest neighbours of a home are asked for with it instead: nearly all peers are
// in one of these slots, and such lines, of the same page, take hardly longer to come than one alone; those of another page would.
const few = 4

// prefetchNearest asks for a home and its nearest neighbours.
func (d *directory) prefetchNearest(h uint64) {
	l := d.lane(h)
	at, ok := l.home(h)
	if !ok {
		return
	}
	b := l.hot[at>>blockShift].Load()
	prefetch.Four(unsafe.Pointer(b.slot(at)), unsafe.Pointer(b.slot(neighbour(at, 1))), unsafe.Pointer(b.slot(neighbour(at, 2))),
		unsafe.Pointer(b.slot(neighbour(at, 3))))
}

// prefetchMany asks for where they should be, and then, when that is known, for where they are otherwise.
func (d *directory) prefetchMany(as []vl1.Address) {
	var lines prefetch.Lines
	for _, a := range as {
		h := Hash(a)
		l := d.lane(h)
		if at, ok := l.home(h); ok {
			lines.Add(unsafe.Pointer(l.hot.slot(at)))
		}
	}
	lines.Fetch()
	for _, a := range as {
		d.prefetchHops(Hash(a), a, &lines)
	}
	lines.Fetch()
}

// home is where a peer should be, for a prefetch, and false if l is being changed for the first time.
func (l *lane) home(h uint64) (at uint32, ok bool) {
	shape := l.shape.Load()
	slots := laneSlots(shape)
	return home(h, laneDepth(shape), slots), slots != 0
}

// prefetchHops waits for that, and asks for where the peer may be otherwise.
func (d *directory) prefetchHops(h uint64, a vl1.Address, lines *prefetch.Lines) {
	l := d.lane(h)
	at, ok := l.home(h)
	if !ok {
		return
	}
	w0 := l.hot.slot(at)[0].Load()
	if addressOf(w0) == a {
		return
	}
	for near := hopsOf(w0); near.near(); {
		var k uint32
		k, near = near.first()
		lines.Add(unsafe.Pointer(l.hot.slot(neighbour(at, k))))
	}
}

// prefetchNext asks for where the next entry comes.
func (s *segment) prefetchNext(lines *prefetch.Lines) {
	if b := s.cold[s.used/blockUnits].Load(); b != nil {
		lines.Add(unsafe.Pointer(b.word(uint32(s.used) % blockUnits * unitWords)))
	}
}

// prefetchEntry asks for an entry, and returns its first word.
func (s *segment) prefetchEntry(p placement, lines *prefetch.Lines) *atomic.Uint64 {
	b, at := s.entryAt(p)
	if b == nil {
		return nil
	}
	first := b.word(at)
	lines.Add(unsafe.Pointer(first))
	if p&longEntry != 0 || at%slotWords != 0 { // else it is one line
		lines.Add(unsafe.Pointer(b.word(at + p.words() - 1)))
	}
	return first
}
