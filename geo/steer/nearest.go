package steer

// nearest decides for the usual peer: nothing is measured of its neighbourhood, nothing is under way, and the members that may take it
// differ by their distance only. Either it is at the nearest one, or nothing can hold it back. [Table.judge] says the same, and takes longer;
// nearest reports false where it must be asked.
func (t *Table) nearest(p *Peer) (Decision, bool) {
	l := &t.v4
	if p.V6 {
		l = &t.v6
	}
	at := vector(p.Unit)
	if !l.plain || p.Planet < l.planet || p.Target != 0 || p.Fails != 0 || at[0]|at[1]|at[2] == 0 || t.hasMeasurements(p) {
		return Decision{}, false
	}
	best, square := l.nearestTo(&at)
	if best.id == p.Current {
		return Decision{Best: best.id, Reason: StayBest}, true
	}
	c := l.find(p.Current)
	if c == nil || best.settling || p.At|p.Pushed != 0 || p.Family == FamilyUnknown || p.Family.placesItself() || int64(p.Moves) >= t.budget {
		return Decision{}, false
	}
	need := max(firstMargin, 2*int64(p.RadiusKm)*t.perKm)
	if t.arc.at(c.square(&at))-t.arc.at(square) < need+need*int64(p.Spread)>>10 {
		return Decision{}, false
	}
	return Decision{Target: best.id, Best: best.id, Reason: MoveCost}, true
}

// list is who may take peers of a family.
type list struct {
	candidates []candidate // ascending by ID
	at         [][3]int32  // where they are
	places     []uint16    // by ID: 1 and the index among candidates; 0: none of them
	planet     uint64      // the first planet that lists them all
	plain      bool        // all positions are known, nobody is loaded, all weigh the same as usual
}

func (l *list) add(c candidate) {
	if c.planet == 0 {
		return
	}
	l.plain = (l.plain || len(l.candidates) == 0) && c.placed && c.extra == 0 && c.weight == 1<<weightBits
	l.planet = max(l.planet, c.planet)
	l.candidates = append(l.candidates, c)
	l.at = append(l.at, c.at)
	l.places = append(l.places, make([]uint16, int(c.id)+1-len(l.places))...)
	l.places[c.id] = uint16(len(l.candidates))
}

// find returns the candidate with the ID, or nil.
func (l *list) find(id uint16) *candidate {
	if int(id) >= len(l.places) || l.places[id] == 0 {
		return nil
	}
	return &l.candidates[l.places[id]-1]
}

// nearestTo returns the candidate that is nearest to a place, the first of several, and the square of the chord to it. Which one that is
// cannot be foretold, so it is found without a branch: the least of distance and index in one number. There must be one.
func (l *list) nearestTo(at *[3]int32) (*candidate, uint64) {
	x, y, z := int64(at[0]), int64(at[1]), int64(at[2])
	least := ^uint64(0)
	for i := range l.at {
		c := &l.at[i]
		dx, dy, dz := int64(c[0])-x, int64(c[1])-y, int64(c[2])-z
		least = min(least, uint64(dx*dx+dy*dy+dz*dz)<<16|uint64(i))
	}
	return &l.candidates[least&0xffff], least >> 16
}
