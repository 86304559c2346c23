package table

import (
	"errors"
	"math"
	"runtime"
	"sync"
	"sync/atomic"

	"github.com/rootd/rootd/packetpath/vl1"
)

var (
	// ErrFull is returned by [Table.Put] for a new peer when the table holds as many as it may. Known peers can still change.
	ErrFull = errors.New("peer table is full: raise its limit on peers, or let idle ones expire sooner")
	// ErrClosed is returned by [Table.Put] after [Table.Close].
	ErrClosed = errors.New("peer table is closed")
)

// Options of a table. The zero value is a small table that grows without a limit.
type Options struct {
	Capacity  int  // peers to make room for at once, so that loading that many rebuilds nothing
	MaxPeers  int  // the most peers that the table takes; 0 is no limit
	HugePages bool // ask the system for 2 MiB pages: faster reads, slower first touches
	OnHeap    bool // use the Go heap, which the race detector can see, instead of mapped memory
}

// Hash is the place of an address among all peers: segments, and one day Raft groups, are ranges of it. It is part of what
// members agree on and never changes. Different addresses have different hashes.
func Hash(a vl1.Address) uint64 {
	h := uint64(a) + 0x9e3779b97f4a7c15
	h = (h ^ h>>30) * 0xbf58476d1ce4e5b9
	h = (h ^ h>>27) * 0x94d049bb133111eb
	return h ^ h>>31
}

// Table is the set of all peers. Any number of goroutines may call Lookup, LookupHot, LookupSteered, Prefetch, Scan, Len and Stats at any
// time. All other methods are for one goroutine, the writer.
type Table struct {
	dir  atomic.Pointer[directory] // writer stores, readers load: see directory
	undo undo

	peers atomic.Int64 // writer adds, anyone loads; so are the counters of stats
	stats struct{ segments, slots, splits, rebuilds atomic.Int64 }

	// The writer's own.
	mem      *arena
	maxPeers int64
	epoch    uint64     // number of freezes
	moves    uint64     // changes of the directory
	late     []words    // scratch of copyInto
	rested   int        // entries taken since a segment was last replaced
	limbo    []*segment // replaced, but a Frozen may still read them
	closed   bool

	growing sync.Mutex // held by the [Loader] that replaces a segment

	// active is how many Frozen are not released: written under freezeMu, loaded by the writer without it.
	active   atomic.Int32
	freezeMu sync.Mutex // guards the following fields; held for moments, by Freeze, Release, and the first save in a segment
	frozen   []uint64   // epochs of the active ones, ascending
	saved    []savedRef // save sets to take off when the last one is released
}

// New returns an empty table.
func New(o Options) (*Table, error) {
	t := &Table{mem: newArena(o), maxPeers: math.MaxInt64}
	if o.MaxPeers > 0 {
		t.maxPeers = int64(o.MaxPeers)
	}
	depth, blocks := geometry(o.Capacity)
	d := newDirectory(depth, 0)
	for i := range d.segs {
		s, err := t.newSegment(uint64(i)<<(64-depth), depth, blocks)
		if err != nil {
			return nil, err
		}
		d.set(i, s)
		t.count(s, 1)
	}
	t.dir.Store(d)
	return t, nil
}

// maxTries bounds a lookup. Each try fails only if the writer finished a change of this very peer, or replaced the
// segment, while it lasted; so a second one is rare.
const maxTries = 64

// Lookup fills r with the record of a, and reports whether there is one. It neither waits nor allocates nor writes
// memory that others read. What it finds is what the writer had put at one moment during the call.
func (t *Table) Lookup(a vl1.Address, r *Record) bool {
	var w words
	var e entry
	d := t.dir.Load()
	d.prefetchNearest(Hash(a)) // who needs the key comes out of the blue; and the way by the segment is longer
	runtime.KeepAlive(d)
	if !t.read(a, &w, &e) {
		return false
	}
	r.unpack(&w)
	e.unpack(r)
	return true
}

// LookupHot is Lookup in words, without the key, and as if the handoff were zero. It needs nothing but the slot: one cache line. Of an unknown
// peer, w means nothing.
func (t *Table) LookupHot(a vl1.Address, w *Words) bool {
	*w.handoff() = handoffWords{}
	_, known := t.readHot(a, w.slot())
	return known
}

// LookupSteered is Lookup in words, without the key: what steering needs. Until the cluster did something to a peer, it needs nothing but the
// slot. Of an unknown peer, w means nothing.
func (t *Table) LookupSteered(a vl1.Address, w *Words) bool {
	*w.handoff() = handoffWords{}
	p, known := t.readHot(a, w.slot())
	if !known || p&longEntry == 0 {
		return known
	}
	var e entry
	if !t.read(a, w.slot(), &e) {
		return false
	}
	w.slot().strip()
	*w.handoff() = *e.handoff()
	return true
}

