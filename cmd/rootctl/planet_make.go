package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/rootd/rootd/cmd/internal/datadir"
	"github.com/rootd/rootd/packetpath/vl1"
)

type makeOptions struct {
	from      string
	roots     []string
	add       []string
	remove    []string
	moon      bool
	id        string
	key       string
	unsigned  bool
	keepOrder bool
	out       string
}

func newPlanetMake(e *env) *cobra.Command {
	var o makeOptions
	c := &cobra.Command{
		Use:   "make",
		Short: "Make a planet or moon, or the next version of one",
		Long: "make writes a signed planet or moon file. Nothing is published: see planet publish.\n\n" +
			"A new one takes a --root for each root: its identity (a file or the text; only the public half is used) and its endpoints. " +
			"The signing key is read from --key; if there is no such file, a key is made there. A key that is there is always reused, never replaced: " +
			"whoever loses it must touch every client.\n\n" +
			"The next version of one starts --from it and keeps its ID and key; its timestamp is newer. --add and --remove change endpoints, " +
			"--root replaces or adds a root. With --unsigned the key may stay offline: sign the file there with planet sign.\n\n" +
			"Endpoints are interleaved by family (IPv4, IPv6, IPv4, ...), which spreads clients evenly. At most 4 roots with 32 endpoints each.",
		Example: "  rootctl planet make --root identity.public=203.0.113.1:9993,[2001:db8::1]:9993\n" +
			"  rootctl planet make --from current --add 198.51.100.7:9993 --out planet.new\n" +
			"  rootctl planet make --from current --add 8056c2e21c=198.51.100.7:9993 --unsigned --out planet.new\n" +
			"  rootctl planet make --moon --root identity.public=203.0.113.1:9993 --key moon.key",
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return planetMake(cmd.Context(), e, o) },
	}
	f := c.Flags()
	f.StringVar(&o.from, "from", "", "start from this planet or moon: FILE, or \"current\"")
	f.StringArrayVar(&o.roots, "root", nil, "IDENTITY=ADDRESS:PORT,... ; may be repeated")
	f.StringArrayVar(&o.add, "add", nil, "with --from: add endpoints, [ROOT=]ADDRESS:PORT,...")
	f.StringArrayVar(&o.remove, "remove", nil, "with --from: remove endpoints, [ROOT=]ADDRESS:PORT,...")
	f.BoolVar(&o.moon, "moon", false, "make a moon instead of a planet")
	f.StringVar(&o.id, "id", "", "world ID, hexadecimal; default random, for a moon the address of its first root")
	f.StringVar(&o.key, "key", "", "signing key; default planet.key, with --from current the one in the data directory")
	f.BoolVar(&o.unsigned, "unsigned", false, "with --from: leave the signature to planet sign")
	f.BoolVar(&o.keepOrder, "keep-order", false, "keep endpoints in the order given")
	f.StringVar(&o.out, "out", "", "file to write; default \"planet\", for a moon 000000ADDRESS.moon")
	return c
}

