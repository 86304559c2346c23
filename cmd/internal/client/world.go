package client

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/rootd/rootd/packetpath/vl1"
)

// adoptRoots makes the roots of the planet the client's upstreams.
func (c *Client) adoptRoots() error {
	for _, r := range c.peers {
		r.root = false
	}
	for i := range c.planet.Roots {
		id := c.planet.Roots[i].Identity
		r := c.addPeer(id)
		if r == nil {
			return fmt.Errorf("client %v: no key with root %v", c.addr, id.Address)
		}
		r.root = true
	}
	slices.SortStableFunc(c.peers, func(a, b peerEntry) int {
		switch {
		case a.root != b.root && a.root:
			return -1
		case a.root != b.root:
			return 1
		case a.root && a.addr < b.addr:
			return -1
		case a.root && a.addr > b.addr:
			return 1
		}
		return 0
	})
	return nil
}

// rootEntry returns a root's entry of the planet.
func (c *Client) rootEntry(a vl1.Address) *vl1.Root {
	for i := range c.planet.Roots {
		if c.planet.Roots[i].Identity.Address == a {
			return &c.planet.Roots[i]
		}
	}
	return nil
}

// stableEndpoint picks an endpoint of a root: the first of the address family at or after a random place in its list.
func (c *Client) stableEndpoint(root vl1.Address, fam int) (netip.AddrPort, bool) {
	w := c.rootEntry(root)
	if w == nil || len(w.Endpoints) == 0 || c.sockets[fam] == 0 {
		return netip.AddrPort{}, false
	}
	n := len(w.Endpoints)
	at := int(c.rand64() % uint64(n))
	for k := range n {
		if ap := w.Endpoints[(at+k)%n]; familyOf(ap) == fam {
			return ap, true
		}
	}
	return netip.AddrPort{}, false
}

// allowed is the check that every endpoint passes before the client uses it for a peer.
func (c *Client) allowed(r *peer, ap netip.AddrPort) bool {
	if !ap.IsValid() || ap.Port() == 0 || !usable(ap, c.loopback) {
		return false
	}
	if !r.root || !c.fam.ChecksWorld {
		return true
	}
	w := c.rootEntry(r.id.Address)
	if w == nil {
		return false
	}
	return len(w.Endpoints) == 0 || slices.ContainsFunc(w.Endpoints, func(e netip.AddrPort) bool { return sameIP(e, ap) })
}

// takeWorlds reads the worlds of an OK(HELLO). A malformed one makes the client drop the whole packet.
func (c *Client) takeWorlds(e *Env, from *peer, b []byte) error {
	if !from.root {
		return nil
	}
	for len(b) > 0 {
		w, n, err := vl1.DecodeWorld(b)
		if err != nil {
			return err
		}
		b = b[n:]
		if w.Type != c.planet.Type || c.planet.ReplacedBy(w) != nil {
			c.stats.PlanetsRefused++
			e.notice(c, Notice{Kind: PlanetRefused, Peer: from.id.Address, Value: int64(w.Timestamp)})
			continue
		}
		c.planet = w
		c.stats.PlanetsTaken++
		if err := c.adoptRoots(); err != nil {
			return err
		}
		e.notice(c, Notice{Kind: PlanetTaken, Peer: from.id.Address, Value: int64(w.Timestamp)})
	}
	return nil
}

// upstream returns the best root: the one that gets WHOIS, GATHER and what is to be relayed.
func (c *Client) upstream(now int64) *peer {
	best, _ := c.upstreamPath(now)
	return best
}

// upstreamPath returns the best root and the path that packets to it take, nil if there is none.
func (c *Client) upstreamPath(now int64) (best *peer, via *path) {
	lowest := ^uint32(0)
	for _, r := range c.peers {
		if !r.root {
			continue
		}
		p := r.best(now, false)
		if q := r.relayQuality(now, p); q <= lowest {
			lowest, best, via = q, r.peer, p
		}
	}
	return best, via
}

func (c *Client) updateOnline(e *Env) {
	last := int64(0)
	for _, r := range c.peers {
		if r.root {
			last = max(last, r.lastReceive)
		}
	}
	online := e.Now-last < peerTimeout
	if online != c.online {
		c.online = online
		kind := Offline
		if online {
			kind = Online
		}
		e.notice(c, Notice{Kind: kind})
	}
}
