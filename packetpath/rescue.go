package packetpath

import (
	"cmp"
	"context"
	"net/netip"
	"slices"
	"time"

	"github.com/rootd/rootd/fsm"
	"github.com/rootd/rootd/fsm/table"
	"github.com/rootd/rootd/geo/steer"
	"github.com/rootd/rootd/packetpath/vl1"
)

// Rescue brings the peers of a member that died to the survivors. Left alone, clients since 1.10.3 take 7 to 15 minutes
// to look for another endpoint of the root. But a packet of this root that arrives by way of another root is as good
// as any, and a redirect in it is followed at once.
//
// When the log says that a member is down, all members divide its peers by the same pure function of the view. Each sends
// its share a redirect to itself, written by the root's own identity, through an endpoint of another root of the planet,
// which relays it like any packet of any peer. When the peer comes, a redirect from the new member to itself erases
// the dead path from the peer's table. For peers behind no NAT, or a kind one, a direct word does it as well.
//
// Whoever the alarm was false for stays with the member that took it, until steering thinks otherwise.
const (
	rescueTick   = 100 * time.Millisecond
	rescueScan   = 20_000 // records between two looks at the clock
	rescueGiveUp = 4_000  // ms after the last push
	pinAgain     = 1_000  // ms between two redirects of a member to itself
	settleFor    = 5_000  // ms that the log may take to show a peer that has come
)

// rescueTries are the times of the pushes to one peer, in ms after the first: they and the pins stay well below the eight
// that a client takes in a row.
var rescueTries = [...]int64{0, 1_500, 4_000}

// Rescuer rescues for one member. Run belongs to one goroutine.
type Rescuer struct {
	w   *worker
	via func() []netip.AddrPort

	lives    map[table.MemberID]life // as the view had them when it was last looked at
	waiting  []orphan                // not begun, the one to begin with last
	pushing  [len(rescueTries)]fifo  // by how many pushes each has had, less one
	pinning  fifo
	settling fifo
	steps    []fsm.Handoff
	spare    float64 // pushes that may be sent
}

type life struct {
	epoch uint16
	up    bool
}

// orphan is a peer whose member died.
type orphan struct {
	peer   vl1.Address
	v4, v6 bool   // families that it had there
	seen   uint32 // as in [table.Record]
	since  int64  // ms, of its first push
	due    int64  // ms, of its next step
	pinned int
}

// fifo holds orphans in the order in which they are due.
type fifo struct{ all []orphan }

func (q *fifo) push(o orphan) { q.all = append(q.all, o) }

func (q *fifo) pop(now int64) (o orphan, ok bool) {
	if len(q.all) == 0 || q.all[0].due > now {
		return o, false
	}
	o = q.all[0]
	if q.all = q.all[1:]; len(q.all) == 0 {
		q.all = nil // what was popped is free
	}
	return o, true
}

// NewRescuer returns a rescuer. via returns the endpoints of other roots of the planet, the best first; those that do not
// answer should be left out. It is called often.
func (r *Root) NewRescuer(via func() []netip.AddrPort) *Rescuer {
	return &Rescuer{w: r.newWorker(0), via: via}
}

// Run rescues until ctx ends.
func (c *Rescuer) Run(ctx context.Context) {
	tick := time.NewTicker(rescueTick)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		c.w.begin()
		c.watch(ctx, c.w.root.view.State())
		if c.w.root.fenced.Load() {
			c.waiting, c.pinning, c.settling, c.pushing = nil, fifo{}, fifo{}, [len(rescueTries)]fifo{}
		}
		c.work()
		c.w.end()
		if len(c.steps) > 0 {
			if c.w.root.handoffs != nil {
				c.w.root.handoffs.OfferHandoffs(c.steps)
			}
			c.steps = c.steps[:0]
		}
	}
}

// watch finds members that have just died.
func (c *Rescuer) watch(ctx context.Context, state *fsm.State) {
	now := make(map[table.MemberID]life, len(state.Members))
	for i := range state.Members {
		m := &state.Members[i]
		now[m.ID] = life{m.Epoch, m.Status == fsm.StatusUp}
		if was := c.lives[m.ID]; was.up && m.Status == fsm.StatusDown && m.ID != c.w.root.member {
			c.collect(ctx, state, m.ID, was.epoch)
		}
	}
	c.lives = now
}

