package fsm

import (
	"encoding/binary"
	"fmt"
	"io"

	"github.com/rootd/rootd/geo"
)

// rttsFrom is the version of the snapshot since which it has measured round trips: blocks 'R' of 1 to 8192 rows of 24
// bytes, in the order of [RTTs.All] (see appendRTT).
const rttsFrom = 3

func (s *Frozen) writeRTTs(w io.Writer) error {
	buf, n := startBlock(nil, blockRTTs), 0
	for a, rows := range s.state.RTTs.All() {
		for i := range rows {
			buf = appendRTT(buf, a, &rows[i])
			if n++; n%blockRecords == 0 {
				if err := endBlock(w, buf); err != nil {
					return err
				}
				buf = startBlock(buf[:0], blockRTTs)
			}
		}
	}
	if n%blockRecords == 0 {
		return nil
	}
	return endBlock(w, buf)
}

func readRTTs(s *State, b []byte) error {
	if len(b)%rttSize != 0 {
		return fmt.Errorf("%w: %d bytes are not whole rows", ErrMalformed, len(b))
	}
	r := reader{b: b}
	for len(r.b) > 0 {
		a := geo.Area(r.uint64())
		x := geo.RTT{Member: r.uint16(), N: r.uint16(), Micros: r.uint32(), Dev: r.uint32(), At: r.uint32()}
		switch _, known := memberIndex(s.Members, memberID(x.Member)); {
		case !a.Valid():
			return fmt.Errorf("%w: %x is no area", ErrMalformed, uint64(a))
		case !known || x.N == 0:
			return fmt.Errorf("%w: round trip of no member, or without a sample", ErrMalformed)
		}
		s.RTTs.set(a, x)
	}
	return nil
}

// appendRTTs appends what the state hash has of measured round trips: the sum over all rows (16) and their number (8).
func appendRTTs(b []byte, t *RTTs) []byte {
	return binary.BigEndian.AppendUint64(t.sum.append(b), uint64(t.n))
}
