package client

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"

	"github.com/rootd/rootd/packetpath/vl1"
)

// Env is what a Client borrows while it is called. One Env serves many clients, one after the other.
type Env struct {
	// Now is the time in ms since 1970. It must be set before each call and must not run backwards for one client.
	Now int64
	// Send takes a datagram that leaves from a socket of the client. ttl is 0 for the usual one, or a small number for
	// datagrams that are only to open the client's own NAT. b is valid until Send returns.
	Send func(c *Client, from Socket, to netip.AddrPort, ttl uint8, b []byte)
	// Deliver takes the payload of a frame of a network that the client is in. data is valid until Deliver returns.
	// May be nil.
	Deliver func(c *Client, from vl1.Address, hops uint8, data []byte)
	// Notice takes what happens inside a client. May be nil.
	Notice func(c *Client, n Notice)

	// Repeated says of the frame that is being delivered that it is the same, byte for byte, as the last one of its
	// sender. See [Options.Repeats].
	Repeated bool

	build   [maxPacket]byte
	unpack  [maxPacket]byte
	armored [maxDatagram]byte
	pushed  []vl1.DirectPath
}

const (
	maxPacket   = vl1.MaxPacket
	maxDatagram = vl1.MTU
)

// Options describe one client.
type Options struct {
	Family   *Family
	Identity *vl1.SecretIdentity
	// Planet is the world the client starts with.
	Planet *vl1.World
	// Seed of the client's random source.
	Seed uint64
	// Sockets is the number of UDP sockets for IPv4 and for IPv6. A real client has two or three of each family
	// that its machine has.
	Sockets [2]int
	// DualStack gives the client sockets that carry both families, as test harnesses around the client's core have; the
	// numbers in Sockets must be equal then. Real installations have a socket per family and local address.
	DualStack bool
	// Networks are joined virtual networks: frames of them are sent and accepted.
	Networks []uint64
	// Direct are the client's own interface endpoints, which it tells to peers it trusts. May be empty.
	Direct []netip.AddrPort
	// AllowLoopback switches off the rule that loopback endpoints are refused. Real clients have no such switch: it is
	// for load tests on one machine.
	AllowLoopback bool
	// Jitter is the largest delay, in ms, by which a background tick is late. Real clients show up to 60.
	Jitter int64
	// Repeats lets [Client.Repeat] work, and lets the client recognise frames that are repeated to it.
	Repeats bool
}

// Client is the model of one client. What every packet needs comes first: with thousands of clients each cache line
// that a packet touches is a cache miss.
type Client struct {
	addr     vl1.Address
	label    int
	sockets  [2]uint8
	dual     bool
	loopback bool
	online   bool
	repeats  bool
	peers    []peerEntry // roots first, in address order
	recent   *path       // of the last datagram received

	stats Stats

	nextTick, nextQueue, nextHouse int64
	txQueue                        []queued
	rxQueue                        []received

	networks []network
	room     [1]network // of networks, as most clients have one

	silence silence
	fam     *Family
	rng     rand.PCG

	id       *vl1.SecretIdentity
	jitter   int64
	direct   []netip.AddrPort
	planet   *vl1.World
	paths    []*path
	leftOver []vl1.Address
	asked    [replies]uint32 // upper halves of the packet IDs we expect an OK for
	askedAt  uint8
	whois    []whoisEntry
	surfaces []surface
	frags    *vl1.Assembler // made when the first fragment comes
}

const replies = 64

// Stats count what a client did.
type Stats struct {
	SentPackets, SentBytes   uint64
	RecvPackets, RecvBytes   uint64
	FramesSent, FramesRecv   uint64
	Hellos, Echoes, Whoises  uint64 // requests sent
	OKs, Pushes, Rendezvous  uint64 // received
	BadMAC, Dropped          uint64
	FramesDirect, FramesLost uint64 // received with hops 0; given up because no path or identity was found in time
	Redirects, Resets        uint64 // obeyed
	PlanetsTaken             uint64
	PlanetsRefused           uint64
	LongestSilence           int64 // ms in which a root owed an answer and gave none; includes a silence that lasts
}

// New makes a client that has not been started. Nothing happens before the first Tick.
func New(o Options) (*Client, error) {
	switch {
	case o.Family == nil:
		return nil, errors.New("client: no family given")
	case o.Identity == nil:
		return nil, errors.New("client: no identity given")
	case o.Planet == nil || len(o.Planet.Roots) == 0:
		return nil, errors.New("client: the planet has no roots")
	case o.Sockets[0] < 0 || o.Sockets[1] < 0 || o.Sockets[0]+o.Sockets[1] == 0 || o.Sockets[0]+o.Sockets[1] > 16:
		return nil, fmt.Errorf("client: %d IPv4 and %d IPv6 sockets: need 1 to 16", o.Sockets[0], o.Sockets[1])
	case o.DualStack && o.Sockets[0] != o.Sockets[1]:
		return nil, fmt.Errorf("client: %d IPv4 and %d IPv6 sockets: must be equal if they are the same", o.Sockets[0], o.Sockets[1])
	}
	c := &Client{
		fam: o.Family, id: o.Identity, addr: o.Identity.Address,
		rng:     *rand.NewPCG(o.Seed, uint64(o.Identity.Address)),
		sockets: [2]uint8{uint8(o.Sockets[0]), uint8(o.Sockets[1])}, loopback: o.AllowLoopback, dual: o.DualStack,
		jitter: o.Jitter, direct: o.Direct, planet: o.Planet, repeats: o.Repeats,
	}
	c.networks = c.room[:0]
	for _, n := range o.Networks {
		c.networks = append(c.networks, network{id: n})
	}
	if err := c.adoptRoots(); err != nil {
		return nil, err
	}
	return c, nil
}

