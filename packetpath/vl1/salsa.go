package vl1

import (
	"crypto/subtle"
	"encoding/binary"
	"math/bits"
)

const (
	salsaBlockLen = 64
	salsaFourLen  = 4 * salsaBlockLen
)

// salsa12 is the key stream of Salsa20 with 12 rounds under a 256-bit key and a 64-bit nonce: the
// 4x4 matrix of words that each block starts from, with a block counter of zero.
type salsa12 [16]uint32

// init sets the key, and the nonce as its eight bytes read little-endian.
func (s *salsa12) init(key *[32]byte, nonce uint64) {
	s[0], s[5], s[10], s[15] = 0x61707865, 0x3320646e, 0x79622d32, 0x6b206574 // "expand 32-byte k"
	for i := range 4 {
		s[1+i] = binary.LittleEndian.Uint32(key[4*i:])
		s[11+i] = binary.LittleEndian.Uint32(key[16+4*i:])
	}
	s[6], s[7] = uint32(nonce), uint32(nonce>>32)
	s[8], s[9] = 0, 0
}

// xor combines b with the key stream from the given block on. A partial block at the end is thrown away.
func (s *salsa12) xor(b []byte, block uint64) {
	var out [salsaFourLen]byte
	for len(b) > 0 {
		blocks := min((len(b)+salsaBlockLen-1)/salsaBlockLen, 4)
		s.blocks(&out, block, blocks)
		n := subtle.XORBytes(b, b, out[:blocks*salsaBlockLen])
		b, block = b[n:], block+uint64(blocks)
	}
}

// blocks writes up to four blocks of the key stream, the first of them block n. More of out may be written.
func (s *salsa12) blocks(out *[salsaFourLen]byte, n uint64, blocks int) {
	if blocks > 1 && s.four(out, n) {
		return
	}
	for i := range blocks {
		s.block((*[salsaBlockLen]byte)(out[i*salsaBlockLen:]), n+uint64(i))
	}
}

// block writes block n of the key stream.
func (s *salsa12) block(out *[salsaBlockLen]byte, n uint64) {
	c8, c9 := uint32(n), uint32(n>>32)
	x0, x1, x2, x3 := s[0], s[1], s[2], s[3]
	x4, x5, x6, x7 := s[4], s[5], s[6], s[7]
	x8, x9, x10, x11 := c8, c9, s[10], s[11]
	x12, x13, x14, x15 := s[12], s[13], s[14], s[15]
	for range 6 { // a column round and a row round each
		x4 ^= bits.RotateLeft32(x0+x12, 7)
		x9 ^= bits.RotateLeft32(x5+x1, 7)
		x14 ^= bits.RotateLeft32(x10+x6, 7)
		x3 ^= bits.RotateLeft32(x15+x11, 7)
		x8 ^= bits.RotateLeft32(x4+x0, 9)
		x13 ^= bits.RotateLeft32(x9+x5, 9)
		x2 ^= bits.RotateLeft32(x14+x10, 9)
		x7 ^= bits.RotateLeft32(x3+x15, 9)
		x12 ^= bits.RotateLeft32(x8+x4, 13)
		x1 ^= bits.RotateLeft32(x13+x9, 13)
		x6 ^= bits.RotateLeft32(x2+x14, 13)
		x11 ^= bits.RotateLeft32(x7+x3, 13)
		x0 ^= bits.RotateLeft32(x12+x8, 18)
		x5 ^= bits.RotateLeft32(x1+x13, 18)
		x10 ^= bits.RotateLeft32(x6+x2, 18)
		x15 ^= bits.RotateLeft32(x11+x7, 18)

		x1 ^= bits.RotateLeft32(x0+x3, 7)
		x6 ^= bits.RotateLeft32(x5+x4, 7)
		x11 ^= bits.RotateLeft32(x10+x9, 7)
		x12 ^= bits.RotateLeft32(x15+x14, 7)
		x2 ^= bits.RotateLeft32(x1+x0, 9)
		x7 ^= bits.RotateLeft32(x6+x5, 9)
		x8 ^= bits.RotateLeft32(x11+x10, 9)
		x13 ^= bits.RotateLeft32(x12+x15, 9)
		x3 ^= bits.RotateLeft32(x2+x1, 13)
		x4 ^= bits.RotateLeft32(x7+x6, 13)
		x9 ^= bits.RotateLeft32(x8+x11, 13)
		x14 ^= bits.RotateLeft32(x13+x12, 13)
		x0 ^= bits.RotateLeft32(x3+x2, 18)
		x5 ^= bits.RotateLeft32(x4+x7, 18)
		x10 ^= bits.RotateLeft32(x9+x8, 18)
		x15 ^= bits.RotateLeft32(x14+x13, 18)
	}
	binary.LittleEndian.PutUint32(out[0:], x0+s[0])
	binary.LittleEndian.PutUint32(out[4:], x1+s[1])
	binary.LittleEndian.PutUint32(out[8:], x2+s[2])
	binary.LittleEndian.PutUint32(out[12:], x3+s[3])
	binary.LittleEndian.PutUint32(out[16:], x4+s[4])
	binary.LittleEndian.PutUint32(out[20:], x5+s[5])
	binary.LittleEndian.PutUint32(out[24:], x6+s[6])
	binary.LittleEndian.PutUint32(out[28:], x7+s[7])
	binary.LittleEndian.PutUint32(out[32:], x8+c8)
	binary.LittleEndian.PutUint32(out[36:], x9+c9)
	binary.LittleEndian.PutUint32(out[40:], x10+s[10])
	binary.LittleEndian.PutUint32(out[44:], x11+s[11])
	binary.LittleEndian.PutUint32(out[48:], x12+s[12])
	binary.LittleEndian.PutUint32(out[52:], x13+s[13])
	binary.LittleEndian.PutUint32(out[56:], x14+s[14])
	binary.LittleEndian.PutUint32(out[60:], x15+s[15])
}