func planetMake(ctx context.Context, e *env, o makeOptions) error {
	if err := o.check(); err != nil {
		return err
	}
	w, old := &vl1.World{Type: vl1.WorldPlanet}, (*vl1.World)(nil)
	if o.moon {
		w.Type = vl1.WorldMoon
	}
	if o.from != "" {
		var err error
		if old, _, err = e.world(ctx, o.from); err != nil {
			return err
		}
		next := *old
		next.Roots = slices.Clone(old.Roots)
		w = &next
	}
	if err := e.setRoots(w, o); err != nil {
		return err
	}
	if err := o.setID(w, old); err != nil {
		return err
	}
	w.Timestamp = uint64(e.now().UnixMilli())
	if old != nil {
		w.Timestamp = max(w.Timestamp, old.Timestamp+1)
	}
	if err := w.Check(); err != nil {
		return &userError{err: err, hint: "clients hold at most 4 roots of 32 endpoints each: keep the best"}
	}

	out := o.out
	if out == "" {
		out = "planet"
		if w.Type == vl1.WorldMoon {
			out = worldID(w.ID) + ".moon"
		}
	}
	// Everything that may be refused is, before a key is made.
	if err := mayReplace(out, w, old); err != nil {
		return err
	}
	if o.unsigned {
		w.Signature = vl1.Signature{}
	} else if err := e.sign(w, old, o); err != nil {
		return err
	}
	raw := w.AppendBinary(nil)
	if err := writeWorld(out, raw); err != nil {
		return err
	}
	j := describe(w, raw)
	j.File = out
	if err := e.printWorld(j); err != nil || o.unsigned {
		if err == nil {
			e.note("\nnext: rootctl planet sign %s --key KEY, where the key is", out)
		}
		return err
	}
	switch {
	case w.Type == vl1.WorldMoon:
		e.note("\nnext: put %s into moons.d of each client, or zerotier-cli orbit %s %s", out, strings.TrimLeft(j.ID, "0"), w.Roots[0].Identity.Address)
	case old != nil:
		e.note("\nnext: rootctl planet publish %s", out)
	}
	return nil
}

func (o *makeOptions) check() error {
	switch {
	case o.from == "" && len(o.roots) == 0:
		return &userError{what: "neither --root nor --from is given", usage: true, hint: "rootctl planet make --root identity.public=203.0.113.1:9993"}
	case o.from == "" && len(o.add)+len(o.remove) > 0:
		return usageError("--add and --remove need --from")
	case o.from == "" && o.unsigned:
		return usageError("--unsigned needs --from: a new planet is signed by its own key")
	case o.from != "" && (o.moon || o.id != ""):
		return usageError("--moon and --id cannot change what --from says: clients would not take it")
	case o.unsigned && o.key != "":
		return usageError("--unsigned and --key exclude each other")
	}
	return nil
}

// setRoots applies --root, --add and --remove.
func (e *env) setRoots(w *vl1.World, o makeOptions) error {
	hasher := vl1.NewHasher()
	for _, arg := range o.roots {
		who, list, ok := strings.Cut(arg, "=")
		if !ok {
			return usageError("--root %q: want IDENTITY=ADDRESS:PORT,...", source(arg))
		}
		id, _, err := e.readIdentity(who)
		if err != nil {
			return fmt.Errorf("--root: %w", err)
		}
		if err := hasher.Validate(&id); err != nil {
			return fmt.Errorf("--root %s: %w", source(who), err)
		}
		endpoints, err := parseEndpoints(list)
		if err != nil {
			return err
		}
		if i := slices.IndexFunc(w.Roots, func(r vl1.Root) bool { return r.Identity.Address == id.Address }); i < 0 {
			w.Roots = append(w.Roots, vl1.Root{Identity: id, Endpoints: endpoints})
		} else if o.from == "" || w.Roots[i].Identity != id {
			return usageError("root %s is there twice", id.Address)
		} else {
			w.Roots[i].Endpoints = endpoints
		}
	}
	if err := changeEndpoints(w, "--remove", o.remove, func(r *vl1.Root, ap netip.AddrPort) error {
		if !slices.Contains(r.Endpoints, ap) {
			return usageError("--remove %s: root %s has no such endpoint", ap, r.Identity.Address)
		}
		r.Endpoints = slices.DeleteFunc(slices.Clone(r.Endpoints), func(x netip.AddrPort) bool { return x == ap })
		return nil
	}); err != nil {
		return err
	}
	if err := changeEndpoints(w, "--add", o.add, func(r *vl1.Root, ap netip.AddrPort) error {
		if slices.Contains(r.Endpoints, ap) {
			return usageError("--add %s: root %s has that endpoint already", ap, r.Identity.Address)
		}
		r.Endpoints = append(slices.Clone(r.Endpoints), ap)
		return nil
	}); err != nil {
		return err
	}
	if !o.keepOrder {
		for i := range w.Roots {
			w.Roots[i].Endpoints = vl1.Interleave(w.Roots[i].Endpoints)
		}
	}
	return nil
}

