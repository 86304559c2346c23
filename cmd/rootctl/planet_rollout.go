package main

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/rootd/rootd/packetpath/vl1"
	"github.com/rootd/rootd/transport/admin"
)

func newPlanetPrepare(e *env) *cobra.Command {
	var out string
	c := &cobra.Command{
		Use:   "prepare",
		Short: "Write the next planet from the members' endpoints, unsigned",
		Long: "prepare writes the planet that the members' endpoints call for: those of members that have joined and been up are added, those of removed members " +
			"go. It is not signed: planet sign does that where the key is, then planet publish hands it to the cluster. " +
			"It says what changes, and writes nothing if nothing does.",
		Example: "  rootctl planet prepare\n  rootctl planet prepare --out planet.new && rootctl planet sign planet.new --key planet.key && rootctl planet publish planet.new",
		Args:    noArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return planetPrepare(cmd.Context(), e, out) },
	}
	c.Flags().StringVar(&out, "out", "planet.new", "file to write")
	return c
}

// planets are the planet that clients have and the one that the members' endpoints call for.
type planets struct {
	held *vl1.World
	root vl1.Identity
	next *admin.NextPlanet
	auto bool // the cluster signs and publishes it by itself
}

func (e *env) planets(ctx context.Context) (*planets, error) {
	type answer struct {
		status  *admin.Status
		members *admin.Members
		planet  *admin.Planet
	}
	a, err := ask(ctx, e, func(ctx context.Context, c *admin.Client) (a answer, err error) {
		if a.status, err = c.Status(ctx); err != nil {
			return a, err
		}
		if a.members, err = c.Members(ctx); err != nil {
			return a, err
		}
		a.planet, err = c.Planet(ctx)
		return a, err
	})
	if err != nil {
		return nil, err
	}
	p := &planets{auto: a.planet.Auto}
	if p.held, _, err = decodeWorld("the current planet", strings.NewReader(string(a.planet.Raw))); err != nil {
		return nil, err
	}
	if p.root, err = vl1.ParseIdentity(a.status.Identity); err != nil {
		return nil, err
	}
	p.next, err = admin.Next(p.held, p.root, a.members.Members, e.now())
	return p, err
}

func planetPrepare(ctx context.Context, e *env, out string) error {
	p, err := e.planets(ctx)
	if err != nil {
		return err
	}
	held, next := p.held, p.next
	if !next.Changed() {
		if e.output == "json" {
			return e.printJSON(prepareJSON{Changed: false})
		}
		e.printf("the planet is what the members' endpoints call for: nothing to prepare\n")
		e.printDelta(next)
		return nil
	}
	if err := mayReplace(out, next.World, held); err != nil {
		return err
	}
	raw := next.World.AppendBinary(nil)
	if err := writeWorld(out, raw); err != nil {
		return err
	}
	if e.output == "json" {
		j := prepareJSON{Changed: true, Delta: next}
		j.worldJSON = describe(next.World, raw)
		j.File = out
		return e.printJSON(j)
	}
	e.printDelta(next)
	e.printf("\nwrote %s, not signed yet\n", out)
	if p.auto {
		e.note("\nnote: the cluster keeps the signing key, and publishes this by itself within seconds (planet_auto is on)")
		return nil
	}
	e.note("\nnext: rootctl planet sign %s --key KEY, where the key is; then rootctl planet publish %s", out, out)
	return nil
}

// prepareJSON is what -o json prints of a prepared planet.
type prepareJSON struct {
	worldJSON
	Changed bool              `json:"changed"`
	Delta   *admin.NextPlanet `json:"delta,omitempty"`
}

// printDelta says what changes from the current planet.
func (e *env) printDelta(n *admin.NextPlanet) {
	for _, ap := range n.Added {
		e.printf("  + %s\n", ap)
	}
	for _, ap := range n.Removed {
		e.printf("  - %s\n", ap)
	}
	for _, ap := range n.LeftOut {
		e.printf("  ! %s does not fit: a planet holds %d endpoints per root\n", ap, vl1.MaxEndpoints)
	}
	for _, name := range n.Unserved {
		e.printf("  ! member %s has no endpoint in it: it was never up, or names none\n", name)
	}
}

