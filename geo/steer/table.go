package steer

import (
	"cmp"
	"slices"

	"github.com/rootd/rootd/geo"
)

// Member is what steering needs to know of a member.
type Member struct {
	ID       uint16 // not 0
	Unit     geo.Unit
	Up       bool // serves, by the log
	Draining bool
	// Closed4 and Closed6: it takes no new peers of that family, and keeps those that it has. It may be silent, or not be
	// reached from outside.
	Closed4, Closed6 bool
	// Settling: it came up not long ago, and may fall again. Peers come to it by a drain, not for its cost.
	Settling bool
	Load     int // ‰ of what it can carry
	Weight   int // capacity in percent of a usual one; 0 is 100
	// Planet4 and Planet6 are the timestamps, in ms, of the first planet that lists an endpoint of the member of that
	// family. 0: none does.
	Planet4, Planet6 uint64
}

// Table is the members and rules, compiled for deciding. Immutable.
type Table struct {
	arc    arcTable
	v4, v6 list
	all    []member // ascending by ID

	margin, percent       int64 // µs; percent of the present cost
	dwell, budget, barred int64 // s; moves an hour; s
	rttAge                int64 // s
	measured              bool
	perKm                 int64 // µs of round trip for a km
	inflation             int64 // percent of a straight fibre
}

// candidate is a member that may take peers in one family.
type candidate struct {
	at       [3]int32
	weight   int32 // what a cost is multiplied with, times 1<<weightBits
	extra    int32 // µs: load penalty
	id       uint16
	placed   bool // its position is known
	settling bool
	planet   uint64 // timestamp of the first planet that lists it
}

// member is any member, as an origin.
type member struct {
	candidate
	Member
	full bool
}

const weightBits = 16

// Compile returns the table of members. The order of ms does not matter; of two with the same ID the first counts.
func Compile(p Params, ms []Member) *Table {
	t := &Table{
		margin: p.Margin.Microseconds(), percent: int64(p.MarginPercent),
		dwell: int64(p.Dwell.Seconds()), budget: int64(p.MovesPerHour), barred: int64(p.HoldDown.Seconds()),
		rttAge: int64(p.RTTAge.Seconds()), measured: p.Measured,
		perKm: p.perMegametre() / 1000, inflation: int64(max(p.Inflation, idealPercent)),
	}
	t.arc.fill(p.perMegametre())
	ms = slices.Clone(ms)
	slices.SortStableFunc(ms, func(a, b Member) int { return cmp.Compare(a.ID, b.ID) })
	ms = slices.CompactFunc(ms, func(a, b Member) bool { return a.ID == b.ID })
	for _, m := range ms {
		c := candidate{
			at: vector(&m.Unit), id: m.ID, settling: m.Settling, placed: m.Unit != geo.Unit{},
			extra: int32(p.penalty(m.Load)), weight: 1 << weightBits,
		}
		if m.Weight > 0 {
			c.weight = int32(min(100<<weightBits/m.Weight, 100<<weightBits))
		}
		x := member{candidate: c, Member: m, full: m.Load >= p.LoadFull}
		t.all = append(t.all, x)
		if !m.Up || m.Draining || x.full {
			continue
		}
		if c.planet = m.Planet4; !m.Closed4 {
			t.v4.add(c, &m.Unit)
		}
		if c.planet = m.Planet6; !m.Closed6 {
			t.v6.add(c, &m.Unit)
		}
	}
	return t
}

// find returns the member with the ID, or nil.
func (t *Table) find(id uint16) *member {
	i, ok := slices.BinarySearchFunc(t.all, id, func(m member, id uint16) int { return cmp.Compare(m.ID, id) })
	if !ok {
		return nil
	}
	return &t.all[i]
}
