package replica

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/hashicorp/raft"

	"github.com/rootd/rootd/fsm"
)

// enqueueTimeout is how long an entry waits to be taken by Raft's loop when ctx sets no nearer deadline.
const enqueueTimeout = 10 * time.Second

// Apply stamps an entry of [fsm.Encode] with the time, appends it to the log and waits until it is committed and
// applied here. The entry belongs to the log from then on. An error that does not come from the state machine means that the
// entry may or may not be committed. Errors: [ErrNotLeader], [ErrNotRunning], ctx's, those of
// [fsm.Response], which Response repeats.
func (r *Replica) Apply(ctx context.Context, entry []byte) (fsm.Response, error) {
	node := r.raft.Load()
	if node == nil {
		return fsm.Response{}, ErrNotRunning
	}
	if err := ctx.Err(); err != nil {
		return fsm.Response{}, err
	}
	if err := r.check.Check(entry); err != nil {
		return fsm.Response{}, fmt.Errorf("refuse to log an entry: %w", err)
	}
	fsm.Stamp(entry, r.opts.Now())
	timeout := enqueueTimeout
	if d, ok := ctx.Deadline(); ok {
		timeout = min(timeout, time.Until(d))
	}
	r.count.proposed.Add(1)
	f := node.Apply(entry, max(timeout, time.Millisecond))
	if err := wait(ctx, f); err != nil {
		r.count.failed.Add(1)
		return fsm.Response{}, err
	}
	resp, _ := f.Response().(fsm.Response)
	resp.Index = f.Index()
	return resp, resp.Err
}

// WaitApplied waits until the view shows the entry of a command at an index, as [fsm.Response] has it from the leader.
func (r *Replica) WaitApplied(ctx context.Context, index uint64) error {
	view := r.opts.FSM.View()
	if view.State().Index >= index {
		return nil
	}
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for view.State().Index < index {
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for entry %d: %w", index, ctx.Err())
		case <-tick.C:
		}
	}
	return nil
}

// Barrier waits until everything committed before is applied here. It works at the leader only.
func (r *Replica) Barrier(ctx context.Context) error {
	node := r.raft.Load()
	if node == nil {
		return ErrNotRunning
	}
	return wait(ctx, node.Barrier(enqueueTimeout))
}

// Snapshot takes a snapshot now and shortens the log. Nothing new since the last one is not an error.
func (r *Replica) Snapshot(ctx context.Context) error {
	node := r.raft.Load()
	if node == nil {
		return ErrNotRunning
	}
	if err := wait(ctx, node.Snapshot()); err != nil && !errors.Is(err, raft.ErrNothingNewToSnapshot) {
		return fmt.Errorf("take snapshot: %w", err)
	}
	return nil
}

// HoldsRestore reports whether the log here still carries a restore into the running cluster ([fsm.Restore]): whoever began with it
// would replay the archive, and what was before, instead of getting a snapshot.
func (r *Replica) HoldsRestore() bool {
	at := r.opts.FSM.RestoredAt()
	if at == 0 {
		return false
	}
	first, err := r.stores.log.FirstIndex()
	return err != nil || first != 0 && first <= at
}

// Compact takes a snapshot, and keeps no entry before it: whoever is behind it gets the snapshot.
func (r *Replica) Compact(ctx context.Context) error {
	node := r.raft.Load()
	if node == nil {
		return ErrNotRunning
	}
	keep := func(entries uint64) error {
		rc := node.ReloadableConfig()
		rc.TrailingLogs = entries
		return node.ReloadConfig(rc)
	}
	if err := keep(0); err != nil {
		return fmt.Errorf("compact log: %w", err)
	}
	return errors.Join(r.Snapshot(ctx), keep(r.opts.TrailingLogs))
}

// wait waits for a future or the end of ctx, and gives Raft's errors our names.
func wait(ctx context.Context, f raft.Future) error {
	done := make(chan error, 1)
	go func() { done <- f.Error() }()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case err := <-done:
		switch {
		case errors.Is(err, raft.ErrNotLeader), errors.Is(err, raft.ErrLeadershipLost), errors.Is(err, raft.ErrLeadershipTransferInProgress):
			return fmt.Errorf("%w: %w", ErrNotLeader, err)
		case errors.Is(err, raft.ErrRaftShutdown):
			return fmt.Errorf("%w: %w", ErrNotRunning, err)
		}
		return err
	}
}

// WaitReady waits until a leader is known and this member has applied all that it knows to be committed. The view
// can be read without it.
func (r *Replica) WaitReady(ctx context.Context) error {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		if node := r.raft.Load(); node != nil {
			_, leader := node.LeaderWithID()
			commit := node.CommitIndex()
			if leader != "" && commit > 0 && node.AppliedIndex() >= commit {
				if node.State() != raft.Leader {
					return nil
				}
				if err := r.Barrier(ctx); err == nil {
					return nil
				}
			}
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for a leader: %w", ctx.Err())
		case <-tick.C:
		}
	}
}

// IsLeader reports whether this member leads the cluster, as far as it knows.
func (r *Replica) IsLeader() bool {
	node := r.raft.Load()
	return node != nil && node.State() == raft.Leader
}

// Leader returns the ID and address of the leader, empty if none is known.
func (r *Replica) Leader() (id, addr string) {
	node := r.raft.Load()
	if node == nil {
		return "", ""
	}
	a, i := node.LeaderWithID()
	return string(i), string(a)
}
