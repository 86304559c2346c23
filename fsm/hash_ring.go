package fsm

import (
	"slices"
	"sync"
)

const (
	// HashInterval is how many indexes of the log are between two state hashes that members compare.
	HashInterval = 256

	hashesKept = 64
)

// IndexedHash is the state hash at an index.
type IndexedHash struct {
	Index uint64
	Hash  Hash
}

// hashRing keeps the hashes of the state at the last multiples of HashInterval. Not every index has an entry that the
// state machine sees, so a multiple is passed when the first entry behind it comes.
type hashRing struct {
	mu     sync.Mutex
	hashes []IndexedHash // ascending by index; guarded by mu
}

// pass notes the hash of s, the state before entry index, if a multiple lies between them.
func (r *hashRing) pass(s *State, index uint64) {
	at := (index - 1) / HashInterval * HashInterval
	if at == 0 || at < s.Index {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if n := len(r.hashes); n > 0 && r.hashes[n-1].Index >= at {
		return
	}
	if len(r.hashes) == hashesKept {
		r.hashes = slices.Delete(r.hashes, 0, 1)
	}
	r.hashes = append(r.hashes, IndexedHash{at, s.Hash()})
}

func (r *hashRing) at(index uint64) (Hash, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, h := range r.hashes {
		if h.Index == index {
			return h.Hash, true
		}
	}
	return Hash{}, false
}

func (r *hashRing) list() []IndexedHash {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.hashes)
}
