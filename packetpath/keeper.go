package packetpath

import (
	"context"
	"time"

	"github.com/rootd/rootd/fsm/table"
)

const (
	keeperTick     = 100 * time.Millisecond
	shardsPerTick  = 5                                     // all sessions are visited in 256/5 ticks, about 5 s
	visitEvery     = sessionShards*100/shardsPerTick + 100 // ms
	sessionExpiry  = 3_600_000
	gatherCleaning = 10_000
	disownedEvery  = 60_000
)

// keep is the life of the keeper: it visits all sessions in turn, a few shards a tick, so that its work is spread
// evenly and needs no timer per peer.
func (w *worker) keep(ctx context.Context) {
	tick := time.NewTicker(keeperTick)
	defer tick.Stop()
	shard, cleaned := 0, int64(0)
	book := newRTTBook()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		w.begin()
		w.collectRTTs(book)
		for range shardsPerTick {
			w.root.sessions.each(shard, func(s *session) { w.visit(s, book) })
			shard = (shard + 1) % sessionShards
			w.flush() // or what waits for the rest of the tick would look like distance
			w.begin()
		}
		w.offerRTTs(book)
		if w.now-cleaned > gatherCleaning {
			cleaned = w.now
			w.root.groups.Expire(w.now)
			w.forgetExpected()
		}
		w.end()
	}
}

// visit does for one session what time asks for.
func (w *worker) visit(s *session, book *rttBook) {
	w.add(PathsEvicted, s.expire(w.now))
	if w.now-s.heard.Load() > sessionExpiry || w.disowned(s) {
		w.root.sessions.remove(s)
		return
	}
	w.keepWarm(s)
	w.measure(s, book)
	w.askProbe(s, book)
	w.consider(s)
}

// disowned reports whether the log gave the session's address to another identity: the first validated one wins
// everywhere, and this was not it.
func (w *worker) disowned(s *session) bool {
	if w.now-s.checked.Load() < disownedEvery {
		return false
	}
	s.checked.Store(w.now)
	var rec table.Record
	return w.root.view.Peer(s.id.Address, &rec) && rec.Key != s.id.Key
}

// keepWarm sends an ECHO on the path that relays use if it was silent for long: clients since 1.10.3 speak to a
// root every 225 s, many NATs forget after 30. It must be an ECHO, which the client answers: a NAT need not count
// what comes from outside. It goes out a visit early rather than late, and is repeated once at the next visit: one that gets lost
// must not cost the mapping. A peer that stopped answering is left alone until it speaks. The path of the other address family
// is kept warm, too, if the log has it here: introductions and handoffs need it.
func (w *worker) keepWarm(s *session) {
	best := s.route(w.now)
	if best == nil || w.root.keepWarm == 0 {
		return
	}
	if w.cold(best) {
		if _, ok := w.elsewhere(s.id.Address, s); !ok {
			w.warm(s, best)
		}
	}
	v6 := best.addr.Addr().Is4() // the other one
	if at := live(s.family(v6), w.now); at != nil && w.cold(at) && w.attachedHere(s, v6) {
		w.warm(s, at)
	}
}

// cold reports whether it is time for an ECHO on a path.
func (w *worker) cold(at *path) bool {
	every, missed := w.root.keepWarm.Milliseconds(), at.missed.Load()
	pause := max(every-visitEvery, every/2)
	if missed == 1 {
		pause = 0
	}
	return missed < keepWarmPatient && w.now-max(at.heard.Load(), at.echoed.Load()) >= pause
}

func (w *worker) warm(s *session, at *path) {
	if s.away(at.addr.Addr(), w.now) {
		return // it would learn our path again
	}
	at.missed.Add(1)
	at.echoed.Store(w.now)
	at.echoID.Store(w.seal(at.origin, s, w.question(s)))
	w.inc(KeepWarmSent)
}

// attachedHere reports whether the log has a family of a peer at this member.
func (w *worker) attachedHere(s *session, v6 bool) bool {
	var words table.Words
	if !w.root.view.PeerHot(s.id.Address, &words) {
		return false
	}
	member, ok := w.root.view.State().AttachedIn(&words, v6)
	return ok && member == w.root.member
}
