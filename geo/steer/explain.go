package steer

import (
	"time"

	"github.com/rootd/rootd/geo"
)

// Explanation is a decision with everything that led to it.
type Explanation struct {
	Decision Decision
	Members  []Terms // ascending by ID
	Gain     int64   // µs: cost of the present member less that of the best; 0 if it has none
	Need     Need
	// Rest is for how long the peer is not moved again because it was, MovesLeft how many moves its budget has left.
	Rest      time.Duration
	MovesLeft int
	// Barred is the member that is left out after a failed handoff, 0 for none, and BarredFor how much longer.
	Barred    uint16
	BarredFor time.Duration
}

// Need is the gain that a move must bring, in µs: Total is the greatest of the terms and Spread.
type Need struct {
	Margin, Percent, Deviation, Radius, Back, Spread, Total int64
}

// Terms are what a member costs for a peer, in µs: Cost = (Measured, or Access + Distance) * 100 / Weight + Load.
type Terms struct {
	Member   uint16
	Out      Exclusion // why it may not take the peer; then Cost is what it would be
	Km       int64     // to the peer; -1: unknown
	Distance int64     // round trip by distance; -1: it was measured, or the distance is unknown
	Access   int64     // what all that measured have besides the distance; 0 if Measured
	Measured int64     // round trip as measured; -1: it was not
	Dev      int64     // deviation of what was measured
	Samples  int       // behind it
	Wide     bool      // measured of the wider neighbourhood
	Weight   int       // in percent
	Load     int64     // penalty
	Cost     int64
}

// Exclusion is why a member may not take a peer.
type Exclusion uint8

// Exclusions. OutNot: it may.
const (
	OutNot Exclusion = iota
	OutDown
	OutDraining
	OutFull
	OutClosed  // takes no new peers: silent, or not reached from outside
	OutFamily  // no planet lists an endpoint of that family
	OutPlanet  // the peer's planet does not list it
	OutFailed  // a handoff to it failed
	OutUnknown // neither position nor measurement, while there is one of others
)

// String returns the exclusion as people read it.
func (e Exclusion) String() string {
	return [...]string{"", "down", "draining", "full", "silent or not reached", "not published in this family", "not in the peer's planet", "handoff failed", "nothing known"}[e]
}

// Explain makes the same calculation as Decide and tells its terms.
func (t *Table) Explain(p *Peer) Explanation {
	var s survey
	t.survey(p, &s)
	x := Explanation{Decision: t.judge(p, &s), MovesLeft: int(max(0, t.budget-int64(p.Moves)))}
	if s.attached {
		n := t.need(p, &s)
		x.Need = Need{Margin: n.margin, Percent: n.percent, Deviation: n.deviation, Radius: n.radius, Back: n.back, Spread: n.spread, Total: n.total}
		if s.best != 0 {
			x.Gain = s.current - s.cost
		}
	}
	if rest := t.rest(p); p.moved(rest) {
		x.Rest = time.Duration(rest-p.since()) * time.Second
	}
	if p.gated() {
		x.Rest = max(x.Rest, time.Duration(pushGate-int64(p.Now)+int64(p.Pushed))*time.Second)
	}
	if x.Barred = t.barredFor(p); x.Barred != 0 {
		x.BarredFor = time.Duration(t.bar(p)-p.since()) * time.Second
	}
	at := vector(&p.Unit)
	access := t.access(p, &at, p.Unit != geo.Unit{})
	m := t.measurements(p)
	if s.scattered {
		m = measurements{}
	}
	for i := range t.all {
		x.Members = append(x.Members, t.terms(&t.all[i], p, &at, access, &m, x.Barred, &s))
	}
	return x
}

func (t *Table) terms(m *member, p *Peer, at *[3]int32, access int64, walk *measurements, barred uint16, s *survey) Terms {
	c := &m.candidate
	placed := p.Unit != geo.Unit{}
	x := Terms{Member: m.ID, Km: -1, Distance: -1, Measured: -1, Weight: 100, Load: int64(c.extra)}
	if m.Weight > 0 {
		x.Weight = m.Weight
	}
	if placed && c.placed {
		x.Km = (metres(c.square(at)) + 500) / 1000
	}
	rtt, dev, measured := walk.of(c.id)
	if measured {
		x.Measured, x.Dev, x.Samples, x.Wide = rtt, dev, walk.samples, walk.wider
	} else {
		rtt = access + t.distance(c, at, p, placed)
		if x.Access = access; x.Km >= 0 {
			x.Distance = rtt - access
		}
	}
	x.Cost = c.cost(rtt)
	published, closed := m.Planet4, m.Closed4
	if p.V6 {
		published, closed = m.Planet6, m.Closed6
	}
	switch {
	case !m.Up:
		x.Out = OutDown
	case m.Draining:
		x.Out = OutDraining
	case m.full:
		x.Out = OutFull
	case closed:
		x.Out = OutClosed
	case published == 0:
		x.Out = OutFamily
	case published > p.Planet:
		x.Out = OutPlanet
	case m.ID == barred:
		x.Out = OutFailed
	case !measured && !placed && !s.scattered && t.hasMeasurements(p):
		x.Out = OutUnknown // others were measured
	}
	return x
}
