package main

import (
	"testing"
	"time"
)

// A member that stands still for a while is not farther away than before: Raft stays as quick as it was.
func TestOneThatStandsStillIsNotFar(t *testing.T) {
	inWorld(t, 1, 3, nil, func(w *world) {
		time.Sleep(20 * time.Second) // round trips have been measured
		for range 2 {
			w.stall(w.hosts[2], 12*time.Second)
			time.Sleep(30 * time.Second)
		}
		for _, h := range w.hosts {
			if got := h.running().replica.Stats().Timing.Heartbeat; got > 2*time.Second {
				t.Errorf("%s waits %v for a heartbeat", h.name, got)
			}
		}
	})
}
