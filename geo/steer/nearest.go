package steer

import "github.com/rootd/rootd/geo"

// nearest decides for the usual peer: nothing is measured of its neighbourhood, nothing is under way, and the members that may take it
// differ by their distance only. Either it is at the nearest one, or nothing can hold it back. [Table.judge] says the same, and takes longer;
// nearest reports false where it must be asked.
func (t *Table) nearest(p *Peer) (Decision, bool) {
	l := &t.v4
	if p.V6 {
		l = &t.v6
	}
	square := squareOf(&p.Unit)
	if !l.plain || p.Planet < l.planet || p.Target != 0 || p.Fails != 0 || square == 0 || square > longest || t.hasMeasurements(p) {
		return Decision{}, false
	}
	best, chord := l.nearestTo(&p.Unit)
	if best.id == p.Current {
		return Decision{Best: best.id, Reason: StayBest}, true
	}
	c := l.find(p.Current)
	if c == nil || best.settling || p.At|p.Pushed != 0 || p.Family == FamilyUnknown || p.Family.placesItself() || int64(p.Moves) >= t.budget {
		return Decision{}, false
	}
	at := vector(&p.Unit)
	need := max(firstMargin, 2*int64(p.RadiusKm)*t.perKm)
	if t.arc.at(c.square(&at))-t.arc.at(chord) < need+need*int64(p.Spread)>>10 {
		return Decision{}, false
	}
	return Decision{Target: best.id, Best: best.id, Reason: MoveCost}, true
}

// list is who may take peers of a family.
type list struct {
	candidates []candidate // ascending by ID
	at         [][3]int32  // where they are
	chords     []chords    // likewise
	byID       []uint16    // 1 and the index among candidates; 0: none of them
	planet     uint64      // the first planet that lists them all
	plain      bool        // all positions are known and unit vectors, nobody is loaded, all weigh the same as usual
}

func (l *list) add(c candidate, at *geo.Unit) {
	if c.planet == 0 {
		return
	}
	l.plain = (l.plain || len(l.candidates) == 0) && c.placed && squareOf(at) <= longest && c.extra == 0 && c.weight == 1<<weightBits
	l.planet = max(l.planet, c.planet)
	l.at = append(l.at, c.at)
	l.chords = addPlace(l.chords, len(l.candidates), at)
	l.candidates = append(l.candidates, c)
	l.byID = append(l.byID, make([]uint16, int(c.id)+1-len(l.byID))...)
	l.byID[c.id] = uint16(len(l.candidates))
}

// find returns the candidate with the ID, or nil.
func (l *list) find(id uint16) *candidate {
	if int(id) >= len(l.byID) || l.byID[id] == 0 {
		return nil
	}
	return &l.candidates[l.byID[id]-1]
}

// nearestTo returns the candidate that is nearest to a place, the first of several, and the square of the chord to it. There must be one, and l
// must be plain.
func (l *list) nearestTo(at *geo.Unit) (*candidate, uint64) {
	least := l.least(at)
	return &l.candidates[least&0xffffffff], least >> 32
}
