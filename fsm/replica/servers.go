package replica

import (
	"context"
	"errors"
	"fmt"

	"github.com/hashicorp/raft"
)

var (
	// ErrNoServer is returned for a server that Raft's configuration does not have.
	ErrNoServer = errors.New("no such server in the raft configuration")
	// ErrLastVoter refuses to take the vote of the only one that has one.
	ErrLastVoter = errors.New("it is the only voter")
)

// Servers returns Raft's latest configuration, which may not be committed yet. Any member.
func (r *Replica) Servers() ([]raft.Server, error) {
	node := r.raft.Load()
	if node == nil {
		return nil, ErrNotRunning
	}
	f := node.GetConfiguration()
	if err := f.Error(); err != nil {
		return nil, err
	}
	return f.Configuration().Servers, nil
}

// server returns the server with the ID, and how many vote.
func (r *Replica) server(id string) (s raft.Server, voters int, ok bool, err error) {
	servers, err := r.Servers()
	for _, x := range servers {
		if x.ID == raft.ServerID(id) {
			s, ok = x, true
		}
		if x.Suffrage == raft.Voter {
			voters++
		}
	}
	return s, voters, ok, err
}

// The following four change Raft's configuration at the leader. What is so already is not an error, and nothing is
// reported as done before a quorum has it. Errors: [ErrNotLeader], [ErrNotRunning], ctx's, and those named.

// AddNonvoter makes a server receive the log without a vote. One that is there already keeps its vote or the lack of it, and gets
// the address if it has another one.
func (r *Replica) AddNonvoter(ctx context.Context, id, addr string) error {
	s, _, ok, err := r.server(id)
	if err != nil {
		return fmt.Errorf("add server %s: %w", id, err)
	}
	voter := ok && s.Suffrage == raft.Voter
	if ok && s.Address == raft.ServerAddress(addr) {
		return nil
	}
	return r.reconfigure(ctx, "add", id, func(node *raft.Raft) raft.IndexFuture {
		if voter {
			return node.AddVoter(raft.ServerID(id), raft.ServerAddress(addr), 0, enqueueTimeout)
		}
		return node.AddNonvoter(raft.ServerID(id), raft.ServerAddress(addr), 0, enqueueTimeout)
	}, func(s raft.Server, ok bool) bool { return ok && s.Address == raft.ServerAddress(addr) })
}

// Promote gives a server a vote. Errors: [ErrNoServer].
func (r *Replica) Promote(ctx context.Context, id string) error {
	s, _, ok, err := r.server(id)
	switch {
	case err == nil && !ok:
		err = ErrNoServer
	case err == nil && s.Suffrage == raft.Voter:
		return nil
	}
	if err != nil {
		return fmt.Errorf("promote server %s: %w", id, err)
	}
	return r.reconfigure(ctx, "promote", id, func(node *raft.Raft) raft.IndexFuture {
		return node.AddVoter(s.ID, s.Address, 0, enqueueTimeout)
	}, func(s raft.Server, ok bool) bool { return ok && s.Suffrage == raft.Voter })
}

// Demote takes a server's vote. The leader may demote itself, and then steps down. Errors: [ErrNoServer], [ErrLastVoter].
func (r *Replica) Demote(ctx context.Context, id string) error {
	s, voters, ok, err := r.server(id)
	switch {
	case err == nil && !ok:
		err = ErrNoServer
	case err == nil && s.Suffrage != raft.Voter:
		return nil
	case err == nil && voters == 1:
		err = ErrLastVoter
	}
	if err != nil {
		return fmt.Errorf("demote server %s: %w", id, err)
	}
	return r.reconfigure(ctx, "demote", id, func(node *raft.Raft) raft.IndexFuture {
		return node.DemoteVoter(s.ID, 0, enqueueTimeout)
	}, func(s raft.Server, ok bool) bool { return ok && s.Suffrage != raft.Voter })
}

// Remove takes a server out of Raft. Errors: [ErrLastVoter].
func (r *Replica) Remove(ctx context.Context, id string) error {
	s, voters, ok, err := r.server(id)
	switch {
	case err == nil && !ok:
		return nil
	case err == nil && voters == 1 && s.Suffrage == raft.Voter:
		err = ErrLastVoter
	}
	if err != nil {
		return fmt.Errorf("remove server %s: %w", id, err)
	}
	return r.reconfigure(ctx, "remove", id, func(node *raft.Raft) raft.IndexFuture {
		return node.RemoveServer(s.ID, 0, enqueueTimeout)
	}, func(_ raft.Server, ok bool) bool { return !ok })
}

// reconfigure changes the configuration and verifies that the server is as wanted afterwards.
func (r *Replica) reconfigure(ctx context.Context, what, id string, change func(*raft.Raft) raft.IndexFuture, done func(s raft.Server, ok bool) bool) error {
	node := r.raft.Load()
	if node == nil {
		return fmt.Errorf("%s server %s: %w", what, id, ErrNotRunning)
	}
	if err := wait(ctx, change(node)); err != nil {
		return fmt.Errorf("%s server %s: %w", what, id, err)
	}
	s, _, ok, err := r.server(id)
	switch {
	case err != nil:
		return fmt.Errorf("%s server %s: verify: %w", what, id, err)
	case !done(s, ok):
		return fmt.Errorf("%s server %s: another change came in between: try again", what, id)
	}
	return nil
}
