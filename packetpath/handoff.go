package packetpath

import (
	"net/netip"
	"sync/atomic"

	"github.com/rootd/rootd/fsm"
	"github.com/rootd/rootd/fsm/table"
	"github.com/rootd/rootd/packetpath/vl1"
)

// A handoff sends a peer from this member to another one (docs/handoff.md has the steps and why). The packet path's part
// is small: it notices that a peer should go ([worker.consider]), is silent to one that is going ([session.away]), and
// recognizes one that comes ([worker.place]). All the rest is the mover's, one goroutine with a bounded number of handoffs
// under way: it proposes the intent, redirects the peer once the view shows that the log accepted it, waits for the target,
// and takes the peer back if the target does not see it.
//
// What must outlive this member is in the log: a peer has at most one intent, it is void after 30 s, and it ends with the
// change that attaches the peer to the target. What the mover remembers may be lost at any time.

// HandoffSink takes the steps of handoffs that this member proposes. Offer must not block and must not keep the slice.
// The steps need no epoch beyond the one of the peer's record: the log refuses those of another life.
type HandoffSink interface {
	OfferHandoffs(steps []fsm.Handoff)
}

const (
	considerEvery = 60_000 // ms between two looks at a peer that stays
	drainEvery    = 5_000  // the same at a member that drains
	freshEnough   = 60_000 // ms since a peer was heard on the path of a redirect: the NAT must pass it
	hintQueue     = 4096   // peers that wait for the mover
	lookAfter     = 90     // s since a push in which a peer is looked at often
	levelAfter    = 40     // s in which the other family may follow to the new member; the client has time until its next visit
)

// family is the index of an address family in a session's arrays.
func family(a netip.Addr) int {
	if a.Is4() {
		return 0
	}
	return 1
}

func index(v6 bool) int {
	if v6 {
		return 1
	}
	return 0
}

func (s *session) family(v6 bool) *atomic.Pointer[path] {
	if v6 {
		return &s.v6
	}
	return &s.v4
}

// leaving is what the packet path knows of a peer that is being handed off, by family. The mover writes it, all read it.
type leaving struct {
	until   atomic.Int64  // ms: the peer gets no answers before
	to      atomic.Uint32 // the member to which it was sent, 0: it stays
	arrived atomic.Bool   // that member says that it came

	origin atomic.Pointer[origin] // of the path on which it was redirected
}

// away reports whether a peer is being handed off, or just was, so that nothing may be said to it in a family: it would
// come back.
func (s *session) away(a netip.Addr, now int64) bool { return now < s.leaving[family(a)].until.Load() }

// consider looks whether a peer that is attached here should go elsewhere. It takes no lock and allocates nothing; what
// comes of it goes to the mover with the end of the batch.
func (w *worker) consider(s *session) {
	r := w.root
	if r.hints == nil {
		return
	}
	state := r.view.State()
	every := int64(considerEvery) + int64(s.id.Address&0xfff)
	if drains(state, r.member) {
		every = drainEvery
	}
	if next := s.considered.Load(); w.now < next && next <= w.now+every {
		return // if it lies farther ahead, the drain has begun since
	}
	s.considered.Store(w.now + every)
	var words table.Words
	a := s.id.Address
	if len(state.Members) < 2 || !state.PeerSteered(a, &words) {
		return
	}
	moved := words.HandedOff()
	if moved {
		if at := w.unpack(a, &words).Handoff.At; at != 0 && state.Seconds() < at+lookAfter {
			s.considered.Store(w.now + drainEvery) // its other family may have to follow
		}
	}
	for _, v6 := range [2]bool{false, true} {
		at := s.family(v6).Load()
		if id, ok := state.AttachedIn(&words, v6); !ok || id != r.member || at == nil || w.now-at.heard.Load() > freshEnough {
			continue
		}
		to := w.wanted(state, a, &words, v6)
		if to == 0 && !moved {
			continue // nor is there a level that it should come to
		}
		rec := w.unpack(a, &words)
		if w.mayGo(state, rec, v6, to) || w.levelDue(state, rec, v6) {
			w.hints = append(w.hints, s)
			return
		}
	}
}

// unpack returns the record of a peer, but for the key, until the next call.
func (w *worker) unpack(a vl1.Address, words *table.Words) *table.Record {
	w.rec.Address = a
	words.Record(&w.rec)
	return &w.rec
}

// target returns where a peer that is attached here should go now, 0 if it stays or may not be sent.
func (w *worker) target(state *fsm.State, rec *table.Record, v6 bool) table.MemberID {
	var words table.Words
	rec.Words(&words)
	if to := w.wanted(state, rec.Address, &words, v6); w.mayGo(state, rec, v6, to) {
		return to
	}
	return 0
}

// wanted returns where a peer that is attached here should go, 0 if it stays.
func (w *worker) wanted(state *fsm.State, a vl1.Address, words *table.Words, v6 bool) (to table.MemberID) {
	if w.root.steer != nil {
		to = w.root.steer(state, w.unpack(a, words), v6)
	} else {
		to = table.MemberID(w.decide(state, a, words, v6).Target)
	}
	if to == 0 && drains(state, w.root.member) {
		to = anywhere(state, w.unpack(a, words), v6, w.root.member)
	}
	return to
}

// mayGo reports whether the log would let this member hand a peer off to that one, 0: to nobody.
func (w *worker) mayGo(state *fsm.State, rec *table.Record, v6 bool, to table.MemberID) bool {
	return to != 0 && state.MayHandOff(rec, v6, w.root.member, epochOf(rec, v6), to) == fsm.Accepted
}

func drains(state *fsm.State, id table.MemberID) bool {
	m, ok := state.Member(id)
	return ok && m.Draining()
}

