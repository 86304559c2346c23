package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/rootd/rootd/cmd/internal/datadir"
	"github.com/rootd/rootd/transport/admin"
)

const (
	joinPollEvery = 300 * time.Millisecond
	joinPollLimit = 5 * time.Second // of one question
)

// awaitMember waits until the member of the directory has caught up with the log and votes, or stands by where enough vote. It
// returns what it saw last.
func (e *env) awaitMember(ctx context.Context, limit time.Duration, d *datadir.Dir) (string, error) {
	whole, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	line := e.newStatusLine()
	defer line.done()
	c := e.client()
	defer c.Close()
	tick := time.NewTicker(joinPollEvery)
	defer tick.Stop()
	for {
		state, ready, err := look(whole, c, uint16(d.Meta.Member), d.Meta.Cluster)
		if err != nil {
			return state, err
		}
		if ready {
			return state, nil
		}
		line.set(state)
		select {
		case <-ctx.Done():
			return state, &userError{what: "stopped waiting", err: errors.New(state), hint: "the member goes on by itself; run the same command again, or rootctl member list"}
		case <-whole.Done():
			return state, &userError{what: fmt.Sprintf("not ready after %s", limit), err: errors.New(state), hint: "the member goes on by itself; look at its log (journalctl -u rootd) and rootctl member list"}
		case <-tick.C:
		}
	}
}

// look asks the rootd of this machine once how far its member is. An error means that waiting is of no use.
func look(ctx context.Context, c *admin.Client, id uint16, cluster string) (state string, ready bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, joinPollLimit)
	defer cancel()
	m, err := c.Members(ctx)
	if errors.Is(err, admin.ErrNotFound) {
		return "", false, &userError{err: err, hint: "this rootd is of a version without clusters: install the one that rootctl is of"}
	}
	if errors.Is(err, admin.ErrUnavailable) {
		return "waiting to hear from the leader", false, nil
	}
	if err != nil {
		return "waiting for rootd to start", false, nil //nolint:nilerr // it may come
	}
	if m.Cluster != cluster {
		return "", false, &userError{what: fmt.Sprintf("the rootd that answers is of cluster %s, the directory of %s", m.Cluster, cluster), hint: "name the right socket or directory"}
	}
	voters := 0
	var self *admin.Member
	for i := range m.Members {
		o := &m.Members[i]
		if o.Role == admin.RoleLeader || o.Role == admin.RoleVoter {
			voters++
		}
		if o.ID == id {
			self = o
		}
	}
	for _, f := range m.Removed {
		if f.ID == id {
			return "", false, &userError{what: fmt.Sprintf("member %s was removed from the cluster at %s", f.Name, stamp(f.At)), hint: "to join again: stop rootd, move the data directory away, and use a new token"}
		}
	}
	switch {
	case self == nil || m.Leader == "":
		return "waiting to hear from the leader", false, nil
	case self.Status != admin.StatusUp:
		return "starting (" + self.Status + ")", false, nil
	case self.Role == admin.RoleLeader, self.Role == admin.RoleVoter:
		return "a voter, up to date", true, nil
	case self.AppliedIndex == 0 || self.Lag > caughtUp:
		return fmt.Sprintf("catching up: %s entries applied, %s to go", count(self.AppliedIndex), count(self.Lag)), false, nil
	case m.MaxVoters > 0 && voters >= m.MaxVoters:
		return fmt.Sprintf("standing by, up to date: %d members vote already", voters), true, nil
	}
	return "caught up, waiting to be promoted", false, nil
}

// caughtUp is how many entries behind a member still counts as up to date.
const caughtUp = 250
