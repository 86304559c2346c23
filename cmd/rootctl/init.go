package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/rootd/rootd/cmd/internal/datadir"
	"github.com/rootd/rootd/packetpath/vl1"
)

type initOptions struct {
	name      string
	cluster   string
	endpoints []string
	identity  string
	planet    string
	key       string
	worldID   string
	from      initFrom
}

func newInit(e *env) *cobra.Command {
	var o initOptions
	c := &cobra.Command{
		Use:   "init",
		Short: "Make a root: identity, planet, signing key, the first member of a cluster",
		Long: "init makes the data directory of a root: its identity, a planet that names it, the key that signs the planet, and the certificate " +
			"authority of the cluster that others may join later (rootctl token create).\n\n" +
			"It is safe to run twice, or again after it was interrupted: what is there is kept, never replaced.\n\n" +
			"To take over a root that clients know already, give its --identity, and its --planet and signing --key too, " +
			"so that clients need not be touched.\n\n" +
			"After a disaster, --from makes the first member of a cluster that is gone from an archive of it: same identity, planet key, peers and settings, in a " +
			"new epoch. All other machines join as usual. Members of the old epoch that wake up are refused.",
		Example: "  rootctl init --endpoint 203.0.113.1:9993 --endpoint [2001:db8::1]:9993\n" +
			"  rootctl init --data-dir /srv/root --name ams --endpoint 203.0.113.1:9993\n" +
			"  rootctl init --identity identity.secret --planet planet --key current.c25519\n" +
			"  rootctl init --from alice.rootd-snapshot --endpoint 203.0.113.9:9993 --dry-run",
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if o.from.path != "" {
				return initializeFrom(cmd.Context(), e, o)
			}
			if o.from.given() {
				return usageError("--address, --ca, --archive-key, --passphrase-file, --dry-run, --force and --yes go with --from")
			}
			return initialize(cmd.Context(), e, o)
		},
	}
	f := c.Flags()
	f.StringVar(&o.name, "name", "", "name of this member, default the host name")
	f.StringVar(&o.cluster, "cluster", "", "name of the cluster that this member founds, up to 64 bytes, default the member's name")
	f.StringSliceVar(&o.endpoints, "endpoint", nil, "public address:port of this member for the planet; may be repeated; default guessed from the interfaces")
	f.StringVar(&o.identity, "identity", "", "take over this identity.secret instead of making a new one")
	f.StringVar(&o.planet, "planet", "", "take over this planet file; needs --identity")
	f.StringVar(&o.key, "key", "", "take over this signing key (text, mkworld's .c25519, or a world definition with signingKey_SECRET)")
	f.StringVar(&o.worldID, "world-id", "", "world ID of a new planet, hexadecimal, default random")
	o.from.flags(c)
	return c
}

// initResult is what -o json prints.
type initResult struct {
	DataDir     string           `json:"data_dir"`
	Created     bool             `json:"created"`
	Name        string           `json:"name"`
	Cluster     string           `json:"cluster"`
	ClusterName string           `json:"cluster_name"`
	Address     vl1.Address      `json:"address"`
	Identity    string           `json:"identity"`
	WorldID     string           `json:"world_id"`
	Timestamp   uint64           `json:"planet_timestamp"`
	Fingerprint string           `json:"planet_fingerprint"`
	Endpoints   []netip.AddrPort `json:"endpoints"`
	SigningKey  bool             `json:"has_signing_key"`
	Warnings    []string         `json:"warnings,omitzero"`
}

func initialize(_ context.Context, e *env, o initOptions) error {
	opts, warnings, err := e.initOptions(o)
	if err != nil {
		return err
	}
	d, err := datadir.Create(e.dataDir, opts)
	if errors.Is(err, datadir.ErrInUse) {
		if d, err = datadir.Read(e.dataDir); err == nil && opts.Identity != nil && opts.Identity.Identity != d.Identity.Identity {
			return &userError{what: fmt.Sprintf("%s already belongs to the root %s", e.dataDir, d.Identity.Address), hint: "name another directory with --data-dir"}
		}
	}
	if err != nil {
		return err
	}
	defer d.Close()
	if !d.Created {
		warnings = nil
	}
	own := ownEndpoints(d)
	if !d.Created && len(o.endpoints) > 0 && !sameEndpoints(own, opts.Endpoints) {
		warnings = append(warnings, "the planet is there already and keeps its endpoints; to change them: rootctl planet make --from current --add ADDRESS:PORT, then rootctl planet publish")
	}
	if e.output == "json" {
		return e.printJSON(initResult{
			DataDir: d.Path, Created: d.Created, Name: d.Meta.Name, Cluster: d.Meta.Cluster, ClusterName: d.Meta.ClusterLabel(), Address: d.Identity.Address,
			Identity: d.Identity.Identity.String(), WorldID: worldID(d.Planet.ID), Timestamp: d.Planet.Timestamp,
			Fingerprint: d.Fingerprint(), Endpoints: own, SigningKey: d.SigningKey != nil, Warnings: warnings,
		})
	}
	e.printInit(d, own, warnings)
	return nil
}

