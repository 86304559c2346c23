package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/rootd/rootd/cmd/internal/datadir"
	"github.com/rootd/rootd/packetpath/vl1"
)

func newPlanet(e *env) *cobra.Command {
	return group("planet", "Make, sign, inspect, verify and publish planets and moons",
		"A planet is the signed list of roots that clients carry; a moon is one more such list beside it. Clients take a newer version by "+
			"themselves if it has the same ID and is signed with the same key.\n\n"+
			"Where a command wants FILE, \"current\" means the planet of the running rootd (or of the data directory), \"-\" standard input.",
		newPlanetMake(e), newPlanetSign(e), newPlanetInspect(e), newPlanetVerify(e), newPlanetExport(e), newPlanetPublish(e), newPlanetPrepare(e), newPlanetStatus(e), newPlanetKey(e))
}

// current names the planet of the running rootd.
const current = "current"

// maxWorldFile is more than any world takes.
const maxWorldFile = 1 << 17

// readWorld reads a planet or moon file.
func readWorld(path string) (*vl1.World, []byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, nil, err
	}
	defer f.Close()
	return decodeWorld(path, f)
}

func decodeWorld(name string, r io.Reader) (*vl1.World, []byte, error) {
	raw, err := io.ReadAll(io.LimitReader(r, maxWorldFile))
	if err != nil {
		return nil, nil, fmt.Errorf("read %s: %w", name, err)
	}
	w, n, err := vl1.DecodeWorld(raw)
	if err != nil {
		return nil, nil, &userError{what: name, err: err, hint: "a planet or moon file is binary: was it changed on the way (text-mode copy, HTML page saved)?"}
	}
	if n != len(raw) {
		return nil, nil, &userError{what: fmt.Sprintf("%s: %d bytes after the end of the %s", name, len(raw)-n, w.Type)}
	}
	return w, raw, nil
}

// world reads a file, standard input ("-") or the current planet.
func (e *env) world(ctx context.Context, name string) (*vl1.World, []byte, error) {
	switch name {
	case "-":
		return decodeWorld("standard input", e.stdin)
	case current:
		return e.currentPlanet(ctx)
	}
	return readWorld(name)
}

// currentPlanet asks rootd, and takes the data directory's file if it does not run.
func (e *env) currentPlanet(ctx context.Context) (*vl1.World, []byte, error) {
	c := e.client()
	defer c.Close()
	ctx, cancel := e.limit(ctx)
	defer cancel()
	p, err := c.Planet(ctx)
	if err == nil {
		return decodeWorld("the current planet", strings.NewReader(string(p.Raw)))
	}
	d, dirErr := datadir.Read(e.dataDir)
	if e.socket != "" || dirErr != nil {
		return nil, nil, err
	}
	e.note("note: rootd does not answer, the planet is the one in %s", e.dataDir)
	return d.Planet, d.PlanetRaw, nil
}

// defaultKey is where the signing key of the data directory lives.
func (e *env) defaultKey() string { return filepath.Join(e.dataDir, datadir.FileKey) }

// parseEndpoints reads "ip:port,ip:port", or "ip/port" as the reference writes them.
func parseEndpoints(list string) ([]netip.AddrPort, error) {
	var out []netip.AddrPort
	for part := range strings.SplitSeq(list, ",") {
		ap, err := parseEndpoint(strings.TrimSpace(part))
		if err != nil {
			return nil, err
		}
		if slices.Contains(out, ap) {
			return nil, usageError("endpoint %s is there twice", ap)
		}
		out = append(out, ap)
	}
	return out, nil
}

func parseEndpoint(s string) (netip.AddrPort, error) {
	ap, err := netip.ParseAddrPort(s)
	if addr, port, ok := strings.Cut(s, "/"); err != nil && ok {
		ap, err = netip.ParseAddrPort(net.JoinHostPort(addr, port))
	}
	if err != nil {
		if a, e := netip.ParseAddr(strings.Trim(s, "[]")); e == nil {
			return ap, usageError("endpoint %q has no port: write %s", s, netip.AddrPortFrom(a, defaultPort))
		}
		return ap, usageError("endpoint %q: want ADDRESS:PORT, such as 203.0.113.1:9993 or [2001:db8::1]:9993 (names are not possible: planets hold addresses)", s)
	}
	a := ap.Addr().Unmap()
	switch {
	case ap.Port() == 0:
		return ap, usageError("endpoint %s has port 0", s)
	case a.Zone() != "", a.IsUnspecified(), a.IsMulticast(), a.IsLinkLocalUnicast():
		return ap, usageError("endpoint %s cannot be reached by clients: name a public address", s)
	}
	return netip.AddrPortFrom(a, ap.Port()), nil
}

