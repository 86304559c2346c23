package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/rootd/rootd/transport/admin"
)

const drainPoll = 500 * time.Millisecond

// errNotDrained is what a drain that is not done says as its reason.
var errNotDrained = errors.New("the drain goes on by itself")

func newMemberDrain(e *env) *cobra.Command {
	var plan, noWait, alone bool
	var timeout time.Duration
	c := &cobra.Command{
		Use:   "drain MEMBER",
		Short: "Hand all peers of a member to the others",
		Long: "drain makes a member take no new peers, and hands those it has to other members, each to the one that is best for it, as fast as the setting steering_moves_per_second allows. " +
			"It waits until all that are active have arrived elsewhere; peers that are switched off stay in the log, and go elsewhere when they come back. The member goes on serving whoever is left. " +
			"It drains until rootctl member undrain, over restarts. While no other root of the planet answers well enough to carry the clients, or an upgrade goes on, it is refused without --alone.\n\n" +
			"--plan changes nothing: it says how many peers would go where, and what that does to their latency.",
		Example:           "  rootctl member drain ams1 --plan\n  rootctl member drain ams1 --timeout 10m && systemctl restart rootd",
		Args:              wantArgs("MEMBER"),
		ValidArgsFunction: e.completeMembers,
		RunE: func(cmd *cobra.Command, args []string) error {
			if plan {
				return e.drainPlan(cmd.Context(), args[0])
			}
			return e.drain(cmd.Context(), args[0], timeout, noWait, alone)
		},
	}
	c.Flags().BoolVar(&plan, "plan", false, "only say what would come of it")
	c.Flags().BoolVar(&noWait, "no-wait", false, "do not wait until the peers have gone")
	c.Flags().DurationVar(&timeout, "wait", 30*time.Minute, "how long to wait; then the drain goes on without rootctl, which fails")
	aloneFlag(c, &alone)
	return c
}

func newMemberUndrain(e *env) *cobra.Command {
	return &cobra.Command{
		Use:               "undrain MEMBER",
		Short:             "Let a member take peers again",
		Long:              "undrain ends a drain. Peers come back as steering finds the member better for them.",
		Example:           "  rootctl member undrain ams1",
		Args:              wantArgs("MEMBER"),
		ValidArgsFunction: e.completeMembers,
		RunE: func(cmd *cobra.Command, args []string) error {
			d, err := ask(cmd.Context(), e, func(ctx context.Context, c *admin.Client) (*admin.Drain, error) {
				return c.SetDrain(ctx, args[0], false, admin.DrainOptions{})
			})
			if err != nil {
				return err
			}
			if e.output == "json" {
				return e.printJSON(d)
			}
			e.printf("member %s takes peers again; %s attached to it\n", d.Member, plural(d.Attached, "peer is", "peers are"))
			return nil
		},
	}
}

func (e *env) drainPlan(ctx context.Context, name string) error {
	d, err := ask(ctx, e, func(ctx context.Context, c *admin.Client) (*admin.Drain, error) { return c.Drain(ctx, name, true) })
	if err != nil {
		return err
	}
	if e.output == "json" {
		return e.printJSON(d)
	}
	e.printf("member %s has %s, %s\n\n", d.Member, plural(d.Attached, "peer", "peers"), activeText(d))
	t := newTable(e.stdout, "TO", "PEERS", "ROUND TRIP NOW", "THEN", "LONGEST")
	for _, p := range d.Plan {
		to, before, after, longest := p.Target, "-", "-", "-"
		if to == "" {
			to = "(nobody: they stay)"
		}
		if p.Known > 0 {
			before, after, longest = milliseconds(p.BeforeMS), milliseconds(p.AfterMS), milliseconds(p.LongestMS)
		}
		t.row(to, count(p.Peers), before, after, longest)
	}
	t.flush()
	if len(d.Open) == 0 {
		e.note("! no other member could take peers: it must be up, published in the planet and not draining")
	}
	e.note("a peer counts once for IPv4 and once for IPv6; round trips are medians of those that are known")
	return nil
}

func milliseconds(ms float64) string { return fmt.Sprintf("%.1f ms", ms) }

func activeText(d *admin.Drain) string {
	if d.Active < 0 {
		return "it does not say how many are active"
	}
	return fmt.Sprintf("%s active", count(d.Active))
}

func (e *env) drain(ctx context.Context, name string, timeout time.Duration, noWait, alone bool) error {
	d, err := ask(ctx, e, func(ctx context.Context, c *admin.Client) (*admin.Drain, error) {
		return c.SetDrain(ctx, name, true, admin.DrainOptions{Alone: alone})
	})
	if err != nil {
		return err
	}
	began, first := e.now(), d.Active
	if !noWait {
		line := e.newStatusLine()
		defer line.done()
		d, err = e.awaitDrain(ctx, d, timeout, func(d *admin.Drain) {
			line.set(fmt.Sprintf("%s: %s to go to %s, %s gone", d.Member, activeText(d), strings.Join(d.Open, ", "), count(max(0, first-d.Active))))
		})
		line.done()
		if err != nil {
			return err
		}
	}
	if e.output == "json" {
		return e.printJSON(d)
	}
	if noWait {
		e.printf("member %s drains; %s\n", d.Member, activeText(d))
		return nil
	}
	e.printf("member %s is drained after %s: no active peer is left", d.Member, e.now().Sub(began).Round(100*time.Millisecond))
	if d.Attached > 0 {
		e.printf("; %s not heard of stay in the log until they come back elsewhere", count(d.Attached))
	}
	e.printf("\n")
	return nil
}

// awaitDrain waits until no active peer is left.
func (e *env) awaitDrain(ctx context.Context, d *admin.Drain, timeout time.Duration, show func(*admin.Drain)) (*admin.Drain, error) {
	whole, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	tick := time.NewTicker(drainPoll)
	defer tick.Stop()
	for {
		show(d)
		switch {
		case d.State == admin.DrainNone:
			return d, &userError{what: fmt.Sprintf("member %s does not drain any more: somebody ended it", d.Member)}
		case d.Active == 0:
			return d, nil
		}
		select {
		case <-tick.C:
		case <-whole.Done():
			return d, &userError{what: fmt.Sprintf("member %s is not drained: %s", d.Member, activeText(d)), err: errNotDrained, hint: "run the same command again to wait on, or rootctl member undrain"}
		}
		next, err := ask(whole, e, func(ctx context.Context, c *admin.Client) (*admin.Drain, error) {
			return c.Drain(ctx, fmt.Sprint(d.ID), false)
		})
		if err == nil {
			d = next
		} else if whole.Err() == nil && !errors.Is(err, admin.ErrUnavailable) {
			return d, err
		}
	}
}
