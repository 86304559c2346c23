package main

import (
	"errors"
	"fmt"
	"slices"

	"github.com/rootd/rootd/packetpath/vl1"
	"github.com/rootd/rootd/transport/admin"
	"github.com/rootd/rootd/transport/join"
)

// planJSON is what -o json prints of a dry run.
type planJSON struct {
	*join.Plan
	Name     string            `json:"name"`
	Address  string            `json:"address"`
	Delta    *admin.NextPlanet `json:"planet_delta,omitempty"`
	Possible bool              `json:"possible"`
}

// showPlan prints what would come of the join, and returns an error if it would be refused.
func (e *env) showPlan(o *joinOptions, r *join.Options, p *join.Plan) error {
	blocker := p.Blocker(o.force)
	delta := planDelta(e, r, p)
	if e.output == "json" {
		if err := e.printJSON(planJSON{Plan: p, Name: r.Name, Address: r.Address, Delta: delta, Possible: blocker == nil}); err != nil {
			return err
		}
	} else {
		e.printPlan(o, r, p, delta)
	}
	if blocker == nil {
		return nil
	}
	return &userError{what: "would be refused", err: blocker, hint: blocker.Way}
}

func (e *env) printPlan(o *joinOptions, r *join.Options, p *join.Plan, delta *admin.NextPlanet) {
	member := r.Name
	switch {
	case p.Again:
		member += fmt.Sprintf(", ID %d: goes on with a join that was interrupted", p.Member)
	case p.Member != 0:
		member += fmt.Sprintf(", ID %d", p.Member)
	}
	e.fields(
		"cluster", p.ClusterName+" "+p.Cluster,
		"root", p.Root.String(),
		"member", member,
		"address", r.Address,
		"endpoints", joinAddrs(r.Endpoints),
		"directory", e.dataDir,
	)
	e.printf("\nMembers so far:\n")
	t := newTable(e.stdout, "NAME", "ID", "STATUS", "VERSION", "ADDRESS", "ENDPOINTS")
	for _, m := range p.Members {
		t.row(m.Name, m.ID.String(), orDash(m.Status), orDash(m.Version), orDash(m.Address), orDash(joinAddrs(m.Endpoints)))
	}
	t.flush()
	if len(p.Probes) > 0 {
		e.printf("\nWho reaches this machine:\n")
		t := newTable(e.stdout, "ENDPOINT", "FROM", "ANSWER")
		for _, probe := range p.Probes {
			answer := fmt.Sprintf("yes, %.1f ms", probe.RTTMillis)
			if !probe.OK {
				answer = "NO: " + probe.Why
			}
			t.row(probe.Endpoint.String(), probe.Member, answer)
		}
		t.flush()
	}
	if delta != nil {
		how := "to be signed and published afterwards: rootctl planet prepare"
		if p.AutoPublish {
			how = "signed and published by the cluster"
		}
		if delta.Changed() {
			e.printf("\nPlanet afterwards (%s):\n", how)
		}
		e.printDelta(delta)
	}
	for i, problem := range p.Problems {
		if i == 0 {
			e.printf("\n")
		}
		e.printf("! %s\n", problem.Why)
		if problem.Way != "" {
			e.printf("  %s\n", problem.Way)
		}
		if problem.Forceable && !o.force {
			e.printf("  --force joins all the same\n")
		}
	}
	e.printf("\n")
}

// planDelta is what the planet would become with this machine in it, nil if that cannot be told.
func planDelta(e *env, r *join.Options, p *join.Plan) *admin.NextPlanet {
	w, _, err := vl1.DecodeWorld(p.Planet)
	if err != nil {
		return nil
	}
	at := slices.IndexFunc(w.Roots, func(root vl1.Root) bool { return root.Identity.Address == p.Root })
	if at < 0 {
		return nil
	}
	members := []admin.Member{}
	for _, m := range p.Members {
		member := admin.Member{ID: uint16(m.ID), Name: m.Name, Endpoints: m.Endpoints}
		if m.Status != admin.StatusJoining {
			member.Epoch = 1
		}
		if p.Again && m.ID == p.Member {
			continue
		}
		members = append(members, member)
	}
	members = append(members, admin.Member{Name: r.Name, Epoch: 1, Endpoints: r.Endpoints})
	n, err := admin.Next(w, w.Roots[at].Identity, members, e.now())
	if err != nil {
		return nil
	}
	return n
}

// errDeclined: the operator said no.
var errDeclined = errors.New("nothing was changed")