// readHot reads words 1 to 7 of the slot of a, but for the place of the entry, which it returns.
func (t *Table) readHot(a vl1.Address, w *words) (p placement, known bool) {
	if a.Reserved() {
		return 0, false
	}
	h := Hash(a)
	d := t.dir.Load()
	p, v := d.lane(h).read(h, a, w)
	runtime.KeepAlive(d) // the blocks were mapped until here
	if v == torn || t.dir.Load() != d {
		var e entry
		known = t.read(a, w, &e)
		return w.strip(), known
	}
	return p, v == found
}

// read is Lookup in words, and with the entry.
func (t *Table) read(a vl1.Address, w *words, e *entry) bool {
	if a.Reserved() {
		return false
	}
	h := Hash(a)
	s := t.dir.Load().segment(h)
	for range maxTries {
		v := t.readIn(s, h, a, w, e)
		now := t.dir.Load().segment(h)
		runtime.KeepAlive(s)
		if now == s && v != torn {
			return v == found
		}
		s = now
	}
	return false
}

// What one try of a lookup comes to.
type verdict int

const (
	absent verdict = iota
	found
	torn // the slot changed under the reader
)

// read is readHot by way of l, and nearly always finds out. The verdict counts only if the directory is still the same.
func (l *lane) read(h uint64, a vl1.Address, w *words) (p placement, v verdict) {
	shape := l.shape.Load()
	slots := laneSlots(shape)
	i := home(h, laneDepth(shape), slots)
	if slots == 0 {
		return 0, torn
	}
	sl := l.hot.slot(i)
	w0 := sl[0].Load()
	if addressOf(w0) != a {
		var known bool
		if i, w0, known = l.hot.searchOn(i, slots, hopsOf(w0), a); !known {
			if shape&laneChanging != 0 || l.shape.Load() != shape {
				return 0, torn
			}
			return 0, absent
		}
		sl = l.hot.slot(i)
	}
	w5 := sl[placeWord].Load()
	w[0], w[1], w[2], w[3] = 0, sl[1].Load(), sl[2].Load(), sl[3].Load()
	w[4], w[5], w[6], w[7] = sl[4].Load(), w5&^placeMask, sl[6].Load(), sl[7].Load()
	if sl[0].Load() != w0 || w0&1 != 0 || shape&laneChanging != 0 || l.shape.Load() != shape {
		return 0, torn
	}
	return placement(w5), found
}

// readIn looks for a in s. The verdict counts only if s is still in the directory afterwards.
func (t *Table) readIn(s *segment, h uint64, a vl1.Address, w *words, e *entry) verdict {
	if s.slots == 0 {
		return absent
	}
	i, w0, known := s.hot.search(s.home(h), s.slots, a)
	if !known {
		return absent
	}
	sl := s.slot(i)
	for j := 1; j < slotWords; j++ {
		w[j] = sl[j].Load()
	}
	if w0&1 != 0 {
		t.undo.load(w)
	}
	if sl[0].Load() != w0 {
		return torn
	}
	w[0] = w0
	if !s.loadEntry(w.place(), e) {
		return torn
	}
	return found
}

// Len returns the number of peers.
func (t *Table) Len() int { return int(t.peers.Load()) }

// Stats describes a table.
type Stats struct {
	Peers    int
	Segments int
	Slots    int     // room for peers; the table grows before all are taken
	Load     float64 // Peers / Slots
	Bytes    int64   // memory in use for peers
	Unused   int64   // memory taken from the system and not, or not any more, in use
	Splits   int64   // segments split in two since the table was made
	Rebuilds int64   // segments rebuilt, larger or to be rid of deleted peers
	Frozen   int     // freezes not released
}

// Stats returns a description that is accurate when the writer rests.
func (t *Table) Stats() Stats {
	var m *arena
	if s := t.dir.Load().segment(0); s != nil {
		m = s.mem
	}
	st := Stats{
		Peers:    t.Len(),
		Segments: int(t.stats.segments.Load()),
		Slots:    int(t.stats.slots.Load()),
		Splits:   t.stats.splits.Load(),
		Rebuilds: t.stats.rebuilds.Load(),
		Frozen:   int(t.active.Load()),
	}
	if m != nil {
		st.Unused = m.unused.Load()
		st.Bytes = m.total.Load() - st.Unused
	}
	if st.Slots > 0 {
		st.Load = float64(st.Peers) / float64(st.Slots)
	}
	return st
}

// Close empties the table for good. Lookups that are under way end well, and a [Frozen] can be read until it is
// released: memory returns to the system when the collector sees that nobody can reach it.
func (t *Table) Close() error {
	d := newDirectory(0, t.epoch)
	d.set(0, &segment{born: t.epoch})
	t.dir.Store(d)
	t.moves++
	t.peers.Store(0)
	t.stats.segments.Store(0)
	t.stats.slots.Store(0)
	t.mem, t.limbo, t.closed = nil, nil, true
	return nil
}
