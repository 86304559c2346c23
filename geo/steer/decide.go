package steer

// Decision is what to do with a peer in one family. Three fields, so that Go returns it in registers: see docs/performance.md.
type Decision struct {
	Target uint16 // hand it off to this member; 0: it stays
	Best   uint16 // the member with the least cost; 0: none may take it
	Reason Reason
}

// Decide says where the peer should be.
func (t *Table) Decide(p *Peer) Decision {
	if d, ok := t.nearest(p); ok {
		return d
	}
	var s survey
	t.survey(p, &s)
	return t.judge(p, &s)
}

// Costs returns the round trips, in µs, to the peer's present member and to the best one, as Decide compares them; -1: there is none.
func (t *Table) Costs(p *Peer) (current, best int32) {
	var s survey
	t.survey(p, &s)
	current, best = -1, -1
	if s.attached {
		current = int32(s.current)
	}
	if s.best != 0 {
		best = int32(s.cost)
	}
	return current, best
}

// judge turns costs into a decision.
func (t *Table) judge(p *Peer, s *survey) Decision {
	d := Decision{Best: s.best}
	switch {
	case p.underWay():
		d.Reason = StayUnderWay
	case s.best == 0:
		d.Reason = StayNobody
	case s.attached && !s.known && !s.leaves:
		d.Reason = StayUnknown
	case s.best == p.Current:
		d.Reason = StayBest
	case !s.attached:
		d.Reason = MovePlace
	case s.leaves:
		if d.Reason = MoveDrain; p.gated() {
			d.Reason = StayPushGate
		}
	case s.current-s.cost < t.need(p, s).total:
		d.Reason = StayMargin
	default:
		d.Reason = t.free(p, s)
	}
	if d.Reason.Moves() {
		d.Target = s.best
	}
	return d
}

// free is the reason for a peer that would gain enough and need not leave.
func (t *Table) free(p *Peer, s *survey) Reason {
	switch {
	case p.Family == FamilyUnknown:
		return StayVersion
	case p.Family.placesItself() && !s.busy:
		return StaySelfPlacing
	case s.settling:
		return StaySettling
	case p.gated():
		return StayPushGate
	case p.moved(t.rest(p)):
		return StayDwell
	case int64(p.Moves) >= t.budget:
		return StayBudget
	case s.busy:
		return MoveBalance
	}
	return MoveCost
}

// need is the gain that a move must bring, in µs: the greatest of the terms, and up to a quarter more. By that quarter
// peers differ that are otherwise alike, so that not all of a city move in the same second when a load changes.
type need struct {
	margin, percent, deviation, radius, back, spread, total int64
}

// firstMargin is the least gain of a peer's first move, in µs: it is where it is by chance, not because somebody found it good
// enough. Where one of two members was measured and the other was not it must gain as much as ever: a distance says less.
const firstMargin = 200

func (t *Table) need(p *Peer, s *survey) need {
	n := need{margin: t.margin, percent: s.current * t.percent / 100, deviation: 3 * max(s.dev, s.currDev)}
	if p.At == 0 && (!s.unmeasured || !t.hasMeasurements(p)) {
		n.margin, n.percent = firstMargin, 0
	}
	if s.unmeasured {
		n.radius = 2 * int64(p.RadiusKm) * t.perKm
	}
	if p.From != 0 && p.From == s.best && p.moved(returning) {
		n.back = returnMargin * n.margin
	}
	n.total = max(n.margin, n.percent, n.deviation, n.radius, n.back)
	n.spread = n.total * int64(p.Spread) >> 10
	n.total += n.spread
	return n
}
