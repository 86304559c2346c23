package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/rootd/rootd/packetpath/vl1"
	"github.com/rootd/rootd/transport/admin"
)

func newPlanetPublish(e *env) *cobra.Command {
	return &cobra.Command{
		Use:   "publish FILE|-",
		Short: "Hand a signed planet to rootd, which hands it to clients",
		Long: "publish puts a newer version of the planet into the log. Clients get it with the answer to their next HELLO (within about four minutes) " +
			"and write it to their disk; nobody needs to touch them. Old endpoints must answer until clients have it: rootctl status shows how many do.",
		Example: "  rootctl planet make --from current --add 198.51.100.7:9993 --out planet.new\n  rootctl planet verify planet.new --replaces current\n  rootctl planet publish planet.new",
		Args:    wantArgs("FILE"),
		RunE:    func(cmd *cobra.Command, args []string) error { return planetPublish(cmd.Context(), e, args[0]) },
	}
}

func planetPublish(ctx context.Context, e *env, name string) error {
	if name == current {
		return usageError("the current planet is published already")
	}
	w, raw, err := e.world(ctx, name)
	if err != nil {
		return err
	}
	if w.Type != vl1.WorldPlanet {
		return &userError{what: name + " is a moon", hint: "moons are not published: put the file into moons.d of each client"}
	}
	for _, v := range judge(w, nil) {
		if !v.OK {
			return &userError{what: name, err: fmt.Errorf("%s: %s", v.Check, v.Why), hint: "see rootctl planet verify " + name}
		}
	}
	c := e.client()
	defer c.Close()
	ctx, cancel := e.limit(ctx)
	defer cancel()
	p, err := c.PublishPlanet(ctx, raw)
	if errors.Is(err, admin.ErrRefused) && hintOf(err) == "" {
		return &userError{err: err, hint: "see rootctl planet verify " + name + " --replaces current"}
	}
	if err != nil {
		return err
	}
	if e.output == "json" {
		return e.printJSON(p.PlanetSummary)
	}
	e.printf("published world %s, version %d, %s with %s, fingerprint %s\n", p.WorldID, p.Timestamp,
		plural(p.Roots, "root", "roots"), plural(p.Endpoints, "endpoint", "endpoints"), p.Fingerprint)
	return nil
}
