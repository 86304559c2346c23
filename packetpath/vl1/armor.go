package vl1

import (
	"crypto/subtle"
	"encoding/binary"

	"golang.org/x/crypto/poly1305" //nolint:staticcheck // VL1 uses Poly1305 on its own, with a key of its own per packet
)

// Armor authenticates a finished packet under the key and encrypts it in place: suite 0 (HELLO)
// leaves it readable, suites 1 and 3 encrypt verb and payload. Hops stay as they are. Suite 3 changes
// the packet ID: read it afterwards if an answer is to be matched. Other suites panic: that is a
// mistake in the program, not in a packet. Suites 0 and 1 do not allocate.
func Armor(p Packet, k *Key, s Suite) {
	switch s {
	case SuitePoly1305:
		p[offFlags] &^= flagExtended | maskSuite
		armorMAC(p, k)
	case SuiteSalsa:
		p[offFlags] = p[offFlags]&^maskSuite | flagExtended | byte(s)<<shiftSuite
		armorSalsa(p, k)
	case SuiteAES:
		p[offFlags] = p[offFlags]&^(flagExtended|maskSuite) | byte(s)<<shiftSuite
		NewAESKeys(k).armor(p)
	default:
		panic("vl1: armor with " + s.String())
	}
}

// Dearmor verifies a packet and decrypts it in place. It returns ErrMAC if it was not made with the
// key, in suites 0 and 1 leaving the packet untouched, and ErrSuite for trusted paths and unknown
// suites. Extended armor must be removed first. Suites 0 and 1 do not allocate.
func Dearmor(p Packet, k *Key) error {
	switch p.Suite() {
	case SuitePoly1305:
		return checkMAC(p, k)
	case SuiteSalsa:
		return dearmorSalsa(p, k)
	case SuiteAES:
		return NewAESKeys(k).dearmor(p)
	}
	return ErrSuite
}

// packetStream is the key stream of one packet in suites 0 and 1: its key is the shared key mixed with all of the header
// that must not change on the way.
//
//	 0  18  packet ID, destination, source
//	18   1  flags and suite, without hops
//	19   2  size of the packet, low byte first
//
// The first half of block 0 is the key of the MAC; verb and payload are encrypted with the blocks from 1 on. The first
// four, all that most packets need, are made at once.
type packetStream struct {
	salsa12
	first [salsaFourLen]byte
}

// begin starts the stream of p, with as many blocks as the MAC and n bytes of p need.
func (s *packetStream) begin(p Packet, k *Key, n int) {
	var m [32]byte
	copy(m[:], k[:32])
	subtle.XORBytes(m[:18], m[:18], p[:18])
	m[18] ^= p[offFlags] &^ maskHops
	m[19] ^= byte(len(p))
	m[20] ^= byte(len(p) >> 8)
	s.init(&m, binary.LittleEndian.Uint64(p))
	s.blocks(&s.first, 0, min(1+(n+salsaBlockLen-1)/salsaBlockLen, 4))
}

// crypt encrypts or decrypts b.
func (s *packetStream) crypt(b []byte) {
	n := subtle.XORBytes(b, b, s.first[salsaBlockLen:])
	if n < len(b) {
		s.xor(b[n:], 4)
	}
}

// mac returns the first eight bytes of the Poly1305 of verb and payload.
func (s *packetStream) mac(p Packet) uint64 {
	var tag [16]byte
	poly1305.Sum(&tag, p[offVerb:], (*[32]byte)(s.first[:32]))
	return binary.LittleEndian.Uint64(tag[:])
}

// verify compares in constant time.
func (s *packetStream) verify(p Packet) error {
	diff := binary.LittleEndian.Uint64(p[offMAC:]) ^ s.mac(p)
	if subtle.ConstantTimeEq(int32(diff|diff>>32), 0) != 1 { //nolint:gosec // both halves, folded
		return ErrMAC
	}
	return nil
}

func armorMAC(p Packet, k *Key) {
	var s packetStream
	s.begin(p, k, 0)
	binary.LittleEndian.PutUint64(p[offMAC:], s.mac(p))
}

func checkMAC(p Packet, k *Key) error {
	var s packetStream
	s.begin(p, k, 0)
	return s.verify(p)
}

func armorSalsa(p Packet, k *Key) {
	var s packetStream
	s.begin(p, k, len(p)-offVerb)
	s.crypt(p[offVerb:])
	binary.LittleEndian.PutUint64(p[offMAC:], s.mac(p))
}

func dearmorSalsa(p Packet, k *Key) error {
	var s packetStream
	s.begin(p, k, len(p)-offVerb)
	if err := s.verify(p); err != nil {
		return err
	}
	s.crypt(p[offVerb:])
	return nil
}
