package replica

import (
	"errors"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"
)

// ErrDiskStuck is returned by Run when a write to the log has not returned for [Options.DiskLimit]. Raft's heartbeats come
// from other goroutines than its writes, so a leader with such a disk would lead for ever and commit nothing. It has stopped
// sending them: another member leads soon. Goroutines and files are left behind; the process must end.
var ErrDiskStuck = errors.New("the disk of the log does not answer")

// diskGauge knows how long the oldest write under way has taken.
type diskGauge struct {
	began  atomic.Int64 // ns of the monotonic clock since origin, plus 1; 0: no write under way
	origin time.Time
	worst  atomic.Int64 // ns: the longest write so far
}

func newDiskGauge() *diskGauge { return &diskGauge{origin: time.Now()} }

// write runs f as a write. Raft writes from one goroutine at a time; the commit index is noted from another, and of two
// at a time the first counts.
func (g *diskGauge) write(f func() error) error {
	began := int64(time.Since(g.origin)) + 1
	first := g.began.CompareAndSwap(0, began)
	err := f()
	if first {
		g.began.Store(0)
	}
	took := int64(time.Since(g.origin)) + 1 - began
	for {
		worst := g.worst.Load()
		if took <= worst || g.worst.CompareAndSwap(worst, took) {
			return err
		}
	}
}

// pending returns how long a write has been under way, 0 if none is.
func (g *diskGauge) pending() time.Duration {
	began := g.began.Load()
	if began == 0 {
		return 0
	}
	return time.Since(g.origin) - time.Duration(began-1)
}

// gaugedStable is Raft's stable store with a gauge.
type gaugedStable struct {
	raft.StableStore
	gauge *diskGauge
}

// Set implements [raft.StableStore].
func (s *gaugedStable) Set(key, val []byte) error {
	return s.gauge.write(func() error { return s.StableStore.Set(key, val) })
}

// SetUint64 implements [raft.StableStore].
func (s *gaugedStable) SetUint64(key []byte, val uint64) error {
	return s.gauge.write(func() error { return s.StableStore.SetUint64(key, val) })
}
