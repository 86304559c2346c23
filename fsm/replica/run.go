package replica

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strconv"
	"time"

	"github.com/hashicorp/raft"

	"github.com/rootd/rootd/fsm/table"
)

// ending is why one run of Raft ended.
type ending uint8

const (
	stopped ending = iota // ctx has ended
	removed               // the cluster has removed this member
	stuck                 // the disk hangs
	retimed               // another lease is due, which Raft takes only at its start
)

// expelledAfter is how long a removed member waits for a leader before it takes itself for no server any more.
const expelledAfter = 30 * time.Second

// retimeDelay is how long members wait at most, each at random, before they take another lease: not all at once.
const retimeDelay = 10 * time.Second

// Run takes part in Raft until ctx ends, then closes the stores and the transport. It is called once. After [ErrDiskStuck]
// the process must end.
func (r *Replica) Run(ctx context.Context) (err error) {
	tr := &transport{Transport: r.opts.Transport}
	closed := func() {
		tr.close()
		if cerr := r.stores.close(); err == nil && cerr != nil {
			err = cerr
		}
	}
	for {
		t := r.startTiming()
		node, err := raft.NewRaft(r.config(t), r.opts.FSM, r.stores.log, r.stores.stable(), r.stores.snapshots, tr)
		if err != nil {
			closed()
			return fmt.Errorf("start raft in %s: %w", r.opts.Dir, err)
		}
		r.raft.Store(node)
		noting, stopNoting := context.WithCancel(ctx)
		noted := make(chan struct{})
		go func() { defer close(noted); r.noteCommits(noting, node) }()
		why := r.watch(ctx, node, t)
		stopNoting()
		if why == stuck {
			tr.cut()
			return fmt.Errorf("%w: a write to %s has taken %s", ErrDiskStuck, r.stores.path, r.stores.gauge.pending().Round(time.Second))
		}
		r.raft.Store(nil)
		<-noted
		if err := node.Shutdown().Error(); err != nil {
			closed()
			return fmt.Errorf("stop raft: %w", err)
		}
		switch why {
		case removed:
			closed()
			return ErrRemoved
		case retimed:
			r.count.restarts.Add(1)
		default:
			closed()
			return err
		}
	}
}

// noteCommits notes what is committed while the log is idle. It writes, so it may hang with the disk.
func (r *Replica) noteCommits(ctx context.Context, node *raft.Raft) {
	tick := time.NewTicker(noteInterval)
	defer tick.Stop()
	for last := uint64(0); ; {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		commit := node.CommitIndex()
		if commit == last {
			if err := r.stores.log.note(commit); err != nil {
				r.log.Warn("commit index not noted", "index", commit, "error", err)
			}
		}
		last = commit
	}
}

// watch waits for the end of ctx or of Raft, looks after the disk and keeps the timing right.
func (r *Replica) watch(ctx context.Context, node *raft.Raft, running Timing) ending {
	tick := time.NewTicker(noteInterval)
	defer tick.Stop()
	var lease leaseChange
	began := time.Now()
	for {
		select {
		case <-ctx.Done():
			return stopped
		case <-tick.C:
		}
		if node.State() == raft.Shutdown || r.expelled(node, began) {
			return removed
		}
		if r.stores.gauge.pending() > r.opts.DiskLimit {
			r.log.Error("the disk of the log hangs", "path", r.stores.path, "leader", node.State() == raft.Leader)
			return stuck
		}
		if r.retime(node, running, &lease) {
			return retimed
		}
	}
}

// expelled reports whether the log says that this member was removed, and no leader has been in touch with it for long. Raft
// itself does not tell a server that it is none any more; and until then its vote may be needed for just that.
func (r *Replica) expelled(node *raft.Raft, began time.Time) bool {
	id, err := strconv.ParseUint(r.opts.ID, 10, 16)
	if err != nil || !r.opts.FSM.View().State().IsRemoved(table.MemberID(id)) || node.State() == raft.Leader {
		return false
	}
	heard := node.LastContact()
	if heard.Before(began) {
		heard = began
	}
	return time.Since(heard) >= expelledAfter
}

// leaseChange is how far a change of the lease is.
type leaseChange struct {
	due      time.Time // not before; zero: there is none
	handOver time.Time // when a leader may try again to hand over
}

// retime keeps the timing of a running Raft what it should be, and reports that it must be started anew for that. Timeouts
// can be changed at any time; the lease only at a start, which costs a follower nothing. A leader comes last, and hands over
// first, unless nobody else votes.
func (r *Replica) retime(node *raft.Raft, running Timing, c *leaseChange) bool {
	want := r.timing()
	r.now.Store(&want)
	leads, only := node.State() == raft.Leader, r.onlyVoter()
	if want.Lease == running.Lease && want.Commit == running.Commit {
		*c = leaseChange{}
		rc := node.ReloadableConfig()
		if rc.HeartbeatTimeout == want.Heartbeat && rc.ElectionTimeout == want.Election || only && !leads {
			return false
		}
		rc.HeartbeatTimeout, rc.ElectionTimeout = want.Heartbeat, want.Election
		if err := node.ReloadConfig(rc); err != nil {
			r.log.Warn("timing not changed", "error", err)
		}
		return false
	}
	switch {
	case only:
		r.log.Info("raft starts anew with another timing", "heartbeat", want.Heartbeat, "lease", want.Lease)
		return true
	case c.due.IsZero():
		c.due = time.Now().Add(rand.N(retimeDelay))
		if leads { // when the others have it: whoever takes over then need not hand over again
			c.due = c.due.Add(retimeDelay)
		}
		return false
	case time.Now().Before(c.due), leads && time.Now().Before(c.handOver):
		return false
	case leads:
		c.handOver = time.Now().Add(retimeDelay)
		go func() { _ = node.LeadershipTransfer().Error() }() // tried again
		return false
	}
	r.log.Info("raft starts anew with another timing", "heartbeat", want.Heartbeat, "lease", want.Lease)
	return true
}

// timing returns the timing that is right now.
func (r *Replica) timing() Timing {
	t := aloneTiming()
	st := r.opts.FSM.View().State()
	if !r.alone() {
		t = r.pacer.next(st.WorstRTT(), time.Now())
	}
	return Timing{
		Heartbeat: either(r.opts.Heartbeat, t.Heartbeat),
		Election:  either(r.opts.Election, t.Election),
		Lease:     either(r.opts.LeaderLease, t.Lease),
		Commit:    either(r.opts.CommitTimeout, t.Commit),
	}
}

// startTiming is the timing to start Raft with: the one voter need not wait for anybody else's heartbeats.
func (r *Replica) startTiming() Timing {
	want := r.timing()
	r.now.Store(&want)
	t := want
	if r.onlyVoter() {
		t.Heartbeat, t.Election = t.Lease, t.Lease
	}
	return t
}

// alone reports whether there is no other server, as far as the log is applied.
func (r *Replica) alone() bool {
	servers := r.opts.FSM.View().State().Voters.Servers
	return r.onlyVoter() && len(servers) <= 1
}

// onlyVoter reports whether this member alone is the quorum.
func (r *Replica) onlyVoter() bool {
	servers := r.opts.FSM.View().State().Voters.Servers
	voters, me := 0, false
	for _, s := range servers {
		if s.Voter {
			voters++
			me = me || s.ID == r.opts.ID
		}
	}
	return voters == 1 && me
}
