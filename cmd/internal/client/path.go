package client

import (
	"net/netip"

	"github.com/rootd/rootd/packetpath/vl1"
)

// Socket is the index of one of the client's UDP sockets: those for IPv4 first, then those for IPv6.
type Socket uint8

// path is a pair of local socket and remote endpoint. It is shared by all peers that are reached through it, as the
// life sign of a path is any datagram at all.
type path struct {
	addr     netip.AddrPort
	sock     Socket
	scope    vl1.Scope
	latency  uint32 // ms, of OK(HELLO)s that came with hops 0; unknownLatency before the first
	refs     int32  // path tables that hold it
	lastIn   int64  // any datagram
	lastOut  int64
	lastEcho int64 // answered ECHO request
}

func (p *path) alive(now int64) bool { return now-p.lastIn < aliveWindow }

// quality is lower for better paths. A dead path keeps its latency and is worse by a constant and its age, which stops
// counting at 140 s: among paths dead for longer, the one with the lower remembered latency wins.
func (p *path) quality(now int64) int64 {
	age := min(now-p.lastIn, 10*heartbeat)
	q := int64(p.latency)
	if age >= aliveWindow {
		q += unknownLatency + age
	}
	return q * int64(maxScope-p.scope+1)
}

func (p *path) updateLatency(ms uint32) {
	if p.latency < unknownLatency {
		ms = (p.latency + ms) / 2
	}
	p.latency = ms
}

// maxScope is the number of the highest scope, private addresses.
const maxScope = vl1.ScopePrivate

// slot is an entry of a peer's path table.
type slot struct {
	p        *path
	learned  int64 // last authentic packet of the peer on the path with hops 0, or when a redirect set it
	priority int32
}

// sameIP compares addresses without ports.
func sameIP(a, b netip.AddrPort) bool { return a.Addr() == b.Addr() }

// sameNet compares IPv4 addresses, or the first 64 bits of IPv6 addresses.
func sameNet(a, b netip.AddrPort) bool {
	x, y := a.Addr(), b.Addr()
	if x.Is4() || y.Is4() {
		return x == y
	}
	x16, y16 := x.As16(), y.As16()
	return [8]byte(x16[:8]) == [8]byte(y16[:8])
}

// usable says whether a client would ever use the endpoint: address family and scope.
func usable(ap netip.AddrPort, loopback bool) bool {
	a := ap.Addr()
	switch vl1.ScopeOf(a) {
	case vl1.ScopePrivate, vl1.ScopePseudoPrivate, vl1.ScopeShared, vl1.ScopeGlobal:
		if a.Is6() {
			b := a.As16()
			return [4]byte(b[:4]) != [4]byte{0x20, 0x01, 0x04, 0x70} // tunnels that real clients refuse
		}
		return true
	case vl1.ScopeLoopback:
		return loopback
	}
	return false
}
