package link

import (
	"crypto/cipher"
	"encoding/binary"
	"sync"
	"sync/atomic"
)

// session is a pair of keys with a member.
//
// Who uses it: any sender takes counters and seals; readers open and take from the window. Both sides agree on an
// order of the sessions they share: by generation, then by who offered. The later one is used.
type session struct {
	member     *member
	generation uint32
	offerer    uint16 // member that made the offer: the other side may use the session when it has heard on it
	created    int64  // link's clock, ns
	local      uint32 // index in what we receive
	remote     uint32 // index in what we send
	seal, open cipher.AEAD
	limit      uint64 // counters from here on are not used

	rotate atomic.Bool  // the upkeep has been told that this is used up
	heard  atomic.Bool  // an authentic datagram came: the other side has it too
	until  atomic.Int64 // accepted before this moment, link's clock

	_       [64]byte // senders' cache line
	counter atomic.Uint64
	_       [56]byte

	mu  sync.Mutex // guards win
	win window
}

// nonce is scratch memory of whoever seals or opens: on the stack it would escape.
type nonce [12]byte

func (n *nonce) set(counter uint64) []byte {
	binary.BigEndian.PutUint64(n[4:], counter)
	return n[:]
}

// after reports whether s comes after other in the order that both members know.
func (s *session) after(other *session) bool {
	if other == nil || s.generation != other.generation {
		return other == nil || s.generation > other.generation
	}
	return s.offerer > other.offerer
}

// take reserves n counters in a row and returns the first; false when the key is used up.
func (s *session) take(n uint64) (first uint64, ok bool) {
	end := s.counter.Add(n)
	if end > s.limit/2 && !s.rotate.Load() && s.rotate.CompareAndSwap(false, true) {
		s.member.link.poke()
	}
	return end - n, end <= s.limit
}

// encrypt finishes a datagram of which b[headerLen:n] is the content, in place, and returns its length.
func (s *session) encrypt(b []byte, n int, counter uint64, scratch *nonce) int {
	putHeader(b, s.remote, counter)
	return headerLen + len(s.seal.Seal(b[headerLen:headerLen], scratch.set(counter), b[headerLen:n], b[:headerLen]))
}

// decrypt opens a datagram in place and returns its content. It does not look at the window.
func (s *session) decrypt(b []byte, counter uint64, scratch *nonce) ([]byte, error) {
	return s.open.Open(b[headerLen:headerLen], scratch.set(counter), b[headerLen:], b[:headerLen])
}

// fresh reports whether an authentic datagram comes for the first time.
func (s *session) fresh(counter uint64) bool {
	s.mu.Lock()
	ok := s.win.take(counter)
	s.mu.Unlock()
	return ok
}
