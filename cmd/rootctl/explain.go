package main

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/rootd/rootd/transport/admin"
)

func newExplain(e *env) *cobra.Command {
	var member string
	c := &cobra.Command{
		Use:   "explain PEER|IP",
		Short: "Explain at which member a peer should be, and why",
		Long: "explain makes the calculation of the packet path and prints its terms: what each member costs the peer, who wins, what gain a move " +
			"needs, and for how long it rests after the last one. Every member gives the same answer at the same index of the log. For an IP address: " +
			"as if a new client were there.\n\nCOST = (MEASURED, or ACCESS + DISTANCE) * 100 / WEIGHT + LOAD, in ms of round trip.",
		Example: "  rootctl explain 8056c2e21c\n  rootctl explain 203.0.113.7\n  rootctl explain 8056c2e21c --member nyc -o json",
		Args:    wantArgs("PEER|IP"),
		RunE:    func(cmd *cobra.Command, args []string) error { return explain(cmd.Context(), e, args[0], member) },
		ValidArgsFunction: func(cmd *cobra.Command, args []string, typed string) ([]string, cobra.ShellCompDirective) {
			if len(args) > 0 {
				return nil, cobra.ShellCompDirectiveNoFileComp
			}
			return completePeers(cmd.Context(), e, typed), cobra.ShellCompDirectiveNoFileComp
		},
	}
	c.Flags().StringVar(&member, "member", "", "as if it were attached to this member")
	return c
}

func explain(ctx context.Context, e *env, who, member string) error {
	x, err := ask(ctx, e, func(ctx context.Context, c *admin.Client) (*admin.Explanations, error) {
		return c.Explain(ctx, who, member)
	})
	if err != nil {
		return err
	}
	if e.output == "json" {
		return e.printJSON(x)
	}
	for i := range x.Families {
		if i > 0 {
			e.printf("\n")
		}
		explainFamily(e, x, &x.Families[i])
	}
	return nil
}

func explainFamily(e *env, x *admin.Explanations, f *admin.Explanation) {
	e.fields(
		"peer", x.Who,
		"address", fmt.Sprintf("%s (%s)", f.Address, f.Family),
		"position", positionText(f),
		"client", f.Software,
		"member", orDash(f.Member),
		"decision", decisionText(f),
		"gain", gainText(f),
		"rest", restText(f),
		"last handoff", handoffText(e, &f.Handoff),
		"left out", leftOutText(f),
		"steering", x.Steering,
		"shadow", shadowText(f.Shadow),
		"log index", count(x.Index),
	)
	e.printf("\n")
	t := newTable(e.stdout, "MEMBER", "COST", "MEASURED", "ACCESS", "DISTANCE", "KM", "WEIGHT", "LOAD", "")
	for i := range f.Costs {
		c := &f.Costs[i]
		km := "-"
		if c.Km >= 0 {
			km = count(c.Km)
		}
		t.row(c.Member, ms(c.Cost), measuredText(c), ms(c.Access), optionalMS(c.Distance), km, fmt.Sprintf("%d%%", c.Weight), ms(c.Load), costWord(f, c))
	}
	t.flush()
}

func positionText(f *admin.Explanation) string {
	switch {
	case f.Position != "":
		return fmt.Sprintf("%s, within %d km", f.Position, f.RadiusKm)
	case slices.ContainsFunc(f.Costs, func(c admin.Cost) bool { return c.Measured != nil }):
		return "unknown"
	}
	return "unknown, and nothing is measured: the costs below only spread such peers over the members"
}

func decisionText(f *admin.Explanation) string {
	if f.Target != "" {
		return fmt.Sprintf("hand off to %s: %s", f.Target, f.Reason)
	}
	return "stay: " + f.Reason
}

func gainText(f *admin.Explanation) string {
	if f.Member == "" {
		return ""
	}
	n := &f.Need
	terms := []string{fmt.Sprintf("margin %s", ms(n.Margin)), fmt.Sprintf("percent %s", ms(n.Percent))}
	if n.Deviation > 0 {
		terms = append(terms, "deviation "+ms(n.Deviation))
	}
	if n.Radius > 0 {
		terms = append(terms, "radius "+ms(n.Radius))
	}
	if n.Back > 0 {
		terms = append(terms, "back where it came from "+ms(n.Back))
	}
	return fmt.Sprintf("%s of %s needed: the greatest of %s, and %s to spread peers", ms(f.Gain), ms(n.Total), strings.Join(terms, ", "), ms(n.Spread))
}

func restText(f *admin.Explanation) string {
	if f.Rest > 0 {
		return fmt.Sprintf("for %s more; %s left", span(seconds(int64(f.Rest))), plural(f.MovesLeft, "move", "moves"))
	}
	return fmt.Sprintf("over; %s left", plural(f.MovesLeft, "move", "moves"))
}

func handoffText(e *env, h *admin.HandoffHistory) string {
	if h.At.IsZero() {
		return "never"
	}
	text := ago(e.now(), h.At)
	if h.UnderWay != "" {
		text += fmt.Sprintf(", from %s to %s, under way", orDash(h.From), h.UnderWay)
	}
	if h.Fails > 0 {
		text += fmt.Sprintf(", %d failed in a row", h.Fails)
	}
	if !h.Since.IsZero() {
		text += "; attached since " + ago(e.now(), h.Since)
	}
	return text
}

func leftOutText(f *admin.Explanation) string {
	if f.Failed == "" {
		return ""
	}
	return fmt.Sprintf("%s for %s more, because a handoff to it failed", f.Failed, span(seconds(int64(f.FailedRest))))
}

func shadowText(s *admin.ShadowResult) string {
	switch {
	case s == nil:
		return ""
	case s.Target != "":
		return fmt.Sprintf("would hand off to %s: %s", s.Target, s.Reason)
	}
	return "would stay: " + s.Reason
}

func measuredText(c *admin.Cost) string {
	if c.Measured == nil {
		return "-"
	}
	wide := ""
	if c.Wide {
		wide = ", wide"
	}
	return fmt.Sprintf("%s ±%s (%d%s)", ms(*c.Measured), ms(c.Dev), c.Samples, wide)
}

func costWord(f *admin.Explanation, c *admin.Cost) string {
	var words []string
	if c.Member == f.Member {
		words = append(words, "here")
	}
	if c.Member == f.Best {
		words = append(words, "best")
	}
	if c.Out != "" {
		words = append(words, "out: "+c.Out)
	}
	return strings.Join(words, ", ")
}

// ms is a number of milliseconds.
func ms(v float64) string { return fmt.Sprintf("%.1f ms", v) }

func optionalMS(v *float64) string {
	if v == nil {
		return "-"
	}
	return ms(*v)
}
