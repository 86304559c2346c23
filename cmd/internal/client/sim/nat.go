package sim

import (
	"fmt"
	"net/netip"
	"strings"
)

// NATKind says how a NAT maps and filters.
type NATKind uint8

const (
	// NoNAT: the client's endpoints are reachable by everybody.
	NoNAT NATKind = iota
	// FullCone: one external port per local one, open to everybody.
	FullCone
	// AddressRestricted: as FullCone, open to addresses that were sent to.
	AddressRestricted
	// PortRestricted: as FullCone, open to endpoints that were sent to.
	PortRestricted
	// Symmetric: one external port per local port and remote endpoint, open to that endpoint.
	Symmetric
)

var natNames = [...]string{"none", "full-cone", "address-restricted", "port-restricted", "symmetric"}

func (k NATKind) String() string { return natNames[k] }

// ParseNATKind reads the name of a kind.
func ParseNATKind(s string) (NATKind, error) {
	for i, n := range natNames {
		if n == s {
			return NATKind(i), nil
		}
	}
	return 0, fmt.Errorf("NAT %q: unknown; one of %s", s, strings.Join(natNames[:], ", "))
}

// NAT is one translator with one external address per family.
type NAT struct {
	Kind NATKind
	// Timeout in ms after the last outgoing datagram of a mapping, or of a filter entry.
	Timeout int64
	// External addresses, IPv4 and IPv6.
	External [2]netip.Addr

	next uint16
	maps []mapping
}

type mapping struct {
	local  netip.AddrPort
	remote netip.AddrPort // symmetric only
	port   uint16
	last   int64
	open   []opening
}

// opening lets a remote endpoint in.
type opening struct {
	to   netip.AddrPort
	last int64
}

// out returns the endpoint that the remote sees, and whether it is new.
func (n *NAT) out(now int64, local, remote netip.AddrPort) (ext netip.AddrPort, fresh bool) {
	m := n.find(now, local, remote)
	if m == nil {
		fresh = true
		if n.next == 0 {
			n.next = 20_000
		}
		n.next++
		n.maps = append(n.maps, mapping{local: local, port: n.next})
		m = &n.maps[len(n.maps)-1]
		if n.Kind == Symmetric {
			m.remote = remote
		}
	}
	m.last = now
	m.allow(now, n.Timeout, remote)
	return netip.AddrPortFrom(n.External[familyIndex(local)], m.port), fresh
}

func (n *NAT) find(now int64, local, remote netip.AddrPort) *mapping {
	for i := range n.maps {
		m := &n.maps[i]
		if m.local != local || n.Kind == Symmetric && m.remote != remote {
			continue
		}
		if now-m.last > n.Timeout {
			n.maps[i] = n.maps[len(n.maps)-1]
			n.maps = n.maps[:len(n.maps)-1]
			return nil
		}
		return m
	}
	return nil
}

func (m *mapping) allow(now, timeout int64, remote netip.AddrPort) {
	kept := m.open[:0]
	for _, o := range m.open {
		if o.to != remote && now-o.last <= timeout {
			kept = append(kept, o)
		}
	}
	m.open = append(kept, opening{to: remote, last: now})
}

// in returns the local endpoint that a datagram from outside reaches, if any.
func (n *NAT) in(now int64, port uint16, v6 bool, from netip.AddrPort) (netip.AddrPort, bool) {
	for i := range n.maps {
		m := &n.maps[i]
		if m.port != port || m.local.Addr().Is6() != v6 || now-m.last > n.Timeout {
			continue
		}
		if n.Kind == FullCone {
			return m.local, true
		}
		for _, o := range m.open {
			if now-o.last <= n.Timeout && (o.to == from || n.Kind == AddressRestricted && o.to.Addr() == from.Addr()) {
				return m.local, true
			}
		}
		return netip.AddrPort{}, false
	}
	return netip.AddrPort{}, false
}

// Forget drops all mappings, as a restart of the box does. Ports are not used again.
func (n *NAT) Forget() { n.maps = n.maps[:0] }

func familyIndex(ap netip.AddrPort) int {
	if ap.Addr().Is4() {
		return 0
	}
	return 1
}