// levelDue reports whether the peer's path of a family is below that of the other one, so that the client will forget it, and not about
// to be handed off itself, which lifts it as well.
func (w *worker) levelDue(state *fsm.State, rec *table.Record, v6 bool) bool {
	h := &rec.Handoff
	if fsm.LevelRedirects(rec, v6) == 0 || state.HandoffUnderWay(h) {
		return false
	}
	other, _ := state.Attached(rec, !v6)
	return other == w.root.member || state.Seconds() >= h.At+levelAfter
}

func epochOf(r *table.Record, v6 bool) uint16 {
	if v6 {
		return r.V6Epoch
	}
	return r.V4Epoch
}

// Steer decides instead of the rules of steering where a peer that is attached to this member should be, in a family: 0 if it
// should stay.
type Steer func(state *fsm.State, r *table.Record, v6 bool) table.MemberID

// anywhere returns a target for a peer of a member that drains, of which steering knows nothing: one of the others, by a hash that
// all members compute alike. 0: this member does not drain, or nobody may have the peer.
func anywhere(state *fsm.State, rec *table.Record, v6 bool, from table.MemberID) (to table.MemberID) {
	if !drains(state, from) {
		return 0
	}
	var most uint64
	for i := range state.Members {
		m := &state.Members[i]
		if state.MayHandOff(rec, v6, from, epochOf(rec, v6), m.ID) != fsm.Accepted {
			continue
		}
		if h := mix(uint64(rec.Address) ^ uint64(m.ID)<<48); to == 0 || h > most {
			to, most = m.ID, h
		}
	}
	return to
}

func endpointOf(r *table.Record, v6 bool) netip.AddrPort {
	if v6 {
		return r.V6
	}
	return r.V4
}

// findMain takes the path from an endpoint for the main one of its family. The endpoint is where another member spoke to the peer
// last: a NAT of the usual kind shows the same one to all members.
func (s *session) findMain(ep netip.AddrPort) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range s.paths {
		if p.addr != ep {
			continue
		}
		s.main[family(ep.Addr())].Store(p)
		if p.confirmed.Load() {
			s.bestFor(ep.Addr()).Store(p)
		}
		return
	}
}

// sentTo reports whether this member has sent the peer that a claim is about to the member that claims it.
func (w *worker) sentTo(member table.MemberID, b []byte) bool {
	if len(b) != vl1.AddressLen+1 {
		return false
	}
	s := w.root.sessions.get(vl1.AddressFrom(b))
	if s == nil {
		return false
	}
	l := &s.leaving[index(b[vl1.AddressLen] != 4)]
	if member == 0 || l.to.Load() != uint32(member) {
		return false
	}
	l.arrived.Store(true)
	if o := l.origin.Load(); o != nil {
		var space [32]byte
		w.notify(member, kindMain, vl1.AppendEndpoint(s.id.Address.Append(space[:0]), o.addr))
	}
	return true
}

// mainPath takes the word of the member that sent a peer here for which of its paths is the main one.
func (w *worker) mainPath(b []byte) {
	if len(b) < vl1.AddressLen {
		return
	}
	s := w.root.sessions.get(vl1.AddressFrom(b))
	ep, _, err := vl1.DecodeEndpoint(b[vl1.AddressLen:])
	if s != nil && err == nil && ep.IsValid() {
		s.findMain(ep)
	}
}

// muted handles a packet that came straight from a peer that is away: it is not answered, only subscriptions are kept. One that greets
// this member again and again may have lost the other one, which is asked.
func (w *worker) muted(s *session, at *path, p vl1.Packet) {
	w.inc(HandoffMuted)
	switch p.Verb() {
	case vl1.VerbMulticastLike:
		w.like(s, p)
	case vl1.VerbHello:
		l := &s.leaving[family(at.addr.Addr())]
		if l.arrived.Load() && w.now-s.claimed.Load() > mutedClaims {
			s.claimed.Store(w.now)
			w.notify(table.MemberID(l.to.Load()), kindClaim, familyMessage(s.id.Address, at))
		}
	}
}

const mutedClaims = 5_000 // ms between two questions whether a peer that is away has come

// freshest returns the path of a family on which to speak to the peer: the main one, or the confirmed one on which it was heard
// last; nil if that was long ago.
func (s *session) freshest(v6 bool, now int64) *path { return s.heardSince(v6, now-freshEnough+1) }

// heardSince is freshest for a time in ms since 1970.
func (s *session) heardSince(v6 bool, since int64) *path {
	if m := s.main[index(v6)].Load(); m != nil && m.confirmed.Load() && m.heard.Load() >= since {
		return m
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	var best *path
	for _, p := range s.paths {
		if p.confirmed.Load() && p.addr.Addr().Is4() != v6 && p.heard.Load() >= since && (best == nil || p.heard.Load() > best.heard.Load()) {
			best = p
		}
	}
	return best
}

// forget drops the paths of a family: the peer has gone.
func (s *session) forget(v6 bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	keep := s.paths[:0]
	for _, p := range s.paths {
		if p.addr.Addr().Is4() == v6 {
			keep = append(keep, p)
		}
	}
	clear(s.paths[len(keep):])
	s.paths = keep
	s.main[index(v6)].Store(nil)
	s.choose()
}

// hintAll gives the mover what the batch brought about. Hints are lost if it has too many: there will be others.
func (w *worker) hintAll() {
	for _, s := range w.hints {
		select {
		case w.root.hints <- s:
		default:
			w.inc(HandoffHintsDropped)
		}
	}
	for _, s := range w.waiting {
		select {
		case w.root.arrivals <- s:
		default:
			s.waits.Store(false)
			w.inc(HandoffHintsDropped)
		}
	}
	clear(w.hints)
	clear(w.waiting)
	w.hints, w.waiting = w.hints[:0], w.waiting[:0]
}
