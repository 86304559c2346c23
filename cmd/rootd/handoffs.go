package main

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/rootd/rootd/fsm"
	"github.com/rootd/rootd/fsm/propose"
	"github.com/rootd/rootd/packetpath"
)

const (
	handoffDelay    = 20 * time.Millisecond // for how long the first step of an entry waits for others
	handoffsFlying  = 4                     // entries under way
	handoffsWaiting = 10_000
	handoffPatience = 5 * time.Second // the packet path has forgotten an intent after that
)

// handoffSink puts the steps of handoffs into the log, many in one entry. What fails or is too much is dropped: the packet path
// says again what must be said.
type handoffSink struct {
	log     *slog.Logger
	applier propose.Applier
	epoch   func() uint16 // of this life; 0: not yet
	wake    chan struct{} // holds one

	mu      sync.Mutex // guards waiting
	waiting []fsm.Handoff
}

var _ packetpath.HandoffSink = (*handoffSink)(nil)

func newHandoffSink(a propose.Applier, epoch func() uint16, log *slog.Logger) *handoffSink {
	return &handoffSink{log: log, applier: a, epoch: epoch, wake: make(chan struct{}, 1)}
}

// OfferHandoffs implements [packetpath.HandoffSink].
func (s *handoffSink) OfferHandoffs(steps []fsm.Handoff) {
	s.mu.Lock()
	for _, h := range steps {
		// What the view says of a life before this one is not ours to hand off.
		if h.Epoch == s.epoch() && len(s.waiting) < handoffsWaiting {
			s.waiting = append(s.waiting, h)
		}
	}
	s.mu.Unlock()
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

func (s *handoffSink) take() (all []fsm.Handoff) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := min(len(s.waiting), fsm.MaxChanges)
	all = append(all, s.waiting[:n]...)
	s.waiting = append(s.waiting[:0], s.waiting[n:]...)
	return all
}

// run proposes until ctx ends.
func (s *handoffSink) run(ctx context.Context) {
	var wg sync.WaitGroup
	defer wg.Wait()
	slots := make(chan struct{}, handoffsFlying)
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.wake:
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(handoffDelay):
		}
		for steps := s.take(); len(steps) > 0; steps = s.take() {
			select {
			case <-ctx.Done():
				return
			case slots <- struct{}{}:
			}
			wg.Go(func() {
				defer func() { <-slots }()
				s.put(ctx, steps)
			})
		}
	}
}

func (s *handoffSink) put(ctx context.Context, steps []fsm.Handoff) {
	entry, err := fsm.Encode(fsm.Handoffs(steps))
	if err == nil {
		ctx, cancel := context.WithTimeout(ctx, handoffPatience)
		defer cancel()
		_, err = s.applier.Apply(ctx, entry)
	}
	if err != nil && ctx.Err() == nil {
		s.log.Debug("handoffs not in the log", "peers", len(steps), "error", err)
	}
}
