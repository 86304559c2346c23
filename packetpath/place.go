package packetpath

import (
	"github.com/rootd/rootd/fsm/table"
	"github.com/rootd/rootd/packetpath/vl1"
)

const (
	claimEvery  = 30_000  // ms between two claims of one peer
	keptEvery   = 10_000  // ms between two looks at who has a client that keeps a path here
	keptShorter = 45_000  // ms: three of the ECHO that clients send on paths that they keep
	keptLonger  = 130_000 // ms: two announcements of multicast groups
	maxDoubts   = 2       // ECHO that a peer which others claim may leave unanswered
	stillHeard  = 30_000  // ms of silence after which a member lets a peer go; it hears from those it serves every 14 to 25 s
)

// settled is the first release whose clients speak to one member of a root only, as those of protocol 4 did. Others greet all
// members at random, for ever: a HELLO of theirs does not say that they have moved. Since placing they keep a path to each.
var (
	settled = packVersion(0, 1, 10, 3)
	placing = packVersion(0, 1, 6, 3)
)

// place considers where the log should have a peer that was heard on a confirmed path, or by way of another root
// (at is nil). due: there is something new to say in any case.
func (w *worker) place(s *session, at *path, due bool) {
	if w.link == nil || at == nil {
		if due {
			w.sight(s, at)
		}
		return
	}
	state := w.root.view.State()
	var words table.Words
	if !w.root.view.PeerHot(s.id.Address, &words) {
		w.sight(s, at)
		return
	}
	member, attached := state.AttachedIn(&words, !at.addr.Addr().Is4())
	switch {
	case !attached:
		w.take(s, at)
	case member == w.root.member:
		if due {
			w.sight(s, at)
		}
	default:
		switch w.arrives(s, state, at) {
		case arrived:
			w.sight(s, at)
		case notSent:
			if s.settled() {
				w.take(s, at)
				return
			}
			w.claim(s, at, member, kindClaim)
			w.await(s) // it may have been sent here, and the view be behind
		}
	}
}

func (s *session) settled() bool {
	v := s.version.Load()
	return v&0xffffffff >= settled || v != 0 && byte(v>>32) <= introduces
}

// claim asks the member that has a peer whether it lets it go.
func (w *worker) claim(s *session, at *path, member table.MemberID, kind byte) {
	if w.now-s.claimed.Load() > claimEvery {
		s.claimed.Store(w.now)
		w.notify(member, kind, familyMessage(s.id.Address, at))
	}
}

// keeps notes a packet that says more than a HELLO does about where an old client is, which it sends to all members at random:
// an ECHO goes along the paths that it keeps, other questions and what it has relayed along the best of them. So that the log has it
// where it is, also when it went there by itself.
func (w *worker) keeps(s *session, at *path) {
	before := at.kept.Swap(w.now)
	if w.link == nil || w.now-before < keptEvery || s.settled() {
		return
	}
	state := w.root.view.State()
	var words table.Words
	if !w.root.view.PeerHot(s.id.Address, &words) {
		return
	}
	if member, ok := state.AttachedIn(&words, !at.addr.Addr().Is4()); ok && member != w.root.member && w.arrives(s, state, at) == notSent {
		w.claim(s, at, member, kindKept)
	}
}

// keeping reports whether a client sends packets with a verb along paths that it keeps only. Those that measure all
// members by themselves keep a path to each.
func (s *session) keeping(v vl1.Verb) bool {
	switch v {
	case vl1.VerbEcho:
		return !s.placesItself()
	case vl1.VerbWhois, vl1.VerbMulticastLike, vl1.VerbMulticastGather, vl1.VerbNetworkConfigRequest:
		return true
	}
	return false
}

// placesItself reports whether the peer's client is of the releases from 1.6.3 on that know all members and find the nearest.
func (s *session) placesItself() bool {
	v := s.version.Load() & 0xffffffff
	return v >= placing && v < settled
}

// keptFor is how long after the last packet of that kind a path counts as given up.
func (s *session) keptFor() int64 {
	if s.placesItself() {
		return keptLonger
	}
	return keptShorter
}

// keptAt is when the peer last showed that it keeps a path of a family.
func (s *session) keptAt(v6 bool) (last int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range s.paths {
		if p.addr.Addr().Is4() != v6 {
			last = max(last, p.kept.Load())
		}
	}
	return last
}

func familyMessage(peer vl1.Address, at *path) []byte {
	family := byte(6)
	if at.addr.Addr().Is4() {
		family = 4
	}
	return append(peer.Append(nil), family)
}

// pathOf finds the path that a claim or release is about, if the peer was heard on it recently.
func (w *worker) pathOf(b []byte) (*session, *path) {
	if len(b) != vl1.AddressLen+1 {
		return nil, nil
	}
	s := w.root.sessions.get(vl1.AddressFrom(b))
	if s == nil {
		return nil, nil
	}
	// The path that relays use may be that of another of its sockets, silent for up to pathStale and a keep-alive.
	at := s.freshest(b[vl1.AddressLen] != 4, w.now)
	if at == nil || w.now-at.heard.Load() > stillHeard {
		return s, nil
	}
	return s, at
}

// claimedByMember lets a peer go to a member that hears it if we do not any more, or sent it there; kept: to one on whose path it spends
// ECHO, if it spends none on ours. What was sent to another one is not ours to give.
func (w *worker) claimedByMember(from uint16, b []byte, kept bool) {
	s, at := w.pathOf(b)
	if len(b) != vl1.AddressLen+1 {
		return
	}
	v6 := b[vl1.AddressLen] != 4
	if at != nil && !w.sentTo(table.MemberID(from), b) && !(kept && w.now-s.keptAt(v6) > s.keptFor()) && !w.unheard(s, at) {
		return
	}
	if s != nil {
		if to := s.leaving[index(v6)].to.Load(); to != 0 && to != uint32(from) {
			return
		}
	}
	w.notify(table.MemberID(from), kindRelease, b)
}

// unheard reports whether a peer that speaks to us does not seem to hear us: another member claims it, and claimed it before, and each
// time it was asked, and did not answer. Clients speak for minutes to a member that they do not hear, and are elsewhere meanwhile.
func (w *worker) unheard(s *session, at *path) bool {
	if at.doubts.Load() >= maxDoubts {
		return true
	}
	if w.now-at.proved.Load() > stillHeard {
		at.doubts.Add(1)
		w.askAgain(s, at)
	}
	return false
}

func (w *worker) releasedByMember(b []byte) {
	s, at := w.pathOf(b)
	if s != nil {
		s.leaving[index(b[vl1.AddressLen] != 4)].until.Store(0) // it is nowhere else
	}
	if at != nil {
		w.take(s, at)
	}
}
