package replica

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"time"

	"github.com/hashicorp/raft"

	"github.com/rootd/rootd/fsm"
	"github.com/rootd/rootd/fsm/table"
)

// ErrQuorum refuses what would leave the cluster without a quorum.
var ErrQuorum = errors.New("the cluster would lose its quorum")

// retryUnfit is how often a leader that should not lead tries to hand over.
const retryUnfit = 10 * time.Second

// MembershipOptions are what a Membership needs. Zero durations mean the default.
type MembershipOptions struct {
	Replica *Replica
	View    *fsm.View
	Logger  *slog.Logger // nil: none

	// Stats asks another member for its [Replica.ServerStats].
	Stats       func(ctx context.Context, id, addr string) (ServerStats, error)
	Interval    time.Duration // between looks at the servers; 2 s
	Reconcile   time.Duration // between decisions who votes; 5 s
	StableAfter time.Duration // how long a server must have been healthy before it votes; 10 s
	LostAfter   time.Duration // how long a voter must have been unhealthy before a standby takes over; 2 min
	PreferAfter time.Duration // how long a leader leads before it hands over to one of greater priority, which has been healthy for as long; 10 min
}

// Membership makes Raft's servers what the log says about members, at the leader: whoever was admitted receives the log, whoever
// changed its address is found there, whoever was removed is no server any more. So a join or a removal is one entry, and a crash
// between the entry and the change of servers does no harm. Who votes is decided by raft-autopilot (autopilot.go).
//
// Run belongs to one goroutine; the other methods are for any.
type Membership struct {
	opts  MembershipOptions
	log   *slog.Logger
	pilot *pilot

	// The following belong to the goroutine of Run.
	leads time.Time // since when this member leads; zero: it does not
	asked time.Time // when it last tried to hand over to a better one
}

// NewMembership returns a Membership.
func NewMembership(o MembershipOptions) *Membership {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	o.Interval = either(o.Interval, 2*time.Second)
	o.Reconcile = either(o.Reconcile, 5*time.Second)
	o.StableAfter = either(o.StableAfter, 10*time.Second)
	o.LostAfter = either(o.LostAfter, 2*time.Minute)
	o.PreferAfter = either(o.PreferAfter, 10*time.Minute)
	return &Membership{opts: o, log: o.Logger, pilot: newPilot(o)}
}

// Run works whenever this member leads, until ctx ends. It returns nil.
func (m *Membership) Run(ctx context.Context) error {
	tick := time.NewTicker(m.opts.Interval)
	defer tick.Stop()
	defer m.pilot.stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		if !m.opts.Replica.IsLeader() {
			m.leads = time.Time{}
			m.pilot.stop()
			continue
		}
		if m.leads.IsZero() {
			m.leads, m.asked = time.Now(), time.Time{}
		}
		if err := m.follow(ctx); err != nil && ctx.Err() == nil {
			m.log.Warn("raft servers do not follow the members yet", "error", err)
		}
		m.pilot.start(ctx)
		m.prefer(ctx)
	}
}

// follow makes the servers what the log says.
func (m *Membership) follow(ctx context.Context) error {
	r, st := m.opts.Replica, m.opts.View.State()
	servers, err := r.Servers()
	if err != nil {
		return err
	}
	var errs []error
	for i := range st.Members {
		x := &st.Members[i]
		id := serverID(x.ID)
		at := slices.IndexFunc(servers, func(s raft.Server) bool { return s.ID == raft.ServerID(id) })
		if x.Address == "" || at >= 0 && servers[at].Address == raft.ServerAddress(x.Address) {
			continue
		}
		if at < 0 && r.HoldsRestore() {
			errs = append(errs, fmt.Errorf("%s waits until the log is shortened: it is to begin with what was restored", x.Name))
			continue
		}
		err := r.AddNonvoter(ctx, id, x.Address)
		if err == nil {
			m.log.Info("raft server has its address", "member", x.Name, "address", x.Address)
		}
		errs = append(errs, err)
	}
	for _, s := range servers {
		if id, err := strconv.ParseUint(string(s.ID), 10, 16); err == nil && st.IsRemoved(table.MemberID(id)) {
			errs = append(errs, m.remove(ctx, string(s.ID)))
		}
	}
	return errors.Join(errs...)
}

// remove takes a removed member out of Raft. One that leads hands over first: its successor removes it.
func (m *Membership) remove(ctx context.Context, id string) error {
	r := m.opts.Replica
	if id == r.opts.ID {
		_, err := r.TransferLeadership(ctx, "")
		return err
	}
	if err := r.Remove(ctx, id); err != nil {
		return err
	}
	m.log.Info("raft server removed", "member_id", id)
	return nil
}

// prefer hands the leadership to a better member: once everything has been quiet for long, or at once if this one should not
// lead at all.
func (m *Membership) prefer(ctx context.Context) {
	wait := m.opts.PreferAfter
	better, unfit := m.pilot.better(m.opts.Replica.opts.ID, wait)
	if unfit {
		wait = retryUnfit
	}
	if better == "" || time.Since(m.asked) < wait || !unfit && time.Since(m.leads) < wait {
		return
	}
	m.asked = time.Now()
	if to, err := m.opts.Replica.TransferLeadership(ctx, better); err != nil {
		m.log.Warn("preferred leader did not take over", "error", err)
	} else {
		m.log.Info("leadership handed to a preferred member", "member_id", to)
	}
}

// Status returns what the leader knows about the servers, ascending by ID; nil at a member that does not lead.
func (m *Membership) Status() []ServerStatus { return m.pilot.status() }

// CheckRemove returns [ErrQuorum] if the cluster would have no quorum without a member, or none is healthy enough to tell. At
// the leader only.
func (m *Membership) CheckRemove(id string) error {
	status := m.pilot.status()
	if status == nil {
		return fmt.Errorf("%w: %w", ErrQuorum, ErrNotLeader)
	}
	voters, healthy := 0, 0
	for _, s := range status {
		if s.Voter && s.ID != id {
			voters++
			if s.Healthy {
				healthy++
			}
		}
	}
	if healthy < voters/2+1 {
		return fmt.Errorf("%w: %d of the other %d voters are healthy, %d must be", ErrQuorum, healthy, voters, voters/2+1)
	}
	return nil
}

// serverID is the ID of a member in Raft.
func serverID(id table.MemberID) string { return strconv.Itoa(int(id)) }
