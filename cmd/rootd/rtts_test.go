package main

import (
	"context"
	"log/slog"
	"testing"

	"github.com/rootd/rootd/fsm"
	"github.com/rootd/rootd/geo"
)

// slowApplier lets one entry wait until it is told.
type slowApplier struct {
	entries chan []byte
	done    chan struct{}
}

func (slowApplier) IsLeader() bool { return true }

func (a slowApplier) Apply(ctx context.Context, entry []byte) (fsm.Response, error) {
	a.entries <- entry
	select {
	case <-a.done:
	case <-ctx.Done():
	}
	return fsm.Response{}, ctx.Err()
}

// TestRTTProposer: what comes while an entry is under way does not make the packet path wait, and the newest that fits follows.
func TestRTTProposer(t *testing.T) {
	a := slowApplier{make(chan []byte), make(chan struct{})}
	p := newRTTProposer(slog.New(slog.DiscardHandler), a, 3, func() uint16 { return 7 })
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- p.run(ctx) }()
	near := geo.Area(0x0a00010000000001)
	row := func(rtt uint32) []fsm.RoundTrip { return []fsm.RoundTrip{{Area: near, N: 3, Micros: rtt}} }
	check := func(want uint32) {
		t.Helper()
		e, err := fsm.Decode(<-a.entries)
		if err != nil {
			t.Fatal(err)
		}
		c := e.Command.(*fsm.RoundTrips)
		if c.Member != 3 || c.Epoch != 7 || c.Rows[0].Micros != want {
			t.Errorf("%+v, expected %d µs", c, want)
		}
	}
	p.offer(row(1))
	check(1)
	p.offer(row(2))
	p.offer(row(3)) // no room
	a.done <- struct{}{}
	check(2)
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
