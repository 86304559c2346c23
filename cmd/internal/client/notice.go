package client

import (
	"net/netip"

	"github.com/rootd/rootd/packetpath/vl1"
)

// NoticeKind names something that happened inside a client.
type NoticeKind uint8

const (
	// Learned: the path At of Peer entered the table.
	Learned NoticeKind = iota
	// Confirming: a packet of Peer came from the unknown path At, which is now asked with a HELLO.
	Confirming
	// Redirected: Peer sent us to At; Value is the new priority.
	Redirected
	// PushRefused: a push of Peer met a closed gate.
	PushRefused
	// EndpointRefused: a push, redirect or rendezvous of Peer named At, which the endpoint check refused.
	EndpointRefused
	// Reset: Peer reported another external address; all paths of its scope and family were reset.
	Reset
	// PlanetTaken: Value is the timestamp of the new planet, from Peer.
	PlanetTaken
	// PlanetRefused: as PlanetTaken, but refused.
	PlanetRefused
	// Online and Offline: some root, or none, was heard of in the last 500 s.
	Online
	Offline
	// Answered: Peer answered a HELLO over At with hops 0; Value is the latency in ms.
	Answered
	// Collision: Peer, a root, says that our address belongs to another identity. A real client makes a new identity.
	Collision
	// Gathered: Peer answered a GATHER; Value is the number of members it named.
	Gathered
	// Resolved: the identity of Peer came in an OK(WHOIS); Value is 0.
	Resolved
)

// Notice is one event inside a client.
type Notice struct {
	Kind  NoticeKind
	Peer  vl1.Address
	At    netip.AddrPort
	Value int64
}

func (e *Env) notice(c *Client, n Notice) {
	if e.Notice != nil {
		e.Notice(c, n)
	}
}

// PathInfo is an entry of a path table, for tests and tables.
type PathInfo struct {
	Endpoint netip.AddrPort
	Socket   Socket
	Priority int
	Latency  int   // ms, -1 if unknown
	Learned  int64 // ms since 1970
	Alive    bool
	Chosen   bool
}

// Paths returns the path table to a peer, nil if the peer is unknown.
func (c *Client) Paths(a vl1.Address, now int64) []PathInfo {
	r := c.peer(a)
	if r == nil {
		return nil
	}
	best := r.best(now, false)
	out := make([]PathInfo, 0, len(r.slots))
	for _, s := range r.slots {
		i := PathInfo{
			Endpoint: s.p.addr, Socket: s.p.sock, Priority: int(s.priority), Latency: int(s.p.latency),
			Learned: s.learned, Alive: s.p.alive(now), Chosen: s.p == best,
		}
		if s.p.latency == unknownLatency {
			i.Latency = -1
		}
		out = append(out, i)
	}
	return out
}

// Endpoint returns where packets to the peer go now, and whether there is such a direct path.
func (c *Client) Endpoint(a vl1.Address, now int64) (netip.AddrPort, bool) {
	at, _ := c.Route(a, now)
	return at, at.IsValid()
}

// Route returns where packets to the peer go now, and when something was last heard from there, ms since 1970, 0: never.
func (c *Client) Route(a vl1.Address, now int64) (at netip.AddrPort, heard int64) {
	r := c.peer(a)
	if r == nil {
		return at, 0
	}
	p := r.best(now, false)
	if p == nil {
		return at, 0
	}
	return p.addr, p.lastIn
}

// Upstream returns the root that gets WHOIS, GATHER and relayed packets.
func (c *Client) Upstream(now int64) vl1.Address {
	if r := c.upstream(now); r != nil {
		return r.id.Address
	}
	return 0
}

// silence measures how long a root that was asked gave no answer.
type silence struct{ since int64 }

func (s *silence) asked(now int64) {
	if s.since == 0 {
		s.since = now
	}
}

func (s *silence) answered(now int64, longest *int64) {
	if s.since != 0 {
		*longest = max(*longest, now-s.since)
		s.since = 0
	}
}

func (s *silence) current(now int64) int64 {
	if s.since == 0 {
		return 0
	}
	return now - s.since
}
