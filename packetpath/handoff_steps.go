package packetpath

import (
	"github.com/rootd/rootd/fsm"
	"github.com/rootd/rootd/fsm/table"
	"github.com/rootd/rootd/packetpath/vl1"
)

const (
	pushAgain = 1_000 // ms between two self-redirects
	pushFirst = 700   // ms from the NOP that takes a peer back to the first one: by then it has greeted us
	nopAgain  = 300   // ms between two NOPs to a peer that does not answer
	maxNops   = 4
	backMost  = 60_000 // ms after which taking a peer back is over in any case

	// introduces is the last protocol version whose clients know no redirect; a RENDEZVOUS that names the root has to do.
	introduces = 4
)

// step takes a handoff one step further, if it is time. It reports whether it is over.
func (c *mover) step(state *fsm.State, m *move) (over bool) {
	var rec table.Record
	if !state.PeerKeyless(m.s.id.Address, &rec) {
		m.s.leaving[index(m.v6)].until.Store(0)
		return true
	}
	switch m.phase {
	case offered:
		return c.offered(state, m, &rec)
	case sent:
		return c.sent(state, m, &rec)
	case gone:
		return c.gone(state, m, &rec)
	case back:
		return c.back(state, m, &rec)
	}
	if m.pushes > 0 && c.w.now >= m.next {
		c.selfRedirect(state, m)
	}
	return m.pushes == 0
}

// offered waits for the log.
func (c *mover) offered(state *fsm.State, m *move, rec *table.Record) (over bool) {
	h := &rec.Handoff
	switch {
	case m.target == 0 && h.Prio(m.v6) > m.prio && epochOf(rec, m.v6) == m.epoch:
		m.phase, m.next = level, c.w.now
		m.pushes = int(h.Prio(m.v6)-m.prio+1) / 2
		if at := m.s.freshest(m.v6, c.w.now); at != nil {
			m.origin = at.origin
		}
		return false
	case m.target != 0 && accepted(state, m, h, c.w.root.member) && epochOf(rec, m.v6) == m.epoch:
		return c.redirect(state, m, rec)
	case c.w.now-m.began > offerPatient:
		c.w.inc(HandoffsNotAccepted)
		c.waitFor(m.s)
		return true
	}
	return false
}

// accepted reports whether the intent in the log is that of m, and young enough to be sent.
func accepted(state *fsm.State, m *move, h *table.Handoff, self table.MemberID) bool {
	return h.Target == m.target && h.From == self && h.V6 == m.v6 && state.HandoffUnderWay(h)
}

// redirect sends the peer to the target, unless that has become wrong meanwhile.
func (c *mover) redirect(state *fsm.State, m *move, rec *table.Record) (over bool) {
	w := c.w
	t, ok := state.Member(m.target)
	at := m.s.freshest(m.v6, w.now)
	if !ok || state.StatusOf(m.target) != fsm.StatusUp || t.Draining() || t.PlanetOf(m.v6) == 0 || fsm.ChecksPlanet(rec.Protocol) && t.PlanetOf(m.v6) > rec.Planet || at == nil {
		return c.cancel(m)
	}
	to, ok := state.PublishedEndpoint(t, m.v6)
	if !ok {
		return c.cancel(m)
	}
	m.targetEpoch, m.origin = t.Epoch, at.origin
	m.pushes = fsm.SelfRedirects(rec, m.v6)
	m.phase, m.began, m.sentAt = sent, w.now, w.now
	l := &m.s.leaving[index(m.v6)]
	l.arrived.Store(false)
	l.origin.Store(&m.origin)
	l.to.Store(uint32(m.target))
	w.inc(HandoffsSent)
	if protocol := m.s.protocol(); protocol != 0 && protocol <= introduces {
		m.introduced, m.pushes = true, 0 // it stays where it is unless the target answers
		r := vl1.Rendezvous{Peer: w.root.self.Address, Endpoint: to}
		w.seal(m.origin, m.s, vl1.AppendRendezvous(w.packet(m.s.id.Address, vl1.VerbRendezvous), r))
		return false
	}
	l.until.Store(w.now + targetSlow + 2*moverTick.Milliseconds())
	p := vl1.AppendPushDirectPaths(w.packet(m.s.id.Address, vl1.VerbPushDirectPaths), vl1.DirectPath{Flags: vl1.PathRedirect, Endpoint: to})
	p.SetHops(1) // or the peer would greet us once more
	w.seal(m.origin, m.s, p)
	return false
}

