package packetpath

import (
	"sync"
	"sync/atomic"

	"github.com/rootd/rootd/packetpath/prefetch"
	"github.com/rootd/rootd/packetpath/vl1"
)

const (
	sessionShards   = 256 // a power of two; bounds what one insertion may have to rebuild
	sessionMinSlots = 16
	visitAhead      = 8 // slots, whose sessions are asked for together while those of as many before them are visited
)

// sessionTable finds the session of a peer.
//
// Readers (all workers) load a shard's slot array through one atomic pointer and each slot through another; they
// take no lock and write nothing. Writers (newcomer workers insert, the keeper removes) hold the shard's mutex.
// A slot goes from nil to a session to [tombstone] and never back to nil within one array, so that a probe that
// runs beside a writer finds every session that was there when it began. A full array is replaced as a whole;
// readers of the old one see at worst a state from before the replacement.
type sessionTable struct {
	shards [sessionShards]sessionShard
	count  atomic.Int64
	max    int64
}

type sessionShard struct {
	slots atomic.Pointer[[]atomic.Pointer[session]]
	mu    sync.Mutex // guards used and all stores to slots
	used  int        // slots that are not nil, tombstones included
	_     [40]byte
}

// tombstone marks a slot whose session was removed. Its address is reserved, so that it matches no peer.
var tombstone = &session{}

func newSessionTable(maxSessions int) *sessionTable {
	t := &sessionTable{max: int64(maxSessions)}
	for i := range t.shards {
		s := make([]atomic.Pointer[session], sessionMinSlots)
		t.shards[i].slots.Store(&s)
	}
	return t
}

// hashAddress spreads addresses; they are digests already, but an attacker may choose among many.
func hashAddress(a vl1.Address) uint64 {
	x := uint64(a) * 0x9e3779b97f4a7c15
	return x ^ x>>29
}

// home returns the slot where a probe for a begins.
func (t *sessionTable) home(a vl1.Address) *atomic.Pointer[session] {
	h := hashAddress(a)
	slots := *t.shards[h%sessionShards].slots.Load()
	return &slots[h/sessionShards&uint64(len(slots)-1)]
}

// get returns the session of a, or nil.
func (t *sessionTable) get(a vl1.Address) *session {
	h := hashAddress(a)
	slots := *t.shards[h%sessionShards].slots.Load()
	mask := uint64(len(slots) - 1)
	for i := h / sessionShards & mask; ; i = (i + 1) & mask {
		s := slots[i].Load()
		if s == nil {
			return nil
		}
		if s.id.Address == a {
			return s
		}
	}
}

// insert adds s, or returns the session that the address has already. It returns nil if the table is full.
func (t *sessionTable) insert(s *session) *session {
	h := hashAddress(s.id.Address)
	sh := &t.shards[h%sessionShards]
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if old := t.get(s.id.Address); old != nil {
		return old
	}
	if t.count.Load() >= t.max {
		return nil
	}
	slots := *sh.slots.Load()
	if 4*(sh.used+1) > 3*len(slots) {
		slots = sh.rebuild(slots)
	}
	place(slots, s)
	sh.used++
	t.count.Add(1)
	return s
}

// rebuild publishes an array without the tombstones, doubled if it would be more than three eighths full.
func (sh *sessionShard) rebuild(old []atomic.Pointer[session]) []atomic.Pointer[session] {
	live := 0
	for i := range old {
		if s := old[i].Load(); s != nil && s != tombstone {
			live++
		}
	}
	size := len(old)
	if 8*(live+1) > 3*size {
		size *= 2
	}
	slots := make([]atomic.Pointer[session], size)
	for i := range old {
		if s := old[i].Load(); s != nil && s != tombstone {
			place(slots, s)
		}
	}
	sh.used = live
	sh.slots.Store(&slots)
	return slots
}

func place(slots []atomic.Pointer[session], s *session) {
	mask := uint64(len(slots) - 1)
	i := hashAddress(s.id.Address) / sessionShards & mask
	for slots[i].Load() != nil {
		i = (i + 1) & mask
	}
	slots[i].Store(s)
}

// remove forgets s if it is still the session of its address.
func (t *sessionTable) remove(s *session) {
	h := hashAddress(s.id.Address)
	sh := &t.shards[h%sessionShards]
	sh.mu.Lock()
	defer sh.mu.Unlock()
	slots := *sh.slots.Load()
	mask := uint64(len(slots) - 1)
	for i := h / sessionShards & mask; slots[i].Load() != nil; i = (i + 1) & mask {
		if slots[i].CompareAndSwap(s, tombstone) {
			t.count.Add(-1)
			return
		}
	}
}

// each calls f for the sessions of one shard. Sessions inserted meanwhile may be missed.
func (t *sessionTable) each(shard int, f func(*session)) {
	slots := *t.shards[shard].slots.Load()
	var lines prefetch.Lines
	for i := range slots {
		if i%visitAhead == 0 {
			for ahead := i + visitAhead; ahead < min(i+2*visitAhead, len(slots)); ahead++ {
				if s := slots[ahead].Load(); s != nil {
					foreseeVisit(s, &lines)
				}
			}
			lines.Fetch()
		}
		if s := slots[i].Load(); s != nil && s != tombstone {
			f(s)
		}
	}
}

func (t *sessionTable) len() int { return int(t.count.Load()) }