// collect takes this member's share of the peers of a dead one.
func (c *Rescuer) collect(ctx context.Context, state *fsm.State, dead table.MemberID, epoch uint16) {
	if state.Settings.RescueRate == 0 {
		return
	}
	// Whoever the log has not heard of for longer than active peers are kept alive is not there.
	oldest := state.Seconds() - min(state.Seconds(), uint32(2*state.Settings.KeepAlive/time.Second))
	found := 0
	for cursor, done := uint64(0), false; !done && ctx.Err() == nil; {
		cursor, done = state.Table().Scan(cursor, rescueScan, func(r *table.Record) {
			o := orphan{peer: r.Address, seen: r.LastSeen}
			o.v4 = r.V4.IsValid() && r.V4Member == dead && r.V4Epoch == epoch
			o.v6 = r.V6.IsValid() && r.V6Member == dead && r.V6Epoch == epoch
			if !o.v4 && !o.v6 || r.LastSeen < oldest {
				return
			}
			if c.w.root.rescuer(state, r, o.v4, o.v6) == c.w.root.member {
				c.waiting = append(c.waiting, o)
				found++
			}
		})
		c.w.begin()
	}
	slices.SortFunc(c.waiting, func(a, b orphan) int {
		return cmp.Or(cmp.Compare(a.seen, b.seen), cmp.Compare(a.peer, b.peer))
	})
	c.w.add(RescuesBegun, found)
}

// rescuer returns the member that takes an orphan: all must agree on it. It is the one that steering finds best, or, where nothing is
// known of the peer's place, one by chance. 0 if nobody can: the peer's planet may not list any of those that are left.
func (r *Root) rescuer(state *fsm.State, rec *table.Record, v4, v6 bool) (best table.MemberID) {
	var p steer.Peer
	steerPeer(&p, state, rec, !v4)
	e := r.rulesOf(state).table.Explain(&p)
	least, most := int64(-1), uint64(0)
	for i := range e.Members {
		t := &e.Members[i]
		m, ok := state.Member(table.MemberID(t.Member))
		if !ok || m.Status != fsm.StatusUp || m.Draining() || !(v4 && listed(state, m, rec, false) || v6 && listed(state, m, rec, true)) {
			continue
		}
		h := mix(uint64(rec.Address) ^ uint64(m.ID)<<48)
		known := t.Out == steer.OutNot && (t.Measured >= 0 || t.Distance >= 0)
		switch {
		case known && (least < 0 || t.Cost < least):
			best, least = m.ID, t.Cost
		case least < 0 && !known && (best == 0 || h > most):
			best, most = m.ID, h
		}
	}
	return best
}

// listed reports whether the peer's planet has an endpoint of the member in a family.
func listed(state *fsm.State, m *fsm.Member, rec *table.Record, v6 bool) bool {
	_, ok := state.PublishedEndpoint(m, v6)
	return ok && (rec.Planet == 0 || rec.Planet >= m.PlanetOf(v6))
}

// work does what is due: pins before further pushes before first ones.
func (c *Rescuer) work() {
	rate := float64(c.w.root.view.State().Settings.RescueRate)
	perTick := rate * rescueTick.Seconds()
	c.spare = min(c.spare+perTick, 2*perTick)
	via := c.via()
	for o, ok := c.pinning.pop(c.w.now); ok; o, ok = c.pinning.pop(c.w.now) {
		c.pin(o)
	}
	for o, ok := c.settling.pop(c.w.now); ok; o, ok = c.settling.pop(c.w.now) {
		c.settle(c.w.root.view.State(), o)
	}
	for try := len(c.pushing) - 1; try >= 0; try-- {
		for o, ok := c.pushing[try].pop(c.w.now); ok; o, ok = c.pushing[try].pop(c.w.now) {
			c.again(o, try, via)
		}
	}
	for c.spare >= 1 && len(c.waiting) > 0 {
		o := c.waiting[len(c.waiting)-1]
		c.waiting = c.waiting[:len(c.waiting)-1]
		o.since = c.w.now
		c.push(o, 0, via)
	}
}

// again looks at an orphan some time after a push.
func (c *Rescuer) again(o orphan, try int, via []netip.AddrPort) {
	switch {
	case c.arrived(&o):
		c.w.inc(Rescued)
		c.pin(o)
	case c.elsewhere(&o):
		c.w.inc(RescuedElsewhere)
	case try+1 == len(rescueTries) && c.w.now-o.since >= rescueTries[try]+rescueGiveUp:
		c.w.inc(RescuesGivenUp)
	case try+1 < len(rescueTries) && c.w.now-o.since >= rescueTries[try+1]:
		c.push(o, try+1, via)
	default:
		o.due = c.w.now + rescueTick.Milliseconds()
		c.pushing[try].push(o)
	}
}

