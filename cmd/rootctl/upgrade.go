package main

import (
	"context"
	"fmt"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/rootd/rootd/transport/admin"
)

const featureKey = "feature_level"

func newUpgrade(e *env) *cobra.Command {
	return group("upgrade", "Versions of the members, and the feature level that they use",
		"While members run two versions, the cluster uses what the older one understands: its feature level. finalize raises the level once all understand more; after that the older version cannot serve this cluster any more.",
		newUpgradeStatus(e), newUpgradeFinalize(e))
}

// versions is what upgrade status shows.
type versions struct {
	Used       int             `json:"feature_level"` // that the cluster uses
	Understood int             `json:"understood"`    // by all members
	Members    []versionMember `json:"members"`
}

type versionMember struct {
	Name    string `json:"name"`
	Status  string `json:"status"`
	Version string `json:"version"`
	Feature int    `json:"feature"`
}

func (e *env) versions(ctx context.Context) (*versions, error) {
	all, err := ask(ctx, e, func(ctx context.Context, c *admin.Client) (*admin.Members, error) { return c.Members(ctx) })
	if err != nil {
		return nil, err
	}
	settings, err := e.settings(ctx)
	if err != nil {
		return nil, err
	}
	v := &versions{Used: 1}
	for _, s := range settings {
		if s.Key == featureKey {
			if v.Used, err = strconv.Atoi(s.Value); err != nil {
				return nil, fmt.Errorf("setting %s: %w", featureKey, err)
			}
		}
	}
	for i, m := range all.Members {
		if i == 0 || int(m.Feature) < v.Understood {
			v.Understood = int(m.Feature)
		}
		v.Members = append(v.Members, versionMember{m.Name, m.Status, m.Version, int(m.Feature)})
	}
	v.Understood = max(v.Understood, v.Used)
	return v, nil
}

func newUpgradeStatus(e *env) *cobra.Command {
	return &cobra.Command{
		Use:     "status",
		Short:   "Show the members' versions and the feature level",
		Example: "  rootctl upgrade status\n  rootctl upgrade status -o json",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			v, err := e.versions(cmd.Context())
			if err != nil {
				return err
			}
			if e.output == "json" {
				return e.printJSON(v)
			}
			e.fields("feature level", strconv.Itoa(v.Used), "understood", fmt.Sprintf("%d by all members", v.Understood))
			e.printf("\n")
			t := newTable(e.stdout, "NAME", "STATUS", "VERSION", "UNDERSTANDS")
			for _, m := range v.Members {
				t.row(m.Name, m.Status, orDash(m.Version), strconv.Itoa(m.Feature))
			}
			t.flush()
			if v.Understood > v.Used {
				e.note("\nall members understand level %d: rootctl upgrade finalize uses it; then no older version can serve this cluster", v.Understood)
			}
			return nil
		},
	}
}

func newUpgradeFinalize(e *env) *cobra.Command {
	return &cobra.Command{
		Use:   "finalize",
		Short: "Use the highest feature level that all members understand",
		Long: "finalize raises the cluster's feature level to the highest that every member understands. Until then each member can go back to the version before; afterwards it cannot. " +
			"If a member does not understand more than the cluster uses, nothing changes.",
		Example: "  rootctl upgrade status\n  rootctl upgrade finalize",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			v, err := e.versions(cmd.Context())
			if err != nil {
				return err
			}
			if v.Understood > v.Used {
				if _, err := ask(cmd.Context(), e, func(ctx context.Context, c *admin.Client) (*admin.Setting, error) {
					return c.SetSetting(ctx, featureKey, strconv.Itoa(v.Understood))
				}); err != nil {
					return err
				}
			}
			if e.output == "json" {
				before := v.Used
				v.Used = v.Understood
				return e.printJSON(struct {
					Before int `json:"before"`
					*versions
				}{before, v})
			}
			if v.Understood == v.Used {
				e.printf("the cluster uses feature level %d already, the highest that all members understand\n", v.Used)
				return nil
			}
			e.printf("feature level %d -> %d\n", v.Used, v.Understood)
			return nil
		},
	}
}
