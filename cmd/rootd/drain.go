package main

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/rootd/rootd/fsm"
	"github.com/rootd/rootd/fsm/table"
	"github.com/rootd/rootd/packetpath"
	"github.com/rootd/rootd/transport/admin"
	"github.com/rootd/rootd/transport/pki"
)

// callDrain asks a member how many of its peers have yet to go; answer: drainAnswer.
const callDrain = "drain/1"

type drainAnswer struct {
	Active int `json:"active"`
}

var drainStates = [...]string{fsm.DrainNone: admin.DrainNone, fsm.DrainOperator: admin.DrainDraining, fsm.DrainStopping: admin.DrainStopping}

const (
	drainLook = 250 * time.Millisecond // between two looks at what is left before a stop
	drainCall = 2 * time.Second
)

var _ admin.Drains = source{}

func (c *cluster) handleDrain(context.Context, pki.Peer, []byte) ([]byte, error) {
	return json.Marshal(drainAnswer{Active: c.m.root.Staying()})
}

// Drain implements [admin.Drains].
func (s source) Drain(ctx context.Context, name string, plan bool) (*admin.Drain, error) {
	state, o, err := s.find("drain of a member", name)
	if err != nil {
		return nil, err
	}
	d := &admin.Drain{Member: o.Name, ID: uint16(o.ID), State: drainStates[o.Drain], Since: millis(o.DrainSince), Active: s.m.active(ctx, o)}
	for cursor, done := uint64(0), false; !done; {
		cursor, done = state.Table().Scan(cursor, 20_000, func(r *table.Record) {
			v4, ok4 := state.Attached(r, false)
			v6, ok6 := state.Attached(r, true)
			if ok4 && v4 == o.ID || ok6 && v6 == o.ID {
				d.Attached++
			}
		})
	}
	d.Open = openTo(state, o.ID)
	if !plan {
		return d, nil
	}
	for _, p := range packetpath.PlanDrain(state, o.ID) {
		x := admin.DrainShare{Peers: p.Peers, Known: p.Known, BeforeMS: float64(p.Before) / 1000, AfterMS: float64(p.After) / 1000, LongestMS: float64(p.Longest) / 1000}
		if t, ok := state.Member(p.Target); ok {
			x.Target = t.Name
		}
		d.Plan = append(d.Plan, x)
	}
	return d, nil
}

// active asks a member how many of its peers have yet to go; -1: it does not say.
func (m *member) active(ctx context.Context, o *fsm.Member) int {
	if o.ID == m.id {
		return m.root.Staying()
	}
	if m.cluster == nil || o.Status != fsm.StatusUp {
		return -1
	}
	ctx, cancel := context.WithTimeout(ctx, drainCall)
	defer cancel()
	b, err := m.cluster.call(ctx, o.ID, callDrain, nil)
	var a drainAnswer
	if err != nil || json.Unmarshal(b, &a) != nil {
		return -1
	}
	return a.Active
}

// openTo are the members that could take peers of another one.
func openTo(state *fsm.State, from table.MemberID) (names []string) {
	for i := range state.Members {
		m := &state.Members[i]
		if m.ID != from && state.StatusOf(m.ID) == fsm.StatusUp && !m.Draining() && m.Planet4+m.Planet6 != 0 {
			names = append(names, m.Name)
		}
	}
	return names
}

// SetDrain implements [admin.Drains].
func (s source) SetDrain(ctx context.Context, name string, on bool, opts admin.DrainOptions) (*admin.Drain, error) {
	what := "drain member"
	if !on {
		what = "undrain member"
	}
	state, o, err := s.find(what, name)
	if err != nil {
		return nil, err
	}
	want := fsm.DrainNone
	if on {
		if want = fsm.DrainOperator; len(openTo(state, o.ID)) == 0 {
			return nil, refused(what, "no other member that is up, published in the planet and not draining could take its peers",
				"see rootctl member list and rootctl planet status")
		}
		if err := s.mayDrain(ctx, what, o, opts); err != nil {
			return nil, err
		}
	}
	if o.Drain != want {
		r, err := s.m.propose(ctx, &fsm.MemberSet{ID: o.ID, SetDrain: true, Drain: want})
		if err := changed(what, r, err); err != nil {
			return nil, err
		}
	}
	return s.Drain(ctx, fmt.Sprint(o.ID), false)
}

// mayDrain refuses to begin a drain in the way of an operation on the whole cluster, unless it is a part of it, and while no other root of
// the planet could carry the clients.
func (s source) mayDrain(ctx context.Context, what string, o *fsm.Member, opts admin.DrainOptions) error {
	if o.Drain == fsm.DrainOperator {
		return nil // it drains already
	}
	if opts.Operation != s.operationID() {
		if err := s.undisturbed(what, opts.Alone); err != nil {
			return err
		}
	}
	return s.carried(ctx, what, opts.Alone)
}

// drainFirst hands off this member's peers before it stops, as far as that goes in the time that the configuration gives.
func (m *member) drainFirst(ctx context.Context) {
	limit := m.cfg.Peers.DrainAtStop
	self, ok := m.fsm.View().State().Member(m.id)
	before := m.root.Staying()
	if limit == 0 || !ok || before == 0 || len(openTo(m.fsm.View().State(), m.id)) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	began := time.Now()
	if !self.Draining() {
		if _, err := m.propose(ctx, &fsm.MemberSet{ID: m.id, SetDrain: true, Drain: fsm.DrainStopping}); err != nil {
			m.log.Warn("not drained before the stop", "peers", before, "error", err)
			return
		}
	}
	tick := time.NewTicker(drainLook)
	defer tick.Stop()
	for left := before; ; left = m.root.Staying() {
		if left == 0 {
			m.log.Info("drained", "peers", before, "duration", time.Since(began))
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			m.log.Warn("stopping before all peers were handed off", "peers", left, "duration", time.Since(began))
			return
		}
	}
}
