package sim

import (
	"fmt"
	"net/netip"
	"slices"
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
	// Ports are the external ports that it has, First the index of the one that it gives out first: then the next ones,
	// and round again, where no mapping lives. If all are in use, the mapping that was silent longest makes room. Without
	// Ports it has all from 20,001 up, and uses none twice.
	Ports []uint16
	First int

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

// Out returns the endpoint that the remote sees, and whether it is new.
func (n *NAT) Out(now int64, local, remote netip.AddrPort) (ext netip.AddrPort, fresh bool) {
	m := n.find(now, local, remote)
	if m == nil {
		fresh = true
		n.maps = append(n.maps, mapping{local: local, port: n.port(now)})
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

// port returns an external port for a new mapping.
func (n *NAT) port(now int64) uint16 {
	if len(n.Ports) == 0 {
		if n.next == 0 {
			n.next = 20_000
		}
		n.next++
		return n.next
	}
	alive := n.maps[:0]
	oldest := 0
	for _, m := range n.maps {
		if now-m.last <= n.Timeout {
			alive = append(alive, m)
			if m.last < alive[oldest].last {
				oldest = len(alive) - 1
			}
		}
	}
	n.maps = alive
	for range n.Ports {
		p := n.Ports[(n.First+int(n.next))%len(n.Ports)]
		n.next++
		if !slices.ContainsFunc(n.maps, func(m mapping) bool { return m.port == p }) {
			return p
		}
	}
	p := n.maps[oldest].port
	n.maps = slices.Delete(n.maps, oldest, oldest+1)
	return p
}

// In returns the local endpoint that a datagram from outside reaches, if any.
func (n *NAT) In(now int64, port uint16, v6 bool, from netip.AddrPort) (netip.AddrPort, bool) {
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