func sameEndpoints(a, b []netip.AddrPort) bool {
	return len(a) == len(b) && !slices.ContainsFunc(a, func(ap netip.AddrPort) bool { return !slices.Contains(b, ap) })
}

// worldJSON is what -o json prints of a world.
type worldJSON struct {
	File        string     `json:"file,omitempty"`
	Type        string     `json:"type"`
	ID          string     `json:"id"`
	Timestamp   uint64     `json:"timestamp"`
	Time        time.Time  `json:"time"`
	Fingerprint string     `json:"fingerprint"`
	Bytes       int        `json:"bytes"`
	UpdateKey   string     `json:"updates_must_be_signed_by"`
	SelfSigned  bool       `json:"signed_by_that_key"`
	Roots       []rootJSON `json:"roots"`
	Warnings    []string   `json:"warnings,omitzero"`
}

type rootJSON struct {
	Address   vl1.Address      `json:"address"`
	Identity  string           `json:"identity"`
	Endpoints []netip.AddrPort `json:"endpoints"`
}

func describe(w *vl1.World, raw []byte) worldJSON {
	j := worldJSON{
		Type: w.Type.String(), ID: worldID(w.ID), Timestamp: w.Timestamp, Time: time.UnixMilli(int64(w.Timestamp)).UTC(),
		Fingerprint: datadir.Fingerprint(raw), Bytes: len(raw), UpdateKey: w.UpdateKey.String(), SelfSigned: w.Verify(&w.UpdateKey),
		Roots: []rootJSON{}, Warnings: worldWarnings(w),
	}
	for _, r := range w.Roots {
		j.Roots = append(j.Roots, rootJSON{Address: r.Identity.Address, Identity: r.Identity.String(), Endpoints: r.Endpoints})
	}
	return j
}

// worldWarnings says what is allowed but probably not meant.
func worldWarnings(w *vl1.World) []string {
	var out []string
	if w.Type == vl1.WorldPlanet && (w.ID == vl1.WorldIDEarth || w.ID == vl1.WorldIDMars) {
		out = append(out, "the ID is the one of a planet that clients are built with")
	}
	if len(w.Roots) == 0 {
		out = append(out, "it names no root: clients that take it reach nobody")
	}
	for _, r := range w.Roots {
		if len(r.Endpoints) == 0 {
			out = append(out, fmt.Sprintf("root %s has no endpoint: clients cannot find it", r.Identity.Address))
		}
		if !slices.Equal(r.Endpoints, vl1.Interleave(r.Endpoints)) {
			out = append(out, fmt.Sprintf("root %s: IPv4 and IPv6 endpoints are not interleaved, so the first of each family gets most clients", r.Identity.Address))
		}
		out = append(out, datadir.EndpointWarnings(r.Endpoints)...)
	}
	return out
}

func (e *env) printWorld(j worldJSON) error {
	if e.output == "json" {
		return e.printJSON(j)
	}
	signed := "yes, by the key that must sign updates"
	if !j.SelfSigned {
		signed = "not by the key that must sign updates: unsigned, damaged, or an update from an older key"
	}
	e.fields(
		"file", j.File,
		"type", j.Type,
		"id", j.ID,
		"version", fmt.Sprintf("%d (%s)", j.Timestamp, j.Time.Format("2006-01-02 15:04:05Z")),
		"fingerprint", j.Fingerprint,
		"size", fmt.Sprintf("%d bytes", j.Bytes),
		"update key", j.UpdateKey[:32]+"...",
		"signed", signed,
	)
	for _, r := range j.Roots {
		e.printf("\nroot %s\n", r.Address)
		for _, ap := range r.Endpoints {
			e.printf("  %s\n", ap)
		}
	}
	for i, w := range j.Warnings {
		if i == 0 {
			e.printf("\n")
		}
		e.printf("! %s\n", w)
	}
	return nil
}
