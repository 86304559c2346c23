package fsm

import (
	"encoding/binary"

	"github.com/rootd/rootd/fsm/table"
)

// handoffSize is the size of the state of a peer's handoffs:
//
//	offset size
//	0      2    target of the intent under way; 0: none
//	2      2    member that sends the peer, or sent it last
//	4      4    time of the last intent or push, seconds since 2020-01-01
//	8      1    pushes in a row
//	9      1    assumed priority of the IPv4 path; 0 is 1
//	10     1    assumed priority of the IPv6 path
//	11     1    failed handoffs in a row
//	12     2    target of the last one that failed
//	14     1    moves that count
//	15     1    1 if the intent is about IPv6, else 0
//	16     4    attached to its IPv4 member since, seconds since 2020-01-01; 0: unknown
//	20     4    the same for IPv6
const handoffSize = 24

func putHandoff(b *[handoffSize]byte, h *table.Handoff) {
	binary.BigEndian.PutUint16(b[0:], uint16(h.Target))
	binary.BigEndian.PutUint16(b[2:], uint16(h.From))
	binary.BigEndian.PutUint32(b[4:], h.At)
	b[8], b[9], b[10], b[11] = h.Pushes, h.Prio4, h.Prio6, h.Fails
	binary.BigEndian.PutUint16(b[12:], uint16(h.Failed))
	b[14], b[15] = h.Moves, 0
	if h.V6 {
		b[15] = 1
	}
	binary.BigEndian.PutUint32(b[16:], h.Since4)
	binary.BigEndian.PutUint32(b[20:], h.Since6)
}

// readHandoff reads the state of a peer's handoffs, and says what is wrong with it, or "".
func readHandoff(b *[handoffSize]byte, h *table.Handoff) (why string) {
	h.Target, h.From = memberID(binary.BigEndian.Uint16(b[0:])), memberID(binary.BigEndian.Uint16(b[2:]))
	h.At = binary.BigEndian.Uint32(b[4:])
	h.Pushes, h.Prio4, h.Prio6, h.Fails = b[8], b[9], b[10], b[11]
	h.Failed, h.Moves, h.V6 = memberID(binary.BigEndian.Uint16(b[12:])), b[14], b[15] == 1
	h.Since4, h.Since6 = binary.BigEndian.Uint32(b[16:]), binary.BigEndian.Uint32(b[20:])
	if b[15] > 1 {
		return "family of a handoff is neither 0 nor 1"
	}
	return ""
}

// appendHandoffs appends to the meta block, since version 3:
//
//	..   for each member, in the order of the block: drain (1), since, ms (8), weight (2), vote (1), priority as leader (1),
//	     planets since which clients find it at its IPv4 and IPv6 endpoint, ms (8, 8)
//	56   counters of handoffs, in the order of [Counters]: 7 of 8 bytes
func appendHandoffs(b []byte, s *State) []byte {
	for i := range s.Members {
		m := &s.Members[i]
		b = binary.BigEndian.AppendUint64(append(b, byte(m.Drain)), uint64(m.DrainSince))
		b = append(binary.BigEndian.AppendUint16(b, m.Weight), byte(m.Vote), m.Priority)
		b = binary.BigEndian.AppendUint64(b, m.Planet4)
		b = binary.BigEndian.AppendUint64(b, m.Planet6)
	}
	for _, v := range s.Counters.handoffs() {
		b = binary.BigEndian.AppendUint64(b, *v)
	}
	return b
}

func (s *State) readHandoffs(r *reader) {
	for i := range s.Members {
		m := &s.Members[i]
		m.Drain, m.DrainSince, m.Weight = Drain(r.byte()), r.time(), r.uint16()
		m.Vote, m.Priority = Vote(r.byte()), r.byte()
		m.Planet4, m.Planet6 = r.uint64(), r.uint64()
		if m.Drain > DrainStopping {
			r.fail("member with an unknown drain")
		}
		if m.Vote > VoteStandby {
			r.fail("member with an unknown vote")
		}
	}
	for _, v := range s.Counters.handoffs() {
		*v = r.uint64()
	}
}

// handoffs returns the counters of handoffs in the order in which snapshots have them.
func (c *Counters) handoffs() [7]*uint64 {
	return [...]*uint64{
		&c.Handoffs, &c.HandoffsRefused, &c.HandoffsDone, &c.HandoffsFailed, &c.HandoffsCancelled, &c.HandoffsVoid, &c.HandoffLevels,
	}
}