// planetHint says after a change of members what has become of the planet, and what is left to do.
func (e *env) planetHint(ctx context.Context, before *vl1.World) {
	p, err := e.planets(ctx)
	if err != nil {
		e.note("note: the next planet cannot be told: %v", err)
		return
	}
	if before != nil && before.Timestamp < p.held.Timestamp {
		e.printf("\nplanet: version %d is published meanwhile; clients take it with the answer to their next HELLO\n", p.held.Timestamp)
		e.printDelta(deltaOf(before, p.held, p.root))
	}
	switch {
	case !p.next.Changed() && before == nil:
		e.printf("\nplanet: it is what the members' endpoints call for\n")
	case p.next.Changed() && p.auto:
		e.printf("\nplanet: the next one is signed and published by the cluster within seconds\n")
		e.printDelta(p.next)
	case p.next.Changed():
		e.printf("\nplanet: the next one differs from what clients have\n")
		e.printDelta(p.next)
		e.note("next: rootctl planet prepare; planet sign; planet publish")
	case before.Timestamp == p.held.Timestamp:
		e.printf("\nplanet: version %d is what the members' endpoints call for, this machine's included\n", p.held.Timestamp)
	}
}

// deltaOf is what a later planet has made of the endpoints of a root.
func deltaOf(before, after *vl1.World, root vl1.Identity) *admin.NextPlanet {
	endpoints := func(w *vl1.World) []netip.AddrPort {
		for _, r := range w.Roots {
			if r.Identity == root {
				return r.Endpoints
			}
		}
		return nil
	}
	old, now := endpoints(before), endpoints(after)
	n := new(admin.NextPlanet)
	for _, ap := range now {
		if !slices.Contains(old, ap) {
			n.Added = append(n.Added, ap)
		}
	}
	for _, ap := range old {
		if !slices.Contains(now, ap) {
			n.Removed = append(n.Removed, ap)
		}
	}
	return n
}

func newPlanetStatus(e *env) *cobra.Command {
	return &cobra.Command{
		Use:   "status",
		Short: "Show how many peers carry which planet",
		Long: "status counts the peers that the log knows by the planet they said they carry. Clients take a newer one with the answer to their next HELLO, " +
			"so the share of the current one should near all within minutes; peers that are offline take it when they are back.\n\n" +
			"Remove old endpoints only when enough carry the new planet.",
		Example: "  rootctl planet status\n  rootctl planet status -o json | jq '.adopted / .peers'",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			a, err := ask(cmd.Context(), e, func(ctx context.Context, c *admin.Client) (*admin.Adoption, error) { return c.Adoption(ctx) })
			if err != nil {
				return err
			}
			if e.output == "json" {
				return e.printJSON(a)
			}
			e.printAdoption(a)
			return nil
		},
	}
}

func (e *env) printAdoption(a *admin.Adoption) {
	e.fields(
		"planet", fmt.Sprintf("world %s, version %d (%s), %s, fingerprint %s", a.Planet.WorldID, a.Planet.Timestamp, stamp(a.Planet.Time),
			plural(a.Planet.Endpoints, "endpoint", "endpoints"), a.Planet.Fingerprint),
		"published", map[bool]string{true: "by the cluster itself (planet_auto)", false: "by hand"}[a.Auto],
		"adopted", fmt.Sprintf("%s of %s (%s)", count(a.Adopted), plural(a.Peers, "peer", "peers"), share(a.Adopted, a.Peers)),
	)
	if len(a.Versions)+a.Unknown > 0 {
		e.printf("\n")
		t := newTable(e.stdout, "PLANET", "OF", "PEERS", "SHARE")
		for _, v := range a.Versions {
			name := fmt.Sprint(v.Timestamp)
			if v.Timestamp == a.Planet.Timestamp {
				name += " (current)"
			}
			t.row(name, stamp(v.Time), count(v.Peers), share(v.Peers, a.Peers))
		}
		if a.Unknown > 0 {
			t.row("unknown", "-", count(a.Unknown), share(a.Unknown, a.Peers))
		}
		t.flush()
	}
	if len(a.Curve) > 1 {
		e.printf("\nsince %s  %s\n", stamp(a.Curve[0].Time), curve(a.Curve))
	}
}

func share(n, of int) string {
	if of == 0 {
		return "-"
	}
	return fmt.Sprintf("%.1f %%", 100*float64(n)/float64(of))
}

// curve draws the share of adopted peers over time, one character a point.
func curve(points []admin.AdoptionPoint) string {
	const levels = "▁▂▃▄▅▆▇█"
	steps := []rune(levels)
	var b strings.Builder
	for _, p := range points {
		i := 0
		if p.Peers > 0 {
			i = min(p.Adopted*len(steps)/p.Peers, len(steps)-1)
		}
		b.WriteRune(steps[i])
	}
	return b.String()
}
