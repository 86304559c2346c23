package main

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/rootd/rootd/packetpath/vl1"
	"github.com/rootd/rootd/transport/admin"
)

func newFleetPlanet(e *env) *cobra.Command {
	return group("planet", "One planet for the whole fleet: show, compare, prepare, publish",
		"All clusters of a fleet are roots of one planet. Where they keep its signing key they see to that by themselves, each for its own members (planet_auto), and take newer ones from each other. "+
			"Where the key is kept offline, prepare, planet sign and fleet planet publish do the same.",
		newFleetPlanetShow(e), newFleetPlanetPrepare(e), newFleetPlanetPublish(e))
}

// heldPlanet is the planet of one cluster, and what its members call for.
type heldPlanet struct {
	cluster string
	root    vl1.Identity
	world   *vl1.World
	summary admin.PlanetSummary
	members []admin.Member
}

// planets asks all clusters of the fleet.
func (c *fleetClients) planets(ctx context.Context, e *env) (all []heldPlanet, err error) {
	for _, o := range c.fleet.Clusters {
		h, err := inCluster(ctx, e, c, o.Name, func(ctx context.Context, a *admin.Client) (h heldPlanet, err error) {
			h.cluster = o.Name
			s, err := a.Status(ctx)
			if err != nil {
				return h, err
			}
			if h.root, err = vl1.ParseIdentity(s.Identity); err != nil {
				return h, err
			}
			m, err := a.Members(ctx)
			if err != nil {
				return h, err
			}
			p, err := a.Planet(ctx)
			if err != nil {
				return h, err
			}
			h.members, h.summary = m.Members, p.PlanetSummary
			h.world, _, err = decodeWorld("planet of "+o.Name, strings.NewReader(string(p.Raw)))
			return h, err
		})
		if err != nil {
			return nil, err
		}
		all = append(all, h)
	}
	return all, nil
}

// wrongPlanets is what keeps the fleet from having one planet that is right: clusters that differ, and endpoints that should be in it
// or should not.
func wrongPlanets(all []heldPlanet, e *env) (wrong []string) {
	for i := range all {
		h := &all[i]
		if first := &all[0]; h.world.ID != first.world.ID || h.world.UpdateKey != first.world.UpdateKey {
			wrong = append(wrong, fmt.Sprintf("%s is in planet %s, %s in planet %s: clients know only one of them", first.cluster, worldID(first.world.ID), h.cluster, worldID(h.world.ID)))
			continue
		} else if h.summary.Fingerprint != first.summary.Fingerprint {
			wrong = append(wrong, fmt.Sprintf("%s hands out version %d, %s version %d: the newer one reaches the other within two minutes", first.cluster, first.world.Timestamp, h.cluster, h.world.Timestamp))
		}
		next, err := admin.Next(h.world, h.root, h.members, e.now())
		if err != nil {
			wrong = append(wrong, fmt.Sprintf("%s: %v", h.cluster, err))
			continue
		}
		for _, ap := range next.Added {
			wrong = append(wrong, fmt.Sprintf("%s: %s is not in its planet yet", h.cluster, ap))
		}
		for _, ap := range next.Removed {
			wrong = append(wrong, fmt.Sprintf("%s: %s is in its planet, and no member has it", h.cluster, ap))
		}
		for _, ap := range next.LeftOut {
			wrong = append(wrong, fmt.Sprintf("%s: %s does not fit: a planet holds %d endpoints per root", h.cluster, ap, vl1.MaxEndpoints))
		}
	}
	return wrong
}

// fleetPlanet is what fleet planet show prints of a cluster.
type fleetPlanet struct {
	Cluster string      `json:"cluster"`
	Root    vl1.Address `json:"root"`
	admin.PlanetSummary
}

