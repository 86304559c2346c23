package replica

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/hashicorp/raft"
)

// ErrNoTransfer is returned when no other member took over the leadership.
var ErrNoTransfer = errors.New("leadership not transferred")

// TransferLeadership hands the leadership to the server with the ID, or, if to is empty or does not take it, to another
// voter: first those of prefer, in their order. It returns the new leader once this member sees it. At a member that does
// not lead it returns [ErrNotLeader]. Each attempt takes at most two election timeouts.
func (r *Replica) TransferLeadership(ctx context.Context, to string, prefer ...string) (leader string, err error) {
	targets, err := r.heirs(to, prefer)
	if err != nil {
		return "", fmt.Errorf("%w: %w", ErrNoTransfer, err)
	}
	var tried []error
	for _, s := range targets {
		err := r.transfer(ctx, s)
		if id, _ := r.Leader(); id != "" && id != r.opts.ID {
			return id, nil
		}
		if err == nil {
			err = errors.New("it did not take over")
		}
		r.log.Info("leadership not transferred", "to", string(s.ID), "error", err)
		tried = append(tried, fmt.Errorf("to %s: %w", s.ID, err))
		if ctx.Err() != nil {
			break
		}
	}
	return "", fmt.Errorf("%w: %w", ErrNoTransfer, errors.Join(tried...))
}

// heirs are the other voters: to, then those preferred, then the rest.
func (r *Replica) heirs(to string, prefer []string) ([]raft.Server, error) {
	if !r.IsLeader() {
		return nil, ErrNotLeader
	}
	servers, err := r.Servers()
	if err != nil {
		return nil, err
	}
	servers = slices.DeleteFunc(slices.Clone(servers), func(s raft.Server) bool {
		return s.Suffrage != raft.Voter || s.ID == raft.ServerID(r.opts.ID)
	})
	order := append([]string{to}, prefer...)
	rank := func(s raft.Server) int {
		if i := slices.Index(order, string(s.ID)); i >= 0 {
			return i
		}
		return len(order)
	}
	slices.SortStableFunc(servers, func(a, b raft.Server) int { return rank(a) - rank(b) })
	switch {
	case len(servers) == 0:
		return nil, errors.New("there is no other voter")
	case to != "" && rank(servers[0]) != 0:
		return nil, fmt.Errorf("%s is not another voter", to)
	}
	return servers, nil
}

// transfer tries one heir and waits until this member no longer leads and sees who does.
func (r *Replica) transfer(ctx context.Context, s raft.Server) error {
	node := r.raft.Load()
	if node == nil {
		return ErrNotRunning
	}
	ctx, cancel := context.WithTimeout(ctx, 2*node.ReloadableConfig().ElectionTimeout)
	defer cancel()
	err := wait(ctx, node.LeadershipTransferToServer(s.ID, s.Address))
	if err != nil && node.State() == raft.Leader {
		return err
	}
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for { // it says that it succeeded when it has stepped down, which is not yet success
		if id, _ := r.Leader(); id != "" && id != r.opts.ID {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("no new leader seen: %w", ctx.Err())
		case <-tick.C:
		}
	}
}
