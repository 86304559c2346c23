package vl1

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"
)

// plainXOR is xor, one block after the other in plain Go.
func plainXOR(s *salsa12, b []byte, n uint64) {
	var out [salsaBlockLen]byte
	for i := range b {
		if i%salsaBlockLen == 0 {
			s.block(&out, n+uint64(i/salsaBlockLen))
		}
		b[i] ^= out[i%salsaBlockLen]
	}
}

// Many blocks at once are the same as one after the other.
func FuzzSalsaBlocks(f *testing.F) {
	for _, n := range []uint64{0, 1, 7, 1<<31 - 1, 1 << 31, 1<<31 + 1, 1<<32 - 2, 1 << 32, 1<<64 - 3} {
		for _, size := range []int{0, 1, 63, 64, 65, 128, 173, 192, 256, 257, 1400} {
			f.Add(uint64(size)+n, n, uint16(size))
		}
	}
	f.Fuzz(func(t *testing.T, seed, n uint64, size uint16) {
		random := rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8), byte(seed >> 16)})
		var key [32]byte
		random.Read(key[:]) //nolint:errcheck // it never fails
		text := make([]byte, size)
		random.Read(text) //nolint:errcheck // it never fails
		var s salsa12
		s.init(&key, random.Uint64())
		got, want := bytes.Clone(text), text
		s.xor(got, n)
		plainXOR(&s, want, n)
		if !bytes.Equal(got, want) {
			t.Errorf("%d bytes from block %d on differ from blocks made alone", size, n)
		}
	})
}

// The stream of the hash is the one of x/crypto, chunk by chunk.
func TestKeyStream(t *testing.T) {
	random := rand.NewChaCha8([32]byte{1})
	for range 20 {
		var key [32]byte
		random.Read(key[:]) //nolint:errcheck // it never fails
		var a, b [hashChunk]byte
		nonce := random.Uint64()
		wide, plain := keyStream{key: &key, nonce: nonce, buf: &a}, keyStream{key: &key, nonce: nonce, buf: &b}
		for chunk := range 2 * hashMemory / hashChunk {
			wide.next()
			plain.generic()
			plain.block += hashChunk / salsaBlockLen
			if a != b {
				t.Fatalf("chunk %d differs", chunk)
			}
		}
	}
}

func BenchmarkSalsa(b *testing.B) {
	var s salsa12
	s.init(new([32]byte), 1)
	for _, size := range []int{64, 128, 256} {
		buf := make([]byte, size)
		b.Run(fmt.Sprintf("%dB", size), func(b *testing.B) {
			b.SetBytes(int64(size))
			for b.Loop() {
				s.xor(buf, 0)
			}
		})
		b.Run(fmt.Sprintf("%dB/plain", size), func(b *testing.B) {
			b.SetBytes(int64(size))
			for b.Loop() {
				plainXOR(&s, buf, 0)
			}
		})
	}
}

func BenchmarkKeyStream(b *testing.B) {
	var key [32]byte
	var buf [hashChunk]byte
	s := keyStream{key: &key, buf: &buf}
	b.SetBytes(hashChunk)
	for b.Loop() {
		s.next()
		s.block = 0
	}
}
