package packetpath

import (
	"cmp"
	"context"
	"net/netip"
	"slices"
	"sync/atomic"
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
// the dead path from the peer's table. For peers behind no NAT, or a kind one, a direct word does it as well. Who was heard
// here a moment ago, as clients are that greet all members, needs no other root at all.
//
// Whoever does not come is tried again, seldom, for some minutes: it may have lost its path to the other root, too. It
// waits, and is counted. When another member dies, those whom it was to rescue fall to others.
//
// Whoever the alarm was false for stays with the member that took it, until steering thinks otherwise.
const (
	rescueTick   = 100 * time.Millisecond
	rescueScan   = 20_000    // records between two looks at the clock
	rescueGiveUp = 600_000   // ms after the first push
	rescueShown  = 3_600_000 // ms for which a death is reported
	pinAgain     = 200       // ms between two redirects of a member to itself: until the last one the peer may prefer a dead path
	settleFor    = 5_000     // ms that the log may take to show a peer that has come
	heardHere    = 20_000    // ms for which a NAT that let a peer's packet out lets ours in
	gateReopens  = 36_000    // ms after the last push; the client says 30 s
)

// rescueTries are the times of the pushes to one peer, in ms after the first. The first few and the pins stay below the eight that a
// client takes in a row; each of the others begins a new row.
var rescueTries = [...]int64{0, 1_500, 4_000, 40_000, 120_000, 300_000}

// blindTries are those of pushes to who does not know of our address yet, and learns of it from the other root in some minutes. Each is a row.
var blindTries = [len(rescueTries)]int64{0, 60_000, 120_000, 180_000, 240_000, 330_000}

// Rescuer rescues for one member. Run belongs to one goroutine; Rescues is for any.
type Rescuer struct {
	w   *worker
	via func() []netip.AddrPort

	lives    map[table.MemberID]life // as the view had them when it was last looked at
	deaths   []*Rescue               // of the last hour, the oldest first
	heirs    heirs                   // when the peers of the epoch before were last divided
	waiting  []lost                  // not begun, the one to begin with last
	pushing  [len(rescueTries)]fifo  // by how many pushes each has had, less one
	pinning  fifo
	patient  fifo // to be pinned when the client takes pushes again
	settling fifo
	steps    []fsm.Handoff
	spare    float64 // pushes that may be sent
	shown    atomic.Pointer[[]Rescue]
}

// Rescue is what became of this member's share of the peers of a member that died, or of all members when the cluster was restored.
// Those that are in none of the other counts wait.
type Rescue struct {
	Dead      table.MemberID // 0: the members of the epoch before
	Epoch     uint16         // that ended
	At        int64          // ms since 1970: when this member saw it, or the epoch began
	Peers     int            // this member's share
	Pushed    int            // were sent a redirect, or several
	Arrived   int            // came here
	Elsewhere int            // were found at another member that lives
	GivenUp   int            // did not come
}

// Waiting is how many peers are still to come.
func (r *Rescue) Waiting() int { return r.Peers - r.Arrived - r.Elsewhere - r.GivenUp }

type life struct {
	epoch uint16
	up    bool
}

// lost is a peer whose member died. There may be millions of them.
type lost struct {
	peer   vl1.Address
	of     *Rescue
	seen   uint32 // as in [table.Record]
	v4, v6 bool   // families that it had there
}

// orphan is one that is being rescued.
type orphan struct {
	lost
	since  int64 // ms, of its first push
	due    int64 // ms, of its next step
	last   int64 // ms, of its last push, 0: none yet
	row    int8  // pushes in a row
	pins   int8  // that are needed
	pinned int8
	prio   uint8 // of its path to the dead member, as far as the log knows: the new one must get above it
	stuck  bool  // no other root was known to answer when it was due
	blind  bool  // its planet lists none of those that may take it
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

// Rescues reports the rescues of the last hour, the latest first.
func (c *Rescuer) Rescues() []Rescue {
	if all := c.shown.Load(); all != nil {
		return *all
	}
	return nil
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
		c.inherit(ctx, c.w.root.view.State())
		if c.w.root.fenced.Load() {
			c.abandon()
		}
		c.work()
		c.w.end()
		c.show()
		if len(c.steps) > 0 {
			if c.w.root.handoffs != nil {
				c.w.root.handoffs.OfferHandoffs(c.steps)
			}
			c.steps = c.steps[:0]
		}
	}
}

// abandon leaves all orphans to others, who believe this member dead.
func (c *Rescuer) abandon() {
	c.waiting, c.pinning, c.patient, c.settling, c.pushing = nil, fifo{}, fifo{}, fifo{}, [len(rescueTries)]fifo{}
	c.deaths, c.heirs = nil, nil
}

// watch finds members that have just died.
func (c *Rescuer) watch(ctx context.Context, state *fsm.State) {
	now := make(map[table.MemberID]life, len(state.Members))
	died := false
	for i := range state.Members {
		m := &state.Members[i]
		now[m.ID] = life{m.Epoch, m.Status == fsm.StatusUp}
		if was := c.lives[m.ID]; was.up && m.Status == fsm.StatusDown && m.ID != c.w.root.member && state.Settings.RescueRate > 0 {
			c.deaths = append(c.deaths, &Rescue{Dead: m.ID, Epoch: was.epoch, At: c.w.now})
			died = true
		}
	}
	c.lives = now
	c.deaths = slices.DeleteFunc(c.deaths, func(r *Rescue) bool { return c.w.now-r.At > rescueShown })
	if died {
		c.collect(ctx, state)
	}
}

// collect takes this member's share of the peers of those who died lately: those that the last one was to rescue are among them.
func (c *Rescuer) collect(ctx context.Context, state *fsm.State) {
	// Whoever the log has not heard of for longer than active peers are kept alive is not there.
	oldest := state.Seconds() - min(state.Seconds(), uint32(2*state.Settings.KeepAlive/time.Second))
	mine := c.mine()
	found := 0
	for cursor, done := uint64(0), false; !done && ctx.Err() == nil; {
		cursor, done = state.Table().Scan(cursor, rescueScan, func(r *table.Record) {
			o := c.orphan(state, r)
			if o.of == nil || r.LastSeen < oldest || mine[r.Address] {
				return
			}
			if c.w.root.rescuer(state, r, o.v4, o.v6) == c.w.root.member {
				o.of.Peers++
				c.waiting = append(c.waiting, o.lost)
				found++
			}
		})
		c.w.begin()
	}
	c.sortWaiting()
	c.w.add(RescuesBegun, found)
}

func (c *Rescuer) sortWaiting() {
	slices.SortFunc(c.waiting, func(a, b lost) int {
		return cmp.Or(cmp.Compare(a.seen, b.seen), cmp.Compare(a.peer, b.peer))
	})
}

// mine are the peers that are being rescued here already.
func (c *Rescuer) mine() map[vl1.Address]bool {
	all := map[vl1.Address]bool{}
	for i := range c.waiting {
		all[c.waiting[i].peer] = true
	}
	for _, q := range append(c.pushing[:], c.pinning, c.patient, c.settling) {
		for i := range q.all {
			all[q.all[i].peer] = true
		}
	}
	return all
}

// orphan is a peer that was attached to a member that died lately, in one family or both, and to none that lives: of is nil for others.
func (c *Rescuer) orphan(state *fsm.State, r *table.Record) orphan {
	o := orphan{lost: lost{peer: r.Address, seen: r.LastSeen}}
	for _, d := range c.deaths {
		if d.Dead == restored || c.w.now-d.At > rescueGiveUp {
			continue
		}
		if r.V4.IsValid() && r.V4Member == d.Dead && r.V4Epoch == d.Epoch {
			o.v4, o.of = true, d
		}
		if r.V6.IsValid() && r.V6Member == d.Dead && r.V6Epoch == d.Epoch {
			o.v6, o.of = true, d
		}
	}
	if o.of != nil {
		if _, ok := attachedAnywhere(state, r); ok {
			o.of = nil // a redirect would cost it the path that it has
		}
	}
	return o
}

func attachedAnywhere(state *fsm.State, r *table.Record) (at table.MemberID, ok bool) {
	if at, ok = state.Attached(r, false); !ok {
		at, ok = state.Attached(r, true)
	}
	return at, ok
}

// rescuer returns the member that takes an orphan: all must agree on it. It is the one that steering finds best, or, where nothing is
// known of the peer's place, one by chance. 0 if nobody can: the peer's planet may not list any of those that are left.
func (r *Root) rescuer(state *fsm.State, rec *table.Record, v4, v6 bool) (best table.MemberID) {
	var p steer.Peer
	steerRecord(&p, state, rec, !v4)
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

// show lets others read what became of the orphans.
func (c *Rescuer) show() {
	all := make([]Rescue, 0, len(c.deaths))
	for _, d := range slices.Backward(c.deaths) {
		all = append(all, *d)
	}
	if !slices.Equal(all, c.Rescues()) {
		c.shown.Store(&all)
	}
}
