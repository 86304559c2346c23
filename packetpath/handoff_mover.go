package packetpath

import (
	"context"
	"time"

	"github.com/rootd/rootd/fsm"
	"github.com/rootd/rootd/fsm/table"
	"github.com/rootd/rootd/packetpath/vl1"
)

const (
	moverTick    = 50 * time.Millisecond
	maxMoves     = 8192   // handoffs under way at a time
	offerPatient = 5_000  // ms to wait for an intent to be accepted
	offerAgain   = 2_000  // ms between two offers of how a handoff ended
	targetSlow   = 3_000  // ms that the target has to see the peer
	quietFor     = 30_000 // ms of silence towards a peer that was sent away, from the redirect on
	freshAgain   = 250    // ms between two looks at a peer that has just spoken
	freshFor     = 5_000  // ms for which it is looked at
	behindFor    = 1_500  // ms by which this member's view may be behind that of the one that sends a peer
)

// mover carries out the handoffs of this member. It belongs to one goroutine.
type mover struct {
	w    *worker
	sink HandoffSink

	moves map[moveKey]*move
	fresh []freshPeer // ascending by due
	paths []*path     // scratch
	spare float64     // handoffs that may be begun
	steps []fsm.Handoff
	self  life // this member, as the log has it
}

type moveKey struct {
	peer vl1.Address
	v6   bool
}

type freshPeer struct {
	s   *session
	due int64
}

// phase is how far a handoff has come.
type phase uint8

const (
	offered phase = iota // the log was asked
	sent                 // the redirect is on its way, or was followed
	gone                 // the target has the peer; this member is quiet for a while
	back                 // it was taken back: self-redirects erase the target from its table
	level                // self-redirects lift its path
)

// move is one handoff, or the levelling of a path if target is 0.
type move struct {
	s           *session
	v6          bool
	target      table.MemberID
	epoch       uint16 // of this member, as the record has it
	targetEpoch uint16

	phase  phase
	began  int64 // ms, of the phase
	sentAt int64 // ms, of the redirect
	origin origin
	prio   uint8 // of the path before
	pushes int   // self-redirects that remain
	// introduced: it was sent by RENDEZVOUS, and no word of ours brings it back
	introduced bool
	next       int64 // ms, of the next one
	asked      int64 // ms, of the last offer of how it ended
	nops       int
}

func (r *Root) newMover(sink HandoffSink) *mover {
	return &mover{w: r.newWorker(0), sink: sink, moves: map[moveKey]*move{}}
}

func (c *mover) run(ctx context.Context) {
	c.w.moving = true
	tick := time.NewTicker(moverTick)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		c.w.begin()
		c.work(c.w.root.view.State())
		c.w.end()
		if len(c.steps) > 0 {
			c.sink.OfferHandoffs(c.steps)
			c.steps = c.steps[:0]
		}
	}
}

// work does what is due.
func (c *mover) work(state *fsm.State) {
	w := c.w
	if m, ok := state.Member(w.root.member); ok && (life{m.Epoch, true}) != c.self {
		c.abandon() // another life: what was under way belongs to the one before
		c.self = life{m.Epoch, true}
	}
	if w.root.fenced.Load() {
		c.abandon()
	}
	for key, m := range c.moves {
		if c.step(state, m) {
			delete(c.moves, key)
			m.s.leaving[index(m.v6)].to.Store(0)
		}
	}
	c.begin(state)
}

func (c *mover) abandon() {
	for key, m := range c.moves {
		l := &m.s.leaving[index(m.v6)]
		l.to.Store(0)
		l.until.Store(0)
		delete(c.moves, key)
	}
}

