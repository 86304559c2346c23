package main

import (
	"fmt"
	"net/netip"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/rootd/rootd/cmd/internal/client/sim"
)

// NATs on real sockets.
//
// A client behind a NAT has the address that it was dealt as the NAT's external one, and speaks from whichever of the
// shard's ports the NAT has mapped: that is its endpoint to everybody else. What comes to it passes the NAT's filter
// first, and is lost if no mapping lets it in. The NAT is the one of the virtual world.

// insidePort is the port of a client's first socket behind a NAT: nobody else ever sees it.
const insidePort = 9993

// natShare is a kind of NAT's part of all clients.
type natShare struct {
	kind   sim.NATKind
	weight int
}

// portsOf is how many ports a shard needs: a client's own, some more to rebind to; a symmetric NAT needs one for each
// flow, and a client has a few.
func (c *config) portsOf() int {
	for _, n := range c.nats {
		if n.kind == sim.Symmetric && n.weight > 0 {
			return 32
		}
	}
	return c.perNode + 2
}

func (c *config) setNATs(text string) error {
	for part := range strings.SplitSeq(text, ",") {
		name, weight, given := strings.Cut(strings.TrimSpace(part), "=")
		k, err := sim.ParseNATKind(name)
		if err != nil {
			return fmt.Errorf("-nat: %w", err)
		}
		n := 1
		if given {
			if n, err = strconv.Atoi(weight); err != nil || n < 0 {
				return fmt.Errorf("-nat: weight of %s is %q: want a whole number", name, weight)
			}
		}
		c.nats = append(c.nats, natShare{k, n})
	}
	total, behind := 0, 0
	for _, n := range c.nats {
		total += n.weight
		if n.kind != sim.NoNAT {
			behind += n.weight
		}
	}
	if err := check(total > 0, "-nat: all weights are 0"); err != nil {
		return err
	}
	if err := check(behind == 0 || runtime.GOOS == "linux", "-nat: needs Linux, where a socket tells to which address a datagram came"); err != nil {
		return err
	}
	return check(c.natTimeout >= time.Second, "-nat-timeout %v: 1s at least", c.natTimeout)
}

// natOf spreads the kinds of NATs evenly over the clients.
func (c *config) natOf(i int) sim.NATKind {
	total := 0
	for _, n := range c.nats {
		total += n.weight
	}
	for i %= total; ; {
		for _, n := range c.nats {
			if i < n.weight {
				return n.kind
			}
			i -= n.weight
		}
	}
}

// newNAT returns the NAT of a client, nil for none.
func (s *shard) newNAT(kind sim.NATKind, timeout time.Duration) *sim.NAT {
	if kind == sim.NoNAT {
		return nil
	}
	return &sim.NAT{Kind: kind, Timeout: timeout.Milliseconds(), Ports: s.ports}
}

// settle puts a client, or the NAT before it, at an address.
func (m *member) settle(a netip.Addr) {
	m.addr = a
	if m.nat == nil {
		return
	}
	k := 0
	if a.Is6() {
		k = 1
	}
	m.nat.External[k] = a
	m.nat.Forget()
}

// inside returns the local endpoint of one of its sockets.
func (m *member) inside(sock int) netip.AddrPort {
	return netip.AddrPortFrom(m.addr, insidePort+uint16(sock))
}

// outward returns the socket of the shard from which a datagram leaves.
func (s *shard) outward(m *member, from int, to netip.AddrPort) uint8 {
	if m.nat == nil {
		return m.socks[from]
	}
	ext, _ := m.nat.Out(s.env.Now, m.inside(from), to)
	return s.sockOf[ext.Port()]
}

// inward returns the client's socket that a datagram reaches, which came to a socket of the shard; false if none.
func (s *shard) inward(m *member, sock uint8, from netip.AddrPort) (int, bool) {
	if m.nat == nil {
		for k := range int(m.locals) {
			if m.socks[k] == sock {
				return k, true
			}
		}
		return 0, false
	}
	local, ok := m.nat.In(s.env.Now, s.ports[sock], m.addr.Is6(), from)
	return int(local.Port()) - insidePort, ok
}
