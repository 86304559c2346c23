package packetpath

import (
	"net/netip"
	"sync"
	"sync/atomic"

	"github.com/rootd/rootd/packetpath/vl1"
)

// Timers of paths, in milliseconds.
const (
	pathExpiry      = 500_000 // silence after which a path carries no more relays; clients since 1.10.3 speak every 225 s, this is two of those and a bit
	pathStale       = 20_000  // silence after which another confirmed path that just spoke is preferred
	challengeEvery  = 2_000   // between two challenges of one path
	maxPaths        = 12      // per peer: three sockets, two families, two of our addresses
	keepWarmPatient = 4       // unanswered keep-warm ECHOs after which a path is left alone
)

// origin is where a datagram came from and how to answer there.
type origin struct {
	addr  netip.AddrPort // the sender
	local netip.Addr     // our address that it was sent to; invalid if the socket has only one
	port  int            // index of the listen address
}

// path is one way to reach a peer. The origin never changes. The atomics are written by any worker that handles
// a packet of the peer and read by all; each is one independent word. The rest belongs to the session's mutex.
type path struct {
	origin
	heard     atomic.Int64  // ms, last authentic packet with hops 0
	proved    atomic.Int64  // ms, when the last ECHO was sent that was answered
	answered  atomic.Int64  // ms, last OK(HELLO) sent here
	echoed    atomic.Int64  // ms, last ECHO sent here: challenge or keep-warm
	echoID    atomic.Uint64 // packet ID of that ECHO, as it was on the wire; 0 once answered
	earlier   atomic.Int64  // the same of the ECHO before, if it was not answered when the next one was sent (see askAgain)
	earlierID atomic.Uint64
	kept      atomic.Int64 // ms, last packet of the kind that clients send on paths that they keep (see keeps)
	rtt       atomic.Int64 // ms, of the last answered ECHO; 0 unknown
	doubts    atomic.Int32 // ECHO that were not answered when another member claimed the peer
	missed    atomic.Int32 // keep-warm ECHOs unanswered in a row
	confirmed atomic.Bool  // an ECHO was answered from here

	hello *pendingHello // guarded by session.mu; nil: none
}

// pendingHello remembers a HELLO that was answered without the worlds its sender lacks, because the path was
// not confirmed yet; they follow when it is.
type pendingHello struct {
	id     uint64 // packet ID
	clock  uint64 // the client's
	at     int64  // ms, ours
	worlds []byte
}

// session is what this member holds for one peer. It exists only once the identity is known to be valid and a
// packet was authenticated with the agreed key.
//
// id and key never change. best, v4 and v6 point to the paths that relays and introductions use and are read
// without a lock; they are written under mu, but for best, which any worker may move between v4 and v6.
type session struct {
	// What relays need: the first cache line, which ends with the address, and the two of the first path. See the test of it.
	best, v4, v6 atomic.Pointer[path]
	relay        Bucket        // bytes relayed to the peer
	heard        atomic.Int64  // ms, last authentic packet by any way
	version      atomic.Uint64 // protocol<<32 | major<<24 | minor<<16 | revision
	id           vl1.Identity
	first        path // memory of the first of paths, most clients' only one, where a relay need not wait once more to find it

	// main is the path that has the client's priority, by family, if known: that on whose socket it was redirected. Relays and
	// redirects use it rather than those of its other sockets.
	main [2]atomic.Pointer[path]
	key  vl1.Key

	probe   atomic.Bool   // it is no client: see probeProtocol
	sighted atomic.Int64  // ms, last sighting offered
	worlds  atomic.Int64  // ms, last time a world was sent
	planet  atomic.Uint64 // ms timestamp of the planet it said to have; 0 unknown
	hellos  Bucket
	whois   Bucket
	echoes  Bucket
	gathers Bucket
	meets   Bucket          // pairs introduced because the peer sent to the other
	claimed atomic.Int64    // ms, last time another member was asked to let the peer go
	awaited [2]atomic.Int64 // ms, by family: until then it is taken if it shows that it hears us
	waits   atomic.Bool     // the mover looks at it again and again
	spoke   atomic.Int64    // ms, when it last did something for which the mover should
	leaving [2]leaving      // by family

	// What the keeper looks at in every visit.
	asked      atomic.Int64 // ms, last time it was considered for a probe by another member
	checked    atomic.Int64 // ms, last time the log was asked whether the identity still holds the address
	considered atomic.Int64 // ms, when it is next looked at whether the peer should be elsewhere

	mu     sync.Mutex // guards the following fields
	paths  []*path
	few    [3]*path // memory of paths, while there are no more
	replay ReplayWindow
}

func (s *session) bestFor(a netip.Addr) *atomic.Pointer[path] {
	if a.Is4() {
		return &s.v4
	}
	return &s.v6
}

func (s *session) protocol() byte { return byte(s.version.Load() >> 32) }

func packVersion(protocol, major, minor byte, revision uint16) uint64 {
	return uint64(protocol)<<32 | uint64(major)<<24 | uint64(minor)<<16 | uint64(revision)
}

func unpackVersion(v uint64) (protocol, major, minor byte, revision uint16) {
	return byte(v >> 32), byte(v >> 24), byte(v >> 16), uint16(v)
}

// heardFrom notes an authentic packet that came straight from the peer (hops 0) and returns its path: the known
// one, a new unconfirmed one, or nil if the packet was seen before.
func (s *session) heardFrom(from origin, id uint64, now int64) (p *path, evicted bool) {
	s.heard.Store(now)
	p = s.bestFor(from.addr.Addr()).Load()
	if p == nil || p.origin != from {
		p, evicted = s.learn(from, id, now)
		if p == nil {
			return nil, evicted
		}
	}
	p.heard.Store(now)
	if p.missed.Load() != 0 {
		p.missed.Store(0)
	}
	s.prefer(p, now)
	return p, evicted
}

