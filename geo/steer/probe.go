package steer

import "github.com/rootd/rootd/geo"

// Probe returns the member by which the peer's neighbourhood should be measured next, 0 if by none: where the round trip is
// known from the present member alone, a better one may hide behind a distance that says otherwise. It is worth it only for a
// candidate that is not measured and that light in a straight fibre would reach the peer from, within what the present member costs
// less the margin; of several, for the one with the least cost by distance. Where no distance is known any candidate could be
// near: so peers are steered without any database, once all have measured their neighbourhood.
func (t *Table) Probe(p *Peer) uint16 {
	if !t.measured {
		return 0
	}
	placed := p.Unit != geo.Unit{}
	m := t.measurements(p)
	var current int64 = -1
	for i := range t.all {
		c := &t.all[i].candidate
		if rtt, _, ok := m.of(c.id); ok && c.id == p.Current {
			current = c.cost(rtt)
		}
	}
	if current < 0 {
		return 0
	}
	at := vector(&p.Unit)
	l := &t.v4
	if p.V6 {
		l = &t.v6
	}
	best, least := uint16(0), int64(1)<<62
	m = t.measurements(p)
	for i := range l.candidates {
		c := &l.candidates[i]
		_, _, measured := m.of(c.id)
		if measured || c.planet > p.Planet || c.id == p.Current {
			continue
		}
		byDistance, ideal := t.distance(c, &at, p, placed), int64(0)
		if placed && c.placed {
			ideal = byDistance * idealPercent / t.inflation
		}
		if c.cost(ideal)+t.margin >= current {
			continue
		}
		if cost := c.cost(byDistance); cost < least {
			best, least = c.id, cost
		}
	}
	return best
}

// idealPercent is the inflation of a straight fibre.
const idealPercent = 100
