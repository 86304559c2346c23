package packetpath

import (
	"net/netip"

	"github.com/rootd/rootd/fsm/table"
	"github.com/rootd/rootd/packetpath/vl1"
)

// Where the hop count is: the low three bits of a byte.
const (
	headHops     = 18
	fragmentHops = 15
)

// relayHead passes on a packet, or the first piece of one, and introduces its sender and receiver to each other.
func (w *worker) relayHead(p vl1.Packet, from origin) {
	first := p.Hops() == 0
	if s := w.relay(p, headHops, from); s != nil && first {
		w.introduce(p.Source(), s, from)
	}
}

// relayFragment passes on a further piece of a packet.
func (w *worker) relayFragment(f vl1.Fragment, from origin) {
	w.relay(f, fragmentHops, from)
}

// relay posts b, which names its destination in bytes 8 to 12 as heads and fragments do, on the destination's
// path. It changes nothing but the three hop bits. It returns the destination's session, or nil if b was not
// posted or only the log's word says where the destination is.
func (w *worker) relay(b []byte, hopByte int, from origin) *session {
	r := w.root
	if b[hopByte]&7 >= maxHops { // tested before it is counted, or seven would become zero
		w.inc(RelayHopLimit)
		return nil
	}
	dest := vl1.AddressFrom(b[8:])
	s := r.sessions.get(dest)
	if m, ok := w.elsewhere(dest, s); ok {
		w.relayAcross(dest, m, b, hopByte, from)
		return nil
	}
	if s == nil {
		w.relayFromView(dest, b, hopByte, from)
		return nil
	}
	at := s.route(w.now)
	if at == nil {
		w.inc(RelayNoRoute)
		return nil
	}
	if !w.mayRelay(b, from) || !w.mayRelayTo(s, b) {
		w.inc(RelayLimited)
		return nil
	}
	w.pass(b, hopByte, at.origin)
	return s
}

func (w *worker) pass(b []byte, hopByte int, to origin) {
	w.inc(Relayed)
	w.add(RelayedBytes, len(b))
	b[hopByte]++ // below maxHops: no carry into the flags
	w.post(to, b)
}

func (w *worker) mayRelay(b []byte, from origin) bool {
	r := w.root
	return r.limits.RelayFrom == 0 || r.sources.Take(from.addr, w.now, len(b))
}

func (w *worker) mayRelayTo(s *session, b []byte) bool {
	limit := w.root.limits.RelayTo
	return limit == 0 || s.relay.Take(w.now, len(b), limit, int(limit))
}

// relayAcross hands a packet to the member that has its receiver. That costs no hop; the one there counts it.
func (w *worker) relayAcross(dest vl1.Address, to table.MemberID, b []byte, hopByte int, from origin) {
	if !w.mayRelay(b, from) {
		w.inc(RelayLimited)
		return
	}
	if w.handOver(to, dest, b) && hopByte == headHops && b[hopByte]&7 == 0 {
		w.introduceAcross(vl1.Packet(b).Source(), dest, to, from)
	}
}

// relayFromView relays to a peer that this member has not heard since it started, at the endpoint where the log
// saw it: after a restart traffic flows on before the peers speak again.
func (w *worker) relayFromView(dest vl1.Address, b []byte, hopByte int, from origin) {
	r := w.root
	var words table.Words
	if !r.view.PeerHot(dest, &words) {
		w.inc(RelayNoRoute)
		return
	}
	for _, v6 := range [2]bool{false, true} {
		to := words.Endpoint(v6)
		port, ok := r.portFor(to)
		// Ours of any epoch: the peer does not know that we restarted.
		if member, _ := words.Attached(v6); !ok || member != r.member {
			continue
		}
		if !w.mayRelay(b, from) {
			w.inc(RelayLimited)
			return
		}
		w.pass(b, hopByte, origin{addr: to, port: port})
		return
	}
	w.inc(RelayNoRoute)
}

// introduce tells the sender and the receiver of a relayed packet where the other is, so that they find a direct path.
func (w *worker) introduce(source vl1.Address, d *session, from origin) {
	s := w.mayIntroduce(source, d.id.Address, from)
	if s == nil || s == d {
		return
	}
	met := w.introduceOn(s, d, live(&s.v4, w.now), live(&d.v4, w.now))
	met = w.introduceOn(s, d, live(&s.v6, w.now), live(&d.v6, w.now)) || met
	if met {
		w.inc(Introductions)
	}
}

// mayIntroduce returns the session of the sender of a relayed packet if it is time to introduce it to the receiver.
// It must have sent from a confirmed path of its own: a source address alone proves nothing.
func (w *worker) mayIntroduce(source, dest vl1.Address, from origin) *session {
	r := w.root
	interval := r.limits.IntroductionInterval.Milliseconds()
	if interval == 0 || !r.pairs.Stale(source, dest, w.now, interval) {
		return nil
	}
	s := r.sessions.get(source)
	if s == nil {
		return nil
	}
	at := s.bestFor(from.addr.Addr()).Load()
	if at == nil || at.addr != from.addr || !r.pairs.Due(source, dest, w.now, interval) {
		return nil
	}
	at.kept.Store(w.now)
	if !s.meets.Take(w.now, 1, r.limits.IntroductionRate, r.limits.IntroductionBurst) {
		w.inc(IntroductionsLimited)
		return nil
	}
	return s
}

// introduceOn introduces s and d in one address family. Each is told on its own path of that family, because that
// is the socket it will use. Random order: some NATs like one better, nobody knows which.
func (w *worker) introduceOn(s, d *session, sp, dp *path) bool {
	if sp == nil || dp == nil || sp.addr.Addr() == dp.addr.Addr() && sp.addr.Port() == dp.addr.Port() {
		return false
	}
	if w.random.Uint64()&1 == 0 {
		s, d, sp, dp = d, s, dp, sp
	}
	w.rendezvous(s, sp, d.id.Address, dp.addr)
	w.rendezvous(d, dp, s.id.Address, sp.addr)
	return true
}

// rendezvous tells one peer where another one is, unless it could not get there: a private address means nothing
// to somebody who is not in the same kind of network.
func (w *worker) rendezvous(to *session, at *path, about vl1.Address, where netip.AddrPort) {
	if scope := vl1.ScopeOf(where.Addr()); scope != vl1.ScopeGlobal && scope != vl1.ScopeOf(at.addr.Addr()) {
		return
	}
	p := vl1.AppendRendezvous(w.packet(to.id.Address, vl1.VerbRendezvous), vl1.Rendezvous{Peer: about, Endpoint: where})
	w.seal(at.origin, to, p)
}
