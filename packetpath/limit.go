package packetpath

import (
	"encoding/binary"
	"hash/maphash"
	"math/bits"
	"net/netip"
	"slices"
	"sync/atomic"

	"github.com/rootd/rootd/packetpath/vl1"
)

// The limits of the packet path share a few properties: no lock, no allocation, a size that is fixed from the start,
// time as an argument in milliseconds. Where a table is too small for what it sees, it forgets or shares; what that
// means is said at each. Hashes are seeded, so that nobody outside can choose with whom to share.

// Bucket is a token bucket in one word. The zero value is full. Any number of goroutines may take from it.
//
// The word is the time, in nanoseconds, at which the bucket will be full again; a bucket is emptier the further that is
// ahead. Taking moves it ahead by the time that the tokens need to come back, if it stays within a burst's worth of now.
// So rate and burst may change between calls, and a bucket that nobody uses needs no refilling.
type Bucket struct {
	fullAt atomic.Int64
}

// Take takes n tokens at the time now in milliseconds and reports whether they were there; if not, it takes none.
// Tokens come back at rate per second, up to burst. It is wait-free: at most four atomic operations. A rate that is
// not positive lets nothing pass. A clock that is behind finds the bucket emptier, never fuller.
func (b *Bucket) Take(now int64, n int, rate float64, burst int) bool {
	if rate <= 0 || n > burst {
		return false
	}
	const horizon = float64(1 << 60) // 36 years: for rates next to nothing
	cost := int64(min(float64(n)*1e9/rate, horizon))
	now *= 1e6
	limit := now + int64(min(float64(burst)*1e9/rate, horizon))
	old := b.fullAt.Load()
	next := max(old, now) + cost
	if next > limit {
		return false
	}
	if b.fullAt.CompareAndSwap(old, next) {
		return true
	}
	// Somebody was faster, and has brought the word up to the present. So adding is enough now.
	if b.fullAt.Add(cost) <= limit {
		return true
	}
	b.fullAt.Add(-cost)
	return false
}

// buckets is a fixed array of buckets, chosen by hash. Keys that meet in one share its tokens.
type buckets struct {
	seed  maphash.Seed
	shift int
	slots []Bucket
	rate  float64
	burst int
}

// newBuckets makes a table of at least the given number of buckets, a power of two.
func newBuckets(slots int, rate float64, burst int) buckets {
	log := bits.Len(uint(max(slots, 1) - 1))
	return buckets{seed: maphash.MakeSeed(), shift: 64 - log, slots: make([]Bucket, 1<<log), rate: rate, burst: burst}
}

func (l *buckets) take(hash uint64, now int64, n int) bool {
	return l.slots[hash>>l.shift].Take(now, n, l.rate, l.burst)
}

// PrefixLimiter is a bucket for each IPv4 /24 and IPv6 /48. Prefixes that meet in one bucket share it, so the table
// errs towards refusing; with many more slots than busy prefixes that is rare.
type PrefixLimiter struct{ buckets }

// NewPrefixLimiter returns a limiter with at least the given number of slots of 8 bytes. rate is tokens per second.
func NewPrefixLimiter(slots int, rate float64, burst int) *PrefixLimiter {
	return &PrefixLimiter{newBuckets(slots, rate, burst)}
}

// Take takes n tokens of the prefix that a is in.
func (l *PrefixLimiter) Take(a netip.Addr, now int64, n int) bool {
	return l.take(maphash.Comparable(l.seed, prefixOf(a)), now, n)
}

// prefixOf returns the /24 or /48 of a as a number; the families differ in the top bit.
func prefixOf(a netip.Addr) uint64 {
	if a = a.Unmap(); a.Is4() {
		b := a.As4()
		return uint64(b[0])<<16 | uint64(b[1])<<8 | uint64(b[2])
	}
	b := a.As16()
	return 1<<63 | binary.BigEndian.Uint64(b[:])>>16
}

// EndpointLimiter is a bucket for each endpoint, address and port. It errs as a [PrefixLimiter] does.
type EndpointLimiter struct{ buckets }

// NewEndpointLimiter returns a limiter with at least the given number of slots of 8 bytes. rate is tokens per second.
func NewEndpointLimiter(slots int, rate float64, burst int) *EndpointLimiter {
	return &EndpointLimiter{newBuckets(slots, rate, burst)}
}

