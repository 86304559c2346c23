package table

import "runtime"

// A Loader fills a table that nobody else has yet. One goroutine may use it, and any number of them may be at work in a table at
// once, as long as nothing else is. Records in the order of [Hash] are stored several times as fast as others: they come to
// the same segment for a long time, and fill it from one end to the other.
//
// A loader holds the segment that it fills, and lets go of it when it goes on to another one. So loaders that are given
// different ranges of the hash hardly ever meet.
type Loader struct {
	t    *Table
	seg  *segment // held; nil: none
	late []words  // slots of peers whose home in it was taken
	n    int64    // peers stored in it that the table does not count yet
	full bool
}

// Loader returns a loader.
func (t *Table) Loader() *Loader { return &Loader{t: t} }

// Put stores a record. A second one of the same peer is left out, as [Table.Len] then shows. The errors are those of
// [Table.Put], but for ErrFull, which may come a few hundred peers late.
func (l *Loader) Put(r *Record) error {
	if err := r.check(); err != nil {
		return err
	}
	h := Hash(r.Address)
	for {
		s, err := l.hold(h)
		if err != nil {
			return err
		}
		if _, _, known := s.hot.search(s.home(h), s.slots, r.Address); known {
			return nil
		}
		if s.filled+len(l.late) >= s.limit || s.full() {
			if l.settle(); s.full() {
				if err := l.replace(); err != nil {
					return err
				}
			}
			continue
		}
		var e entry
		e.pack(r)
		place, err := s.addEntry(&e)
		if err != nil {
			return err
		}
		var w words
		r.pack(&w, place)
		if s.fillHome(h, r.Address, &w) {
			l.n++
		} else {
			w[0] = word0(r.Address)
			l.late = append(l.late, w)
		}
		return nil
	}
}

// settle finds places for those whose homes were taken.
func (l *Loader) settle() {
	before := l.seg.live
	settle(l.late, func(uint64) *segment { return l.seg })
	l.n += int64(l.seg.live - before) // some may have come twice
	l.late = l.late[:0]
}

// hold returns the segment for hash h, which this loader alone may change from then on.
func (l *Loader) hold(h uint64) (*segment, error) {
	if l.seg != nil && l.seg.has(h) {
		return l.seg, nil
	}
	l.Rest()
	if l.full {
		return nil, ErrFull
	}
	for {
		s := l.t.dir.Load().segment(h)
		s.loading.Lock()
		if l.t.dir.Load().segment(h) == s {
			l.seg = s
			return s, nil
		}
		s.loading.Unlock() // another loader has just replaced it
		runtime.Gosched()
	}
}

// replace makes room in the segment that the loader holds, and lets go of it.
func (l *Loader) replace() error {
	s := l.seg
	l.t.growing.Lock()
	err := l.t.replace(s)
	l.t.growing.Unlock()
	l.Rest()
	return err
}

// Rest lets go of the segment that the loader holds, and counts what it stored. Call it at the end.
func (l *Loader) Rest() {
	if l.seg == nil {
		return
	}
	l.settle()
	l.seg.loading.Unlock()
	l.seg = nil
	l.full = l.t.peers.Add(l.n) > l.t.maxPeers
	l.n = 0
}
