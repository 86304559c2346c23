package packetpath

import (
	"github.com/rootd/rootd/fsm/table"
	"github.com/rootd/rootd/packetpath/vl1"
)

const (
	claimEvery = 30_000 // ms between two claims of one peer
	stillHeard = 30_000 // ms of silence after which a member lets a peer go; it hears from those it serves every 14 to 25 s
)

// settled is the first release whose clients speak to one member of a root only. Older ones greet all members at
// random, for ever: a HELLO of theirs does not say that they have moved.
var settled = packVersion(0, 1, 10, 3)

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
	var rec table.Record
	if !w.root.view.PeerHot(s.id.Address, &rec) {
		w.sight(s, at)
		return
	}
	member, attached := state.Attached(&rec, !at.addr.Addr().Is4())
	switch {
	case !attached:
		w.sight(s, at)
	case member == w.root.member:
		if due {
			w.sight(s, at)
		}
	case w.coming(s, state, at):
		w.sight(s, at)
	case s.version.Load()&0xffffffff >= settled:
		w.sight(s, at)
	default:
		if w.now-s.claimed.Load() > claimEvery {
			s.claimed.Store(w.now)
			w.notify(member, kindClaim, familyMessage(s.id.Address, at))
		}
		if w.root.hints != nil { // it may have been sent here, and the view be behind
			w.hints = append(w.hints, hint{s: s, fresh: true})
		}
	}
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

// claimedByMember lets a peer go to a member that hears it if we do not any more, or sent it there. What was sent to another one
// is not ours to give.
func (w *worker) claimedByMember(from uint16, b []byte) {
	s, at := w.pathOf(b)
	if len(b) != vl1.AddressLen+1 || at != nil && !w.sentTo(table.MemberID(from), b) {
		return
	}
	if s != nil {
		if to := s.leaving[index(b[vl1.AddressLen] != 4)].to.Load(); to != 0 && to != uint32(from) {
			return
		}
	}
	w.notify(table.MemberID(from), kindRelease, b)
}

func (w *worker) releasedByMember(b []byte) {
	s, at := w.pathOf(b)
	if s != nil {
		s.leaving[index(b[vl1.AddressLen] != 4)].until.Store(0) // it is nowhere else
	}
	if at != nil {
		w.sight(s, at)
	}
}