func (c *mover) cancel(m *move) (over bool) {
	c.w.inc(HandoffsCancelled)
	c.propose(m, fsm.HandoffCancelled)
	return true
}

// serves reports whether the target still lives as it did when the peer was sent to it.
func serves(state *fsm.State, m *move) bool {
	t, ok := state.Member(m.target)
	return ok && t.Status == fsm.StatusUp && t.Epoch == m.targetEpoch
}

// sent waits for the target.
func (c *mover) sent(state *fsm.State, m *move, rec *table.Record) (over bool) {
	l := &m.s.leaving[index(m.v6)]
	id, ok := state.Attached(rec, m.v6)
	switch {
	case l.arrived.Load(), ok && id == m.target:
		c.w.inc(HandoffsConfirmed)
		l.arrived.Store(true)
		if !m.introduced {
			l.until.Store(m.sentAt + quietFor)
		}
		m.phase, m.began = gone, c.w.now
		c.waitFor(m.s) // the other family may follow
	case ok && id != c.w.root.member:
		l.until.Store(0)
		return true // it went elsewhere by itself
	case !serves(state, m), c.w.now-m.sentAt >= targetSlow:
		c.takeBack(m)
	}
	return false
}

// gone is quiet for a while, and there if the target dies at once.
func (c *mover) gone(state *fsm.State, m *move, rec *table.Record) (over bool) {
	l := &m.s.leaving[index(m.v6)]
	id, ok := state.Attached(rec, m.v6)
	switch {
	case !serves(state, m):
		c.takeBack(m)
		return false
	case ok && id == m.target:
		if at := m.s.family(m.v6).Load(); at != nil {
			m.s.forget(m.v6)
		}
	case ok && id == c.w.root.member && rec.Handoff.Target != m.target:
		l.until.Store(0)
		return true // it has come back
	}
	if c.w.now-m.sentAt < quietFor {
		return false
	}
	// The log may be slow to say that the target has the peer. Until it does, or the peer is back, nobody else would miss it.
	at := m.s.freshest(m.v6, c.w.now)
	return !ok || id != c.w.root.member || at != nil && at.heard.Load() > m.sentAt+quietFor
}

// takeBack serves the peer again.
func (c *mover) takeBack(m *move) {
	w := c.w
	l := &m.s.leaving[index(m.v6)]
	l.until.Store(0)
	l.to.Store(0)
	m.s.findMain(m.origin.addr)
	w.inc(HandoffsRolledBack)
	m.phase, m.began, m.next = back, w.now, w.now+pushFirst
	c.nop(m)
	c.propose(m, fsm.HandoffFailed)
}

// nop says a word to the peer, with no hops, so that it greets this member.
func (c *mover) nop(m *move) {
	m.nops++
	c.w.seal(m.origin, m.s, c.w.packet(m.s.id.Address, vl1.VerbNop))
}

// back gets the peer back for good.
func (c *mover) back(state *fsm.State, m *move, rec *table.Record) (over bool) {
	w := c.w
	if m.s.heard.Load() < m.began && m.nops < maxNops && w.now-m.began >= int64(m.nops)*nopAgain {
		c.nop(m)
	}
	if m.pushes > 0 && w.now >= m.next {
		c.selfRedirect(state, m)
	}
	ended := rec.Handoff.Target != m.target && !state.LeftBehind(rec, m.v6, w.root.member, m.target)
	if !ended && w.now-m.asked >= offerAgain {
		c.propose(m, fsm.HandoffFailed)
	}
	return m.pushes == 0 && ended || w.now-m.began > backMost
}

// selfRedirect redirects a peer to where it is. That erases paths of lower priority.
func (c *mover) selfRedirect(state *fsm.State, m *move) {
	w := c.w
	m.pushes--
	m.next = w.now + pushAgain
	self, ok := state.Member(w.root.member)
	if !ok {
		return
	}
	to, ok := state.PublishedEndpoint(self, m.v6)
	if !ok {
		return
	}
	if !m.origin.addr.IsValid() {
		return
	}
	p := vl1.AppendPushDirectPaths(w.packet(m.s.id.Address, vl1.VerbPushDirectPaths), vl1.DirectPath{Flags: vl1.PathRedirect, Endpoint: to})
	p.SetHops(1)
	w.seal(m.origin, m.s, p) // always on the same path, or it would not rise
	w.inc(HandoffSelfRedirects)
}
