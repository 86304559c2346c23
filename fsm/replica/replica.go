// Package replica is this member's replica of the cluster's log: Raft, its stores, and the state machine on top.
//
// In: entries of [fsm.Encode] through [Replica.Apply] at the leader, and Raft's messages through the transport. Out:
// the state machine's view, kept current.
//
// Open does everything that needs nobody else: it opens the stores, restores the newest snapshot and replays what is
// known to be committed, so that the view is complete before the first packet, with or without a quorum. It
// starts no goroutine; Run starts Raft and ends it. All other methods may be called by any goroutine. During Run, Raft may be
// started anew for another timing (run.go): for a moment calls return [ErrNotRunning], and are to be tried again.
//
// A [Membership] beside it makes Raft's servers follow the members that the log knows, and decides with
// raft-autopilot who votes. The log is the only place where members are admitted and removed.
//
// Invariants: whatever Apply acknowledged is on the disks of a majority, and in the view after any restart. A
// damaged log or snapshot is refused with the reason and left as it is: falling back to an older snapshot would
// silently lose what was committed since. Timeouts are at least ten of the longest round trips between members. A member
// whose disk hangs stops leading and says so: heartbeats alone would keep it leader of a cluster that commits nothing.
//
// On disk, in the directory that Open is given:
//
//	raft.db          the log, with Raft's term and vote (bbolt)
//	snapshots/<id>/  the last two snapshots: meta.json and state.bin (docs/log-format.md)
package replica

import (
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"

	"github.com/rootd/rootd/fsm"
)

var (
	// ErrNotLeader is returned by Apply and Barrier at a member that is not the leader, or ceased to be while the entry
	// was under way: the entry may or may not be committed.
	ErrNotLeader = errors.New("not the leader")
	// ErrNotRunning is returned before Run has started Raft and after it has ended.
	ErrNotRunning = errors.New("replica is not running")
	// ErrRemoved is returned by Run when the cluster has removed this member.
	ErrRemoved = errors.New("this member was removed from the cluster")
)

// Options are what a replica needs.
type Options struct {
	Dir       string         // holds raft.db and snapshots; made if missing
	ID        string         // of this member, for all time
	FSM       *fsm.FSM       // at the beginning of the log
	Transport raft.Transport // with pre-vote. Closed when Run ends, if it can be closed
	Logger    *slog.Logger   // nil: none

	// Bootstrap makes an empty directory the only voter of a new cluster. It changes nothing in a directory that
	// has a log.
	Bootstrap bool
	// Voters replace the one that Bootstrap makes. All of them must be given the same.
	Voters []raft.Server

	// Timing of Raft. Zero fields follow the cluster: quick ones as long as there is no other server, else those of
	// [TimingFor] the worst round trip that members report in the log.
	Heartbeat, Election, LeaderLease, CommitTimeout time.Duration

	// DiskLimit is how long one write to the log may take before this member gives up; 0: 15 s.
	DiskLimit time.Duration

	SnapshotInterval  time.Duration // between checks whether to take a snapshot; 0: 2 minutes
	SnapshotThreshold uint64        // entries since the last snapshot that make a new one due; 0: 8192
	TrailingLogs      uint64        // entries kept before a snapshot, for members that lag; 0: 10240

	// Now is the clock that stamps entries at the leader, in ms since 1970. nil: the system's.
	Now func() int64

	wrapLog func(raft.LogStore) raft.LogStore // for tests; nil: as it is
}

// Replica is one member's replica. See the package documentation for who may call what.
type Replica struct {
	opts   Options
	log    *slog.Logger
	stores *stores
	raft   atomic.Pointer[raft.Raft]
	now    atomic.Pointer[Timing] // what is right now
	pacer  pacer                  // belongs to the goroutine of Run
	count  counters
	check  fsm.Checker
}

// Open opens the replica in o.Dir and brings o.FSM to the last entry known to be committed.
func Open(o Options) (*Replica, error) {
	o = o.withDefaults()
	if _, ok := o.Transport.(raft.WithPreVote); !ok {
		return nil, fmt.Errorf("open replica in %s: transport %T has no pre-vote", o.Dir, o.Transport)
	}
	st, err := openStores(o)
	if err != nil {
		return nil, err
	}
	r := &Replica{opts: o, log: o.Logger, stores: st}
	if err := r.prepare(); err != nil {
		st.close()
		return nil, err
	}
	return r, nil
}

// prepare bootstraps an empty replica, or recovers the state of another.
func (r *Replica) prepare() error {
	if err := r.stores.claim(r.opts.ID); err != nil {
		return err
	}
	exists, err := raft.HasExistingState(r.stores.log, r.stores.bolt, r.stores.snapshots)
	if err != nil {
		return fmt.Errorf("read %s: %w", r.stores.path, err)
	}
	if !exists && r.opts.Bootstrap {
		conf := raft.Configuration{Servers: r.opts.Voters}
		if len(conf.Servers) == 0 {
			conf.Servers = []raft.Server{{ID: raft.ServerID(r.opts.ID), Address: r.opts.Transport.LocalAddr()}}
		}
		if err := raft.BootstrapCluster(r.config(aloneTiming()), r.stores.log, r.stores.bolt, r.stores.snapshots, r.opts.Transport, conf); err != nil {
			return fmt.Errorf("bootstrap %s: %w", r.opts.Dir, err)
		}
	}
	began := time.Now()
	rec, err := recoverState(r.stores, r.opts)
	if err != nil {
		return err
	}
	r.count.replayed.Store(rec.entries)
	st := r.opts.FSM.View().State()
	r.log.Info("log recovered", "snapshot_index", rec.snapshot, "entries", rec.entries, "index", st.Index,
		"peers", st.Peers, "duration", time.Since(began))
	return nil
}

func (o Options) withDefaults() Options {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.DiskLimit == 0 {
		o.DiskLimit = 15 * time.Second
	}
	if o.SnapshotInterval == 0 {
		o.SnapshotInterval = 2 * time.Minute
	}
	if o.SnapshotThreshold == 0 {
		o.SnapshotThreshold = 8192
	}
	if o.TrailingLogs == 0 {
		o.TrailingLogs = 10240
	}
	if o.Now == nil {
		o.Now = func() int64 { return time.Now().UnixMilli() }
	}
	return o
}

// config is Raft's configuration.
func (r *Replica) config(t Timing) *raft.Config {
	c := raft.DefaultConfig()
	c.LocalID = raft.ServerID(r.opts.ID)
	c.Logger = newHCLog(r.log)
	c.MaxAppendEntries = 512
	c.BatchApplyCh = true
	c.NoLegacyTelemetry = true
	c.SnapshotInterval = r.opts.SnapshotInterval
	c.SnapshotThreshold = r.opts.SnapshotThreshold
	c.TrailingLogs = r.opts.TrailingLogs
	// Recovery has restored the snapshot and the committed entries (recover.go). The commit tracking goes on.
	c.NoSnapshotRestoreOnStart = true
	c.RestoreCommittedLogs = true

	c.HeartbeatTimeout, c.ElectionTimeout, c.LeaderLeaseTimeout, c.CommitTimeout = t.Heartbeat, t.Election, t.Lease, t.Commit
	return c
}

func either(set, def time.Duration) time.Duration {
	if set != 0 {
		return set
	}
	return def
}

// Close releases a replica that was opened but never run.
func (r *Replica) Close() error { return r.stores.close() }

// Dir returns the directory of the log.
func (r *Replica) Dir() string { return filepath.Clean(r.opts.Dir) }
