package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/rootd/rootd/cmd/internal/rollout"
	"github.com/rootd/rootd/transport/admin"
)

// turn brings one member through: every cluster is well, leadership moves, the command runs, the member comes back, the figures
// are as good as before.
func (r *rolling) turn(ctx context.Context, t rollout.Turn) error {
	name := t.Cluster + "/" + t.Member
	r.line.set(name + ": looking whether all clusters are well")
	before, err := r.wellBefore(ctx, t)
	if err != nil {
		return err
	}
	member := before.member(t.Member)
	if member == nil {
		return errors.New("it is no member any more")
	}
	if err := r.tell(ctx, t.Cluster, "%s%s %s", lineBegin, name, member.Version); err != nil {
		return err
	}
	r.begun = append(r.begun, name)
	leads := before.Leader == t.Member
	if leads && len(before.View.Members) > 1 {
		r.line.set(name + ": moving leadership")
		if _, err := inCluster(ctx, r.env, r.clients, t.Cluster, func(ctx context.Context, a *admin.Client) (*admin.Member, error) {
			return a.TransferLeadership(ctx, "")
		}); err != nil {
			return fmt.Errorf("move leadership: %w", err)
		}
	}
	if err := r.drain(ctx, t); err != nil {
		return err
	}
	r.line.set(name + ": " + strings.Join(t.Command, " "))
	if err := r.command(ctx, t); err != nil {
		return err
	}
	back, err := r.comesBack(ctx, t, member)
	if err != nil {
		return err
	}
	if err := r.setDrain(ctx, t, false); err != nil {
		return fmt.Errorf("end its drain: %w", err)
	}
	if err := r.settles(ctx, t, before, leads); err != nil {
		return err
	}
	done := lineDone
	if r.o.kind == "rollback" {
		done = lineBack
	}
	if err := r.tell(ctx, t.Cluster, "%s%s %s", done, name, back.Version); err != nil {
		return err
	}
	r.done[name] = true
	r.line.done()
	r.printf("%s: %s -> %s\n", name, orDash(member.Version), orDash(back.Version))
	return nil
}

func (s *sight) member(name string) *rollout.Member {
	i := slices.IndexFunc(s.View.Members, func(m rollout.Member) bool { return m.Name == name })
	if i < 0 {
		return nil
	}
	return &s.View.Members[i]
}

// wellBefore waits until every cluster of the fleet is well, and returns what the one of the turn is like.
func (r *rolling) wellBefore(ctx context.Context, t rollout.Turn) (mine *sight, err error) {
	var wrong []string
	for until := time.Now().Add(r.clients.fleet.Rollout.Patience); ; {
		seen, err := r.lookAll(ctx)
		if err == nil {
			if wrong = r.unwell(seen, t); len(wrong) == 0 {
				mine = seen[slices.IndexFunc(seen, func(s *sight) bool { return s.Cluster == t.Cluster })]
				mine.measures.Peers, err = r.clients.active(ctx, r.env, mine)
			}
		}
		switch {
		case err != nil:
			wrong = []string{err.Error()}
		case len(wrong) == 0:
			return mine, nil
		}
		if time.Now().After(until) || !wait(ctx, time.Second) {
			return nil, fmt.Errorf("not all is well: %s", strings.Join(wrong, "; "))
		}
	}
}

// drain hands the member's peers off, for a bounded time: those that do not go find another member as after a crash.
func (r *rolling) drain(ctx context.Context, t rollout.Turn) error {
	if err := r.setDrain(ctx, t, true); err != nil {
		return fmt.Errorf("drain it: %w", err)
	}
	for until := time.Now().Add(r.clients.fleet.Rollout.Drain); time.Now().Before(until); {
		d, err := inCluster(ctx, r.env, r.clients, t.Cluster, func(ctx context.Context, a *admin.Client) (*admin.Drain, error) {
			return a.Drain(ctx, t.Member, false)
		})
		if err != nil {
			return fmt.Errorf("drain it: %w", err)
		}
		if d.Active <= 0 || len(d.Open) == 0 { // nobody is left, it does not run, or nobody may take them
			return nil
		}
		r.line.set(fmt.Sprintf("%s/%s: %s peers have yet to go", t.Cluster, t.Member, count(d.Active)))
		if !wait(ctx, time.Second) {
			return ctx.Err()
		}
	}
	return nil
}

