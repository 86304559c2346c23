package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/rootd/rootd/snapshot"
	"github.com/rootd/rootd/transport/admin"
)

type restoreOptions struct {
	dryRun bool
	force  bool
	alone  bool
	yes    bool
}

func newSnapshotRestore(e *env) *cobra.Command {
	var o restoreOptions
	c := &cobra.Command{
		Use:   "restore FILE",
		Short: "Bring an archive's peers and settings back into the running cluster",
		Long: "restore is for a cluster that runs, and whose state is wrong: peers or settings that were deleted by mistake. It puts the peers and the " +
			"settings of the archive in place of the present ones, at all members at once. Members, tokens, planet and keys stay as they are; so do clients' sessions, and who " +
			"is missing in the archive is known again as soon as it speaks.\n\n" +
			"The archive is read and checked, whole, before anything is sent; then the log carries it, and its last entry puts it in place. Until then nothing changes, " +
			"whatever is killed; the cluster serves all the time. It is done when all voters have it.\n\n" +
			"For a cluster that is gone there are rootctl init --from (new machines) and rootctl recover (the last survivor).",
		Example: "  rootctl snapshot restore alice.rootd-snapshot --dry-run\n  rootctl snapshot restore alice.rootd-snapshot",
		Args:    wantArgs("FILE"),
		RunE:    func(cmd *cobra.Command, args []string) error { return snapshotRestore(cmd.Context(), e, args[0], o) },
	}
	c.Flags().BoolVar(&o.dryRun, "dry-run", false, "read and check everything, show what would come of it, change nothing")
	c.Flags().BoolVar(&o.force, "force", false, "although a voter is not up, or an upgrade goes on")
	aloneFlag(c, &o.alone)
	c.Flags().BoolVar(&o.yes, "yes", false, "do not ask")
	return c
}

// restorePlan is what -o json prints of a dry run.
type restorePlan struct {
	File   string         `json:"file"`
	Meta   *snapshot.Meta `json:"meta"`
	Peers  int            `json:"peers_now"`
	Before string         `json:"contents_hash_now"`
	Done   bool           `json:"done"`

	*admin.Restoration
}

func snapshotRestore(ctx context.Context, e *env, file string, o restoreOptions) error {
	if file == "-" {
		return usageError("restore reads the archive twice: name a file")
	}
	v, err := e.verify(file, keyOptions{})
	if err != nil {
		return err
	}
	now, err := ask(ctx, e, func(ctx context.Context, c *admin.Client) (*admin.Status, error) { return c.Status(ctx) })
	if err != nil {
		return err
	}
	if now.Cluster.ID != v.Meta.Cluster.ID {
		return &userError{
			what: fmt.Sprintf("%s is of cluster %s (%s), the rootd that answers of %s (%s)", file, v.Meta.Cluster.Name, v.Meta.Cluster.ID, now.Cluster.Name, now.Cluster.ID),
			hint: "rootctl init --from makes the first member of that cluster, on a machine of its own",
		}
	}
	plan := &restorePlan{File: file, Meta: v.Meta, Peers: now.Peers.Known, Before: now.Cluster.Contents}
	if o.dryRun {
		if e.output == "json" {
			return e.printJSON(plan)
		}
		e.printRestorePlan(plan)
		e.printf("\nNothing was changed (--dry-run).\n")
		return nil
	}
	if !o.yes {
		e.printRestorePlan(plan)
		if err := e.confirmTyped("This replaces all peers and settings of the running cluster.", now.Cluster.Name); err != nil {
			return err
		}
	}
	if plan.Restoration, err = e.sendArchive(ctx, file, admin.RestoreOptions{Force: o.force, Alone: o.alone}); err != nil {
		return err
	}
	plan.Done = true
	if e.output == "json" {
		return e.printJSON(plan)
	}
	r := plan.Restoration
	e.fields(
		"restored", fmt.Sprintf("%s peers (%s before), %d settings, from log index %s on", count(r.Peers), count(r.Before), r.Settings, count(r.Index)),
		"contents", r.Contents,
		"voters", strings.Join(r.Voters, ", "),
		"took", fmt.Sprintf("%.1f s", r.Seconds),
	)
	if len(r.Missing) > 0 {
		e.printf("! not there yet, they have it as soon as they are back: %s\n", strings.Join(r.Missing, ", "))
	}
	return nil
}

func (e *env) sendArchive(ctx context.Context, file string, o admin.RestoreOptions) (*admin.Restoration, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	p := e.newProgress("restoring", fileSize(file))
	defer p.done()
	c := e.client()
	defer c.Close()
	return c.Restore(ctx, io.TeeReader(bufio.NewReaderSize(f, 1<<18), p), o)
}

func (e *env) printRestorePlan(p *restorePlan) {
	e.fields(
		"archive", fmt.Sprintf("of %s, by %s, index %s", stamp(p.Meta.Created), p.Meta.Member, count(p.Meta.Index)),
		"cluster", p.Meta.Cluster.Name+" "+p.Meta.Cluster.ID,
		"peers", fmt.Sprintf("%s, now %s", count(p.Meta.Counts.Peers), count(p.Peers)),
		"settings", count(p.Meta.Counts.Settings),
		"contents", "now "+p.Before,
	)
	e.printf("! what the cluster learned of peers and settings after %s is replaced\n", stamp(p.Meta.Time))
}
