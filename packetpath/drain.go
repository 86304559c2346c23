package packetpath

import (
	"slices"

	"github.com/rootd/rootd/fsm"
	"github.com/rootd/rootd/fsm/table"
	"github.com/rootd/rootd/geo/steer"
)

// Staying counts the peers that are attached to this member in the log, and are heard here: those that a drain has yet to
// move. Any goroutine; a few milliseconds per hundred thousand sessions.
func (r *Root) Staying() (n int) {
	now, state := r.clock(), r.view.State()
	var words table.Words
	for i := range sessionShards {
		r.sessions.each(i, func(s *session) {
			if !r.view.PeerHot(s.id.Address, &words) {
				return
			}
			for _, v6 := range [2]bool{false, true} {
				if id, ok := state.AttachedIn(&words, v6); ok && id == r.member && s.freshest(v6, now) != nil && !s.leaving[index(v6)].arrived.Load() {
					n++
					return
				}
			}
		})
	}
	return n
}

// DrainShare is what part of a member's peers would go to one other member. A peer counts once for each address family.
type DrainShare struct {
	Target  table.MemberID // 0: they stay, since nobody may have them
	Peers   int
	Known   int   // of them: those whose latency can be told, before and after
	Before  int32 // µs: median round trip of these to the member that drains
	After   int32 // µs: the same to the target
	Longest int32 // µs: the longest of After
}

// PlanDrain says where the peers of a member would go if it drained now, ascending by target. It looks at all peers of the
// cluster: seconds for ten millions.
func PlanDrain(state *fsm.State, id table.MemberID) []DrainShare {
	then := *state
	then.Members = slices.Clone(state.Members)
	for i := range then.Members {
		if m := &then.Members[i]; m.ID == id {
			m.Drain = fsm.DrainOperator
		}
	}
	rules := &rules{state: &then, made: &then}
	rules.compile()
	type latencies struct{ before, after []int32 }
	shares, all := map[table.MemberID]*DrainShare{}, map[table.MemberID]*latencies{}
	now := &steerNow{state: state, then: &then, id: id, rules: rules}
	for cursor, done := uint64(0), false; !done; {
		cursor, done = state.Table().Scan(cursor, rescueScan, func(rec *table.Record) {
			for _, v6 := range [2]bool{false, true} {
				if at, ok := state.Attached(rec, v6); !ok || at != id {
					continue
				}
				to, before, after := now.target(rec, v6)
				if shares[to] == nil {
					shares[to], all[to] = &DrainShare{Target: to}, &latencies{}
				}
				shares[to].Peers++
				if before >= 0 && after >= 0 && to != 0 {
					all[to].before, all[to].after = append(all[to].before, before), append(all[to].after, after)
				}
			}
		})
	}
	var list []DrainShare
	for to, s := range shares {
		if l := all[to]; len(l.after) > 0 {
			slices.Sort(l.before)
			slices.Sort(l.after)
			s.Known, s.Before, s.After, s.Longest = len(l.after), l.before[len(l.before)/2], l.after[len(l.after)/2], l.after[len(l.after)-1]
		}
		list = append(list, *s)
	}
	slices.SortFunc(list, func(a, b DrainShare) int { return int(a.Target) - int(b.Target) })
	return list
}

// steerNow asks the rules about the peers of one member, as it is and as if it drained.
type steerNow struct {
	state, then *fsm.State
	id          table.MemberID
	rules       *rules
}

// target returns where a peer would go, and what it costs there and here in µs, -1 if unknown. What its earlier handoffs forbid for
// the moment is left aside.
func (n *steerNow) target(rec *table.Record, v6 bool) (to table.MemberID, before, after int32) {
	r := *rec
	r.Handoff = table.Handoff{}
	var p steer.Peer
	steerRecord(&p, n.then, &r, v6)
	d := n.rules.table.Decide(&p)
	if to = table.MemberID(d.Target); to == 0 {
		to = anywhere(n.then, &r, v6, n.id)
		return to, -1, -1
	}
	before, after = n.rules.table.Costs(&p)
	return to, before, after
}