func newFleetPlanetShow(e *env) *cobra.Command {
	var path string
	c := &cobra.Command{
		Use:     "show",
		Short:   "The planet that each cluster hands out, compared; what is wrong first",
		Long:    "show compares the planets that the clusters hand out with each other and with the endpoints of their members. The exit code is 1 if they differ, or if one is not what its members call for.",
		Example: "  rootctl fleet planet show --fleet fleet.toml",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return e.withPlanets(cmd.Context(), path, func(_ *fleetClients, all []heldPlanet) error {
				wrong := wrongPlanets(all, e)
				if e.output == "json" {
					out := []fleetPlanet{}
					for _, h := range all {
						out = append(out, fleetPlanet{h.cluster, h.root.Address, h.summary})
					}
					if err := e.printJSON(struct {
						Same     bool          `json:"same"`
						Wrong    []string      `json:"wrong"`
						Clusters []fleetPlanet `json:"clusters"`
					}{len(wrong) == 0, append([]string{}, wrong...), out}); err != nil {
						return err
					}
				} else {
					e.printPlanets(all, wrong)
				}
				if len(wrong) > 0 {
					return &userError{what: "the fleet does not have one planet that is right", hint: "give it two minutes if members have just changed; else rootctl fleet planet prepare, planet sign, fleet planet publish"}
				}
				return nil
			})
		},
	}
	c.Flags().StringVar(&path, "fleet", "", "file that names the clusters")
	return c
}

func (e *env) printPlanets(all []heldPlanet, wrong []string) {
	for _, w := range wrong {
		e.printf("! %s\n", w)
	}
	t := newTable(e.stdout, "CLUSTER", "ROOT", "PLANET", "VERSION", "FINGERPRINT", "ROOTS", "ENDPOINTS")
	for _, h := range all {
		t.row(h.cluster, h.root.Address.String(), h.summary.WorldID, fmt.Sprint(h.summary.Timestamp), h.summary.Fingerprint, fmt.Sprint(h.summary.Roots), fmt.Sprint(h.summary.Endpoints))
	}
	t.flush()
	if len(wrong) == 0 {
		e.printf("\none planet, with all endpoints of all members\n")
	}
}

// withPlanets opens the fleet and asks for its planets.
func (e *env) withPlanets(ctx context.Context, path string, f func(*fleetClients, []heldPlanet) error) error {
	if path == "" {
		return usageError("--fleet is missing")
	}
	c, err := openFleet(e, path)
	if err != nil {
		return err
	}
	defer c.close()
	all, err := c.planets(ctx, e)
	if err != nil {
		return err
	}
	return f(c, all)
}

func newFleetPlanetPrepare(e *env) *cobra.Command {
	var path, out string
	c := &cobra.Command{
		Use:   "prepare",
		Short: "Write the next planet from the endpoints of all members of the fleet, unsigned",
		Long: "prepare takes the newest planet of the fleet and gives each root the endpoints that its members have; a cluster whose root is not in it yet is added. It is refused if a planet cannot hold that: " +
			"more than 4 roots, or 32 endpoints of one. It is not signed: planet sign does that where the key is, then fleet planet publish hands it to all clusters.",
		Example: "  rootctl fleet planet prepare --fleet fleet.toml --out planet.new\n  rootctl planet sign planet.new --key planet.key\n  rootctl fleet planet publish planet.new --fleet fleet.toml",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return e.withPlanets(cmd.Context(), path, func(_ *fleetClients, all []heldPlanet) error {
				held, next, err := nextFleetPlanet(all, e)
				if err != nil {
					return err
				}
				if next == nil {
					e.printf("the newest planet is what all members' endpoints call for: nothing to prepare\n")
					return nil
				}
				if err := mayReplace(out, next, held); err != nil {
					return err
				}
				raw := next.AppendBinary(nil)
				if err := writeWorld(out, raw); err != nil {
					return err
				}
				if e.output == "json" {
					j := describe(next, raw)
					j.File = out
					return e.printJSON(j)
				}
				e.printf("wrote %s, not signed yet\n", out)
				e.note("\nnext: rootctl planet sign %s --key KEY, where the key is; then rootctl fleet planet publish %s --fleet %s", out, out, path)
				return nil
			})
		},
	}
	c.Flags().StringVar(&path, "fleet", "", "file that names the clusters")
	c.Flags().StringVar(&out, "out", "planet.new", "file to write")
	return c
}

