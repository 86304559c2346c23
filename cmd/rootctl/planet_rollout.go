package main

import (
	"context"
	"fmt"
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

// nextPlanet is what the members' endpoints call for now.
func (e *env) nextPlanet(ctx context.Context) (held *vl1.World, next *admin.NextPlanet, err error) {
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
		return nil, nil, err
	}
	held, _, err = decodeWorld("the current planet", strings.NewReader(string(a.planet.Raw)))
	if err != nil {
		return nil, nil, err
	}
	root, err := vl1.ParseIdentity(a.status.Identity)
	if err != nil {
		return nil, nil, err
	}
	next, err = admin.Next(held, root, a.members.Members, e.now())
	return held, next, err
}

func planetPrepare(ctx context.Context, e *env, out string) error {
	held, next, err := e.nextPlanet(ctx)
	if err != nil {
		return err
	}
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

// nextPlanetHint says after a change of members what has become of the planet.
func (e *env) nextPlanetHint(ctx context.Context) {
	_, next, err := e.nextPlanet(ctx)
	if err != nil {
		e.note("note: the next planet cannot be told: %v", err)
		return
	}
	if !next.Changed() {
		e.printf("\nplanet: nothing changes\n")
		return
	}
	e.printf("\nplanet: the next one differs from what clients have\n")
	e.printDelta(next)
	e.note("next: rootctl planet prepare; planet sign; planet publish (unless the cluster keeps the signing key: then it does so by itself)")
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
