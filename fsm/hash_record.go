package fsm

import (
	"encoding/binary"
	"math/bits"

	"github.com/rootd/rootd/fsm/table"
	"github.com/rootd/rootd/packetpath/vl1"
)

// The hash of a record is a sum too: of the hash of its address and its key, and of one for each other word of it, as the table has them. So a
// change of a peer costs two hashes for each word that changes, however many there are, and none of its key.

func (s *sum) add(r *table.Record) { s.plus(hashRecord(r)) }

func (s *sum) remove(r *table.Record) { s.minus(hashRecord(r)) }

// addPeer is add for a record in words.
func (s *sum) addPeer(a vl1.Address, key *vl1.PublicKey, w *table.Words) { s.plus(hashPeer(a, key, w)) }

// addEncoded adds a record that readRecord took.
func (s *sum) addEncoded(b *[recordSize]byte) {
	var w table.Words
	encodedWords(b, &w)
	x, y := hashIdentity(b)
	p, q := hashWords(vl1.AddressFrom(b[:]), &w)
	s.plus(x+p, y+q)
}

// replace makes the other words of a peer's record those of is, where they changed: bit i stands for word i.
func (s *sum) replace(a vl1.Address, was, is *table.Words, changed uint64) {
	for ; changed != 0; changed &= changed - 1 {
		i := bits.TrailingZeros64(changed) % len(is)
		if was[i] != 0 {
			s.minus(hashWord(a, i, was[i]))
		}
		if is[i] != 0 {
			s.plus(hashWord(a, i, is[i]))
		}
	}
}

func hashRecord(r *table.Record) (uint64, uint64) {
	var w table.Words
	r.Words(&w)
	return hashPeer(r.Address, &r.Key, &w)
}

func hashPeer(a vl1.Address, key *vl1.PublicKey, w *table.Words) (uint64, uint64) {
	var b [recordSize]byte
	a.Append(b[:0])
	copy(b[vl1.AddressLen:], key[:])
	x, y := hashIdentity(&b)
	p, q := hashWords(a, w)
	return x + p, y + q
}

// hashIdentity hashes address (5 bytes) and key (64) at the beginning of an encoded record, padded with zeroes to five blocks: see hashBlocks.
func hashIdentity(b *[recordSize]byte) (uint64, uint64) {
	u64 := func(at int) uint64 { return binary.BigEndian.Uint64(b[at:]) }
	x, y := hashBlock(hashA, hashC, u64(0), u64(8))
	x, y = hashBlock(x, y, u64(16), u64(24))
	x, y = hashBlock(x, y, u64(32), u64(40))
	x, y = hashBlock(x, y, u64(48), u64(56))
	return hashEnd(hashBlock(x, y, u64(61)<<24, 0))
}

// hashWords is the sum over the words that are not zero.
func hashWords(a vl1.Address, w *table.Words) (x, y uint64) {
	for i := 1; i < len(w); i++ {
		if w[i] != 0 {
			p, q := hashWord(a, i, w[i])
			x, y = x+p, y+q
		}
	}
	return x, y
}

// hashWord hashes word i of a peer's record, which is not zero: with p and q, the halves of (address * 256 + i ^ A) * (word ^ B), it is
// fold(q ^ C, p ^ D) and fold(p ^ A, q ^ B).
func hashWord(a vl1.Address, i int, w uint64) (uint64, uint64) {
	p, q := bits.Mul64((uint64(a)<<8|uint64(i))^hashA, w^hashB)
	return fold(q^hashC, p^hashD), fold(p^hashA, q^hashB)
}

// encodedWords is [table.Record.Words] of an encoded record, by shifting its bytes: see appendRecord and putHandoff for where they are. A
// processor waits for bytes that it has just written if it reads them in other pieces, as words of a decoded record do.
func encodedWords(b *[recordSize]byte, w *table.Words) {
	u16 := func(at int) uint64 { return uint64(binary.BigEndian.Uint16(b[at:])) }
	u32 := func(at int) uint64 { return uint64(binary.BigEndian.Uint32(b[at:])) }
	u64 := func(at int) uint64 { return binary.BigEndian.Uint64(b[at:]) }
	w[1] = u32(69)<<32 | u16(73)<<16 | u16(93)
	w[2] = u16(95)<<48 | u16(99)<<32 | u32(101)
	w[3], w[4] = u64(75), u64(83)
	w[5] = u16(91)<<48 | u16(97)<<32 | u16(114)<<16
	w[6] = u64(105)&^0xffff | u16(112)
	w[7] = uint64(b[122])<<56 | uint64(b[111])<<48 | u16(120)<<32 | u16(118)<<16 | u16(116)
	const h = handoffAt
	w[8] = u64(h)
	w[9] = u16(h+12)<<48 | uint64(b[h+9])<<40 | uint64(b[h+10])<<32 | u32(h+16)
	w[10] = u32(h+20)<<32 | uint64(b[h+14])<<24 | uint64(b[h+8])<<16 | uint64(b[h+11])<<8 | uint64(b[h+15])
}

// hashesFrom is the version of the snapshot since which a record's hash is that sum. The one before is otherwise the same, and still
// written: see State.format.
const hashesFrom = 4

// hashEncodedOnce hashes a record as it was before: its first 123 bytes, padded with zeroes to eight blocks, and, unless they are all
// zero or missing, the 24 bytes of its handoff, padded to two more.
func hashEncodedOnce(b []byte) (uint64, uint64) {
	var blocks [160]byte
	n := 128
	copy(blocks[:], b[:handoffAt])
	if len(b) >= recordSize && [handoffSize]byte(b[handoffAt:]) != [handoffSize]byte{} {
		copy(blocks[n:], b[handoffAt:recordSize])
		n = len(blocks)
	}
	return hashBlocks(blocks[:n])
}