// begin takes up what the packet path noticed: all who come, and of those who should go as many as the rate allows.
func (c *mover) begin(state *fsm.State) {
	perTick := float64(state.Settings.Steering.MovesPerSecond) * moverTick.Seconds()
	c.spare = min(c.spare+perTick, max(1, 2*perTick))
	for range cap(c.w.root.arrivals) {
		select {
		case s := <-c.w.root.arrivals:
			c.wait(s)
			continue
		default:
		}
		break
	}
	for len(c.fresh) > 0 && c.fresh[0].due <= c.w.now {
		s := c.fresh[0].s
		c.fresh = c.fresh[1:]
		coming := c.comes(state, s)
		here := c.mayBegin() && c.consider(state, s)
		if ago := c.w.now - s.spoke.Load(); ago < behindFor || ago < freshFor && (coming || !here) {
			c.wait(s)
			continue
		}
		s.waits.Store(false)
		if c.w.now-s.spoke.Load() < behindFor { // it spoke meanwhile
			c.waitFor(s)
		}
	}
	for c.mayBegin() {
		select {
		case s := <-c.w.root.hints:
			c.consider(state, s)
		default:
			return
		}
	}
}

func (c *mover) mayBegin() bool { return c.spare >= 1 && len(c.moves) < maxMoves }

// comes looks at a peer that has spoken to this member lately: it may have been sent here, and this member's view have been behind.
// It reports whether the peer has yet to show that it hears us.
func (c *mover) comes(state *fsm.State, s *session) (coming bool) {
	w := c.w
	s.mu.Lock()
	paths := append(c.paths[:0], s.paths...)
	s.mu.Unlock()
	for _, at := range paths {
		if w.now-at.heard.Load() > proveFor {
			continue
		}
		switch w.arrives(s, state, at) {
		case arrived:
			w.sight(s, at)
		case awaited:
			coming = true
		case notSent:
			if w.now <= s.awaited[family(at.addr.Addr())].Load() {
				coming = true
				w.askAgain(s, at)
			}
		}
	}
	clear(paths)
	c.paths = paths[:0]
	return coming
}

// wait looks at a peer again soon.
func (c *mover) wait(s *session) {
	if len(c.fresh) < hintQueue {
		c.fresh = append(c.fresh, freshPeer{s: s, due: c.w.now + freshAgain})
	} else {
		s.waits.Store(false)
	}
}

// waitFor looks at a peer again and again for a while.
func (c *mover) waitFor(s *session) {
	s.spoke.Store(c.w.now)
	if s.waits.CompareAndSwap(false, true) {
		c.wait(s)
	}
}

// consider begins what is to be done with a peer. It reports whether the log has the peer here, so that it could decide.
func (c *mover) consider(state *fsm.State, s *session) (here bool) {
	var rec table.Record
	w := c.w
	if len(state.Members) < 2 || !state.PeerKeyless(s.id.Address, &rec) {
		return false
	}
	for _, v6 := range [2]bool{false, true} {
		id, ok := state.Attached(&rec, v6)
		if !ok || id != w.root.member || s.freshest(v6, w.now) == nil {
			continue
		}
		if c.busy(s) || state.HandoffUnderWay(&rec.Handoff) {
			return false
		}
		here = true
		if to := w.target(state, &rec, v6); to != 0 {
			c.offer(s, &rec, v6, to)
			return here
		}
		if w.levelDue(state, &rec, v6) {
			c.offer(s, &rec, v6, 0)
			return here
		}
	}
	return here
}

// busy reports whether something that the log does not know yet is under way with a peer.
func (c *mover) busy(s *session) bool {
	for _, v6 := range [2]bool{false, true} {
		if m := c.moves[moveKey{s.id.Address, v6}]; m != nil && m.phase != gone {
			return true
		}
	}
	return false
}

// offer proposes the intent to hand a peer off, or to level its path if to is 0.
func (c *mover) offer(s *session, rec *table.Record, v6 bool, to table.MemberID) {
	c.spare--
	m := &move{s: s, v6: v6, target: to, epoch: epochOf(rec, v6), began: c.w.now, prio: rec.Handoff.Prio(v6)}
	if to == 0 {
		m.pushes = fsm.LevelRedirects(rec, v6)
		c.propose(m, fsm.HandoffLevel)
	} else {
		c.propose(m, fsm.HandoffBegin)
	}
	c.moves[moveKey{s.id.Address, v6}] = m
}

func (c *mover) propose(m *move, step fsm.HandoffStep) {
	m.asked = c.w.now
	c.steps = append(c.steps, fsm.Handoff{Address: m.s.id.Address, Step: step, V6: m.v6, From: c.w.root.member, Epoch: m.epoch, Target: m.target})
}
