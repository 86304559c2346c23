package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/rootd/rootd/snapshot"
	"github.com/rootd/rootd/snapshot/agent"
)

func newSnapshotList(e *env) *cobra.Command {
	var o storeOptions
	c := &cobra.Command{
		Use:   "list STORE",
		Short: "List the backups in a store",
		Long: "list lists the archives that rootd has put into a store: a directory, or s3://BUCKET/PREFIX of an S3-compatible one; the newest first. It needs no rootd. " +
			"Files with other names are not listed.",
		Example: "  rootctl snapshot list /mnt/backup/alice\n  rootctl snapshot list s3://backups/alice --s3-endpoint https://s3.example.net",
		Args:    wantArgs("STORE"),
		RunE:    func(cmd *cobra.Command, args []string) error { return snapshotList(cmd.Context(), e, args[0], &o) },
	}
	o.flags(c)
	return c
}

// listed is a backup as list prints it.
type listed struct {
	Name    string    `json:"name"`
	URL     string    `json:"url"`
	Cluster string    `json:"cluster"` // the first 8 digits of its ID
	Taken   time.Time `json:"taken"`
	Index   uint64    `json:"index"`
	Bytes   int64     `json:"bytes"`
}

func snapshotList(ctx context.Context, e *env, where string, o *storeOptions) error {
	store, err := o.open(e, where)
	if err != nil {
		return err
	}
	all, err := agent.Backups(ctx, store, "")
	if err != nil {
		return err
	}
	out := []listed{}
	for _, b := range all {
		out = append(out, listed{b.Name, store.String() + "/" + b.Name, b.Cluster, b.Taken, b.Index, b.Size})
	}
	if e.output == "json" {
		return e.printJSON(out)
	}
	if len(out) == 0 {
		e.note("no backups in %s", store)
		return nil
	}
	t := newTable(e.stdout, "TAKEN", "INDEX", "SIZE", "ARCHIVE")
	for _, b := range out {
		t.row(b.Taken.Format(time.DateTime), count(b.Index), bytesText(b.Bytes), b.URL)
	}
	t.flush()
	return nil
}

func newSnapshotFetch(e *env) *cobra.Command {
	var o storeOptions
	c := &cobra.Command{
		Use:   "fetch ARCHIVE|STORE FILE",
		Short: "Get a backup out of a store, verified",
		Long: "fetch copies an archive from a store (see list) to a file, for verify, restore, drill and init --from. If a store is named instead of an archive, the newest in it is " +
			"taken; a store with archives of several clusters is refused then.\n\n" +
			"What has arrived is verified, whole, before it gets its name; a file that was there is replaced only then, and only if it is an archive of the same cluster.",
		Example: "  rootctl snapshot fetch s3://backups/alice alice.rootd --s3-endpoint https://s3.example.net\n" +
			"  rootctl snapshot fetch s3://backups/alice/alice-0b1f8a2c-20261122T170501Z-i4711.rootd alice.rootd",
		Args: wantArgs("ARCHIVE", "FILE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return snapshotFetch(cmd.Context(), e, args[0], args[1], &o)
		},
	}
	o.flags(c)
	return c
}

// fetched is what fetch prints.
type fetched struct {
	File  string         `json:"file"`
	From  string         `json:"from"`
	Bytes int64          `json:"bytes"`
	Meta  *snapshot.Meta `json:"meta"`

	took time.Duration
}

func snapshotFetch(ctx context.Context, e *env, where, file string, o *storeOptions) error {
	if file == "-" {
		return usageError("fetch verifies what it has written: name a file")
	}
	began := time.Now()
	in, name := splitURL(where)
	store, err := o.open(e, in)
	if err != nil {
		return err
	}
	var size int64
	if name == "" {
		b, err := newest(ctx, store)
		if err != nil {
			return err
		}
		name, size = b.Name, b.Size
	}
	out := fetched{File: file, From: store.String() + "/" + name}
	if out.Meta, out.Bytes, err = e.fetch(ctx, store, name, file, size); err != nil {
		return err
	}
	out.took = time.Since(began)
	if e.output == "json" {
		return e.printJSON(out)
	}
	m := out.Meta
	e.fields(
		"Fetched", fmt.Sprintf("%s  %s, verified", out.File, bytesText(out.Bytes)),
		"From", out.From,
		"Made", fmt.Sprintf("%s by rootd %s, from %s", m.Created.Format(time.DateTime), orDash(m.Software), fromText(m)),
		"Cluster", fmt.Sprintf("%s  %s", m.Cluster.Name, m.Cluster.ID),
		"Peers", count(m.Counts.Peers),
		"Secrets", secretsText(m),
		"Took", fmt.Sprintf("%s, %s", out.took.Round(time.Millisecond), throughput(out.Bytes, out.took)),
	)
	return nil
}

// newest is the newest backup in a store, if all are of one cluster.
func newest(ctx context.Context, store agent.Store) (agent.Backup, error) {
	all, err := agent.Backups(ctx, store, "")
	if err != nil {
		return agent.Backup{}, err
	}
	if len(all) == 0 {
		return agent.Backup{}, &userError{what: fmt.Sprintf("there is no backup in %s", store), hint: "rootctl snapshot list shows what a store has"}
	}
	for _, b := range all {
		if b.Cluster != all[0].Cluster {
			return b, &userError{what: fmt.Sprintf("%s has backups of several clusters: %s, %s", store, all[0].Name, b.Name), hint: "name the archive: rootctl snapshot list shows them"}
		}
	}
	return all[0], nil
}

// fetch copies an archive out of a store. Nothing is replaced before it was read back from the disk and verified.
func (e *env) fetch(ctx context.Context, store agent.Store, name, file string, size int64) (*snapshot.Meta, int64, error) {
	r, err := store.Open(ctx, name)
	if err != nil {
		return nil, 0, err
	}
	defer r.Close()
	f, err := snapshot.Create(file)
	if err != nil {
		return nil, 0, err
	}
	defer f.Abandon()
	p := e.newProgress("fetching", size)
	defer p.done()
	n, err := io.Copy(io.MultiWriter(f, p), bufio.NewReaderSize(r, 1<<18))
	if err != nil {
		return nil, n, fmt.Errorf("fetch %s: %w", name, err)
	}
	p.done()
	check := e.newProgress("verifying", n)
	defer check.done()
	a, err := f.Verify(check)
	if err != nil {
		return nil, n, fmt.Errorf("%s in %s: %w", name, store, err)
	}
	if err := mayReplaceArchive(filepath.Clean(file), a.Meta().Cluster.ID); err != nil {
		return nil, n, err
	}
	return a.Meta(), n, f.Commit()
}
