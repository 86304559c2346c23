package main

import (
	"context"
	"fmt"
	"net/netip"

	"github.com/spf13/cobra"

	"github.com/rootd/rootd/transport/admin"
)

func newRTT(e *env) *cobra.Command {
	var f admin.RTTFilter
	c := &cobra.Command{
		Use:   "rtt [PREFIX|IP]",
		Short: "List the round trips that members measured",
		Long: "rtt prints what members measured of the neighbourhoods of peers, as the log has it: IPv4 /24 and IPv6 /48, and the /16 and /32 around " +
			"them. Members measure with the ECHO that keeps peers' paths open, and the log hears of what changed.",
		Example: "  rootctl rtt\n  rootctl rtt 203.0.113.7\n  rootctl rtt 203.0.113.0/24 --member ams -o json",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 1 {
				return usageError("unexpected argument %q", args[1])
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if f.Limit < 0 {
				return usageError("--limit %d: must not be negative", f.Limit)
			}
			if len(args) > 0 {
				var err error
				if f.Within, err = parseWithin(args[0]); err != nil {
					return err
				}
			}
			return rttList(cmd.Context(), e, f)
		},
	}
	c.Flags().StringVar(&f.Member, "member", "", "only what this member measured")
	c.Flags().IntVar(&f.Limit, "limit", 0, "stop after so many, 0 = 1000")
	return c
}

func parseWithin(text string) (netip.Prefix, error) {
	if a, err := netip.ParseAddr(text); err == nil {
		a = a.Unmap()
		return netip.PrefixFrom(a, a.BitLen()), nil
	}
	p, err := netip.ParsePrefix(text)
	if err != nil {
		return p, usageError("%q is neither a prefix such as 203.0.113.0/24 nor an IP address", text)
	}
	return p, nil
}

func rttList(ctx context.Context, e *env, f admin.RTTFilter) error {
	r, err := ask(ctx, e, func(ctx context.Context, c *admin.Client) (*admin.RoundTrips, error) { return c.RoundTrips(ctx, f) })
	if err != nil {
		return err
	}
	if e.output == "json" {
		return e.printJSON(r)
	}
	if len(r.Rows) == 0 {
		e.note("no round trips, of %s in the log", count(r.Total))
		return nil
	}
	t := newTable(e.stdout, "AREA", "MEMBER", "RTT", "DEVIATION", "SAMPLES", "MEASURED")
	for i := range r.Rows {
		x := &r.Rows[i]
		t.row(x.Area.String(), x.Member, ms(x.RTT), ms(x.Dev), fmt.Sprint(x.Samples), ago(e.now(), x.At))
	}
	t.flush()
	if r.More {
		e.note("there are more: --limit, or name a prefix")
	}
	return nil
}

func newSteering(e *env) *cobra.Command {
	return group("steering", "Show what members decided, and what other rules would have decided", "", newSteeringShadow(e))
}

func newSteeringShadow(e *env) *cobra.Command {
	return &cobra.Command{
		Use:   "shadow",
		Short: "Count how other rules would decide differently",
		Long: "shadow prints what members decided since they started, and beside it what the rules of the setting steering_shadow would have decided: " +
			"try them on paper, then set them.\n\nMORE: those rules would have handed a peer off that stayed. FEWER: they would have let one stay that was handed off. " +
			"ELSEWHERE: they would have chosen another member.",
		Example: "  rootctl config set steering_shadow \"margin=20ms margin_percent=20\"\n  rootctl steering shadow\n  rootctl config set steering_shadow default",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, err := ask(cmd.Context(), e, func(ctx context.Context, c *admin.Client) (*admin.SteeringStats, error) { return c.SteeringStats(ctx) })
			if err != nil {
				return err
			}
			if e.output == "json" {
				return e.printJSON(s)
			}
			rules := s.Rules
			if rules == "" {
				rules = "none: rootctl config set steering_shadow \"margin=20ms\""
			}
			e.fields("steering", s.Steering, "other rules", rules)
			e.printf("\n")
			t := newTable(e.stdout, "MEMBER", "DECISIONS", "MOVES", "HELD", "SAME", "MORE", "FEWER", "ELSEWHERE")
			s.Total.Member = "all"
			for _, d := range append(s.Members, s.Total) {
				if d.Error != "" {
					t.row(d.Member, d.Error)
					continue
				}
				t.row(d.Member, count(d.Decisions), count(d.Moves), count(d.Held), count(d.Same), count(d.More), count(d.Fewer), count(d.Elsewhere))
			}
			t.flush()
			return nil
		},
	}
}
