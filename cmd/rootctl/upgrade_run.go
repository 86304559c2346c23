package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"os/user"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/rootd/rootd/cmd/internal/rollout"
	"github.com/rootd/rootd/snapshot"
	"github.com/rootd/rootd/transport/admin"
)

// rolling is an operation on the members of a fleet, one after the other: an upgrade, a rollback, or a restart.
type rolling struct {
	*env
	o       rollOptions
	clients *fleetClients
	chosen  []rollout.Cluster
	id      string
	of      string   // the ID of the upgrade that had ended, and that this rollback takes back; else ""
	begun   []string // CLUSTER/MEMBER, of this operation, in order
	done    map[string]bool
	runs    map[string]string // the process of a member's command, if the tool was killed meanwhile
	levels  map[string]int    // feature level of each cluster when it began
	line    *statusLine
}

// electionPatience is how long what was interrupted waits for the clusters to be well before it goes on.
const electionPatience = 15 * time.Second

// rollOptions are what the command line says.
type rollOptions struct {
	kind    string // "upgrade", "rollback", "restart"
	fleet   string
	only    string
	canary  string
	to      string
	save    string // directory for archives; "": none
	plan    bool
	resume  bool
	abandon bool
	yes     bool
}

func (e *env) roll(ctx context.Context, o rollOptions) error {
	c, err := openFleet(e, o.fleet)
	if err != nil {
		return err
	}
	defer c.close()
	r := &rolling{env: e, o: o, clients: c, done: map[string]bool{}, runs: map[string]string{}, levels: map[string]int{}, line: e.newStatusLine()}
	defer r.line.done()
	if r.chosen, err = c.fleet.Only(o.only); err != nil {
		return &userError{err: err, usage: true}
	}
	if o.abandon {
		return r.abandon(ctx)
	}
	seen, err := r.lookAll(ctx)
	if err != nil {
		return err
	}
	if err := r.find(seen); err != nil {
		return err
	}
	plan, wrong, err := r.assess(seen)
	if err != nil {
		return err
	}
	// What was interrupted shall not have to be called twice because a leader is being elected.
	for until := time.Now().Add(electionPatience); len(wrong) > 0 && !o.plan && (o.resume || o.kind == "rollback") && time.Now().Before(until); {
		if !wait(ctx, time.Second) {
			return ctx.Err()
		}
		if seen, err = r.lookAll(ctx); err != nil {
			return err
		}
		if plan, wrong, err = r.assess(seen); err != nil {
			return err
		}
	}
	if p := differentPlanets(statuses(seen)); p != "" && !o.resume && o.kind != "rollback" {
		wrong = append(wrong, p) // who has the older one may know no other member to go to
	}
	if o.plan {
		return r.printPlan(plan, wrong)
	}
	if len(wrong) > 0 {
		return &userError{what: "not begun: " + strings.Join(wrong, "; "), hint: "mend that first; --plan shows what would be done"}
	}
	if len(plan.Turns) == 0 {
		e.printf("nothing to do: every member had its turn\n")
		return r.finish(ctx, seen)
	}
	if !o.yes {
		if err := r.printPlan(plan, nil); err != nil {
			return err
		}
		if err := e.confirmTyped(fmt.Sprintf("\n%d members are going to be stopped and started, one after the other.", len(plan.Turns)), o.kind); err != nil {
			return err
		}
	}
	return r.run(ctx, plan, seen)
}

func (r *rolling) lookAll(ctx context.Context) (seen []*sight, err error) {
	for _, c := range r.clients.fleet.Clusters {
		s, err := r.clients.look(ctx, r.env, c.Name)
		if err != nil {
			return nil, err
		}
		seen = append(seen, s)
	}
	return seen, nil
}

// assess makes the plan, and says what speaks against its first turn.
func (r *rolling) assess(seen []*sight) (plan *rollout.Plan, wrong []string, err error) {
	if plan, err = r.makePlan(seen); err != nil {
		return nil, nil, err
	}
	var first rollout.Turn
	if len(plan.Turns) > 0 {
		first = plan.Turns[0]
	}
	return plan, r.unwell(seen, first), nil
}

func (r *rolling) makePlan(seen []*sight) (*rollout.Plan, error) {
	o := rollout.Options{Clusters: r.chosen, Canary: r.o.canary}
	switch r.o.kind {
	case "rollback":
		o.Command = func(c *rollout.Cluster) []string { return c.Rollback }
		o.Done = func(cluster, member string) bool { return !slices.Contains(r.begun, cluster+"/"+member) }
	case "restart":
		o.Command = func(c *rollout.Cluster) []string { return c.Restart }
	default:
		o.Command = func(c *rollout.Cluster) []string { return c.Upgrade }
	}
	if o.Done == nil {
		o.Done = func(cluster, member string) bool { return r.done[cluster+"/"+member] }
	}
	var views []rollout.View
	for _, s := range seen {
		views = append(views, s.View)
	}
	p, err := rollout.Make(o, views, r.clients.fleet.Rollout.Bake)
	if err != nil {
		return nil, &userError{err: err, hint: "compare the fleet file with rootctl fleet status"}
	}
	// Whoever was left half-way comes first; what is taken back, the last one first.
	slices.SortStableFunc(p.Turns, func(a, b rollout.Turn) int { return cmp.Compare(r.place(b), r.place(a)) })
	return p, nil
}

