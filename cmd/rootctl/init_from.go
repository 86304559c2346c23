package main

import (
	"context"
	"fmt"
	"net"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/rootd/rootd/cmd/internal/datadir"
	"github.com/rootd/rootd/cmd/internal/restore"
	"github.com/rootd/rootd/packetpath/vl1"
	"github.com/rootd/rootd/snapshot"
	"github.com/rootd/rootd/transport/join"
)

// initFrom are the flags of init that are for an archive alone.
type initFrom struct {
	path    string
	address string
	ca      string
	unseal  keyOptions
	dryRun  bool
	force   bool
	yes     bool
}

func (o *initFrom) flags(c *cobra.Command) {
	f := c.Flags()
	f.StringVar(&o.path, "from", "", "begin with the state of this archive (rootctl snapshot save)")
	f.StringVar(&o.address, "address", "", "with --from: host:port at which other members will dial this one, default that of the first endpoint, port 9995")
	f.StringVar(&o.ca, "ca", "", "with --from: the cluster's ca.key, if the archive does not hold it")
	o.unseal.flags(c, "with --from: ")
	f.BoolVar(&o.dryRun, "dry-run", false, "with --from: read and check everything, show what would come of it, change nothing")
	f.BoolVar(&o.force, "force", false, "with --from: although the cluster is alive; its members are superseded")
	f.BoolVar(&o.yes, "yes", false, "with --from: do not ask")
	c.MarkFlagsMutuallyExclusive("from", "cluster")
	c.MarkFlagsMutuallyExclusive("from", "planet")
	c.MarkFlagsMutuallyExclusive("from", "world-id")
}

// given reports whether a flag was given that means nothing without --from.
func (o *initFrom) given() bool {
	return o.address != "" || o.ca != "" || o.unseal != keyOptions{} || o.dryRun || o.force || o.yes
}

func initializeFrom(ctx context.Context, e *env, o initOptions) error {
	if o.name == "" {
		o.name = hostName()
	}
	if !validName(o.name) {
		return usageError("--name %q: up to 63 letters, digits, dots and dashes, beginning with a letter or digit", o.name)
	}
	line := e.newStatusLine()
	defer line.done()
	a := restore.ArchiveOptions{
		Path: o.from.path, Dir: e.dataDir, Name: o.name, Address: o.from.address, Force: o.from.force, Now: e.now,
		Key: func(m *snapshot.Meta) (snapshot.Key, error) { line.done(); return e.unseal(m, &o.from.unseal) },
	}
	if isTerminal(e.stderr) {
		a.Progress = readProgress(line)
	}
	var warnings []string
	var err error
	if len(o.endpoints) > 0 {
		if a.Endpoints, err = parseEndpoints(strings.Join(o.endpoints, ",")); err != nil {
			return err
		}
		a.Endpoints = vl1.Interleave(a.Endpoints)
		warnings = datadir.EndpointWarnings(a.Endpoints)
	} else if a.Endpoints, warnings, err = guessEndpoints(); err != nil {
		return err
	}
	if a.Address == "" {
		a.Address = net.JoinHostPort(a.Endpoints[0].Addr().String(), strconv.Itoa(defaultClusterPort))
	}
	if err := join.CheckAddress(a.Address); err != nil {
		return &userError{what: "--address", err: err, usage: true}
	}
	if a.Secrets, err = restore.ReadSecrets(o.identity, o.from.ca, o.key); err != nil {
		return err
	}
	for _, w := range warnings {
		e.note("! %s", w)
	}
	archive, err := restore.FromArchive(ctx, a)
	line.done()
	if err != nil {
		return err
	}
	if o.from.dryRun {
		return e.showFounding(archive.Plan())
	}
	if !o.from.yes {
		e.printFounding(archive.Plan())
		if err := e.confirmTyped("This begins a new epoch of the cluster; no other member of it may serve any more.", archive.Plan().ClusterName); err != nil {
			return err
		}
	}
	done, err := archive.Found()
	if err != nil {
		return err
	}
	return e.showFounding(done)
}

// readProgress shows how much of a file was read.
func readProgress(line *statusLine) func(read, total int64) {
	last := int64(-1)
	return func(read, total int64) {
		if percent := read * 100 / max(total, 1); percent != last {
			last = percent
			line.set(fmt.Sprintf("reading the archive: %d %% of %s", percent, bytesText(total)))
		}
	}
}

func (e *env) showFounding(f *restore.Founding) error {
	if e.output == "json" {
		return e.printJSON(f)
	}
	e.printFounding(f)
	if !f.Done {
		e.printf("\nNothing was changed (--dry-run).\n")
		return nil
	}
	e.printf("\nDone: %s holds the first member of epoch %s.\n\nNext:\n", f.DataDir, f.Next)
	e.printf("  1. start it:         rootd -data-dir %s\n", f.DataDir)
	e.printf("  2. for each machine: rootctl token create here, then rootctl join there, in an empty data directory\n")
	e.printPlanetStep(3, &f.Planet)
	return nil
}

func (e *env) printFounding(f *restore.Founding) {
	m := f.Archive
	key := "not here: kept elsewhere"
	if f.PlanetKey {
		key = filepath.Join(f.DataDir, datadir.FileKey)
	}
	stale := ""
	if m.Stale {
		stale = ", not of the leader: it may lack what was committed last"
	}
	e.fields(
		"archive", fmt.Sprintf("of %s, by %s (%s), index %s%s", stamp(m.Created), m.Member, m.Software, count(m.Index), stale),
		"cluster", f.ClusterName+" "+f.Cluster+", epoch "+f.Epoch,
		"root", f.Root,
		"peers", count(f.Peers),
		"contents", f.Contents,
		"read", fmt.Sprintf("and checked in %.1f s", f.Duration),
		"member", fmt.Sprintf("%s, ID %d, %s", f.Name, f.Member, f.Address),
		"planet", "world "+f.Planet.WorldID,
		"signing key", key,
	)
	e.printf("! what the cluster committed after %s is lost\n", stamp(m.Time))
	e.printOthers(f.Others)
}
