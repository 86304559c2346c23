package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/rootd/rootd/cmd/internal/restore"
)

type recoverOptions struct {
	dryRun bool
	force  bool
	yes    bool
}

func newRecover(e *env) *cobra.Command {
	var o recoverOptions
	c := &cobra.Command{
		Use:   "recover",
		Short: "Last survivor: make this data directory the whole cluster",
		Long: "recover is for when the quorum is gone for good: too many members are lost for ever, and those that are left have no leader. It makes the " +
			"data directory of this member the whole cluster, in a new epoch, with all it knows; the other members are removed.\n\n" +
			"What this member does not have is lost: run it where the last index is the highest (--dry-run shows it). What only this member has, and " +
			"was perhaps never committed, becomes part of the cluster.\n\n" +
			"rootd must not run here. A quorum that is alive is refused without --force. Killed at any moment, it is not done, or the next start finishes it. " +
			"The old log is kept beside the new one. Members of the old epoch that wake up are refused, and say so; they join again with a new token " +
			"and an empty data directory.",
		Example: "  rootctl recover --dry-run\n  rootctl recover --data-dir /var/lib/rootd",
		Args:    noArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return recoverMember(cmd.Context(), e, o) },
	}
	c.Flags().BoolVar(&o.dryRun, "dry-run", false, "only say what would come of it")
	c.Flags().BoolVar(&o.force, "force", false, "although a quorum is alive: its members are superseded")
	c.Flags().BoolVar(&o.yes, "yes", false, "do not ask")
	return c
}

func recoverMember(ctx context.Context, e *env, o recoverOptions) error {
	m := restore.MemberOptions{Dir: e.dataDir, Force: o.force, Now: e.now}
	plan, err := m.Plan(ctx)
	if err != nil {
		return err
	}
	if o.dryRun {
		return e.showRecovery(plan)
	}
	if !o.yes {
		e.printRecovery(plan)
		if err := e.confirmTyped("This ends the epoch of the cluster for all other members.", plan.ClusterName); err != nil {
			return err
		}
	}
	done, err := restore.FromMember(ctx, m)
	if err != nil {
		return err
	}
	return e.showRecovery(done)
}

func (e *env) showRecovery(r *restore.Recovery) error {
	if e.output == "json" {
		return e.printJSON(r)
	}
	e.printRecovery(r)
	if !r.Done {
		e.printf("\nNothing was changed (--dry-run).\n")
		return nil
	}
	e.printf("\nDone: %s is the whole cluster now, in epoch %s. The old log is in %s.\n\nNext:\n", r.Name, r.Next, r.Kept)
	e.printf("  1. start it:         rootd -data-dir %s\n", r.DataDir)
	e.printf("  2. for each machine: rootctl token create here, then rootctl join there, in an empty data directory\n")
	e.printPlanetStep(3, &r.Planet)
	return nil
}

func (e *env) printRecovery(r *restore.Recovery) {
	e.fields(
		"cluster", r.ClusterName+" "+r.Cluster+", epoch "+r.Epoch,
		"root", r.Root,
		"survivor", fmt.Sprintf("%s, ID %d, %s", r.Name, r.Member, r.DataDir),
		"peers", count(r.Peers),
		"log", fmt.Sprintf("ends at index %s, at %s", count(r.Last), stamp(r.Time)),
		"contents", r.Contents,
	)
	e.printf("! what the others committed after index %s (%s) is lost\n", count(r.Last), stamp(r.Time))
	if n := r.Last - r.Committed; n > 0 {
		e.printf("! %s at the end of the log may never have been committed: they count now\n", plural(int(n), "entry", "entries"))
	}
	e.printOthers(r.Others)
}

func (e *env) printOthers(all []restore.Other) {
	if len(all) == 0 {
		return
	}
	e.printf("\n")
	t := newTable(e.stdout, "REMOVED", "ID", "ADDRESS", "VOTER", "ANSWERS")
	for _, o := range all {
		t.row(o.Name, fmt.Sprint(o.ID), orDash(o.Address), yesNo(o.Voter), yesNo(o.Alive))
	}
	t.flush()
}

// printPlanetStep says what is left to be done for the clients.
func (e *env) printPlanetStep(n int, p *restore.Planet) {
	switch {
	case !p.Changes:
		e.printf("  %d. nothing for clients: the planet stays as it is\n", n)
	case p.Signed:
		e.printf("  %d. clients get the new planet (%s) from whoever of its roots they still reach; the file is in the data directory\n", n, planetChange(p))
	default:
		e.printf("  %d. publish a planet (%s), its key is not here: rootctl planet prepare, sign, publish\n", n, planetChange(p))
	}
}

func planetChange(p *restore.Planet) string {
	var parts []string
	if len(p.Added) > 0 {
		parts = append(parts, "with "+joinAddrs(p.Added))
	}
	if len(p.Removed) > 0 {
		parts = append(parts, "without "+joinAddrs(p.Removed))
	}
	return strings.Join(parts, ", ")
}