// Address returns the client's address.
func (c *Client) Address() vl1.Address { return c.addr }

// Family returns the client's family.
func (c *Client) Family() *Family { return c.fam }

// SetLabel stores a number for the caller's bookkeeping; Label returns it.
func (c *Client) SetLabel(n int) { c.label = n }

// Label returns the number given to SetLabel.
func (c *Client) Label() int { return c.label }

// Stats returns the counters as of now (ms).
func (c *Client) Stats(now int64) Stats {
	s := c.stats
	s.LongestSilence = max(s.LongestSilence, c.silence.current(now))
	return s
}

// Online reports whether any root was heard of within the last 500 s, as of the last tick.
func (c *Client) Online() bool { return c.online }

// Planet returns the world the client holds.
func (c *Client) Planet() *vl1.World { return c.planet }

// Locals returns the number of local endpoints, those for IPv4 first. Without DualStack each is a socket.
func (c *Client) Locals() int { return int(c.sockets[0]) + int(c.sockets[1]) }

// Local returns the number of the local endpoint from which a socket sends to the given address.
func (c *Client) Local(s Socket, to netip.Addr) int {
	if c.dual && !to.Is4() {
		return int(s) + int(c.sockets[0])
	}
	return int(s)
}

// SocketOf returns the socket of a local endpoint.
func (c *Client) SocketOf(local int) Socket {
	if n := int(c.sockets[0]); c.dual && local >= n {
		local -= n
	}
	return Socket(local)
}

// Next returns when Tick has something to do, in ms since 1970. Before the first Tick it is 0.
func (c *Client) Next() int64 {
	next := min(c.nextTick, c.nextHouse)
	if len(c.txQueue)+len(c.rxQueue) > 0 {
		next = min(next, c.nextQueue)
	}
	return next
}

// Tick does what is due at e.Now. Calling it early is harmless.
func (c *Client) Tick(e *Env) {
	if e.Now >= c.nextTick {
		c.tick(e)
		late := int64(0)
		if c.jitter > 0 {
			late = int64(c.rng.Uint64() % uint64(c.jitter+1))
		}
		c.nextTick = e.Now + tickPeriod + late
		if c.fam.Ancient {
			c.nextTick += ancientTick - tickPeriod
		}
	}
	if e.Now >= c.nextQueue && len(c.txQueue)+len(c.rxQueue) > 0 {
		c.checkQueues(e)
	}
	if e.Now >= c.nextHouse {
		c.nextHouse = e.Now + housekeeping
		c.house(e.Now)
	}
}

// house forgets path objects without users, old reports of our surface, and peers that fell silent.
func (c *Client) house(now int64) {
	kept := c.peers[:0]
	for _, r := range c.peers {
		if r.root || now-r.lastReceive < peerTimeout {
			kept = append(kept, r)
			continue
		}
		for i := range r.slots {
			r.slots[i].p.refs--
		}
	}
	clear(c.peers[len(kept):])
	c.peers = kept

	c.recent = nil
	live := c.paths[:0]
	for _, p := range c.paths {
		if p.refs > 0 {
			live = append(live, p)
		}
	}
	clear(c.paths[len(live):])
	c.paths = live

	fresh := c.surfaces[:0]
	for _, s := range c.surfaces {
		if now-s.at < surfaceMemory {
			fresh = append(fresh, s)
		}
	}
	c.surfaces = fresh
	for _, r := range c.peers {
		r.tried = r.tried[:0]
	}
}

// path returns the one path object of a socket and endpoint.
func (c *Client) path(s Socket, ap netip.AddrPort) *path {
	if p := c.recent; p != nil && p.sock == s && p.addr == ap {
		return p
	}
	c.recent = c.findPath(s, ap)
	return c.recent
}

func (c *Client) findPath(s Socket, ap netip.AddrPort) *path {
	for _, p := range c.paths {
		if p.sock == s && p.addr == ap {
			return p
		}
	}
	p := &path{sock: s, addr: ap, scope: vl1.ScopeOf(ap.Addr()), latency: unknownLatency}
	c.paths = append(c.paths, p)
	return p
}

func (c *Client) peer(a vl1.Address) *peer {
	for i := range c.peers {
		if c.peers[i].addr == a {
			return c.peers[i].peer
		}
	}
	return nil
}

// addPeer makes a peer record; an existing one is kept.
func (c *Client) addPeer(id vl1.Identity) *peer {
	if r := c.peer(id.Address); r != nil || id.Address == c.addr {
		return r
	}
	k, err := c.id.Agree(&id.Key)
	if err != nil {
		return nil
	}
	r := &peer{id: id, key: k}
	c.peers = append(c.peers, peerEntry{addr: id.Address, peer: r})
	return r
}

// rand64 is the client's own random source, for packet IDs and choices.
func (c *Client) rand64() uint64 { return c.rng.Uint64() }
