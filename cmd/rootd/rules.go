package main

import (
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/rootd/rootd/cmd/internal/datadir"
	"github.com/rootd/rootd/geo"
	"github.com/rootd/rootd/packetpath/vl1"
	"github.com/rootd/rootd/transport/join"
)

// maxSocketPath is the longest path of a unix socket that Linux takes, in bytes.
const maxSocketPath = 107

func notEmpty(p any) string {
	if *p.(*string) == "" {
		return "must not be empty"
	}
	return ""
}

func oneOf(words ...string) func(any) string {
	return func(p any) string {
		if slices.Contains(words, *p.(*string)) {
			return ""
		}
		return fmt.Sprintf("%q is none of %s", *p.(*string), strings.Join(words, ", "))
	}
}

// position checks a latitude and longitude.
func position(p any) string {
	if s := *p.(*string); s != "" {
		if _, err := geo.ParsePoint(s); err != nil {
			return err.Error()
		}
	}
	return ""
}

func memberName(p any) string {
	if s := *p.(*string); s != "" && !validName(s) {
		return fmt.Sprintf("%q is not a member name: up to 63 letters, digits, dots and dashes, beginning with a letter or digit", s)
	}
	return ""
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

// MemberName returns the configured name, or one made of the host's.
func (c *Config) MemberName() string {
	if c.Name != "" {
		return c.Name
	}
	host, err := os.Hostname()
	if err == nil && validName(host) {
		return host
	}
	return "m1"
}

func clusterAddress(p any) string {
	a := *p.(*string)
	if a == "" {
		return ""
	}
	if err := join.CheckAddress(a); err != nil {
		return err.Error()
	}
	return ""
}

func listenList(p any) string {
	list := *p.(*[]netip.AddrPort)
	if len(list) == 0 {
		return `needs at least one address, such as "0.0.0.0:9993"`
	}
	for i, ap := range list {
		if ap.Port() != 0 && slices.Contains(list[:i], ap) {
			return fmt.Sprintf("%s is there twice", ap)
		}
		if ap.Addr().IsMulticast() {
			return fmt.Sprintf("%s is a multicast address", ap)
		}
	}
	return ""
}

func endpointList(p any) string {
	list := *p.(*[]netip.AddrPort)
	if len(list) > vl1.MaxEndpoints {
		return fmt.Sprintf("%d endpoints: a planet holds at most %d per root, keep the best", len(list), vl1.MaxEndpoints)
	}
	for i, ap := range list {
		switch a := ap.Addr(); {
		case slices.Contains(list[:i], ap):
			return fmt.Sprintf("%s is there twice", ap)
		case ap.Port() == 0:
			return fmt.Sprintf("%s has port 0: name the port that clients send to", ap)
		case a.IsUnspecified(), a.IsMulticast(), a.IsLinkLocalUnicast():
			return fmt.Sprintf("%s cannot be reached by clients: name a public address", ap)
		}
	}
	return ""
}

func socketPath(p any) string {
	if n := len(*p.(*string)); n > maxSocketPath {
		return fmt.Sprintf("path of %d bytes: a unix socket takes at most %d", n, maxSocketPath)
	}
	return ""
}

func worldID(p any) string {
	if slices.Contains(datadir.BuiltinWorlds[:], *p.(*uint64)) {
		return fmt.Sprintf("%016x is the ID of a planet that clients are built with: choose another, or none for a random one", *p.(*uint64))
	}
	return ""
}

// between is for *int and *Bytes.
func between(low, high int64) func(any) string {
	return func(p any) string {
		switch p := p.(type) {
		case *int:
			if v := int64(*p); v < low || v > high {
				return fmt.Sprintf("%d is not between %d and %d", v, low, high)
			}
		case *Bytes:
			if *p < Bytes(low) || *p > Bytes(high) {
				return fmt.Sprintf("%s is not between %s and %s", *p, Bytes(low), Bytes(high))
			}
		}
		return ""
	}
}

func bytesOrZero(low, high int64) func(any) string {
	inner := between(low, high)
	return func(p any) string {
		if *p.(*Bytes) == 0 {
			return ""
		}
		if what := inner(p); what != "" {
			return what + ", nor 0"
		}
		return ""
	}
}

func betweenRate(low, high float64) func(any) string {
	return func(p any) string {
		if v := *p.(*float64); v < low || v > high {
			return fmt.Sprintf("%g is not between %g and %g", v, low, high)
		}
		return ""
	}
}

func durationBetween(low, high string) func(any) string {
	l, h := mustDuration(low), mustDuration(high)
	return func(p any) string {
		if v := *p.(*time.Duration); v < l || v > h {
			return fmt.Sprintf("%s is not between %s and %s", shortDuration(v), low, high)
		}
		return ""
	}
}

func durationOrZero(low, high string) func(any) string {
	inner := durationBetween(low, high)
	return func(p any) string {
		if *p.(*time.Duration) == 0 {
			return ""
		}
		if what := inner(p); what != "" {
			return what + ", nor 0s"
		}
		return ""
	}
}

func mustDuration(s string) time.Duration {
	d, err := parseDuration(s)
	if err != nil {
		panic(err)
	}
	return d
}

// check returns what only shows when several settings are seen together.
func (c *Config) check() (key, what string) {
	if p := c.AdminSocket(); c.Admin.Socket == "" && len(p) > maxSocketPath {
		return "admin.socket", fmt.Sprintf("%s is %d bytes long, a unix socket takes at most %d: set a shorter path", p, len(p), maxSocketPath)
	}
	return c.Backup.check()
}

// Warnings returns what is allowed but probably not meant, one sentence each.
func (c *Config) Warnings() []string {
	ws := datadir.EndpointWarnings(c.Endpoints)
	if a := c.HTTP.Listen; a.IsValid() && !a.Addr().IsLoopback() && !a.Addr().IsPrivate() {
		ws = append(ws, fmt.Sprintf("metrics are served on %s without a password: keep it behind a firewall", a))
	}
	if w := c.Backup.warning(); w != "" {
		ws = append(ws, w)
	}
	return ws
}
