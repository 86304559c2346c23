package steer

import "github.com/rootd/rootd/geo"

const (
	// leastSamples is how many samples a measured round trip needs to count.
	leastSamples = 3
	// unplacedCost is the round trip to a member of which neither a position nor a measurement is known, in µs: it is
	// not nobody, but the last choice.
	unplacedCost = 300_000
	// scatter is over how many µs peers of unknown position are spread, so that a drain does not send all to one member.
	scatter = 20_000
)

// survey is what the members cost for a peer.
type survey struct {
	best      uint16 // 0: none may take it
	cost, dev int64  // µs: of the best

	attached         bool  // it has a present member
	current, currDev int64 // µs: of the present member
	busy             bool  // it carries so much that it is dearer
	leaves           bool  // it is being drained, or gone

	settling   bool // the best came up not long ago
	known      bool // by position or measurement, what matters; else the costs only spread the peers
	unmeasured bool // the best or the present one was judged by distance
	scattered  bool // measurements were left out, because none is of a member that may take it
}

// survey computes what all candidates and the present member cost.
func (t *Table) survey(p *Peer, s *survey) {
	if t.hasMeasurements(p) {
		t.surveyMeasured(p, s)
		return
	}
	t.surveyDistance(p, s)
}

func (t *Table) hasMeasurements(p *Peer) bool { return t.measured && len(p.RTT)+len(p.Wide) > 0 }

// surveyDistance is the survey for a peer of whose neighbourhood nothing is measured. It is what most peers need.
func (t *Table) surveyDistance(p *Peer, s *survey) {
	at := vector(&p.Unit)
	placed := p.Unit != geo.Unit{}
	barred := t.barredFor(p)
	l := &t.v4
	if p.V6 {
		l = &t.v6
	}
	s.unmeasured = true
	if l.plain && placed {
		t.surveyPlain(p, s, l, &at, barred)
	} else {
		best := int64(1) << 62
		for i := range l.candidates {
			c := &l.candidates[i]
			cost := c.cost(t.distance(c, &at, p, placed))
			if c.id == p.Current {
				s.setCurrent(c, cost, 0, placed && c.placed)
			}
			if cost < best && c.planet <= p.Planet && c.id != barred {
				best, s.best, s.settling = cost, c.id, c.settling
			}
		}
		s.cost = best
	}
	if !s.attached && p.Current != 0 {
		if m := t.find(p.Current); m != nil {
			s.setCurrent(&m.candidate, m.cost(t.distance(&m.candidate, &at, p, placed)), 0, placed && m.placed)
			s.leaves = m.leaves()
		}
	}
}

// surveyPlain is surveyDistance among candidates that differ in their position only: the nearest is the best, also where the difference
// is less than a microsecond.
func (t *Table) surveyPlain(p *Peer, s *survey, l *list, at *[3]int32, barred uint16) {
	least := ^uint64(0)
	for i := range l.candidates {
		c := &l.candidates[i]
		if d := c.square(at); d < least && c.planet <= p.Planet && c.id != barred {
			least, s.best, s.settling = d, c.id, c.settling
		}
	}
	if s.best != 0 {
		s.cost = t.arc.at(least)
	}
	if c := l.find(p.Current); c != nil {
		s.setCurrent(c, t.arc.at(c.square(at)), 0, true)
	}
}

