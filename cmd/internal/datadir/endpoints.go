package datadir

import (
	"fmt"
	"net"
	"net/netip"
	"slices"

	"github.com/rootd/rootd/packetpath/vl1"
)

// InterfaceAddrs returns the addresses of this machine's interfaces that are up.
func InterfaceAddrs() ([]netip.Addr, error) {
	ifs, err := net.Interfaces()
	if err != nil {
		return nil, fmt.Errorf("list network interfaces: %w", err)
	}
	var out []netip.Addr
	for _, i := range ifs {
		if i.Flags&net.FlagUp == 0 {
			continue
		}
		addrs, err := i.Addrs()
		if err != nil {
			continue // gone since it was listed
		}
		for _, a := range addrs {
			if p, err := netip.ParsePrefix(a.String()); err == nil {
				out = append(out, p.Addr().Unmap())
			}
		}
	}
	return out, nil
}

// GuessEndpoints says where clients may reach a member that listens on listen, given the addresses of its machine:
// per family the global addresses, else the private ones, never loopback or link-local unless listen names them.
// Families are interleaved. Warnings are for the operator, one sentence each.
func GuessEndpoints(listen []netip.AddrPort, addrs []netip.Addr) (endpoints []netip.AddrPort, warnings []string) {
	var v4, v6 []netip.AddrPort
	add := func(ap netip.AddrPort) {
		family := &v6
		if ap.Addr().Is4() {
			family = &v4
		}
		if !slices.Contains(*family, ap) {
			*family = append(*family, ap)
		}
	}
	for _, l := range listen {
		if l.Port() == 0 {
			continue // nobody can be told
		}
		if !l.Addr().IsUnspecified() {
			add(l)
			continue
		}
		for _, a := range preferred(addrs, l.Addr().Is4()) {
			add(netip.AddrPortFrom(a, l.Port()))
		}
	}
	for i := range max(len(v4), len(v6)) {
		if i < len(v4) {
			endpoints = append(endpoints, v4[i])
		}
		if i < len(v6) {
			endpoints = append(endpoints, v6[i])
		}
	}
	if len(endpoints) > vl1.MaxEndpoints {
		warnings = append(warnings, fmt.Sprintf("%d addresses found, a planet holds %d: the rest is left out; name the right ones with -endpoints", len(endpoints), vl1.MaxEndpoints))
		endpoints = endpoints[:vl1.MaxEndpoints]
	}
	if len(endpoints) == 0 {
		return nil, append(warnings, "no address found where clients could reach this member: name one with -endpoints")
	}
	warnings = append(warnings, EndpointWarnings(endpoints)...)
	return endpoints, warnings
}

// EndpointWarnings names endpoints that clients refuse or cannot reach from everywhere, one sentence each.
func EndpointWarnings(endpoints []netip.AddrPort) []string {
	var out []string
	for _, ap := range endpoints {
		switch a := ap.Addr(); {
		case a.IsLoopback():
			out = append(out, fmt.Sprintf("endpoint %s is a loopback address: real clients refuse it", ap))
		case !global(a):
			out = append(out, fmt.Sprintf("endpoint %s is a private address: only clients in the same network reach it; behind NAT, name the public one", ap))
		}
	}
	return out
}

// preferred returns the best addresses of a family, in a stable order.
func preferred(addrs []netip.Addr, v4 bool) []netip.Addr {
	var good, private []netip.Addr
	for _, a := range addrs {
		switch {
		case a.Is4() != v4, !a.IsGlobalUnicast():
		case global(a):
			good = append(good, a)
		default:
			private = append(private, a)
		}
	}
	if len(good) == 0 {
		good = private
	}
	slices.SortFunc(good, netip.Addr.Compare)
	return slices.Compact(good)
}

// global reports whether a is reachable from the whole Internet as far as its number tells.
func global(a netip.Addr) bool {
	return a.IsGlobalUnicast() && !a.IsPrivate() && !sharedSpace.Contains(a)
}

// sharedSpace is what providers use behind their NAT (RFC 6598).
var sharedSpace = netip.MustParsePrefix("100.64.0.0/10")
