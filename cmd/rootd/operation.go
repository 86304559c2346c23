package main

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"time"

	"github.com/rootd/rootd/fsm"
	"github.com/rootd/rootd/fsm/replica"
	"github.com/rootd/rootd/transport/admin"
)

var _ admin.Operations = source{}

// operationWait is how long a member that is asked for the operation waits for what the leader's log has.
const operationWait = 3 * time.Second

// Operation implements [admin.Operations]. A tool decides by it what it does next, so it is as new as the leader's log, if there is one.
func (s source) Operation(ctx context.Context) (*admin.Operation, error) {
	if err := s.informed("what is under way"); err != nil {
		return nil, err
	}
	s.m.catchUp(ctx)
	state := s.m.fsm.View().State()
	o := &state.Operation
	a := &admin.Operation{History: []admin.OperationLine{}}
	if o.ID != (fsm.OperationID{}) {
		a.ID, a.Kind, a.By, a.Running = hex.EncodeToString(o.ID[:]), o.Kind, o.By, o.Running()
		a.Began, a.Last = millis(o.Began), millis(o.Last)
	}
	for _, l := range state.OperationSteps {
		a.History = append(a.History, admin.OperationLine{ID: hex.EncodeToString(l.ID[:]), At: millis(l.At), Text: l.Text})
	}
	return a, nil
}

// catchUp waits until this member has applied what is in the leader's log now, but not for long.
func (m *member) catchUp(ctx context.Context) {
	if m.cluster == nil || m.replica.IsLeader() {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, operationWait)
	defer cancel()
	b, err := m.cluster.callLeader(ctx, callStats, nil)
	var leader replica.ServerStats
	if err == nil {
		err = json.Unmarshal(b, &leader)
	}
	if err == nil {
		err = m.replica.WaitApplied(ctx, leader.LastIndex)
	}
	if err != nil {
		m.log.Debug("not caught up with the leader", "error", err)
	}
}

// Operate implements [admin.Operations].
func (s source) Operate(ctx context.Context, step admin.OperationStep) (*admin.Operation, error) {
	const what = "take a step of an operation"
	c := &fsm.Operate{Text: step.Text}
	id, err := hex.DecodeString(step.ID)
	if err != nil || len(id) != len(c.ID) {
		return nil, refused(what, fmt.Sprintf("%q is not the ID of an operation", step.ID), "")
	}
	copy(c.ID[:], id)
	switch step.Phase {
	case admin.PhaseBegin:
		c.Phase, c.What, c.By = fsm.OperationBegin, step.Kind, step.By
	case admin.PhaseStep:
		c.Phase = fsm.OperationGoOn
	case admin.PhaseEnd:
		c.Phase = fsm.OperationEnd
	default:
		return nil, refused(what, fmt.Sprintf("there is no phase %q", step.Phase), "")
	}
	answer, err := s.m.propose(ctx, c)
	if err := changed(what, answer, err); err != nil {
		return nil, err
	}
	return s.Operation(ctx)
}

// Active implements [admin.Operations].
func (s source) Active(ctx context.Context) (map[string]int, error) {
	if err := s.informed("count active peers"); err != nil {
		return nil, err
	}
	state := s.m.fsm.View().State()
	all := map[string]int{}
	for i := range state.Members {
		m := &state.Members[i]
		if m.Status != fsm.StatusUp {
			continue
		}
		n := s.m.active(ctx, m)
		if n < 0 {
			return nil, fmt.Errorf("count active peers: %w: member %s does not say", admin.ErrUnavailable, m.Name)
		}
		all[m.Name] = n
	}
	return all, nil
}

// operationID names the operation that is under way, "" if there is none.
func (s source) operationID() string {
	if o := &s.m.fsm.View().State().Operation; o.Running() {
		return hex.EncodeToString(o.ID[:])
	}
	return ""
}

// undisturbed refuses a change of the members while an operation works on all of them.
func (s source) undisturbed(what string, force bool) error {
	o := &s.m.fsm.View().State().Operation
	if force || !o.Running() {
		return nil
	}
	return refused(what, fmt.Sprintf("%s by %s is under way since %s", o.Kind, o.By, millis(o.Began).Format(time.DateTime)),
		"wait until it has ended; if its tool was killed, rootctl upgrade --resume or --abandon ends it")
}
