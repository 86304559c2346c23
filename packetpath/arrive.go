package packetpath

import (
	"github.com/rootd/rootd/fsm"
	"github.com/rootd/rootd/fsm/table"
	"github.com/rootd/rootd/packetpath/vl1"
)

// A peer becomes a member's only when it has just shown that it hears this member: it answered an ECHO that was sent within the last
// moments. That it is heard is not enough, and a path that it confirmed minutes ago says nothing about now. Who comes gets
// ECHO until one is answered ([worker.prove]), from the packet in hand and then from the mover.
const (
	provedFor   = 2_000 // ms for which an answered ECHO shows that the peer hears us, counted from when it was sent
	proveFor    = 3_000 // ms for which a peer that comes is asked
	proveEvery  = 1_000 // ms between two ECHO to it
	proveFaster = 400   // the same for clients that answer one ECHO a second, from all members together

	// echoUngated is the first protocol version whose clients answer every ECHO.
	echoUngated = 12
)

// take attaches a peer to this member, now or as soon as it has shown that it hears us.
func (w *worker) take(s *session, at *path) {
	if w.prove(s, at) {
		w.sight(s, at)
	}
}

// prove reports whether the peer has just shown that it hears us on a path. If not it is asked, and taken when it answers.
func (w *worker) prove(s *session, at *path) bool {
	awaited := &s.awaited[family(at.addr.Addr())]
	if at.confirmed.Load() && w.now-at.proved.Load() <= provedFor {
		awaited.Store(0)
		return true
	}
	if awaited.Load() < w.now {
		awaited.Store(w.now + proveFor)
		w.await(s)
	}
	w.askAgain(s, at)
	return false
}

// askAgain sends an ECHO to a peer that is to show that it hears us, unless it was sent one a moment ago. One that was not
// answered yet may still be.
func (w *worker) askAgain(s *session, at *path) {
	every := int64(proveEvery)
	if s.protocol() < echoUngated {
		every = proveFaster
	}
	last := at.echoed.Load()
	if w.now-last < every || !at.echoed.CompareAndSwap(last, w.now) {
		return
	}
	p := w.question(s)
	if !at.confirmed.Load() && !w.moving {
		if len(p) > w.budget {
			w.inc(UnconfirmedWithheld)
			return
		}
		w.budget -= len(p)
	}
	w.inc(Challenges)
	at.earlier.Store(last)
	at.earlierID.Store(at.echoID.Load())
	at.echoID.Store(w.seal(at.origin, s, p))
}

// proved handles the answer to an ECHO of a peer that was awaited.
func (w *worker) proved(s *session, at *path) {
	if w.now > s.awaited[family(at.addr.Addr())].Load() || w.now-at.proved.Load() > provedFor {
		return
	}
	if w.arrives(s, w.root.view.State(), at) != awaited {
		w.take(s, at)
	}
}

// arrival is what is known of a peer that may be on its way here.
type arrival uint8

const (
	notSent arrival = iota
	awaited         // the log says that it is sent here; it has yet to show that it hears us
	arrived
)

// arrives reports whether the log says that this peer is being sent here, in a family, and tells the member that sends it
// when it has come.
func (w *worker) arrives(s *session, state *fsm.State, at *path) arrival {
	var rec table.Record
	v6 := !at.addr.Addr().Is4()
	if !state.PeerKeyless(s.id.Address, &rec) {
		return notSent
	}
	h := &rec.Handoff
	if h.Target != w.root.member || h.V6 != v6 {
		return notSent
	}
	s.findMain(endpointOf(&rec, v6))
	if !w.prove(s, at) {
		return awaited
	}
	body := familyMessage(s.id.Address, at)
	w.notify(h.From, kindArrived, body)
	if other, ok := state.Attached(&rec, !v6); ok && other != w.root.member && other != h.From {
		w.notify(other, kindFollow, body)
	}
	return arrived
}

// follows looks at a peer of ours of which another member says that it has its other family now.
func (w *worker) follows(b []byte) {
	if len(b) != vl1.AddressLen+1 {
		return
	}
	if s := w.root.sessions.get(vl1.AddressFrom(b)); s != nil {
		w.await(s)
	}
}

// await has the mover look at a peer again and again for a while: it has come, or is coming, and the log may not say so yet.
func (w *worker) await(s *session) {
	if w.root.arrivals == nil {
		return
	}
	s.spoke.Store(w.now)
	if s.waits.CompareAndSwap(false, true) {
		w.waiting = append(w.waiting, s)
	}
}
