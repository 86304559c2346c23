package replica_test

import (
	"testing"
	"time"

	"github.com/rootd/rootd/fsm/replica"
)

func TestTimingFor(t *testing.T) {
	last := replica.TimingFor(time.Microsecond)
	if last.Heartbeat != time.Second {
		t.Errorf("heartbeat on one site: %s", last.Heartbeat)
	}
	for rtt := time.Millisecond; rtt < 3*time.Second; rtt += time.Millisecond {
		got := replica.TimingFor(rtt)
		switch {
		case got.Heartbeat < 10*rtt, got.Election < got.Heartbeat:
			t.Fatalf("%s: %+v is too quick", rtt, got)
		case got.Lease > got.Heartbeat, got.Lease < 2*rtt:
			t.Fatalf("%s: %+v: the lease does not fit", rtt, got)
		case got.Heartbeat < last.Heartbeat || got.Lease < last.Lease || got.Commit < last.Commit:
			t.Fatalf("%s: %+v, and %+v for less", rtt, got, last)
		}
		last = got
	}
	// The farthest pair of an intercontinental cluster.
	if got := replica.TimingFor(375 * time.Millisecond); got.Heartbeat != 4*time.Second || got.Lease != 2*time.Second {
		t.Errorf("%+v", got)
	}
	if got := replica.TimingFor(0); got != replica.TimingFor(100*time.Millisecond) {
		t.Errorf("unknown: %+v", got)
	}
}

func TestTimingGrowsAtOnceAndShrinksWithPatience(t *testing.T) {
	var p replica.Pacer
	now := time.Unix(1_700_000_000, 0)
	for i, c := range []struct {
		pass, rtt, heartbeat time.Duration
	}{
		{0, 10 * time.Millisecond, time.Second},
		{time.Second, 200 * time.Millisecond, 4 * time.Second},
		{time.Second, 0, 4 * time.Second},
		{time.Second, 10 * time.Millisecond, 4 * time.Second},
		{9 * time.Minute, 10 * time.Millisecond, 4 * time.Second},
		{time.Second, 170 * time.Millisecond, 4 * time.Second}, // near the border: no sign of ease
		{9 * time.Minute, 10 * time.Millisecond, 4 * time.Second},
		{9 * time.Minute, 10 * time.Millisecond, 4 * time.Second},
		{time.Minute, 10 * time.Millisecond, time.Second},
	} {
		now = now.Add(c.pass)
		if got := replica.Next(&p, c.rtt, now); got.Heartbeat != c.heartbeat {
			t.Errorf("step %d: heartbeat %s, want %s", i, got.Heartbeat, c.heartbeat)
		}
	}
}
