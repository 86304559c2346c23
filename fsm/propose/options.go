package propose

import (
	"log/slog"
	"time"

	"github.com/rootd/rootd/fsm"
	"github.com/rootd/rootd/fsm/table"
	"github.com/rootd/rootd/geo"
)

// Options are what a proposer needs. Zero numbers mean the default.
type Options struct {
	View    *fsm.View
	Applier Applier
	Logger  *slog.Logger // nil: none

	// Locator says where peers are; nil: nobody does. Member is the one that proposes: it relocates its own peers.
	Locator geo.Locator
	Member  table.MemberID
	// RelocateRate is how many peers a second a walk may find elsewhere. 1000.
	RelocateRate int

	MaxBatch   int           // changes in one entry; 1000
	MaxDelay   time.Duration // how long the first change of an entry waits for others; 25 ms
	InFlight   int           // entries under way at a time; 4
	MaxPending int           // peers waiting to be proposed, and as many facts in the inbox; 200,000

	// KeepAliveDelay is how long keep-alives wait for others: they are in no hurry. 5 s.
	KeepAliveDelay time.Duration
	// ApplyTimeout is how long one entry may take before it is tried again. 10 s.
	ApplyTimeout time.Duration
	// FlushTimeout is how long Run goes on proposing what is waiting after its context ends. 2 s.
	FlushTimeout time.Duration

	// ExpiryInterval is the time between two walks of the leader over all peers. 1 h. The first one comes that long
	// after it began to lead, so that peers can show up after a long time without a cluster.
	ExpiryInterval time.Duration
	// ExpirySlice is how many peers a walk looks at before it pauses for 10 ms. 50,000.
	ExpirySlice int
}

func (o Options) withDefaults() Options {
	setDefault(&o.MaxBatch, 1000)
	setDefault(&o.MaxDelay, 25*time.Millisecond)
	setDefault(&o.InFlight, 4)
	setDefault(&o.MaxPending, 200_000)
	setDefault(&o.KeepAliveDelay, 5*time.Second)
	setDefault(&o.ApplyTimeout, 10*time.Second)
	setDefault(&o.FlushTimeout, 2*time.Second)
	setDefault(&o.ExpiryInterval, time.Hour)
	setDefault(&o.ExpirySlice, 50_000)
	setDefault(&o.RelocateRate, 1000)
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	o.MaxBatch = min(o.MaxBatch, fsm.MaxChanges)
	return o
}

func setDefault[T int | time.Duration](v *T, def T) {
	if *v == 0 {
		*v = def
	}
}
