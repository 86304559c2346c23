package packetpath

import (
	"net/netip"
	"time"

	"github.com/rootd/rootd/packetpath/gather"
	"github.com/rootd/rootd/packetpath/udp"
	"github.com/rootd/rootd/packetpath/vl1"
)

// Stats is the state of the packet path at one moment.
type Stats struct {
	Counters       [numCounters]uint64 // indexed by Counter, described by CounterDefs
	Sessions       int                 // peers this member has a key with
	KnownWaiting   int                 // packets of known peers that wait for a key agreement
	UnknownWaiting int                 // HELLO of unknown identities that wait for validation
	Sockets        []SocketStats
	Groups         gather.Stats
}

// SocketStats are the kernel's view of one socket.
type SocketStats struct {
	Addr netip.AddrPort
	udp.Stats
}

// Stats adds up what the workers counted. It may be called at any time from any goroutine.
func (r *Root) Stats() Stats {
	s := Stats{
		Sessions:     r.sessions.len(),
		KnownWaiting: len(r.queues.known), UnknownWaiting: len(r.queues.unknown),
		Groups: r.groups.Stats(),
	}
	for _, l := range r.sockets.listeners {
		for _, c := range l.conns {
			s.Sockets = append(s.Sockets, SocketStats{l.addr, c.Stats()})
		}
	}
	r.counting.Lock()
	defer r.counting.Unlock()
	for _, c := range r.counters {
		for i := range s.Counters {
			s.Counters[i] += c.published[i].Load()
		}
	}
	return s
}

// PeerInfo is what this member knows first-hand about a peer.
type PeerInfo struct {
	Identity        vl1.Identity
	Protocol        uint8
	Major, Minor    uint8
	Revision        uint16
	PlanetTimestamp uint64 // ms; 0 unknown
	LastHeard       time.Time
	Paths           []PathInfo
	Reachable       bool // it has a live confirmed path: packets for it are relayed
}

// PathInfo is one path of a peer.
type PathInfo struct {
	Endpoint  netip.AddrPort
	Local     netip.AddrPort // our side; the address is unspecified if the socket has only one
	LastHeard time.Time
	RTT       time.Duration // of the last ECHO it answered; 0 unknown
	Confirmed bool
	Preferred bool // relays use it
}

// Peer returns what this member knows about a peer; false if it has no session with it.
func (r *Root) Peer(a vl1.Address) (PeerInfo, bool) {
	s := r.sessions.get(a)
	if s == nil {
		return PeerInfo{}, false
	}
	p := PeerInfo{Identity: s.id, PlanetTimestamp: s.planet.Load(), LastHeard: time.UnixMilli(s.heard.Load())}
	p.Protocol, p.Major, p.Minor, p.Revision = unpackVersion(s.version.Load())
	s.mu.Lock()
	defer s.mu.Unlock()
	best := s.route(r.clock())
	p.Reachable = best != nil
	for _, at := range s.paths {
		local := at.local
		listen := r.sockets.listeners[at.port].addr
		if !local.IsValid() {
			local = listen.Addr()
		}
		p.Paths = append(p.Paths, PathInfo{
			Endpoint: at.addr, Local: netip.AddrPortFrom(local, listen.Port()),
			LastHeard: time.UnixMilli(at.heard.Load()), RTT: time.Duration(at.rtt.Load()) * time.Millisecond,
			Confirmed: at.confirmed.Load(), Preferred: at == best,
		})
	}
	return p, true
}

// Census counts sessions.
type Census struct {
	Confirmed int // with a live confirmed path
	OnPlanet  int // whose peer carries the given planet
}

// Census looks at all sessions: a few milliseconds per hundred thousand.
func (r *Root) Census(planet uint64) (c Census) {
	now := r.clock()
	for i := range sessionShards {
		r.sessions.each(i, func(s *session) {
			if s.route(now) != nil {
				c.Confirmed++
			}
			if planet != 0 && s.planet.Load() == planet {
				c.OnPlanet++
			}
		})
	}
	return c
}
