package main

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/rootd/rootd/transport/admin"
)

const featureKey = "feature_level"

func newUpgrade(e *env) *cobra.Command {
	o := rollOptions{kind: "upgrade"}
	back := false
	c := group("upgrade", "Upgrade a fleet member by member; versions and the feature level",
		"With --fleet, upgrade brings all members of a fleet to the next version: one at a time, one cluster after the other, standbys first, each leader last. "+
			"Before each turn every cluster must be well; after it the member must be back, caught up and answering on every endpoint, and the figures as good as before. "+
			"Else it stops, with all other members serving, and says what is wrong. Every step is in the log of the clusters (upgrade history), so --resume goes on where it was.\n\n"+
			"While members run two versions, a cluster uses what the older one understands: its feature level. finalize raises the level once all understand more; after that the older version cannot serve this cluster any more.",
		newUpgradeStatus(e), newUpgradeFinalize(e), newUpgradeHistory(e))
	c.Example = "  rootctl upgrade --fleet fleet.toml --plan\n  rootctl upgrade --fleet fleet.toml --canary ams-1\n  rootctl upgrade --fleet fleet.toml --resume\n  rootctl upgrade --fleet fleet.toml --rollback\n  rootctl upgrade status"
	c.RunE = func(cmd *cobra.Command, _ []string) error {
		if o.fleet == "" {
			if cmd.Flags().NFlag() > 0 {
				return usageError("--fleet is missing")
			}
			return cmd.Help()
		}
		if back {
			o.kind = "rollback"
		}
		return e.roll(cmd.Context(), o)
	}
	rollFlags(c, &o)
	c.Flags().BoolVar(&back, "rollback", false, "bring the members that an upgrade has touched back, the last one first, with the rollback command of the fleet's file")
	c.Flags().StringVar(&o.save, "save", ".", "directory for an archive of each cluster's state, written and verified before the first turn; secrets are not in it. \"\": none")
	c.Flags().StringVar(&o.to, "to", "", "version that a member must come back as")
	c.MarkFlagsMutuallyExclusive("resume", "rollback", "abandon")
	return c
}

func newRestart(e *env) *cobra.Command {
	o := rollOptions{kind: "restart"}
	c := &cobra.Command{
		Use:     "restart",
		Short:   "Restart a fleet member by member, for a new configuration",
		Long:    "restart does with the restart command of the fleet's file what upgrade does with the upgrade command: one member at a time, nothing while a cluster is unwell.",
		Example: "  rootctl restart --fleet fleet.toml --plan\n  rootctl restart --fleet fleet.toml --only alice",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if o.fleet == "" {
				return usageError("--fleet is missing")
			}
			return e.roll(cmd.Context(), o)
		},
	}
	rollFlags(c, &o)
	c.Flags().Bool("rolling", true, "one member after the other; there is no other way")
	c.MarkFlagsMutuallyExclusive("resume", "abandon")
	return c
}

func rollFlags(c *cobra.Command, o *rollOptions) {
	f := c.Flags()
	f.StringVar(&o.fleet, "fleet", "", "file that names the clusters")
	f.StringVar(&o.only, "only", "", "only this cluster")
	f.StringVar(&o.canary, "canary", "", "only this member, [CLUSTER/]MEMBER; --resume goes on with the others")
	f.BoolVar(&o.plan, "plan", false, "print what would be done, and what speaks against it")
	f.BoolVar(&o.resume, "resume", false, "go on with an operation that was interrupted or stopped")
	f.BoolVar(&o.abandon, "abandon", false, "end an operation that was interrupted, as it is")
	f.BoolVar(&o.yes, "yes", false, "do not ask")
}

func newUpgradeHistory(e *env) *cobra.Command {
	return &cobra.Command{
		Use:     "history",
		Short:   "What was done to the whole cluster, step by step",
		Long:    "history prints the last 256 steps of upgrades, rollbacks and restarts, as the log of the cluster has them.",
		Example: "  rootctl upgrade history\n  rootctl upgrade history -o json",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			o, err := ask(cmd.Context(), e, func(ctx context.Context, c *admin.Client) (*admin.Operation, error) { return c.Operation(ctx) })
			if err != nil {
				return err
			}
			if e.output == "json" {
				return e.printJSON(o)
			}
			t := newTable(e.stdout, "TIME", "OPERATION", "STEP")
			for _, l := range o.History {
				t.row(l.At.Local().Format(time.DateTime), l.ID, l.Text)
			}
			t.flush()
			if o.Running {
				e.note("\n%s by %s is under way, or was interrupted: its last step was %s", o.Kind, o.By, ago(e.now(), o.Last))
			}
			return nil
		},
	}
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
