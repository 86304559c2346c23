package packetpath

import (
	"math"

	"github.com/rootd/rootd/fsm"
	"github.com/rootd/rootd/fsm/table"
	"github.com/rootd/rootd/geo"
	"github.com/rootd/rootd/geo/steer"
	"github.com/rootd/rootd/packetpath/vl1"
)

// rules is what a state says about steering, compiled. Immutable. Whoever first meets a state makes it, and stores it for
// the others (see [Root.rulesOf]); two that do so at once make equal ones. So nobody waits.
type rules struct {
	state  *fsm.State // that it was last found to fit
	made   *fsm.State // that it was made of
	mode   fsm.SteeringMode
	table  *steer.Table
	shadow *steer.Table // of steering_shadow; nil: none
}

// settlingTime is how long, in ms, a member that came up again gets no peers but by drains.
const settlingTime = 5 * 60_000

// rulesOf returns the rules of a state. A new state is met some times a second, and most say the same about members.
func (r *Root) rulesOf(state *fsm.State) *rules {
	c := r.rules.Load()
	if c != nil && c.state == state {
		return c
	}
	next := &rules{state: state, made: state}
	if c != nil && sameRules(c.made, state) {
		*next = *c
		next.state = state
	} else {
		next.compile()
	}
	r.rules.Store(next)
	return next
}

// sameRules reports whether two states say the same about steering. The log replaces the members when one of them
// changes, and never changes them in place.
func sameRules(a, b *fsm.State) bool {
	return len(a.Members) == len(b.Members) && (len(a.Members) == 0 || &a.Members[0] == &b.Members[0]) && a.HealthTime == b.HealthTime &&
		a.Settings.MemberSuspectAfter == b.Settings.MemberSuspectAfter && a.Settings.Steering == b.Settings.Steering
}

func (c *rules) compile() {
	s := &c.made.Settings.Steering
	members := steerMembers(c.made)
	c.mode = s.Mode
	c.table = steer.Compile(steerParams(s), members)
	if shadow, ok := s.ShadowRules(); ok {
		c.shadow = steer.Compile(steerParams(&shadow), members)
	}
}

func steerParams(s *fsm.Steering) steer.Params {
	return steer.Params{
		Margin: s.Margin, MarginPercent: s.MarginPercent, Dwell: s.Dwell, MovesPerHour: s.MovesPerHour, HoldDown: s.HoldDown,
		Inflation: s.Inflation, LoadFrom: 10 * s.LoadFrom, LoadFull: 10 * s.LoadFull, LoadPenalty: s.LoadPenalty,
		Measured: s.Measured, RTTAge: s.RTTAge,
	}
}

func steerMembers(state *fsm.State) []steer.Member {
	ms := make([]steer.Member, len(state.Members))
	for i := range ms {
		m := &state.Members[i]
		status := state.StatusOf(m.ID)
		x := steer.Member{
			Settling: m.Epoch > 1 && state.HealthTime-m.Up < settlingTime,
			ID:       uint16(m.ID), Unit: m.Position, Up: m.Status == fsm.StatusUp, Draining: m.Draining(),
			Planet4: m.Planet4, Planet6: m.Planet6, Weight: max(1, int(m.Weight)/10),
		}
		if m.Weight == 0 {
			x.Weight = fsm.UsualWeight / 10
		}
		if m.Health != nil {
			x.Load = int(m.Health.Load)
		}
		deaf4, deaf6 := unreached(state, m)
		x.Closed4, x.Closed6 = deaf4 || status == fsm.StatusSuspect, deaf6 || status == fsm.StatusSuspect
		ms[i] = x
	}
	return ms
}

