package main

import (
	"context"
	"fmt"
	"time"

	"github.com/rootd/rootd/fsm"
)

// How long the steps of a stop may take. All of it must fit into what the service manager waits.
const (
	handOverWithin = 5 * time.Second
	leaveWithin    = 3 * time.Second
)

// windDown does what a member that was told to stop owes the others while it still serves clients.
func (m *member) windDown(ctx context.Context) {
	if len(m.othersUp()) > 0 {
		m.drainFirst(ctx)
		m.handOver(ctx)
	}
}

// handOver hands the leadership to a voter that is up, to spare the cluster an election.
func (m *member) handOver(ctx context.Context) {
	if !m.replica.IsLeader() {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, handOverWithin)
	defer cancel()
	to, err := m.replica.TransferLeadership(ctx, "", m.othersUp()...)
	if err != nil {
		m.log.Warn("leadership not handed over", "error", err)
		return
	}
	m.log.Info("leadership handed over", "to", m.memberName(to))
}

// leave ends this life of the member in the log: what is attached to it is stale at once, and the others need not wait
// until its silence has been long enough. Clients are served no more, and all that was seen of them is in the log.
func (m *member) leave(ctx context.Context) {
	epoch := uint16(m.sightings.epoch.Load())
	self, ok := m.fsm.View().State().Member(m.id)
	if !ok || epoch == 0 || self.Epoch != epoch || len(m.othersUp()) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, leaveWithin)
	defer cancel()
	m.leaving.Store(true)
	if _, err := m.propose(ctx, &fsm.MemberDown{ID: m.id, Epoch: epoch, Cause: fsm.DownStopped}); err != nil {
		m.log.Warn("end of this life not in the log: the others will notice", "epoch", epoch, "error", err)
		return
	}
	m.log.Info("member is down", "epoch", epoch)
}

// othersUp are the other members that the log takes for up, by their ID in Raft; suspects come last.
func (m *member) othersUp() (up []string) {
	var suspects []string
	s := m.fsm.View().State()
	for i := range s.Members {
		if o := &s.Members[i]; o.ID == m.id {
			continue
		} else if id := fmt.Sprint(o.ID); s.StatusOf(o.ID) == fsm.StatusUp {
			up = append(up, id)
		} else if o.Status == fsm.StatusUp {
			suspects = append(suspects, id)
		}
	}
	return append(up, suspects...)
}
