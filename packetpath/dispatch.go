package packetpath

import (
	"math"

	"github.com/rootd/rootd/packetpath/vl1"
)

const (
	maxHops   = 3 // relays of a packet, all roots together
	unlimited = math.MaxInt
)

// datagram sorts one received datagram.
func (w *worker) datagram(b []byte, from origin) {
	if len(b) < vl1.MinDatagram {
		w.inc(Junk)
		return
	}
	if vl1.IsFragment(b) {
		f := vl1.Fragment(b)
		if f.Dest() != w.root.self.Address {
			w.relayFragment(f, from)
			return
		}
		w.inc(FragmentsReceived)
		w.assemble(b, from)
		return
	}
	p := vl1.Packet(b)
	if len(p) < vl1.HeaderLen || p.Source() == w.root.self.Address {
		w.inc(Junk)
		return
	}
	if p.Dest() != w.root.self.Address {
		w.relayHead(p, from)
		return
	}
	if p.Fragmented() {
		w.inc(FragmentsReceived)
		w.assemble(b, from)
		return
	}
	w.budget = len(p)
	w.local(p, from)
}

// assemble keeps a piece of a packet for us until the others are there. Fragments to a root are rare (long
// subscription lists), so the assembler is shared and locked.
func (w *worker) assemble(b []byte, from origin) {
	r := w.root
	if !r.fragments.Take(from.addr.Addr(), w.now, 1) {
		w.inc(FragmentsDropped)
		return
	}
	r.assembling.Lock()
	var whole vl1.Packet
	if vl1.IsFragment(b) {
		whole = r.assembler.Fragment(vl1.Fragment(b), from.addr.Addr(), w.now)
	} else {
		whole = r.assembler.Head(vl1.Packet(b), from.addr.Addr(), w.now)
	}
	whole = append(vl1.Packet(nil), whole...)
	r.assembling.Unlock()
	if len(whole) == 0 {
		return
	}
	w.inc(Assembled)
	w.budget = len(b)
	w.local(whole, from)
}

// local handles a whole packet that is addressed to the root.
func (w *worker) local(p vl1.Packet, from origin) {
	switch p.Suite() {
	case vl1.SuitePoly1305:
		if p.Extended() {
			w.inc(ExtendedHello)
			w.offload(p, from)
			return
		}
		if p.Verb() != vl1.VerbHello {
			w.inc(SuiteRefused)
			return
		}
		w.hello(p, from)
		return
	case vl1.SuiteSalsa, vl1.SuiteAES:
	default:
		w.inc(SuiteRefused)
		return
	}
	s := w.root.sessions.get(p.Source())
	if s == nil {
		w.offload(p, from)
		return
	}
	if err := vl1.Dearmor(p, &s.key); err != nil {
		w.inc(BadMAC)
		return
	}
	w.authentic(s, p, from)
}

// authentic handles a packet whose MAC was good.
func (w *worker) authentic(s *session, p vl1.Packet, from origin) {
	id := p.ID()
	if p.Compressed() {
		var err error
		if p, err = vl1.Decompress(p, w.plain); err != nil {
			w.inc(BadPacket)
			return
		}
	}
	if w.root.expected.Load() != nil && w.probing(s, p, from) {
		return
	}
	var at *path
	if p.Hops() == 0 {
		if at = w.heard(s, from, id); at == nil {
			return
		}
		if s.away(from.addr.Addr(), w.now) {
			w.muted(s, at, p)
			return
		}
	} else {
		s.heard.Store(w.now)
	}
	w.verb(s, at, p, from)
	if at == nil {
		return
	}
	if !at.confirmed.Load() {
		w.challenge(s, at)
		w.await(s) // it may have been sent here: clients before 1.2.6 come with an ECHO
	} else if s.keeping(p.Verb()) {
		w.keeps(s, at)
	}
}

// heard notes a direct packet and opens the reply budget if its path is confirmed.
func (w *worker) heard(s *session, from origin, id uint64) *path {
	at, evicted := s.heardFrom(from, id, w.now)
	if evicted {
		w.inc(PathsEvicted)
	}
	if at == nil {
		w.inc(Replayed)
		return nil
	}
	if at.confirmed.Load() {
		w.budget = unlimited
	}
	return at
}

// verb answers an authentic packet. at is its path, nil if it was relayed to us.
func (w *worker) verb(s *session, at *path, p vl1.Packet, from origin) {
	switch p.Verb() {
	case vl1.VerbHello:
		w.authenticHello(s, at, p, from)
	case vl1.VerbOK:
		w.ok(s, at, p, from)
	case vl1.VerbWhois:
		w.whois(s, p, from)
	case vl1.VerbEcho:
		w.echo(s, p, from)
	case vl1.VerbMulticastLike:
		w.like(s, p)
	case vl1.VerbMulticastGather:
		w.gather(s, p, from)
	case vl1.VerbNetworkConfigRequest:
		w.refuseConfig(s, p, from)
	case vl1.VerbNop:
	default:
		w.inc(Ignored)
	}
}

// challenge sends the ECHO that confirms a path, at most one a second. It is never larger than the packet that
// brought it about.
func (w *worker) challenge(s *session, at *path) {
	last := at.echoed.Load()
	if w.now-last < challengeEvery || !at.echoed.CompareAndSwap(last, w.now) {
		return
	}
	p := w.question(s)
	if len(p) > w.budget {
		w.inc(UnconfirmedWithheld)
		return
	}
	w.budget -= len(p)
	w.inc(Challenges)
	at.echoID.Store(w.seal(at.origin, s, p))
}

// ok takes the answer to one of our questions: the peer is there, so its path is confirmed.
func (w *worker) ok(s *session, at *path, p vl1.Packet, from origin) {
	inRe, id, _, err := vl1.DecodeOK(p)
	if err != nil {
		w.inc(BadPacket)
		return
	}
	if inRe != vl1.VerbEcho && inRe != vl1.VerbWhois || at == nil {
		w.inc(Ignored)
		return
	}
	rtt, fresh := s.confirm(from, id, w.now)
	if rtt != 0 {
		w.measured(from.addr.Addr(), rtt)
	}
	if fresh {
		w.inc(PathsConfirmed)
		w.budget = unlimited
		w.place(s, at, true)
		w.lateWorlds(s, at)
		w.await(s)
	} else if rtt != 0 {
		w.proved(s, at)
	}
}
