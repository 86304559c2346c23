package fsm

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"math/bits"
)

// Hash is the hash of a state. It covers everything that the log decides, except the index itself.
type Hash [sha256.Size]byte

// String returns 64 hexadecimal digits.
func (h Hash) String() string { return hex.EncodeToString(h[:]) }

// Hash returns the hash of the state: SHA-256 over
//
//	13  "rootd state 4"
//	16  sum over all peers
//	8   number of peers
//	24  sum over the measured round trips (16), their number (8)
//	..  the meta block of a snapshot (persist_meta.go)
func (s *State) Hash() Hash { return s.hash(snapshotVersion, &s.sum) }

// hash returns the hash as members computed it whose snapshots had the version, the last digit of the text: over the sum of that version.
func (s *State) hash(version uint16, peers *sum) Hash {
	b := append([]byte("rootd state "), '0'+byte(version))
	b = peers.append(b)
	b = binary.BigEndian.AppendUint64(b, uint64(s.Peers))
	if version >= rttsFrom {
		b = appendRTTs(b, &s.RTTs)
	}
	return sha256.Sum256(appendMeta(b, s, version))
}

// sum is the hash of a set of records: the sum of the hashes of its members, modulo 2^64 in both lanes. So it does
// not depend on the order. It finds divergence of members and damage, not forgery: nobody but the log writes records.
type sum [2]uint64

func (s *sum) plus(x, y uint64) {
	s[0] += x
	s[1] += y
}

func (s *sum) minus(x, y uint64) {
	s[0] -= x
	s[1] -= y
}

func (s *sum) merge(o *sum) { s.plus(o[0], o[1]) }

func (s *sum) append(b []byte) []byte {
	b = binary.BigEndian.AppendUint64(b, s[0])
	return binary.BigEndian.AppendUint64(b, s[1])
}

// The constants of the hashes: the first 64-bit words of the fractions of the square roots of 2, 3, 5 and 7.
const (
	hashA = 0x6a09e667f3bcc908
	hashB = 0xbb67ae8584caa73b
	hashC = 0x3c6ef372fe94f82b
	hashD = 0xa54ff53a5f1d36f1
)

// hashBlocks hashes blocks of two big-endian words. For each block, the first lane becomes fold(lane ^ word0, word1 ^ B), the second
// fold(lane ^ word1, word0 ^ D). The lanes start as A and C and end with one more fold.
func hashBlocks(b []byte) (uint64, uint64) {
	a, c := uint64(hashA), uint64(hashC)
	for ; len(b) >= 16; b = b[16:] {
		a, c = hashBlock(a, c, binary.BigEndian.Uint64(b), binary.BigEndian.Uint64(b[8:]))
	}
	return hashEnd(a, c)
}

func hashBlock(a, c, w0, w1 uint64) (uint64, uint64) {
	return fold(a^w0, w1^hashB), fold(c^w1, w0^hashD)
}

func hashEnd(a, c uint64) (uint64, uint64) {
	return fold(a^hashC, hashB), fold(c^hashA, hashD)
}

// fold is the xor of the halves of the 128-bit product.
func fold(a, b uint64) uint64 {
	hi, lo := bits.Mul64(a, b)
	return hi ^ lo
}
