package main

import (
	"context"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

// spare are processors in Go's eyes, beyond those of the machine, for hashing the identities of strangers. That work has
// threads of low priority, and each keeps one of Go's processors even while the kernel has it wait: without processors
// of its own it would hold up the packet path. But processors that have nothing to do make the runtime wake a thread that
// looks for work whenever there may be some, and share in collecting garbage. So they are there only while somebody
// hashes, and a while longer.
type spare struct {
	base, more int

	wanted atomic.Int64 // when last, ns since started
	there  atomic.Bool
	mu     sync.Mutex // guards changes of there, and of the number that it stands for

	started time.Time
	set     func(int) int // runtime.GOMAXPROCS; tests watch
}

// readers gives processors to so many readers of sockets, for good: see [udp.Options]. It comes before all other methods.
func (s *spare) readers(n int) {
	s.base += n
	s.set(s.base)
}

// spareFor is how long the processors stay after the last use.
const spareFor = 30 * time.Second

func newSpare(more int) *spare {
	return &spare{base: runtime.GOMAXPROCS(0), more: more, started: time.Now(), set: runtime.GOMAXPROCS}
}

// want is called by whoever is about to hash.
func (s *spare) want() {
	s.wanted.Store(int64(time.Since(s.started)))
	if !s.there.Load() {
		s.put(true)
	}
}

// put gives the processors, or takes them away. All goroutines stop for some 50 µs.
func (s *spare) put(there bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.there.Load() == there {
		return
	}
	n := s.base
	if there {
		n += s.more
	}
	s.set(n)
	s.there.Store(there)
}

// run takes the processors away when they have not been wanted for a while, until ctx ends.
func (s *spare) run(ctx context.Context) error {
	for sleep(ctx, spareFor/3) {
		if time.Since(s.started)-time.Duration(s.wanted.Load()) > spareFor {
			s.put(false)
		}
	}
	return nil
}
