package replica

import (
	"os"
	"strconv"
	"sync/atomic"
	"time"
)

// counters are added to by any goroutine.
type counters struct {
	proposed, failed, replayed, restarts atomic.Uint64
}

// Stats is a snapshot of what the replica is doing.
type Stats struct {
	Running       bool
	State         string // "follower", "candidate", "leader", "shutdown"; "stopped" if not running
	LeaderID      string
	Term          uint64
	LastIndex     uint64 // of the log on this disk
	CommitIndex   uint64
	AppliedIndex  uint64 // as Raft counts
	SnapshotIndex uint64 // of the last entry that a snapshot holds
	ViewIndex     uint64 // as the view shows
	NotedIndex    uint64 // the index known to be committed after a restart at this moment
	LastContact   time.Duration
	LogBytes      int64  // size of raft.db
	FreelistBytes int64  // of it, in the free list
	LogWrites     uint64 // transactions since the start
	Proposed      uint64 // entries given to Raft
	Failed        uint64 // of them, not known to be committed
	Replayed      uint64 // entries replayed when the replica was opened

	Timing       Timing        // what Raft is to run with
	Restarts     uint64        // times that Raft was started anew for another timing
	WorstWrite   time.Duration // longest write to the log since the start
	PendingWrite time.Duration // how long a write has been under way now
}

// Stats returns a snapshot of what the replica is doing.
func (r *Replica) Stats() Stats {
	s := Stats{
		State:      "stopped",
		ViewIndex:  r.opts.FSM.View().State().Index,
		NotedIndex: r.stores.log.persisted(),
		Proposed:   r.count.proposed.Load(),
		Failed:     r.count.failed.Load(),
		Replayed:   r.count.replayed.Load(),
		LogWrites:  r.stores.log.writes.Load(),

		Restarts:     r.count.restarts.Load(),
		WorstWrite:   time.Duration(r.stores.gauge.worst.Load()),
		PendingWrite: r.stores.gauge.pending(),
	}
	if t := r.now.Load(); t != nil {
		s.Timing = *t
	}
	if fi, err := os.Stat(r.stores.path); err == nil {
		s.LogBytes = fi.Size()
	}
	node := r.raft.Load()
	if node == nil {
		return s
	}
	s.FreelistBytes = int64(r.stores.bolt.Stats().FreelistInuse)
	s.Running = true
	s.State = stateName(node.State())
	s.Term = node.CurrentTerm()
	s.LastIndex, s.CommitIndex, s.AppliedIndex = node.LastIndex(), node.CommitIndex(), node.AppliedIndex()
	s.SnapshotIndex, _ = strconv.ParseUint(node.Stats()["last_snapshot_index"], 10, 64) // Raft tells it nowhere else
	s.LeaderID, _ = r.Leader()
	if at := node.LastContact(); !at.IsZero() {
		s.LastContact = time.Since(at)
	}
	return s
}
