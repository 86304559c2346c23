//go:build !purego

package vl1

import "golang.org/x/sys/cpu"

// salsaFour writes four blocks after as many double rounds. It needs AVX2. The matrix comes as its diagonals; the number
// of the first block is their word 8, which must not overflow.
//
//go:noescape
func salsaFour(out *[salsaFourLen]byte, diagonals *[16]uint32, doubleRounds int)

// salsaSixteen writes so many times sixteen blocks after as many double rounds. It needs AVX-512F. The number of the first
// block is word 8 of the matrix, which must not overflow.
//
//go:noescape
func salsaSixteen(out *byte, matrix *[16]uint32, doubleRounds, times int)

// four writes blocks n to n+3, if this machine has a faster way to do so than one after the other.
func (s *salsa12) four(out *[salsaFourLen]byte, n uint64) bool {
	if !cpu.X86.HasAVX2 || n > 1<<31 {
		return false
	}
	salsaFour(out, &[16]uint32{
		s[0], s[5], s[10], s[15],
		s[4], 0, s[14], s[3],
		uint32(n), s[13], s[2], s[7],
		s[12], s[1], s[6], s[11],
	}, 6)
	return true
}

// wide writes the next hashChunk bytes of the key stream of Salsa20/20, if this machine has a faster way to do so than
// x/crypto.
func (s *keyStream) wide() bool {
	if !cpu.X86.HasAVX2 {
		return false
	}
	var m salsa12
	m.init(s.key, s.nonce)
	if m[8] = uint32(s.block); cpu.X86.HasAVX512F {
		salsaSixteen(&s.buf[0], (*[16]uint32)(&m), 10, hashChunk/(16*salsaBlockLen))
		return true
	}
	d := [16]uint32{
		m[0], m[5], m[10], m[15],
		m[4], m[9], m[14], m[3],
		m[8], m[13], m[2], m[7],
		m[12], m[1], m[6], m[11],
	}
	for at := 0; at < hashChunk; at += salsaFourLen {
		salsaFour((*[salsaFourLen]byte)(s.buf[at:]), &d, 10)
		d[8] += 4
	}
	return true
}
