package fsm

import (
	"encoding/binary"
	"fmt"

	"github.com/rootd/rootd/fsm/table"
	"github.com/rootd/rootd/geo"
)

// MaxRoundTrips is the most rows in one [RoundTrips] entry.
const MaxRoundTrips = 1000

// RoundTrips is what a member measured of the neighbourhoods of peers, where that became materially different. It replaces
// what the log has of the member there; the entry's time is the time of the rows. Refused with [ErrEpoch] unless Epoch
// is the current one of the member.
type RoundTrips struct {
	Member table.MemberID // not 0
	Epoch  uint16         // not 0
	Rows   []RoundTrip    // ascending by area; 1 to [MaxRoundTrips]
}

// RoundTrip is one row of a [RoundTrips].
type RoundTrip struct {
	Area   geo.Area
	Micros uint32 // smoothed round trip
	Dev    uint32 // its mean deviation, µs
	N      uint16 // samples, not 0
}

// Kind implements [Command].
func (*RoundTrips) Kind() Kind { return KindRoundTrips }

// Payload of a round trips entry:
//
//	2   member (not 0)
//	2   its epoch (not 0)
//	2   number of rows, 1 to 1000
//	..  rows, ascending by area: area (8, as in a snapshot), samples (2, not 0), round trip in µs (4), deviation in µs (4)
func (c *RoundTrips) appendPayload(b []byte) ([]byte, error) {
	switch {
	case c.Member == 0 || c.Epoch == 0:
		return b, fmt.Errorf("%w: member %d in epoch %d", ErrMalformed, c.Member, c.Epoch)
	case len(c.Rows) == 0 || len(c.Rows) > MaxRoundTrips:
		return b, fmt.Errorf("%w: %d rows, 1 to %d", ErrMalformed, len(c.Rows), MaxRoundTrips)
	}
	b = binary.BigEndian.AppendUint16(b, uint16(c.Member))
	b = binary.BigEndian.AppendUint16(b, c.Epoch)
	b = binary.BigEndian.AppendUint16(b, uint16(len(c.Rows)))
	var last geo.Area
	for i := range c.Rows {
		r := &c.Rows[i]
		if why := r.check(last); why != "" {
			return b, fmt.Errorf("%w: %s", ErrMalformed, why)
		}
		last = r.Area
		b = binary.BigEndian.AppendUint64(b, uint64(r.Area))
		b = binary.BigEndian.AppendUint16(b, r.N)
		b = binary.BigEndian.AppendUint32(b, r.Micros)
		b = binary.BigEndian.AppendUint32(b, r.Dev)
	}
	return b, nil
}

func readRoundTrips(r *reader) *RoundTrips {
	c := &RoundTrips{Member: r.member(), Epoch: r.epoch()}
	n := int(r.uint16())
	if n == 0 || n > MaxRoundTrips {
		r.fail("number of rows out of range")
	}
	var last geo.Area
	for ; n > 0 && r.bad == ""; n-- {
		x := RoundTrip{Area: geo.Area(r.uint64()), N: r.uint16(), Micros: r.uint32(), Dev: r.uint32()}
		if why := x.check(last); why != "" {
			r.fail(why)
		}
		last = x.Area
		c.Rows = append(c.Rows, x)
	}
	return c
}

// check says what is wrong with a row after one with the area last, or "".
func (r *RoundTrip) check(last geo.Area) string {
	switch {
	case !r.Area.Valid():
		return fmt.Sprintf("%x is no area", uint64(r.Area))
	case r.Area <= last:
		return "areas out of order"
	case r.N == 0:
		return "round trip without a sample"
	}
	return ""
}

func (f *FSM) roundTrips(c *RoundTrips) error {
	if m, ok := f.st.Member(c.Member); !ok || m.Status != StatusUp || m.Epoch != c.Epoch {
		return fmt.Errorf("%w: %d of member %d", ErrEpoch, c.Epoch, c.Member)
	}
	f.st.RTTs = f.st.RTTs.put(c.Rows, uint16(c.Member), f.seen())
	return nil
}
