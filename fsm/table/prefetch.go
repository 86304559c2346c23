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
			d.prefetchRun(Hash(a))
		}
	} else {
		d.prefetchMany(as)
	}
	runtime.KeepAlive(d)
}

// few peers are not enough to wait for their homes together. What follows a home is asked for with it instead: nine of ten peers are at home or
// within the three slots after it, and these lines take hardly longer to come than the first one alone; another page would.
const few = 4

func (d *directory) prefetchRun(h uint64) {
	if sl := d.lane(h).home(h); sl != nil {
		prefetch.Run(unsafe.Pointer(sl))
	}
}

// prefetchMany asks for where they should be, and then, when that is known, for where they are otherwise.
func (d *directory) prefetchMany(as []vl1.Address) {
	var lines prefetch.Lines
	for _, a := range as {
		h := Hash(a)
		if sl := d.lane(h).home(h); sl != nil {
			lines.Add(unsafe.Pointer(sl))
		}
	}
	lines.Fetch()
	for _, a := range as {
		d.prefetchHops(Hash(a), a, &lines)
	}
	lines.Fetch()
}

// home is the slot where a peer should be, for a prefetch; nil if l is being changed for the first time.
func (l *lane) home(h uint64) *slot {
	shape := l.shape.Load()
	slots := laneSlots(shape)
	if slots == 0 {
		return nil
	}
	return l.hot.slot(home(h, laneDepth(shape), slots))
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
