package packetpath

import (
	"context"

	"github.com/rootd/rootd/fsm/table"
	"github.com/rootd/rootd/packetpath/vl1"
)

// job is a packet that waits for a newcomer worker, in memory of its own.
type job struct {
	packet vl1.Packet
	from   origin
}

// queues hold the packets that cost too much for a reader: those that need a key agreement (some 35 µs) or the
// memory-hard hash of an identity (some 15 ms). Known peers have their own queue and their own worker, so that no
// number of strangers can hold them up; both queues are bounded and what does not fit is dropped.
type queues struct {
	known   chan job // the identity is in the view: key agreement only
	unknown chan job // the identity must be validated
}

const (
	knownQueue     = 65_536 // packets: all clients of a member that died may come at once, and some try again only after minutes
	collisionEvery = 60_000 // ms between two collision errors for one address
)

// offload hands a packet from somebody without a session to the newcomer workers. A newcomer worker that gets
// here itself has found out already that there is nothing to be done.
func (w *worker) offload(p vl1.Packet, from origin) {
	if w.engine {
		w.inc(UnknownPeer)
		return
	}
	r := w.root
	var words table.Words
	known := r.sessions.get(p.Source()) != nil || r.view.PeerHot(p.Source(), &words)
	if known && !w.contested(p) {
		if !r.rekeys.Take(from.addr.Addr(), w.now, 1) { // whoever knows a peer's address can pretend to be it
			w.inc(KnownLimited)
			return
		}
		w.queue(r.queues.known, p, from, KnownQueued, KnownDropped)
		return
	}
	if p.Suite() != vl1.SuitePoly1305 { // only a HELLO brings its sender's identity
		w.inc(UnknownPeer)
		return
	}
	if !r.newcomers.Take(from.addr.Addr(), w.now, 1) {
		w.inc(NewcomersLimited)
		return
	}
	w.queue(r.queues.unknown, p, from, NewcomersQueued, NewcomersDropped)
}

// contested reports whether p is a HELLO with another identity than the one known for its address.
func (w *worker) contested(p vl1.Packet) bool {
	if p.Suite() != vl1.SuitePoly1305 || p.Extended() {
		return false
	}
	_, id, err := vl1.PeekHello(p)
	if err != nil {
		return false
	}
	have, ok := w.identity(id.Address)
	return ok && have != id
}

func (w *worker) queue(q chan<- job, p vl1.Packet, from origin, queued, dropped Counter) {
	if len(q) == cap(q) { // before the copy: a flood should cost little
		w.inc(dropped)
		return
	}
	select {
	case q <- job{append(vl1.Packet(nil), p...), from}:
		w.inc(queued)
	default:
		w.inc(dropped)
	}
}

// serveQueue is the life of a newcomer worker.
func (w *worker) serveQueue(ctx context.Context, q <-chan job) {
	w.engine = true
	for {
		select {
		case <-ctx.Done():
			return
		case j := <-q:
			w.begin()
			w.budget = len(j.packet)
			w.newcomer(j.packet, j.from)
			w.end()
		}
	}
}

// newcomer handles a packet whose sender had no session when it came.
func (w *worker) newcomer(p vl1.Packet, from origin) {
	r := w.root
	if p.Suite() == vl1.SuitePoly1305 && p.Extended() {
		var err error
		if p, err = vl1.DearmorExtended(p, r.self); err != nil || p.Verb() != vl1.VerbHello {
			w.inc(BadMAC)
			return
		}
	}
	var id vl1.Identity
	var rec table.Record
	if p.Suite() == vl1.SuitePoly1305 {
		protocol, said, err := vl1.PeekHello(p)
		switch {
		case err != nil || said.Address != p.Source():
			w.inc(Junk)
			return
		case protocol < vl1.MinProtocol:
			w.inc(HelloOld)
			return
		}
		id = said
	} else if r.view.Peer(p.Source(), &rec) {
		id = vl1.Identity{Address: p.Source(), Key: rec.Key}
	} else {
		w.inc(UnknownPeer)
		return
	}

	s := r.sessions.get(id.Address)
	if s == nil || s.id != id {
		s = w.admit(id, p, from)
	} else if vl1.Dearmor(p, &s.key) != nil {
		w.inc(BadMAC)
		return
	}
	if s != nil {
		w.authentic(s, p, from)
	}
}

// admit verifies p with a newly agreed key, and id itself if the cluster does not know it yet, and makes the
// session. The cheapest test comes first: key agreement, MAC, then the memory-hard hash. It returns nil if
// anything is wrong; p is decrypted if not.
func (w *worker) admit(id vl1.Identity, p vl1.Packet, from origin) *session {
	r := w.root
	key, err := r.self.Agree(&id.Key)
	if err != nil {
		w.inc(NewcomersInvalid)
		return nil
	}
	helloID := p.ID()
	if vl1.Dearmor(p, &key) != nil {
		w.inc(BadMAC)
		return nil
	}
	have, known := w.identity(id.Address)
	if !known || have != id {
		if h := w.root.hashing; h != nil {
			h()
		}
		if w.hasher.Validate(&id) != nil {
			w.inc(NewcomersInvalid)
			return nil
		}
		w.begin() // that took its time
		if have, known = w.identity(id.Address); known && have != id {
			w.refuseCollision(id, &key, helloID, from)
			return nil
		}
	}
	s := r.sessions.insert(&session{id: id, key: key})
	if s == nil || s.id != id {
		w.inc(SessionsFull)
		return nil
	}
	if !known {
		w.inc(NewcomersAccepted)
	}
	return s
}

// refuseCollision tells a client that its address belongs to somebody else. It will discard its identity, so this
// is said only when both identities are valid, the client proved that it owns its own, and seldom.
func (w *worker) refuseCollision(id vl1.Identity, key *vl1.Key, helloID uint64, from origin) {
	r := w.root
	if !r.pairs.Due(id.Address, r.self.Address, w.now, collisionEvery) {
		return
	}
	p := w.packet(id.Address, vl1.VerbError)
	p = vl1.AppendError(p, &vl1.ErrorMessage{InRe: vl1.VerbHello, InReID: helloID, Code: vl1.ErrorIdentityCollision})
	if len(p) <= w.budget {
		w.inc(Collisions)
		w.sealWith(from, key, vl1.SuiteSalsa, p)
	}
}
