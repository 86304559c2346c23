package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/rootd/rootd/packetpath/vl1"
)

func newPlanetVerify(e *env) *cobra.Command {
	var replaces string
	c := &cobra.Command{
		Use:   "verify FILE|current|-",
		Short: "Check a planet or moon: form, identities, signature, whether clients take it",
		Long: "verify checks the limits, validates each root's identity (some 50 ms each) and the signature. With --replaces it says whether a client " +
			"that holds the other file takes this one in its place. Exit code 1 if anything is wrong.",
		Example: "  rootctl planet verify planet\n  rootctl planet verify planet.new --replaces current",
		Args:    wantArgs("FILE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return planetVerify(cmd.Context(), e, args[0], replaces)
		},
	}
	c.Flags().StringVar(&replaces, "replaces", "", "the planet or moon that clients hold: FILE, or \"current\"")
	return c
}

// verdict is one line of verify.
type verdict struct {
	Check string `json:"check"`
	OK    bool   `json:"ok"`
	Why   string `json:"why,omitempty"`
}

func planetVerify(ctx context.Context, e *env, name, replaces string) error {
	w, raw, err := e.world(ctx, name)
	if err != nil {
		return err
	}
	var old *vl1.World
	if replaces != "" {
		if old, _, err = e.world(ctx, replaces); err != nil {
			return err
		}
	}
	verdicts, bad := judge(w, old), 0
	for _, v := range verdicts {
		if !v.OK {
			bad++
		}
	}
	if e.output == "json" {
		if err := e.printJSON(struct {
			worldJSON
			OK     bool      `json:"ok"`
			Checks []verdict `json:"checks"`
		}{describe(w, raw), bad == 0, verdicts}); err != nil {
			return err
		}
	} else {
		for _, v := range verdicts {
			if v.OK {
				e.printf("ok      %s\n", v.Check)
			} else {
				e.printf("WRONG   %s: %s\n", v.Check, v.Why)
			}
		}
		for _, warning := range worldWarnings(w) {
			e.printf("! %s\n", warning)
		}
	}
	if bad > 0 {
		return &userError{what: name, err: fmt.Errorf("%d of %d checks failed", bad, len(verdicts))}
	}
	return nil
}

// judge runs every check; old may be nil.
func judge(w, old *vl1.World) []verdict {
	var out []verdict
	add := func(check string, err error) {
		v := verdict{Check: check, OK: err == nil}
		if err != nil {
			v.Why = err.Error()
		}
		out = append(out, v)
	}
	add("at most 4 roots of 32 endpoints", w.Check())
	hasher := vl1.NewHasher()
	for _, r := range w.Roots {
		add("root "+r.Identity.Address.String()+" is genuine", hasher.Validate(&r.Identity))
	}
	if old == nil {
		var err error
		if !w.Verify(&w.UpdateKey) {
			err = errors.New("not signed by the key it names, or damaged")
		}
		add("signed by the key it names", err)
		return out
	}
	add("clients that hold the other take it: ID, newer, signature", old.ReplacedBy(w))
	return out
}