// arrived reports whether the peer has spoken to this member since its first push.
func (c *Rescuer) arrived(o *orphan) bool {
	s := c.w.root.sessions.get(o.peer)
	if s == nil || s.heard.Load() < o.since {
		return false
	}
	at := s.route(c.w.now)
	return at != nil && at.heard.Load() >= o.since
}

// elsewhere reports whether the log has found the peer at a member that lives.
func (c *Rescuer) elsewhere(o *orphan) bool {
	var r table.Record
	state := c.w.root.view.State()
	if !c.w.root.view.PeerHot(o.peer, &r) {
		return true
	}
	_, ok4 := state.Attached(&r, false)
	_, ok6 := state.Attached(&r, true)
	return ok4 || ok6
}

// push sends an orphan a redirect to this member by way of another root, and a direct word the first time.
func (c *Rescuer) push(o orphan, try int, via []netip.AddrPort) {
	w := c.w
	o.due = w.now + rescueTick.Milliseconds()
	var rec table.Record
	if !w.root.view.Peer(o.peer, &rec) {
		return // expired meanwhile
	}
	key, err := w.root.self.Agree(&rec.Key)
	if err != nil {
		return
	}
	c.spare--
	c.pushing[try].push(o)
	if len(via) > 0 {
		to := via[try%len(via)]
		if port, ok := w.root.portFor(to); ok {
			if p := c.redirect(&o); p != nil {
				w.sealWith(origin{addr: to, port: port}, &key, vl1.SuiteSalsa, p)
				w.inc(RescuePushes)
			}
		}
	}
	for i, to := range [2]netip.AddrPort{rec.V4, rec.V6} {
		if port, ok := w.root.portFor(to); ok && try == 0 && [2]bool{o.v4, o.v6}[i] {
			w.sealWith(origin{addr: to, port: port}, &key, vl1.SuiteSalsa, w.packet(o.peer, vl1.VerbNop))
		}
	}
}

// redirect returns a redirect of an orphan to this member, in the families that it had at the dead one, or nil if the
// planet does not list us there.
func (c *Rescuer) redirect(o *orphan) vl1.Packet {
	var paths [2]vl1.DirectPath
	n := 0
	for i, had := range [2]bool{o.v4, o.v6} {
		if e := c.self(i == 1); had && e.IsValid() {
			paths[n] = vl1.DirectPath{Flags: vl1.PathRedirect, Endpoint: e}
			n++
		}
	}
	if n == 0 {
		return nil
	}
	return vl1.AppendPushDirectPaths(c.w.packet(o.peer, vl1.VerbPushDirectPaths), paths[:n]...)
}

// pin redirects a peer that has come to where it is: that erases the dead path.
func (c *Rescuer) pin(o orphan) {
	w := c.w
	s := w.root.sessions.get(o.peer)
	if s == nil {
		return
	}
	for _, at := range [2]*path{live(&s.v4, w.now), live(&s.v6, w.now)} {
		if at == nil || at.heard.Load() < o.since {
			continue
		}
		to := c.self(!at.addr.Addr().Is4())
		if !to.IsValid() {
			continue
		}
		p := w.packet(o.peer, vl1.VerbPushDirectPaths)
		p = vl1.AppendPushDirectPaths(p, vl1.DirectPath{Flags: vl1.PathRedirect, Endpoint: to})
		p.SetHops(1) // or the peer would greet us once more
		w.seal(at.origin, s, p)
		w.inc(RescuePins)
	}
	o.due = w.now + pinAgain
	if o.pinned++; o.pinned < fsm.RescuePins {
		c.pinning.push(o)
	} else {
		o.since = w.now
		c.settling.push(o)
	}
}

// settle tells the log, once it has the peer here, which priority its path has now and how many pushes it had: what the next handoff
// has to know.
func (c *Rescuer) settle(state *fsm.State, o orphan) {
	var r table.Record
	if !state.Peer(o.peer, &r) {
		return
	}
	told := false
	for _, v6 := range [2]bool{false, true} {
		if id, ok := state.Attached(&r, v6); ok && id == c.w.root.member {
			c.steps = append(c.steps, fsm.Handoff{Address: o.peer, Step: fsm.HandoffRescued, V6: v6, From: id, Epoch: epochOf(&r, v6)})
			told = true
		}
	}
	if o.due = c.w.now + rescueTick.Milliseconds(); !told && c.w.now-o.since < settleFor {
		c.settling.push(o)
	}
}

// self returns the endpoint of this member that clients find in their planet.
func (c *Rescuer) self(v6 bool) netip.AddrPort {
	state := c.w.root.view.State()
	if m, ok := state.Member(c.w.root.member); ok {
		at, _ := state.PublishedEndpoint(m, v6)
		return at
	}
	return netip.AddrPort{}
}