// unreached reports, by family, whether other members asked a member's public endpoints and none answered.
func unreached(state *fsm.State, m *fsm.Member) (v4, v6 bool) {
	asked, answered := state.Reachable(m.ID)
	var mask4, mask6 uint32
	for i, ep := range m.Endpoints {
		if ep.Addr().Is4() {
			mask4 |= 1 << i
		} else {
			mask6 |= 1 << i
		}
	}
	return asked&mask4 != 0 && answered&mask4 == 0, asked&mask6 != 0 && answered&mask6 == 0
}

// steerPeer fills p with what a state says about a peer in a family, whose record is in words: field by field, since a composite literal is put
// together elsewhere and copied in larger pieces than it was written in, for which a processor waits.
func steerPeer(p *steer.Peer, state *fsm.State, a vl1.Address, w *table.Words, v6 bool) {
	*p = steer.Peer{}
	p.Unit[0], p.Unit[1], p.Unit[2] = w.Position()
	p.RadiusKm, p.V6, p.Spread = geo.RadiusKm(w.Flags()), v6, uint8(mix(uint64(a)))
	protocol, major, minor, revision := w.Software()
	p.Family, p.Planet, p.Now = steer.FamilyOf(protocol, major, minor, revision), w.Planet(), state.Seconds()
	if !fsm.ChecksPlanet(protocol) {
		p.Planet = math.MaxUint64
	}
	if id, ok := state.AttachedIn(w, v6); ok {
		p.Current = uint16(id)
	}
	if w.HandedOff() {
		steerHandedOff(p, state, w, v6)
	}
	if state.RTTs.Len() > 0 && w.Located(v6) {
		near, wide := geo.Areas(w.Endpoint(v6).Addr())
		p.RTT, p.Wide = state.RTTs.Of(near), state.RTTs.Of(wide)
	}
}

// steerHandedOff fills in what the cluster did to the peer.
func steerHandedOff(p *steer.Peer, state *fsm.State, w *table.Words, v6 bool) {
	var rec table.Record
	w.Record(&rec)
	h := &rec.Handoff
	p.Pushed, p.Target, p.Moves, p.Fails, p.Failed = h.At, uint16(h.Target), h.MovesAt(p.Now), h.Fails, uint16(h.Failed)
	if h.Target == 0 && !state.GateClosed(&rec, v6) {
		p.Pushed = 0 // the other family follows
	}
	switch {
	case h.V6 == v6 || h.Fails > 0:
		p.At, p.From = h.At, uint16(h.From)
	case h.Prio(v6) > 1: // the last one was about the other family
		p.At = h.Since(v6)
	}
}

// steerRecord is steerPeer for a record.
func steerRecord(p *steer.Peer, state *fsm.State, rec *table.Record, v6 bool) {
	var w table.Words
	rec.Words(&w)
	steerPeer(p, state, rec.Address, &w, v6)
}

// decide says where a peer should be in a family. It reads nothing but the view: members that have applied the
// same index decide the same. A Target is to be acted upon; what only steering_shadow or the mode "shadow" would do is
// counted.
func (w *worker) decide(state *fsm.State, a vl1.Address, words *table.Words, v6 bool) steer.Decision {
	c := w.root.rulesOf(state)
	var p steer.Peer
	steerPeer(&p, state, a, words, v6)
	d := c.table.Decide(&p)
	w.inc(Decisions)
	if d.Target != 0 {
		w.inc(DecisionsToMove)
	}
	if c.shadow != nil {
		w.compareShadow(d, c.shadow.Decide(&p))
	}
	if d.Target != 0 && c.mode != fsm.SteeringOn && d.Reason != steer.MoveDrain {
		d.Target = 0
		w.inc(DecisionsHeld)
	}
	return d
}

// compareShadow counts how other rules would decide differently.
func (w *worker) compareShadow(d, shadow steer.Decision) {
	switch {
	case shadow.Target == d.Target:
		w.inc(ShadowSame)
	case d.Target == 0:
		w.inc(ShadowMoves)
	case shadow.Target == 0:
		w.inc(ShadowStays)
	default:
		w.inc(ShadowElsewhere)
	}
}