// prefer lets relays use p if the path they use has fallen silent.
func (s *session) prefer(p *path, now int64) {
	if b := s.best.Load(); b != p && p.confirmed.Load() && (b == nil || now-b.heard.Load() > pathStale) {
		s.bestFor(p.addr.Addr()).Store(p)
		s.best.Store(p)
	}
}

// learn finds or adds the path of a packet. A replayed packet adds none.
func (s *session) learn(from origin, id uint64, now int64) (p *path, evicted bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.replay.Seen(id) {
		return nil, false
	}
	for _, p := range s.paths {
		if p.origin == from {
			return p, false
		}
	}
	p = &s.first
	if p.addr.IsValid() { // it was given out once, and somebody may still hold it
		p = &path{}
	}
	p.origin = from
	if s.paths == nil {
		s.paths = s.few[:0]
	}
	if len(s.paths) < maxPaths {
		s.paths = append(s.paths, p)
		return p, false
	}
	s.paths[s.worst(now)] = p
	return p, true
}

// worst returns the index of the path to give up for a new one: unconfirmed before confirmed, then the longest
// silent, never one that relays use. It is called with mu held.
func (s *session) worst(now int64) int {
	worst, score := 0, int64(-1)
	for i, p := range s.paths {
		if p == s.v4.Load() || p == s.v6.Load() {
			continue
		}
		silent := now - p.heard.Load()
		if !p.confirmed.Load() {
			silent += 1 << 40
		}
		if silent > score {
			worst, score = i, silent
		}
	}
	return worst
}

// confirm is called when the ECHO with the given ID was answered from there. It returns the round trip in ms, 0 if that
// was no answer, and whether the path was unconfirmed until now: then relays use it from now on, because the peer
// is certainly there.
func (s *session) confirm(from origin, echoID uint64, now int64) (rtt int64, fresh bool) {
	p := s.bestFor(from.addr.Addr()).Load()
	if p == nil || p.origin != from {
		if p = s.find(from); p == nil {
			return 0, false
		}
	}
	sent := p.echoed.Load()
	if echoID == 0 || !p.echoID.CompareAndSwap(echoID, 0) {
		if sent = p.earlier.Load(); echoID == 0 || !p.earlierID.CompareAndSwap(echoID, 0) {
			return 0, false
		}
	}
	p.missed.Store(0)
	p.proved.Store(sent)
	p.doubts.Store(0)
	rtt = max(1, now-sent)
	p.rtt.Store(rtt)
	if p.confirmed.Load() {
		return rtt, false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if p.confirmed.Swap(true) {
		return rtt, false
	}
	if m := s.main[family(p.addr.Addr())].Load(); m != nil && m != p && m.confirmed.Load() && now-m.heard.Load() < pathStale {
		return rtt, true
	}
	s.bestFor(p.addr.Addr()).Store(p)
	s.best.Store(p)
	return rtt, true
}

func (s *session) find(from origin) *path {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range s.paths {
		if p.origin == from {
			return p
		}
	}
	return nil
}

// route returns the path that relays to the peer use, or nil.
func (s *session) route(now int64) *path {
	p := s.best.Load()
	if p == nil || now-p.heard.Load() > pathExpiry {
		return nil
	}
	return p
}

// answered reports whether the peer answered on a path after the log saw it, at a time in ms since 1970, and does so still. Of a client that
// speaks to all members that is true for a moment only: then the log knows better.
func (s *session) answered(at *path, seen, now int64) bool {
	proved := at.proved.Load()
	return proved > seen && (at.echoID.Load() == 0 || now-at.echoed.Load() < proveFor) && (s.settled() || now-proved < stillHeard)
}

// live returns the family's confirmed path if the peer spoke on it recently enough to be introduced there.
func live(at *atomic.Pointer[path], now int64) *path {
	p := at.Load()
	if p == nil || now-p.heard.Load() > pathExpiry {
		return nil
	}
	return p
}

// expire forgets silent paths and moves relays off a path that stopped answering. It returns how many it forgot.
func (s *session) expire(now int64) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	keep := s.paths[:0]
	for _, p := range s.paths {
		limit := int64(pathExpiry)
		if !p.confirmed.Load() {
			limit = 60_000
		}
		if now-p.heard.Load() <= limit {
			keep = append(keep, p)
		}
	}
	gone := len(s.paths) - len(keep)
	clear(s.paths[len(keep):])
	s.paths = keep
	if gone > 0 || s.best.Load() == nil || s.best.Load().missed.Load() >= keepWarmPatient {
		s.choose()
	}
	return gone
}

// choose sets the paths of both families and the best one anew: answering before silent, then the one heard last.
// It is called with mu held.
func (s *session) choose() {
	var v4, v6 *path
	for _, p := range s.paths {
		if !p.confirmed.Load() {
			continue
		}
		if p.addr.Addr().Is4() {
			v4 = better(v4, p)
		} else {
			v6 = better(v6, p)
		}
	}
	s.v4.Store(v4)
	s.v6.Store(v6)
	s.best.Store(better(v4, v6))
}

func better(a, b *path) *path {
	switch {
	case a == nil:
		return b
	case b == nil:
		return a
	}
	am, bm := a.missed.Load() >= keepWarmPatient, b.missed.Load() >= keepWarmPatient
	if am != bm {
		if am {
			return b
		}
		return a
	}
	if b.heard.Load() > a.heard.Load() {
		return b
	}
	return a
}