// Take takes n tokens of the endpoint a.
func (l *EndpointLimiter) Take(a netip.AddrPort, now int64, n int) bool {
	return l.bucket(a).Take(now, n, l.rate, l.burst)
}

func (l *EndpointLimiter) bucket(a netip.AddrPort) *Bucket {
	b := a.Addr().As16()
	key := [3]uint64{binary.NativeEndian.Uint64(b[:8]), binary.NativeEndian.Uint64(b[8:]), uint64(a.Port())}
	return &l.slots[maphash.Comparable(l.seed, key)>>l.shift]
}

// PairTable remembers when something was last done for two peers, in whatever order they are named.
//
// Slots are words: 32 bits of the pair's hash, 32 bits of the time in milliseconds. Eight of them are a set, one
// cache line; a pair may be in any slot of its set, and a new one takes the place of the oldest. So pairs are forgotten
// only under pressure, and a forgotten pair is due again. (One in 2^28 pairs is taken for another one of its set and
// waits for it; and time repeats after 50 days: a pair that comes back just then waits for one interval.)
type PairTable struct {
	seed  maphash.Seed
	shift int
	sets  []pairSet
}

type pairSet [8]atomic.Uint64

// pairSkew is how far the clocks of two callers may differ, in milliseconds, for one to be in the other's future.
const pairSkew = 60_000

// NewPairTable returns a table for at least the given number of pairs, 8 bytes each.
func NewPairTable(slots int) *PairTable {
	log := bits.Len(uint((max(slots, 1) - 1) / len(pairSet{})))
	return &PairTable{seed: maphash.MakeSeed(), shift: 64 - log, sets: make([]pairSet, 1<<log)}
}

// Due reports whether the pair has not been due for the interval in milliseconds; if so, that starts anew. Of any
// number of goroutines that ask at once, one is told so.
func (t *PairTable) Due(a, b vl1.Address, now, interval int64) bool {
	set, tag := t.set(a, b)
	word := uint64(tag)<<32 | uint64(uint32(now))
	for range 4 {
		i, old, due := set.find(tag, now, interval)
		if !due {
			return false
		}
		if set[i].CompareAndSwap(old, word) {
			return true
		}
	}
	return true // a crowd of pairs in this set: it errs towards due
}

// Stale reports what Due would, and changes nothing.
func (t *PairTable) Stale(a, b vl1.Address, now, interval int64) bool {
	set, tag := t.set(a, b)
	_, _, due := set.find(tag, now, interval)
	return due
}

// set returns where the pair belongs, and its mark, which is never 0.
func (t *PairTable) set(a, b vl1.Address) (*pairSet, uint32) {
	h := maphash.Comparable(t.seed, [2]vl1.Address{min(a, b), max(a, b)})
	return &t.sets[h>>t.shift], uint32(h) | 1
}

// find returns the slot of a pair, or the one it should take: an empty one, else the oldest; what is in it; and
// whether the pair is due.
func (s *pairSet) find(tag uint32, now, interval int64) (slot int, word uint64, due bool) {
	oldest := int64(-1)
	for i := range s {
		w := s[i].Load()
		age := int64(uint32(now) - uint32(w))
		if age > 1<<32-pairSkew {
			age = 0 // from a clock that is ahead of ours
		}
		if uint32(w>>32) == tag {
			return i, w, age >= interval
		}
		if w == 0 {
			age = 1 << 32
		}
		if age > oldest {
			slot, word, oldest = i, w, age
		}
	}
	return slot, word, true
}

// ReplayWindow remembers the last 64 packet IDs of one peer. It is not safe for concurrent use. The zero value is
// empty; memory grows with what it has seen, up to 256 bytes.
type ReplayWindow struct {
	marks []uint32 // 32 bits of each ID's hash: one packet in 67 million is taken for a replay
	next  uint8    // the oldest mark, once there are 64
}

const replayMarks = 64

// Seen reports whether id is among the last 64 different ones; if not, it is from now on.
func (r *ReplayWindow) Seen(id uint64) bool {
	mark := uint32(id * 0x9e3779b97f4a7c15 >> 32)
	if slices.Contains(r.marks, mark) {
		return true
	}
	if len(r.marks) < replayMarks {
		r.marks = append(r.marks, mark)
		return false
	}
	r.marks[r.next] = mark
	r.next = (r.next + 1) % replayMarks
	return false
}
