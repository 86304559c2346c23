package packetpath

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/rootd/rootd/fsm"
	"github.com/rootd/rootd/fsm/table"
)

// After a restore, all peers are orphans: the log has them at members of the epoch before, which are no more. Some clients still speak to an
// address that is back, with another member behind it; they may say nothing for minutes. Others wait for an address that is gone.
//
// Whom the planet of the peer lists says a direct word to each: it asks WHOIS of the root, which all clients answer. (They answer ECHO, too,
// but then not another one at once, which is to confirm their path.) A client that knows the address is attached when it answers; one that
// does not, and that no NAT keeps the word from, greets it, too, and comes. Those who do not come are redirected by way of another root, as
// those of dead members. New addresses are in no planet that clients have, so that they would answer, but not come: where there are no
// others, they learn of them from the other root, whom they greet every few minutes; then the later redirects are followed.
//
// In an old archive many endpoints are no longer those of the peers: whoever was not active shortly before the restored cluster's last
// sign of life is left alone, and all if that is too long ago. So are those whose turn would come so late that they come by themselves before.
const (
	inheritFor = rescueShown // ms after the beginning of the epoch
	inheritAge = 7 * 24 * 60 // minutes from the last sign of life of a peer to the restore
	inheritRow = 15 * 60     // s of pushes to first tries
)

// restored stands for all members of the epoch before in [Rescue.Dead].
const restored table.MemberID = 0

// heirs are the members that may take the peers of the epoch before, the one first that has been up longest.
type heirs []heir

type heir struct {
	id     table.MemberID
	up     int64
	planet [2]uint64 // by family: since which planet clients find it there, 0: not at all
}

func heirsOf(state *fsm.State) (all heirs) {
	for i := range state.Members {
		m := &state.Members[i]
		h := heir{m.ID, m.Up, [2]uint64{m.PlanetOf(false), m.PlanetOf(true)}}
		if m.Status == fsm.StatusUp && !m.Draining() && h.planet != [2]uint64{} {
			all = append(all, h)
		}
	}
	slices.SortFunc(all, func(a, b heir) int { return cmp.Or(cmp.Compare(a.up, b.up), cmp.Compare(a.id, b.id)) })
	return all
}

// of returns the member that takes a peer, 0 if none can: the first that the peer's planet lists, in a family that it has, or else the
// first. All members agree, and who comes later takes only whom nobody before it could take.
func (all heirs) of(planet uint64, v4, v6 bool) (found table.MemberID, listed bool) {
	for i := range all {
		h := &all[i]
		for family, has := range [2]bool{v4, v6} {
			since := h.planet[family]
			switch {
			case !has || since == 0:
			case planet == 0 || planet >= since:
				return h.id, true
			case found == 0:
				found = h.id
			}
		}
	}
	return found, false
}

// inherit takes this member's share of the peers of the epoch before, and again whenever others can take peers than before.
func (c *Rescuer) inherit(ctx context.Context, state *fsm.State) {
	began := state.Cluster.Epoch.Began()
	self, ok := state.Member(c.w.root.member)
	if began == 0 || c.w.now-began > inheritFor || !ok || self.Status != fsm.StatusUp || state.Settings.RescueRate == 0 {
		return
	}
	now := heirsOf(state)
	if slices.Equal(now, c.heirs) {
		return
	}
	c.heirs = now
	of := c.inheritance(began)
	c.waiting = slices.DeleteFunc(c.waiting, func(o lost) bool {
		if o.of == of {
			of.Peers--
		}
		return o.of == of
	})
	if !slices.ContainsFunc(now, func(h heir) bool { return h.id == self.ID }) {
		return
	}
	mine, found := c.mine(), 0
	oldest, most := c.worthwhile(ctx, state)
	c.waiting = slices.Grow(c.waiting, most)
	c.orphaned(ctx, state, func(o lost) {
		if o.seen >= oldest && !mine[o.peer] {
			o.of = of
			c.waiting = append(c.waiting, o)
			found++
		}
	})
	of.Peers += found
	c.sortWaiting()
	c.w.add(RescuesBegun, found)
}

// inheritance is the report of the peers of the epoch before.
func (c *Rescuer) inheritance(began int64) *Rescue {
	i := slices.IndexFunc(c.deaths, func(r *Rescue) bool { return r.Dead == restored })
	if i < 0 {
		i = len(c.deaths)
		c.deaths = append(c.deaths, &Rescue{Dead: restored, At: began})
	}
	return c.deaths[i]
}

// orphaned calls f for the peers of the epoch before that this member is to take and that have not come back to anybody.
func (c *Rescuer) orphaned(ctx context.Context, state *fsm.State, f func(lost)) {
	before := state.RestoredSeconds()
	for cursor, done := uint64(0), false; !done && ctx.Err() == nil; {
		cursor, done = state.Table().Scan(cursor, rescueScan, func(r *table.Record) {
			o := lost{peer: r.Address, seen: r.LastSeen, v4: r.V4.IsValid(), v6: r.V6.IsValid()}
			if r.LastSeen > before {
				return
			}
			if to, _ := c.heirs.of(r.Planet, o.v4, o.v6); to != c.w.root.member {
				return
			}
			if _, ok := attachedAnywhere(state, r); !ok {
				f(o)
			}
		})
		c.w.begin()
	}
}

// worthwhile returns since when peers must have been seen, in seconds as in [table.Record], to be looked for, and how many these are.
func (c *Rescuer) worthwhile(ctx context.Context, state *fsm.State) (since uint32, peers int) {
	var byMinute [inheritAge]int // before the restore
	end := state.RestoredSeconds()
	c.orphaned(ctx, state, func(o lost) {
		if m := (end - o.seen) / 60; m < inheritAge {
			byMinute[m]++
		}
	})
	last := slices.IndexFunc(byMinute[:], func(n int) bool { return n > 0 })
	if last < 0 {
		return end, 0
	}
	minute, most := last, inheritRow*state.Settings.RescueRate
	for until := last + int(2*state.Settings.KeepAlive/time.Minute); minute < min(until, inheritAge) && peers < most; minute++ {
		peers += byMinute[minute]
	}
	return end - min(end, uint32(minute)*60), peers
}
