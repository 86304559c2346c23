package packetpath

import (
	"maps"
	"sync/atomic"

	"github.com/rootd/rootd/fsm/table"
	"github.com/rootd/rootd/geo"
	"github.com/rootd/rootd/geo/steer"
	"github.com/rootd/rootd/packetpath/vl1"
)

// A peer is measured by another member where what is known leaves open which one is better (see [steer.Table.Probe]):
//
//	member                     candidate                  peer
//	  ├── probe ────────────────►│ expects the peer
//	  │◄──────────────── ready ──┤
//	  ├── RENDEZVOUS naming the root at the candidate ────►│
//	  │                          │◄───────────────── ECHO ─┤  which opens its NAT
//	  │                          ├── ECHO, hops 1 ────────►│  three times, each after the answer to the last
//	  │                          │◄─────────────────── OK ─┤
//
// The candidate does not answer the peer's ECHO, and its own have the hop field at 1: so the peer learns no path, and the
// attachment stays what it is. It is done for one peer of a neighbourhood and candidate at a time, and seldom.
const (
	probeEvery     = 600_000 // ms between two probes of one neighbourhood by one candidate
	probePeerEvery = 60_000  // ms between two probes of one peer
	probePerTick   = 2       // begun in a tick of the keeper: 20 a second
	probeMemory    = 32_768  // neighbourhoods and candidates that are remembered
	probesAtOnce   = 64      // that a candidate expects
	probeTime      = 5_000   // ms that it expects a peer for
	probeSamples   = rttLeast
	probeEchoes    = 2 * probeSamples // most ECHO to one peer
)

// probed is a neighbourhood and a candidate that measured it.
type probed struct {
	area   geo.Area
	member table.MemberID
}

// expected is a peer that this member shall measure. The map of them is replaced, never changed, by the receiver;
// workers look it up without waiting.
type expected struct {
	until int64 // ms
	sent  atomic.Int64
	id    atomic.Uint64 // of the ECHO that was sent last
	left  atomic.Int32  // samples to take
	spare atomic.Int32  // ECHO that may still be sent
}

// askProbe has a peer of ours measured by another member if that would tell more than we know.
func (w *worker) askProbe(s *session, b *rttBook) {
	r := w.root
	state := r.view.State()
	if rules := &state.Settings.Steering; b.probes == 0 || r.link == nil || !rules.Probes || !rules.Measured || state.RTTs.Len() == 0 || w.now-s.asked.Load() < probePeerEvery {
		return
	}
	at := s.route(w.now)
	var rec table.Record
	if at == nil || w.now-at.heard.Load() > stillHeard || !s.answersEcho() || !state.PeerKeyless(s.id.Address, &rec) {
		return
	}
	v6 := !at.addr.Addr().Is4()
	if member, ok := state.Attached(&rec, v6); !ok || member != r.member {
		return
	}
	s.asked.Store(w.now)
	var p steer.Peer
	steerRecord(&p, state, &rec, v6)
	candidate := table.MemberID(r.rulesOf(state).table.Probe(&p))
	if candidate == 0 || candidate == r.member {
		return
	}
	near, _ := geo.Areas(at.addr.Addr())
	key := probed{near, candidate}
	if last, ok := b.probed[key]; ok && w.now-last < probeEvery {
		return
	}
	if len(b.probed) >= probeMemory {
		clear(b.probed) // some are probed once more
	}
	b.probed[key] = w.now
	b.probes--
	w.notify(candidate, kindProbe, familyMessage(s.id.Address, at))
	w.inc(ProbesAsked)
}

// probeForMember makes ready for a peer of another member.
func (w *worker) probeForMember(from uint16, b []byte) {
	if len(b) != vl1.AddressLen+1 {
		return
	}
	r := w.root
	peer := vl1.AddressFrom(b)
	next := map[vl1.Address]*expected{}
	if held := r.expected.Load(); held != nil {
		maps.Copy(next, *held)
	}
	maps.DeleteFunc(next, func(_ vl1.Address, e *expected) bool { return e.until < w.now })
	if len(next) >= probesAtOnce {
		return
	}
	e := &expected{until: w.now + probeTime}
	e.left.Store(probeSamples)
	e.spare.Store(probeEchoes)
	next[peer] = e
	r.expected.Store(&next)
	w.notify(table.MemberID(from), kindProbeReady, b)
}

// readyAtMember sends the peer to the candidate, which waits for it.
func (w *worker) readyAtMember(from uint16, b []byte) {
	s, at := w.pathOf(b)
	if at == nil {
		return
	}
	state := w.root.view.State()
	m, ok := state.Member(table.MemberID(from))
	if !ok {
		return
	}
	if where, ok := state.PublishedEndpoint(m, b[vl1.AddressLen] != 4); ok {
		w.rendezvous(s, at, w.root.self.Address, where)
		w.inc(ProbesSent)
	}
}

// probing handles an authentic packet of a peer that is here to be measured, and reports whether it was one. A packet that
// says that the peer has come to stay, such as a HELLO, is none.
func (w *worker) probing(s *session, p vl1.Packet, from origin) bool {
	all := w.root.expected.Load()
	if all == nil || p.Hops() != 0 {
		return false
	}
	e := (*all)[s.id.Address]
	if e == nil || w.now > e.until || s.bestFor(from.addr.Addr()).Load() != nil {
		return false
	}
	switch p.Verb() {
	case vl1.VerbEcho:
		if e.id.Load() == 0 && e.left.Load() > 0 { // it comes from all of its sockets
			w.probe(s, e, from)
		}
		return true
	case vl1.VerbOK:
		inRe, id, _, err := vl1.DecodeOK(p)
		if err != nil || inRe != vl1.VerbEcho || id == 0 || !e.id.CompareAndSwap(id, 0) {
			return false
		}
		w.measured(from.addr.Addr(), max(1, w.now-e.sent.Load()))
		if e.left.Add(-1) > 0 {
			w.probe(s, e, from)
		} else {
			w.inc(ProbesDone)
		}
		return true
	}
	return false
}

// probe sends the peer an ECHO that teaches it no path.
func (w *worker) probe(s *session, e *expected, to origin) {
	if e.spare.Add(-1) < 0 {
		return
	}
	p := w.packet(s.id.Address, vl1.VerbEcho)
	p.SetHops(1)
	e.sent.Store(w.now)
	e.id.Store(w.seal(to, s, p))
}

// forgetExpected spares workers the look-up once nobody is expected any more.
func (w *worker) forgetExpected() {
	all := w.root.expected.Load()
	if all == nil {
		return
	}
	for _, e := range *all {
		if w.now <= e.until {
			return
		}
	}
	w.root.expected.CompareAndSwap(all, nil) // unless another one came meanwhile
}
