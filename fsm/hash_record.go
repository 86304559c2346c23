package fsm

import (
	"encoding/binary"

	"github.com/rootd/rootd/fsm/table"
)

// hashHead is the hash of a record up to its 64th byte, which changes of a peer do not touch: address and most of the key. So a change costs
// one head and two tails.
type hashHead struct {
	a, c uint64 // lanes
	key  uint64 // the last five bytes of the key, in the upper bits
}

// hashRecord hashes a record as hashEncoded does, without encoding it: words are made of fields in registers. A processor waits for bytes
// that it has just written if it reads them in other pieces.
func hashRecord(r *table.Record) (uint64, uint64) {
	h := headOf(r)
	return h.hash(r)
}

func headOf(r *table.Record) hashHead {
	var k [8]uint64
	for i := range k {
		k[i] = binary.BigEndian.Uint64(r.Key[8*i:])
	}
	a, c := hashBlock(hashA, hashC, uint64(r.Address)<<24|k[0]>>40, k[0]<<24|k[1]>>40)
	a, c = hashBlock(a, c, k[1]<<24|k[2]>>40, k[2]<<24|k[3]>>40)
	a, c = hashBlock(a, c, k[3]<<24|k[4]>>40, k[4]<<24|k[5]>>40)
	a, c = hashBlock(a, c, k[5]<<24|k[6]>>40, k[6]<<24|k[7]>>40)
	return hashHead{a, c, k[7] << 24}
}

// hash returns the hash of the record whose head h is.
func (h *hashHead) hash(r *table.Record) (uint64, uint64) {
	var v4, port4, high, low, port6 uint64
	if r.V4.IsValid() {
		ip := r.V4.Addr().As4()
		v4, port4 = uint64(binary.BigEndian.Uint32(ip[:])), uint64(r.V4.Port())
	}
	if r.V6.IsValid() {
		ip := r.V6.Addr().As16()
		high, low, port6 = binary.BigEndian.Uint64(ip[:8]), binary.BigEndian.Uint64(ip[8:]), uint64(r.V6.Port())
	}
	seen, planet := uint64(r.LastSeen), r.Planet&(1<<48-1)
	a, c := hashBlock(h.a, h.c, h.key|v4>>8, v4<<56|port4<<40|high>>24)
	a, c = hashBlock(a, c, high<<40|low>>24, low<<40|port6<<24|uint64(r.V4Member)<<8|uint64(r.V4Epoch)>>8)
	a, c = hashBlock(a, c, uint64(r.V4Epoch)<<56|uint64(r.V6Member)<<40|uint64(r.V6Epoch)<<24|seen>>8, seen<<56|planet<<8|uint64(r.Protocol))
	p := &r.Position
	a, c = hashBlock(a, c, uint64(r.Major)<<56|uint64(r.Minor)<<48|uint64(r.Revision)<<32|uint64(uint16(p[0]))<<16|uint64(uint16(p[1])),
		uint64(uint16(p[2]))<<48|uint64(r.Flags)<<40)
	if x := &r.Handoff; *x != (table.Handoff{}) {
		v6 := uint64(0)
		if x.V6 {
			v6 = 1
		}
		a, c = hashBlock(a, c, uint64(x.Target)<<48|uint64(x.From)<<32|uint64(x.At),
			uint64(x.Pushes)<<56|uint64(x.Prio4)<<48|uint64(x.Prio6)<<40|uint64(x.Fails)<<32|uint64(x.Failed)<<16|uint64(x.Moves)<<8|v6)
		a, c = hashBlock(a, c, uint64(x.Since4)<<32|uint64(x.Since6), 0)
	}
	return fold(a^hashC, hashB), fold(c^hashA, hashD)
}