// place is when a member's turn began, for those that come before the others.
func (r *rolling) place(t rollout.Turn) int {
	if !r.interrupted(t) {
		return -1
	}
	last := -1
	for i, name := range r.begun {
		if name == t.Cluster+"/"+t.Member {
			last = i
		}
	}
	return last
}

// unwell is what speaks against a member's turn. The member itself may be what it likes if a turn of it was interrupted.
func (r *rolling) unwell(seen []*sight, turn rollout.Turn) (wrong []string) {
	for _, s := range seen {
		v := s.View
		if s.operation.ID == r.id {
			v.Busy = ""
		}
		v.Members = slices.Clone(v.Members)
		for i := range v.Members {
			if m := &v.Members[i]; turn.Cluster == v.Cluster && turn.Member == m.Name && r.interrupted(turn) {
				m.Status, m.Lag, m.Deaf, m.Problems, m.LogGone = admin.StatusUp, 0, nil, nil, false
				if m.Role != admin.RoleLeader {
					m.Role = admin.RoleVoter // if it does not vote for now, as when it was readmitted, its stop takes no vote away
				}
			}
		}
		wrong = append(wrong, v.Well()...)
	}
	return wrong
}

func (r *rolling) interrupted(t rollout.Turn) bool {
	name := t.Cluster + "/" + t.Member
	return slices.Contains(r.begun, name) && (!r.done[name] || r.o.kind == "rollback")
}

func (r *rolling) printPlan(p *rollout.Plan, wrong []string) error {
	if r.output == "json" {
		return r.printJSON(struct {
			Kind  string         `json:"kind"`
			Turns []rollout.Turn `json:"turns"`
			Bake  string         `json:"bake"`
			Wrong []string       `json:"wrong"`
		}{r.o.kind, p.Turns, p.Bake.String(), wrong})
	}
	t := newTable(r.stdout, "TURN", "CLUSTER", "MEMBER", "ROLE", "COMMAND")
	for i, turn := range p.Turns {
		t.row(fmt.Sprint(i+1), turn.Cluster, turn.Member, turn.Why, strings.Join(turn.Command, " "))
	}
	t.flush()
	pace := r.clients.fleet.Rollout
	r.printf("\nBefore each turn every cluster must be well. Each turn: leadership moves away, peers are handed off, the command runs, the member must be back within %s,\n"+
		"caught up and answering on all its endpoints; %s later the figures are compared. Between clusters: %s.\n", pace.Patience, pace.Settle, p.Bake)
	for _, w := range wrong {
		r.printf("! %s\n", w)
	}
	return nil
}

// run takes the turns. An interrupt ends it between two turns; a second one at once.
func (r *rolling) run(ctx context.Context, p *rollout.Plan, seen []*sight) error {
	work, cancel := again(ctx)
	defer cancel()
	if err := r.begin(work, seen); err != nil {
		return err
	}
	if err := r.saveAll(work, seen); err != nil {
		return err
	}
	for i, t := range p.Turns {
		if i > 0 && t.Cluster != p.Turns[i-1].Cluster {
			r.line.set(fmt.Sprintf("waiting %s before cluster %s", p.Bake, t.Cluster))
			wait(ctx, p.Bake)
		}
		if ctx.Err() != nil {
			return r.stopped(work, t, errPaused)
		}
		if err := r.turn(work, t); err != nil {
			return r.stopped(work, t, err)
		}
	}
	r.line.done()
	if r.o.canary != "" {
		r.printf("the canary is through; --resume goes on with the others\n")
		return nil
	}
	after, err := r.lookAll(work)
	if err != nil {
		return err
	}
	r.printf("%s: %d members, one after the other\n", r.o.kind, len(p.Turns))
	return r.finish(work, after)
}

