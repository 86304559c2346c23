package vl1

import (
	"crypto/sha512"
	"encoding/binary"
	"fmt"
	"math/bits"

	"golang.org/x/crypto/salsa20/salsa" // deprecated, but the fastest Salsa20/20 there is, and not used to encrypt
)

// The memory-hard hash that ties an address to a public key.
const (
	hashMemory    = 2 << 20 // bytes
	hashWords     = hashMemory / 8
	hashThreshold = 17       // a valid identity's digest begins with a smaller byte
	hashChunk     = 16 << 10 // bytes of key stream made at once
	hashAhead     = 2 * 64   // words of memory mixed at once; their blocks divide a chunk
)

// Hasher computes the memory-hard hash of public keys, which takes some milliseconds. It owns the
// 2 MiB of memory the hash needs. One goroutine at a time.
type Hasher struct {
	mem     [hashWords]uint64
	stream  [hashChunk]byte
	touched uint64 // keeps the compiler from dropping the reads of touch
}

// NewHasher allocates a hasher.
func NewHasher() *Hasher { return new(Hasher) }

// Digest returns the hash. The first byte decides whether a key may have an address at all, the last
// five are the address.
//
// The hash is a SHA-512 of the key, whose words are then swapped with words of memory filled from
// Salsa20/20 under that SHA-512, and XORed with more of the same stream. Only the swaps depend on
// the data: the stream is made in large chunks, many blocks at once.
func (h *Hasher) Digest(k *PublicKey) [64]byte {
	sum := sha512.Sum512(k[:])
	stream := keyStream{key: (*[32]byte)(sum[:32]), nonce: binary.LittleEndian.Uint64(sum[32:]), buf: &h.stream}

	h.fill(&stream)
	d := h.mix(&stream, &sum)
	var out [64]byte
	for i, w := range d {
		binary.LittleEndian.PutUint64(out[8*i:], w)
	}
	return out
}

// fill writes the running XOR of the blocks of the key stream to memory.
func (h *Hasher) fill(s *keyStream) {
	var b [8]uint64
	for at := 0; at < hashWords; at += hashChunk / 8 {
		chunk := s.next()
		mem := h.mem[at : at+hashChunk/8]
		for len(mem) >= 8 && len(chunk) >= 64 {
			for j := range b {
				b[j] ^= binary.LittleEndian.Uint64(chunk[8*j:])
				mem[j] = b[j]
			}
			mem, chunk = mem[8:], chunk[64:]
		}
	}
}

// mix goes through memory by pairs of words: the first says which word of the digest, the second
// with which word of memory it is swapped; after each swap the next block is XORed into the digest.
func (h *Hasher) mix(s *keyStream, sum *[64]byte) [8]uint64 {
	var d [8]uint64
	for i := range d {
		d[i] = binary.LittleEndian.Uint64(sum[8*i:])
	}
	var chunk []byte
	for at := 0; at < hashWords; at += hashAhead {
		if len(chunk) == 0 {
			chunk = s.next()
		}
		pairs := h.mem[at : at+hashAhead]
		h.touch(pairs)
		for len(pairs) >= 2 && len(chunk) >= 64 {
			// Memory holds words in the order of their bytes; the numbers in them are big-endian.
			from, to := pairs[0]>>56%8, memoryIndex(pairs[1])
			d[from], h.mem[to] = h.mem[to], d[from]
			b := (*[64]byte)(chunk)
			d[0] ^= binary.LittleEndian.Uint64(b[0:])
			d[1] ^= binary.LittleEndian.Uint64(b[8:])
			d[2] ^= binary.LittleEndian.Uint64(b[16:])
			d[3] ^= binary.LittleEndian.Uint64(b[24:])
			d[4] ^= binary.LittleEndian.Uint64(b[32:])
			d[5] ^= binary.LittleEndian.Uint64(b[40:])
			d[6] ^= binary.LittleEndian.Uint64(b[48:])
			d[7] ^= binary.LittleEndian.Uint64(b[56:])
			pairs, chunk = pairs[2:], chunk[64:]
		}
	}
	return d
}

// touch reads the words that pairs will be swapped with, all at once, so that mix does not wait for
// each of them to come from far memory. A swap before its turn may change a pair: then mix waits.
func (h *Hasher) touch(pairs []uint64) {
	for i := 1; i < len(pairs); i += 2 {
		h.touched ^= h.mem[memoryIndex(pairs[i])]
	}
}

// memoryIndex returns the index a word of memory stands for.
func memoryIndex(w uint64) uint64 { return bits.ReverseBytes64(w) % hashWords }

// keyStream is Salsa20/20 in chunks.
type keyStream struct {
	key   *[32]byte
	nonce uint64
	block uint64 // the next one
	buf   *[hashChunk]byte
}

// next returns the next hashChunk bytes, valid until the next call.
func (s *keyStream) next() []byte {
	if !s.wide() {
		s.generic()
	}
	s.block += hashChunk / salsaBlockLen
	return s.buf[:]
}

func (s *keyStream) generic() {
	var counter [16]byte
	binary.LittleEndian.PutUint64(counter[:], s.nonce)
	binary.LittleEndian.PutUint64(counter[8:], s.block)
	clear(s.buf[:])
	salsa.XORKeyStream(s.buf[:], s.buf[:], &counter, s.key)
}

// Validate reports whether the identity's address is the one its key earned. The error wraps ErrIdentity.
func (h *Hasher) Validate(id *Identity) error {
	if id.Address.Reserved() {
		return fmt.Errorf("address %s is reserved: %w", id.Address, ErrIdentity)
	}
	d := h.Digest(&id.Key)
	if d[0] >= hashThreshold {
		return fmt.Errorf("key of %s lacks its proof of work: %w", id.Address, ErrIdentity)
	}
	if a := AddressFrom(d[59:]); a != id.Address {
		return fmt.Errorf("key of %s belongs to address %s: %w", id.Address, a, ErrIdentity)
	}
	return nil
}

// Generate makes a new identity. It takes about 15 tries of one hash each.
func (h *Hasher) Generate() (*SecretIdentity, error) {
	for {
		kp, err := generateKeyPair()
		if err != nil {
			return nil, fmt.Errorf("generate identity: %w", err)
		}
		d := h.Digest(&kp.public)
		a := AddressFrom(d[59:])
		if d[0] < hashThreshold && !a.Reserved() {
			return &SecretIdentity{Identity: Identity{Address: a, Key: kp.public}, keys: kp}, nil
		}
	}
}