func (r *rolling) setDrain(ctx context.Context, t rollout.Turn, on bool) error {
	_, err := inCluster(ctx, r.env, r.clients, t.Cluster, func(ctx context.Context, a *admin.Client) (*admin.Drain, error) {
		return a.SetDrain(ctx, t.Member, on, admin.DrainOptions{Operation: r.id})
	})
	return err
}

// comesBack waits until a member lives again, has caught up, votes if it did, and answers at all its endpoints. Nobody but a rollback readmits
// one whose log is gone: the version that it was brought to may be the reason.
func (r *rolling) comesBack(ctx context.Context, t rollout.Turn, was *rollout.Member) (*rollout.Member, error) {
	patience := r.clients.fleet.Rollout.Patience
	why, readmitted := "its cluster did not answer", false
	for began := time.Now(); time.Since(began) < patience; {
		s, err := r.clients.look(ctx, r.env, t.Cluster)
		var m *rollout.Member
		if err == nil {
			m = s.member(t.Member)
		}
		switch {
		case err != nil:
			why = err.Error()
		case m == nil:
			return nil, errors.New("it is no member any more")
		case m.LogGone && r.o.kind != "rollback":
			return nil, errors.New("its log is gone; a rollback readmits it, and so does rootctl member readmit " + t.Member)
		case m.LogGone && !readmitted:
			if why, err = "its log is gone", r.readmit(ctx, t); err != nil {
				why += ", and " + err.Error()
			}
			readmitted = err == nil
		case m.Epoch == was.Epoch:
			why = "it has not begun anew"
		case m.Status != admin.StatusUp:
			why = "it is " + m.Status
		case len(m.Deaf) > 0:
			why = "it does not answer a HELLO at " + strings.Join(m.Deaf, ", ")
		case s.Leader == "":
			why = "there is no leader"
		case m.Role == admin.RoleNonvoter && was.Role != admin.RoleNonvoter:
			why = "it does not vote yet"
		case r.o.to != "" && m.Version != r.o.to && r.o.kind == "upgrade":
			return nil, fmt.Errorf("it came back as %s, not as %s", orDash(m.Version), r.o.to)
		default:
			return m, nil
		}
		r.line.set(fmt.Sprintf("%s/%s: waiting for it: %s", t.Cluster, t.Member, why))
		if !wait(ctx, 500*time.Millisecond) {
			return nil, ctx.Err()
		}
	}
	return nil, fmt.Errorf("it did not come back within %s: %s", patience, why)
}

// readmit lets a member whose log is gone begin with an empty one.
func (r *rolling) readmit(ctx context.Context, t rollout.Turn) error {
	if _, err := inCluster(ctx, r.env, r.clients, t.Cluster, func(ctx context.Context, a *admin.Client) (*admin.Member, error) {
		return a.ReadmitMember(ctx, t.Member)
	}); err != nil {
		return err
	}
	r.line.done()
	r.printf("%s/%s: its log was gone; it begins with an empty one\n", t.Cluster, t.Member)
	return r.tell(ctx, t.Cluster, "readmitted %s/%s, whose log was gone", t.Cluster, t.Member)
}

// settles compares the figures some time after a turn with those before. Peers need their time to come back, so bad figures get
// as much patience as a member.
func (r *rolling) settles(ctx context.Context, t rollout.Turn, before *sight, leads bool) error {
	pace := r.clients.fleet.Rollout
	r.line.set(fmt.Sprintf("%s/%s: back; looking at the figures in %s", t.Cluster, t.Member, pace.Settle))
	if !wait(ctx, pace.Settle) {
		return ctx.Err()
	}
	var why []string
	for until := time.Now().Add(pace.Patience); ; {
		s, err := r.clients.look(ctx, r.env, t.Cluster)
		if err == nil {
			s.measures.Peers, err = r.clients.active(ctx, r.env, s)
		}
		if err != nil {
			why = []string{err.Error()}
		} else if why = pace.Gate(before.measures, s.measures, leads); len(why) == 0 {
			return nil
		} else if s.measures.Term > before.measures.Term+uint64(pace.MaxElections) {
			break // that does not get better
		}
		if time.Now().After(until) || !wait(ctx, time.Second) {
			break
		}
	}
	return fmt.Errorf("it came back, but %s", strings.Join(why, "; "))
}

// wait returns false if ctx ended first.
func wait(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}