// nextFleetPlanet makes the planet that all members of the fleet call for from the newest one that a cluster has; nil if that is it.
func nextFleetPlanet(all []heldPlanet, e *env) (held, next *vl1.World, err error) {
	for _, h := range all {
		if held != nil && (h.world.ID != held.ID || h.world.UpdateKey != held.UpdateKey) {
			return nil, nil, &userError{what: wrongPlanets(all, e)[0], hint: "make them roots of one planet first: rootctl planet make --root A --root B"}
		}
		if held == nil || h.world.Timestamp > held.Timestamp {
			held = h.world
		}
	}
	next = held
	changed := false
	for _, h := range all {
		if !slices.ContainsFunc(next.Roots, func(r vl1.Root) bool { return r.Identity == h.root }) {
			w := *next
			w.Roots = append(slices.Clone(next.Roots), vl1.Root{Identity: h.root})
			if len(w.Roots) > vl1.MaxRoots {
				return nil, nil, &userError{what: fmt.Sprintf("the root of %s does not fit: a planet holds %d roots", h.cluster, vl1.MaxRoots), hint: "leave a root out: rootctl planet make --from current"}
			}
			next, changed = &w, true
		}
		n, err := admin.Next(next, h.root, h.members, e.now())
		if err != nil {
			return nil, nil, fmt.Errorf("cluster %s: %w", h.cluster, err)
		}
		if len(n.LeftOut) > 0 {
			return nil, nil, &userError{
				what: fmt.Sprintf("cluster %s has %d endpoints too many (%s): a planet holds %d per root", h.cluster, len(n.LeftOut), joinAddrs(n.LeftOut), vl1.MaxEndpoints),
				hint: "give its members fewer endpoints",
			}
		}
		next, changed = n.World, changed || n.Changed()
	}
	if !changed {
		return held, nil, nil
	}
	return held, next, nil
}

func newFleetPlanetPublish(e *env) *cobra.Command {
	var path string
	c := &cobra.Command{
		Use:   "publish FILE|-",
		Short: "Hand a signed planet to all clusters of the fleet",
		Long: "publish checks that every cluster is a root of the planet and would take it, before any gets it; then it hands it to one after the other. " +
			"A cluster that has it already is left alone, so it may be run again.",
		Example: "  rootctl fleet planet publish planet.new --fleet fleet.toml",
		Args:    wantArgs("FILE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			w, raw, err := e.world(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			return e.withPlanets(cmd.Context(), path, func(c *fleetClients, all []heldPlanet) error {
				return e.publishToFleet(cmd.Context(), c, all, args[0], w, raw)
			})
		},
	}
	c.Flags().StringVar(&path, "fleet", "", "file that names the clusters")
	return c
}

func (e *env) publishToFleet(ctx context.Context, c *fleetClients, all []heldPlanet, name string, w *vl1.World, raw []byte) error {
	for _, v := range judge(w, nil) {
		if !v.OK {
			return &userError{what: name, err: fmt.Errorf("%s: %s", v.Check, v.Why), hint: "see rootctl planet verify " + name}
		}
	}
	fingerprint := describe(w, raw).Fingerprint
	for _, h := range all {
		if !slices.ContainsFunc(w.Roots, func(r vl1.Root) bool { return r.Identity == h.root }) {
			return &userError{what: fmt.Sprintf("%s does not name the root %s of cluster %s: its clients would leave it; nothing was published", name, h.root.Address, h.cluster), hint: "rootctl fleet planet prepare makes one for all"}
		}
		if err := h.world.ReplacedBy(w); err != nil && h.summary.Fingerprint != fingerprint {
			return &userError{what: fmt.Sprintf("cluster %s would not take %s; nothing was published", h.cluster, name), err: err, hint: "compare rootctl fleet planet show with rootctl planet inspect " + name}
		}
	}
	for _, h := range all {
		if h.summary.Fingerprint == fingerprint {
			e.note("%s has it already", h.cluster)
			continue
		}
		p, err := inCluster(ctx, e, c, h.cluster, func(ctx context.Context, a *admin.Client) (*admin.Planet, error) {
			p, err := a.PublishPlanet(ctx, raw)
			if now, lookErr := a.Planet(ctx); err != nil && lookErr == nil && now.Fingerprint == fingerprint {
				return now, nil // the other cluster was faster
			}
			return p, err
		})
		if err != nil {
			return err
		}
		e.note("%s: published version %d, %s with %s, fingerprint %s", h.cluster, p.Timestamp, plural(p.Roots, "root", "roots"), plural(p.Endpoints, "endpoint", "endpoints"), p.Fingerprint)
	}
	if e.output == "json" {
		return e.printJSON(describe(w, raw))
	}
	e.printf("every cluster of the fleet has version %d, fingerprint %s\n", w.Timestamp, fingerprint)
	return nil
}