// changeEndpoints calls change for each endpoint of "[ROOT=]ADDRESS:PORT,...".
func changeEndpoints(w *vl1.World, flag string, args []string, change func(*vl1.Root, netip.AddrPort) error) error {
	for _, arg := range args {
		who, list, named := strings.Cut(arg, "=")
		if !named {
			who, list = "", arg
		}
		i := 0
		if named {
			a, err := vl1.ParseAddress(who)
			if err != nil {
				return usageError("%s %q: %v", flag, arg, err)
			}
			if i = slices.IndexFunc(w.Roots, func(r vl1.Root) bool { return r.Identity.Address == a }); i < 0 {
				return usageError("%s %q: it has no root %s", flag, arg, a)
			}
		} else if len(w.Roots) != 1 {
			return usageError("%s %q: it has %d roots, say which: ROOT=%s", flag, arg, len(w.Roots), arg)
		}
		endpoints, err := parseEndpoints(list)
		if err != nil {
			return err
		}
		for _, ap := range endpoints {
			if err := change(&w.Roots[i], ap); err != nil {
				return err
			}
		}
	}
	return nil
}

func (o *makeOptions) setID(w, old *vl1.World) (err error) {
	switch {
	case old != nil:
	case o.id != "":
		w.ID, err = parseWorldID(o.id)
	case w.Type == vl1.WorldMoon:
		w.ID = uint64(w.Roots[0].Identity.Address)
	default:
		w.ID = datadir.RandomWorldID()
	}
	return err
}

// sign signs w with the key the options name. Only for a world that is new a key may be made.
func (e *env) sign(w, old *vl1.World, o makeOptions) error {
	path := o.key
	switch {
	case path != "":
	case o.from == current:
		path = e.defaultKey()
	default:
		path = datadir.FileKey
	}
	key, err := datadir.ReadKey(path)
	switch {
	case errors.Is(err, fs.ErrNotExist) && old != nil:
		return &userError{
			what: "signing key " + path + " is not here", hint: "name it with --key, or use --unsigned and sign where the key is (rootctl planet sign)",
		}
	case errors.Is(err, fs.ErrNotExist):
		if key, err = datadir.NewKey(path); err != nil {
			return err
		}
		e.note("made a signing key: %s. Keep it safe: without it this %s can never be changed\n", path, w.Type)
	case err != nil:
		return err
	}
	if old == nil {
		w.UpdateKey = key.Public()
	} else if key.Public() != w.UpdateKey {
		return wrongKey(path, w)
	}
	w.Sign(key)
	return nil
}

func wrongKey(path string, w *vl1.World) error {
	return &userError{
		what: fmt.Sprintf("%s is not the key that must sign updates of this %s", path, w.Type),
		hint: "clients would not take it: find the key whose public half begins with " + w.UpdateKey.String()[:16],
	}
}

// mayReplace refuses to write over a file, unless it is an earlier version of the same world.
func mayReplace(path string, w, from *vl1.World) error {
	there, _, err := readWorld(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err == nil && from != nil && there.Type == w.Type && there.ID == w.ID && there.UpdateKey == w.UpdateKey && there.Timestamp < w.Timestamp:
		return nil
	}
	return &userError{what: path + " is there already", hint: "choose another name with --out; a world is only replaced by its own next version (--from " + path + ")"}
}

// writeWorld replaces the file whole.
func writeWorld(path string, raw []byte) error {
	if fi, err := os.Stat(path); err == nil && !fi.Mode().IsRegular() {
		return &userError{what: path + " is no regular file"}
	}
	return datadir.WriteFile(path, raw, 0o644)
}