// initOptions reads everything that is named and checks it, before anything is written.
func (e *env) initOptions(o initOptions) (datadir.Options, []string, error) {
	opts := datadir.Options{Name: o.name, Cluster: o.cluster, Now: e.now()}
	if len(o.cluster) > 64 || !utf8.ValidString(o.cluster) {
		return opts, nil, usageError("--cluster: up to 64 bytes of text")
	}
	if opts.Name == "" {
		opts.Name = hostName()
	}
	if !validName(opts.Name) {
		return opts, nil, usageError("--name %q: up to 63 letters, digits, dots and dashes, beginning with a letter or digit", opts.Name)
	}
	var err error
	if o.worldID != "" {
		if opts.WorldID, err = parseWorldID(o.worldID); err != nil {
			return opts, nil, err
		}
	}
	if o.planet != "" && o.identity == "" {
		return opts, nil, usageError("--planet needs the --identity of its root")
	}
	if o.planet != "" && len(o.endpoints) > 0 {
		return opts, nil, usageError("--endpoint and --planet: a planet that is taken over has its endpoints already")
	}
	if o.identity != "" {
		if opts.Identity, err = datadir.ReadIdentity(o.identity); err != nil {
			return opts, nil, err
		}
	}
	if o.key != "" {
		if opts.Key, err = datadir.ReadKey(o.key); err != nil {
			return opts, nil, err
		}
	}
	var warnings []string
	if o.planet != "" {
		w, raw, err := readWorld(o.planet)
		if err != nil {
			return opts, nil, err
		}
		if w.ID == vl1.WorldIDEarth || w.ID == vl1.WorldIDMars {
			warnings = append(warnings, "the planet has the ID of one that clients are built with: a client that loses its planet file falls back to ZeroTier's roots")
		}
		if opts.Key == nil {
			warnings = append(warnings, "without its signing key (--key) this planet can be served but never changed")
		}
		opts.Planet = raw
		return opts, warnings, nil
	}
	if len(o.endpoints) == 0 {
		opts.Endpoints, warnings, err = guessEndpoints()
		return opts, warnings, err
	}
	given, err := parseEndpoints(strings.Join(o.endpoints, ","))
	if err != nil {
		return opts, nil, err
	}
	opts.Endpoints = vl1.Interleave(given)
	return opts, datadir.EndpointWarnings(opts.Endpoints), nil
}

func guessEndpoints() ([]netip.AddrPort, []string, error) {
	addrs, err := datadir.InterfaceAddrs()
	if err != nil {
		return nil, nil, err
	}
	listen := []netip.AddrPort{netip.AddrPortFrom(netip.IPv4Unspecified(), defaultPort), netip.AddrPortFrom(netip.IPv6Unspecified(), defaultPort)}
	endpoints, warnings := datadir.GuessEndpoints(listen, addrs)
	if len(endpoints) == 0 {
		return nil, nil, &userError{what: "no address found where clients could reach this machine", hint: "name one: --endpoint ADDRESS:9993"}
	}
	return endpoints, warnings, nil
}

func (e *env) printInit(d *datadir.Dir, own []netip.AddrPort, warnings []string) {
	if d.Created {
		e.printf("Made a root in %s\n\n", d.Path)
	} else {
		e.printf("%s holds a root already; nothing was changed\n\n", d.Path)
	}
	key := "kept elsewhere"
	if d.SigningKey != nil {
		key = filepath.Join(d.Path, datadir.FileKey)
	}
	e.fields(
		"root", d.Identity.Address.String(),
		"member", d.Meta.Name,
		"cluster", d.Meta.ClusterLabel()+" "+d.Meta.Cluster,
		"planet", filepath.Join(d.Path, datadir.FilePlanet)+", world "+worldID(d.Planet.ID)+", fingerprint "+d.Fingerprint(),
		"endpoints", joinAddrs(own),
		"signing key", key,
	)
	for _, w := range warnings {
		e.printf("! %s\n", w)
	}
	if !d.Created {
		return
	}
	e.printf("\nNext:\n"+
		"  1. start it:       rootd -data-dir %s\n"+
		"  2. on each client: stop zerotier-one, put the planet file into its home\n"+
		"                     (Linux: /var/lib/zerotier-one/planet), start it again\n"+
		"  3. keep safe:      copies of identity.secret and planet.key, offline. Without the key the planet\n"+
		"                     can never be changed again without touching every client\n", d.Path)
}

func ownEndpoints(d *datadir.Dir) []netip.AddrPort {
	for _, r := range d.Planet.Roots {
		if r.Identity == d.Identity.Identity {
			return r.Endpoints
		}
	}
	return nil
}

// defaultPort is the UDP port of ZeroTier.
const defaultPort = 9993

func hostName() string {
	name, err := os.Hostname()
	if err != nil || !validName(name) {
		return "m1"
	}
	return name
}

func validName(s string) bool {
	for i, r := range s {
		alnum := r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9'
		if !alnum && (i == 0 || r != '.' && r != '-') {
			return false
		}
	}
	return s != "" && len(s) <= 63
}

// worldID is the way a world's ID is written everywhere.
func worldID(id uint64) string { return fmt.Sprintf("%016x", id) }

func parseWorldID(s string) (uint64, error) {
	id, err := strconv.ParseUint(strings.TrimPrefix(s, "0x"), 16, 64)
	if err != nil || id == 0 {
		return 0, usageError("world ID %q: want up to 16 hexadecimal digits, not 0", s)
	}
	if id == vl1.WorldIDEarth || id == vl1.WorldIDMars {
		return 0, &userError{
			what: "world ID " + worldID(id) + " is the one of a planet that clients are built with", usage: true,
			hint: "leave it out for a random one",
		}
	}
	return id, nil
}