// surveyMeasured is surveyDistance for a peer of whose neighbourhood something is measured.
func (t *Table) surveyMeasured(p *Peer, s *survey) {
	at := vector(&p.Unit)
	placed := p.Unit != geo.Unit{}
	barred := t.barredFor(p)
	access := int64(-1) // half of the work, and not needed where all are measured
	estimate := func(c *candidate) int64 {
		if access < 0 {
			access = t.access(p, &at, placed)
		}
		return access + t.distance(c, &at, p, placed)
	}
	l := &t.v4
	if p.V6 {
		l = &t.v6
	}
	best := int64(1) << 62
	bestMeasured := false
	m := t.measurements(p)
	for i := range l.candidates {
		c := &l.candidates[i]
		rtt, dev, measured := m.of(c.id)
		if !measured {
			rtt = estimate(c)
		}
		cost := c.cost(rtt)
		if c.id == p.Current {
			s.setCurrent(c, cost, dev, measured || placed && c.placed)
			s.unmeasured = !measured
		}
		if cost < best && c.planet <= p.Planet && c.id != barred && (placed || measured) {
			best, s.best, s.settling, s.dev, bestMeasured = cost, c.id, c.settling, dev, measured
		}
	}
	if !s.attached && p.Current != 0 {
		if x := t.find(p.Current); x != nil {
			again := t.measurements(p)
			rtt, dev, measured := again.of(x.id)
			if !measured {
				rtt = estimate(&x.candidate)
			}
			s.setCurrent(&x.candidate, x.cost(rtt), dev, measured || placed && x.placed)
			s.unmeasured, s.leaves = !measured, x.leaves()
		}
	}
	if s.best == 0 && !placed { // who measured cannot take it, and the others are spread over
		*s = survey{scattered: true}
		t.surveyDistance(p, s)
		return
	}
	if s.best != 0 {
		s.cost = best
		s.unmeasured = s.unmeasured || !bestMeasured
	}
}

func (s *survey) setCurrent(c *candidate, cost, dev int64, known bool) {
	s.attached, s.current, s.currDev, s.busy, s.known = true, cost, dev, c.extra > 0, known
}

func (m *member) leaves() bool { return !m.Up || m.Draining }

// barredFor returns the member that is left out because a handoff to it failed, or 0. Where the peer is it may stay.
func (t *Table) barredFor(p *Peer) uint16 {
	if p.Fails != 0 && p.Failed != p.Current && t.bars(p, p.Failed) {
		return p.Failed
	}
	return 0
}

// cost turns a round trip into a cost.
func (c *candidate) cost(rtt int64) int64 {
	return rtt*int64(c.weight)>>weightBits + int64(c.extra)
}

// distance returns the round trip by distance, in µs.
func (t *Table) distance(c *candidate, at *[3]int32, p *Peer, placed bool) int64 {
	switch {
	case !placed:
		return int64((uint32(c.id)*0x9e37+uint32(p.Spread))*0x9e3779b1>>16) % scatter
	case !c.placed:
		return unplacedCost
	}
	return t.arc.at(c.square(at))
}

// access returns the part of what was measured that no distance explains: the least over all members that measured, because it
// is the same to all of them, and what one alone has more is a detour.
func (t *Table) access(p *Peer, at *[3]int32, placed bool) int64 {
	if !placed {
		return 0
	}
	least := int64(1) << 62
	m := t.measurements(p)
	for i := range t.all {
		c := &t.all[i].candidate
		if rtt, _, ok := m.of(c.id); ok && c.placed {
			least = min(least, rtt-t.arc.at(c.square(at)))
		}
	}
	if least == int64(1)<<62 {
		return 0
	}
	return max(0, least)
}

// measurements walks through what was measured, in the order of members.
type measurements struct {
	near, wide []geo.RTT
	oldest     int64 // s: what is older does not count

	// of what of returned last:
	samples int
	wider   bool
}

func (t *Table) measurements(p *Peer) measurements {
	if !t.measured {
		return measurements{}
	}
	return measurements{near: p.RTT, wide: p.Wide, oldest: int64(p.Now) - t.rttAge}
}

// of returns what was measured by a member. IDs must ascend from call to call.
func (m *measurements) of(id uint16) (rtt, dev int64, ok bool) {
	if r := next(&m.near, id); r != nil && m.counts(r) {
		m.samples, m.wider = int(r.N), false
		return int64(r.Micros), int64(r.Dev), true
	}
	if r := next(&m.wide, id); r != nil && m.counts(r) {
		m.samples, m.wider = int(r.N), true
		return int64(r.Micros), 2 * int64(r.Dev), true // it is less certain that it holds for this peer
	}
	return 0, 0, false
}

func (m *measurements) counts(r *geo.RTT) bool {
	return r.N >= leastSamples && int64(r.At) >= m.oldest
}

// next skips what is of members before id.
func next(list *[]geo.RTT, id uint16) *geo.RTT {
	l := *list
	for len(l) > 0 && l[0].Member < id {
		l = l[1:]
	}
	*list = l
	if len(l) > 0 && l[0].Member == id {
		return &l[0]
	}
	return nil
}
