package packetpath

import (
	"net/netip"

	"github.com/rootd/rootd/fsm"
	"github.com/rootd/rootd/packetpath/vl1"
)

// ProtocolVersion is what we say we speak. Every member and build must say the same protocol, or clients that meet several members
// change their cipher with each answer; 11 makes all of them use Salsa20/12-Poly1305, and ECHO as keep-alive.
const ProtocolVersion = 11

// probeProtocol is the first protocol version whose clients always say which planet they have. A HELLO of such a
// version without one comes from no client: other members and monitors greet like that to see whether we answer. They
// are answered, and not remembered.
const probeProtocol = 9

const (
	maxWorlds      = vl1.MaxPacket - 128 // bytes in one OK(HELLO)
	helloPathEvery = 1_000               // ms between two answers to one endpoint
	lateWorldsMax  = 10_000              // ms a HELLO may wait for the worlds it lacks: its sender must still remember it
	sightEvery     = 600_000
)

// hello handles a HELLO in suite 0, the only packet that may come from a stranger.
func (w *worker) hello(p vl1.Packet, from origin) {
	protocol, id, err := vl1.PeekHello(p)
	if err != nil || id.Address != p.Source() {
		w.inc(Junk)
		return
	}
	if protocol < vl1.MinProtocol {
		w.inc(HelloOld)
		return
	}
	s := w.root.sessions.get(id.Address)
	if s == nil || s.id.Key != id.Key {
		w.offload(p, from)
		return
	}
	if vl1.Dearmor(p, &s.key) != nil {
		w.inc(BadMAC)
		return
	}
	w.authentic(s, p, from)
}

// authenticHello answers a HELLO whose MAC was good and records what it says.
func (w *worker) authenticHello(s *session, at *path, p vl1.Packet, from origin) {
	w.inc(HelloReceived)
	var h vl1.Hello
	if err := vl1.DecodeHello(p, &s.key, &h); err != nil || h.Identity != s.id {
		w.inc(BadPacket)
		return
	}
	if !w.mayAnswerHello(s, at) && (at == nil || w.root.arrivals == nil || w.arrives(s, w.root.view.State(), at) == notSent) {
		w.inc(HelloLimited)
		w.await(s) // it may have been sent here, and the view be behind
		return
	}
	changed := s.version.Swap(packVersion(h.Protocol, h.Major, h.Minor, h.Revision)) !=
		packVersion(h.Protocol, h.Major, h.Minor, h.Revision)
	state := w.root.view.State()
	if h.HasPlanet && state.Planet != nil && h.PlanetID == state.Planet.World.ID {
		changed = s.planet.Swap(h.PlanetTimestamp) != h.PlanetTimestamp || changed
	}
	s.probe.Store(!h.HasPlanet && h.Protocol >= probeProtocol)
	if s.sighted.Load() == 0 {
		w.sight(s, at) // who it is, if not yet where
	} else if at == nil || at.confirmed.Load() {
		w.place(s, at, changed || w.now-s.sighted.Load() > sightEvery)
	}

	w.consider(s)

	ok := w.okHello(h.Protocol, h.Clock, from.addr)
	if at != nil && w.now-s.worlds.Load() >= w.root.limits.PlanetInterval.Milliseconds() {
		if at.confirmed.Load() {
			ok.Worlds = w.worldsFor(s, &h, state)
		} else if worlds := w.worldsFor(s, &h, state); worlds != nil {
			s.mu.Lock()
			at.hello = &pendingHello{id: p.ID(), clock: h.Clock, at: w.now, worlds: worlds}
			s.mu.Unlock()
		}
	}
	if w.answer(from, s, vl1.AppendOKHello(w.packet(s.id.Address, vl1.VerbOK), p.ID(), &ok)) {
		w.inc(HelloAnswered)
	}
}

// mayAnswerHello applies the limits per client and per endpoint: one client speaks from several sockets at once,
// and each of them wants its answer.
func (w *worker) mayAnswerHello(s *session, at *path) bool {
	l := &w.root.limits
	if at != nil {
		last := at.answered.Load()
		if w.now-last < helloPathEvery || !at.answered.CompareAndSwap(last, w.now) {
			return false
		}
	}
	return s.hellos.Take(w.now, 1, l.HelloRate, l.HelloBurst)
}

func (w *worker) okHello(protocol uint8, clock uint64, seen netip.AddrPort) vl1.OKHello {
	if protocol < 5 {
		seen = netip.AddrPortFrom(seen.Addr(), 0) // the oldest clients would take the port for their own
	}
	v := w.root.version
	return vl1.OKHello{
		Clock: clock, Protocol: ProtocolVersion,
		Major: v.Major, Minor: v.Minor, Revision: v.Revision,
		SeenAt: seen,
	}
}

// lateWorlds follows up on a HELLO that was answered before its path was confirmed. The client's clock is echoed
// as if it had been sent later by as much as the answer is late, so that the latency the client computes is right.
func (w *worker) lateWorlds(s *session, at *path) {
	s.mu.Lock()
	h := at.hello
	at.hello = nil
	s.mu.Unlock()
	if h == nil || w.now-h.at > lateWorldsMax {
		return
	}
	protocol, _, _, _ := unpackVersion(s.version.Load())
	ok := w.okHello(protocol, h.clock+uint64(w.now-h.at), at.addr)
	ok.Worlds = h.worlds
	w.answer(at.origin, s, vl1.AppendOKHello(w.packet(s.id.Address, vl1.VerbOK), h.id, &ok))
}

// worldsFor returns the worlds that the sender of h has in an older version than we, or nil, and notes that they
// are sent. That is rare: what it allocates does not count.
func (w *worker) worldsFor(s *session, h *vl1.Hello, state *fsm.State) []byte {
	var worlds []byte
	p := state.Planet
	if p != nil && h.HasPlanet && h.PlanetID == p.World.ID && h.PlanetTimestamp < p.World.Timestamp {
		worlds = append(worlds, p.Raw...)
		w.inc(WorldsSent)
	}
	for _, held := range h.Moons[:h.MoonCount] {
		moon, ok := w.root.moons[held.ID]
		if ok && held.Type == vl1.WorldMoon && held.Timestamp < moon.Timestamp && len(worlds)+len(moon.Raw) <= maxWorlds {
			worlds = append(worlds, moon.Raw...)
			w.inc(WorldsSent)
		}
	}
	if worlds != nil {
		s.worlds.Store(w.now)
	}
	return worlds
}

// sight tells the proposer where the peer is. It drops what the log says already.
func (w *worker) sight(s *session, at *path) {
	if s.probe.Load() || w.isRoot(s.id) {
		return
	}
	s.sighted.Store(w.now)
	protocol, major, minor, revision := unpackVersion(s.version.Load())
	g := fsm.Sighting{
		Identity: s.id, Protocol: protocol, Major: major, Minor: minor, Revision: revision,
		Planet: s.planet.Load(), Validated: true,
	}
	if at != nil && at.confirmed.Load() {
		g.Endpoint = at.addr
	}
	w.sights = append(w.sights, g)
}

// isRoot reports whether the planet lists an identity as a root. Other roots greet us to compare planets; they are no peers
// to look after.
func (w *worker) isRoot(id vl1.Identity) bool {
	p := w.root.view.State().Planet
	if p == nil {
		return false
	}
	for i := range p.World.Roots {
		if p.World.Roots[i].Identity == id {
			return true
		}
	}
	return false
}
