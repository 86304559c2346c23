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
// Readers (all workers) load a shard's slot array through one atomic pointer and each slot through two words; they
// take no lock and write nothing. Writers (newcomer workers insert, the keeper removes) hold the shard's mutex.
// A slot gets an address once and keeps it for the life of the array, so that a probe that runs beside a writer finds every session
// that was there when it began, and so that it reads no sessions but the right one. A full array is replaced as a whole;
// readers of the old one see at worst a state from before the replacement.
type sessionTable struct {
	shards [sessionShards]sessionShard
	count  atomic.Int64
	max    int64
}

type sessionShard struct {
	slots atomic.Pointer[[]sessionSlot]
	mu    sync.Mutex // guards used and all stores to slots
	used  int        // slots that have an address
	_     [40]byte
}

// A sessionSlot belongs to an address from when it has one: its session is nil again if that was removed.
type sessionSlot struct {
	address atomic.Uint64 // 0: free, and the end of a probe
	session atomic.Pointer[session]
}

// fill stores the session before the address, by which readers find it.
func (sl *sessionSlot) fill(s *session) {
	sl.session.Store(s)
	sl.address.Store(uint64(s.id.Address))
}

func newSessionTable(maxSessions int) *sessionTable {
	t := &sessionTable{max: int64(maxSessions)}
	for i := range t.shards {
		s := make([]sessionSlot, sessionMinSlots)
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
func (t *sessionTable) home(a vl1.Address) *sessionSlot {
	h := hashAddress(a)
	slots := *t.shards[h%sessionShards].slots.Load()
	return &slots[h/sessionShards&uint64(len(slots)-1)]
}

// get returns the session of a, or nil.
func (t *sessionTable) get(a vl1.Address) *session {
	h := hashAddress(a)
	slots := *t.shards[h%sessionShards].slots.Load()
	if sl, found := probe(slots, h, a); found {
		return sl.session.Load()
	}
	return nil
}

// probe returns the slot of a, whose hash is h, or one that was free, and where it would be. There is always one of the two.
func probe(slots []sessionSlot, h uint64, a vl1.Address) (sl *sessionSlot, found bool) {
	mask := uint64(len(slots) - 1)
	for i := h / sessionShards & mask; ; i = (i + 1) & mask {
		sl = &slots[i]
		switch sl.address.Load() {
		case 0:
			return sl, false
		case uint64(a):
			return sl, true
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
	sl, found := probe(slots, h, s.id.Address)
	if !found {
		if 4*(sh.used+1) > 3*len(slots) {
			sl, _ = probe(sh.rebuild(slots), h, s.id.Address)
		}
		sh.used++
	}
	sl.fill(s)
	t.count.Add(1)
	return s
}

// rebuild publishes an array without the slots of removed sessions, doubled if it would be more than three eighths full.
func (sh *sessionShard) rebuild(old []sessionSlot) []sessionSlot {
	live := 0
	for i := range old {
		if old[i].session.Load() != nil {
			live++
		}
	}
	size := len(old)
	if 8*(live+1) > 3*size {
		size *= 2
	}
	slots := make([]sessionSlot, size)
	for i := range old {
		if s := old[i].session.Load(); s != nil {
			sl, _ := probe(slots, hashAddress(s.id.Address), s.id.Address)
			sl.fill(s)
		}
	}
	sh.used = live
	sh.slots.Store(&slots)
	return slots
}

// remove forgets s if it is still the session of its address.
func (t *sessionTable) remove(s *session) {
	h := hashAddress(s.id.Address)
	sh := &t.shards[h%sessionShards]
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if sl, _ := probe(*sh.slots.Load(), h, s.id.Address); sl.session.CompareAndSwap(s, nil) {
		t.count.Add(-1)
	}
}

// each calls f for the sessions of one shard. Sessions inserted meanwhile may be missed.
func (t *sessionTable) each(shard int, f func(*session)) {
	slots := *t.shards[shard].slots.Load()
	var lines prefetch.Lines
	for i := range slots {
		if i%visitAhead == 0 {
			for ahead := i + visitAhead; ahead < min(i+2*visitAhead, len(slots)); ahead++ {
				if s := slots[ahead].session.Load(); s != nil {
					foreseeVisit(s, &lines)
				}
			}
			lines.Fetch()
		}
		if s := slots[i].session.Load(); s != nil {
			f(s)
		}
	}
}

func (t *sessionTable) len() int { return int(t.count.Load()) }