// saveAll saves the state of every cluster that is going to be worked on, unless that was done when the operation began.
func (r *rolling) saveAll(ctx context.Context, seen []*sight) error {
	if r.o.save == "" || len(r.begun) > 0 {
		return nil
	}
	for _, s := range seen {
		if !slices.ContainsFunc(r.chosen, func(c rollout.Cluster) bool { return c.Name == s.Cluster }) {
			continue
		}
		file := filepath.Join(r.o.save, fmt.Sprintf("%s-%s.rootd", s.Cluster, r.now().UTC().Format("20060102-150405")))
		r.line.set("saving " + file)
		out := &saved{File: file}
		var err error
		for _, client := range r.clients.clients[s.Cluster] {
			if err = r.saveFrom(ctx, client, file, false, nil, snapshot.Secrets{}, snapshot.Seal{}, out); err == nil || !admin.Elsewhere(err) {
				break
			}
		}
		if err != nil {
			return &userError{what: "not begun: save " + s.Cluster, err: err, hint: "--abandon ends what was begun; --save \"\" goes on without"}
		}
		if err := r.tell(ctx, s.Cluster, "saved %s, index %d, %d peers", file, out.Meta.Index, out.Meta.Counts.Peers); err != nil {
			return err
		}
	}
	return nil
}

// again returns a context that outlives the first interrupt, which ended ctx, and ends with the second.
func again(ctx context.Context) (context.Context, context.CancelFunc) {
	work, cancel := context.WithCancel(context.WithoutCancel(ctx))
	context.AfterFunc(ctx, func() {
		second := make(chan os.Signal, 1)
		signal.Notify(second, os.Interrupt)
		defer signal.Stop(second)
		select {
		case <-second:
			cancel()
		case <-work.Done():
		}
	})
	return work, cancel
}

// begin takes the operation in all clusters, so that no other tool works on any of them.
func (r *rolling) begin(ctx context.Context, seen []*sight) error {
	by := "somebody"
	if u, err := user.Current(); err == nil {
		by = u.Username
	}
	by += "@" + hostname()
	for _, s := range seen {
		kind := r.o.kind
		if s.operation.Running { // goes on under the name that it began with
			kind = s.operation.Kind
		}
		err := r.step(ctx, s.Cluster, admin.OperationStep{Phase: admin.PhaseBegin, Kind: kind, By: by, Text: fmt.Sprintf("%s, feature level %d", r.o.kind, s.Level)})
		if errors.Is(err, admin.ErrRefused) {
			return &userError{what: "cluster " + s.Cluster, err: err, hint: "see rootctl upgrade history; --resume goes on with what was interrupted"}
		}
		if err == nil && r.of != "" {
			err = r.tell(ctx, s.Cluster, "%s%s", lineOf, r.of)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (r *rolling) step(ctx context.Context, cluster string, s admin.OperationStep) error {
	s.ID = r.id
	_, err := inCluster(ctx, r.env, r.clients, cluster, func(ctx context.Context, a *admin.Client) (*admin.Operation, error) { return a.Operate(ctx, s) })
	return err
}

func (r *rolling) tell(ctx context.Context, cluster, format string, a ...any) error {
	text := fmt.Sprintf(format, a...)
	return r.step(ctx, cluster, admin.OperationStep{Phase: admin.PhaseStep, Text: text[:min(len(text), 500)]})
}

func (r *rolling) finish(ctx context.Context, seen []*sight) error {
	for _, s := range seen {
		if s.operation.Running && s.operation.ID == r.id {
			if err := r.step(ctx, s.Cluster, admin.OperationStep{Phase: admin.PhaseEnd, Text: r.o.kind + " is through"}); err != nil {
				return err
			}
		}
	}
	return nil
}

func (r *rolling) abandon(ctx context.Context) error {
	ended := 0
	for _, c := range r.clients.fleet.Clusters {
		s, err := r.clients.look(ctx, r.env, c.Name)
		if err != nil {
			return err
		}
		if r.id = s.operation.ID; s.operation.Running {
			if err := r.step(ctx, c.Name, admin.OperationStep{Phase: admin.PhaseEnd, Text: "abandoned"}); err != nil {
				return err
			}
			r.printf("%s: %s by %s has ended as it is\n", c.Name, s.operation.Kind, s.operation.By)
			ended++
		}
	}
	if ended == 0 {
		r.printf("nothing is under way\n")
	}
	return nil
}

// errPaused is why an operation stopped that was interrupted between two turns.
var errPaused = errors.New("paused")

// stopped leaves things as they are, and says so in the log.
func (r *rolling) stopped(ctx context.Context, t rollout.Turn, why error) error {
	r.line.done()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), r.timeout)
	defer cancel()
	if err := r.tell(ctx, t.Cluster, "%s%s/%s: %v", lineStop, t.Cluster, t.Member, why); err != nil {
		r.note("the log of %s could not be told: %v", t.Cluster, err)
	}
	ways := "--resume goes on"
	if r.o.kind == "restart" {
		ways += ", --abandon ends it as it is"
	} else {
		ways += ", --rollback takes it back"
	}
	if errors.Is(why, errPaused) {
		return &userError{what: fmt.Sprintf("paused before member %s of %s: all members serve", t.Member, t.Cluster), hint: ways}
	}
	return &userError{what: fmt.Sprintf("stopped at member %s of %s: %v", t.Member, t.Cluster, why), hint: "the other members serve; when it is mended, " + ways}
}
