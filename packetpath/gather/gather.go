// Package gather remembers who wants which multicast group, and picks members of a group at random.
//
// A client sends MULTICAST_LIKE for every group it is in, every one or two minutes; it asks with MULTICAST_GATHER when
// it has something to send to a group. The answers need not be complete, and nothing here is worth a log: after a
// restart the table fills again within two minutes.
//
// What flows in: (peer, group) pairs with a time. What flows out: random members. All methods of [Table] may be called
// from any goroutine. None of them blocks for long: a lock is held for the handling of one pair or one answer, except
// in [Table.Expire], which walks one shard of 64 under its lock.
//
// The package has no clock, no random source and no goroutines: time and randomness are arguments.
//
// # Structure
//
// Networks are spread over shards; all groups of a network are in one, so a shard knows all about its networks under
// one lock. Only the number of groups per peer goes across shards: it has locks of its own. There are two kinds of
// locks; a shard's is taken before a peer count's.
//
// The members of a group are a dense array, so that a random one is one index away, and at the same time a list in the
// order of their last LIKE, so that those that have expired are at its head. A group is rid of them before it is looked
// at. Hence totals are exact without counting, and cost nothing that was not paid for by a LIKE.
//
// # Bounds
//
// A peer may have so many groups, a network so many pairs, the table so many pairs. Whoever is in stays in: at a bound
// new pairs are refused and counted, refreshed ones never. A pair takes about 150 bytes.
package gather

import (
	"math/bits"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/rootd/rootd/packetpath/vl1"
)

// Lifetime is how long a LIKE counts, in milliseconds.
const Lifetime = 600_000

// MaxAnswer is the largest number of members that [Table.Gather] returns: no datagram holds more.
const MaxAnswer = 256

const shards = 64

// Group is a multicast group of a network.
type Group struct {
	Network uint64
	MAC     [6]byte
	ADI     uint32 // additional distinguishing information: the IPv4 address that is asked for in ARP, else 0
}

// Options bound a table. Zero values mean the defaults.
type Options struct {
	MaxGroupsPerPeer int // default 1024
	MaxPerNetwork    int // pairs of peer and group; default 262,144
	MaxTotal         int // pairs of peer and group; default 1,048,576
}

// Stats describe a table. Pairs that have expired count until they are met or [Table.Expire] removes them.
type Stats struct {
	Networks, Groups, Peers, Pairs int
	// New pairs refused since the start, by the bound that they met.
	RefusedPeer, RefusedNetwork, RefusedTotal uint64
}

// Table holds the pairs of peers and groups.
type Table struct {
	o      Options
	pairs  atomic.Int64 // in all shards; at most MaxTotal, but for the moment of a refusal
	shards [shards]shard
	counts [shards]count

	refusedPeer, refusedNetwork, refusedTotal atomic.Uint64
}

// shard holds some networks whole.
type shard struct {
	mu       sync.Mutex         // guards the following
	groups   map[Group]*group   // none is empty
	at       map[pair]int32     // where in its group's members a peer is
	networks map[uint64]int32   // pairs in a network
	_        [64 - 8 - 3*8]byte // a cache line per shard
}

type pair struct {
	group Group
	peer  vl1.Address
}

// count holds how many groups some peers have.
type count struct {
	mu     sync.Mutex // guards groups; taken while a shard's is held, never the other way round
	groups map[vl1.Address]int32
	_      [64 - 8 - 8]byte
}

// New returns an empty table.
func New(o Options) *Table {
	setDefault(&o.MaxGroupsPerPeer, 1024)
	setDefault(&o.MaxPerNetwork, 1<<18)
	setDefault(&o.MaxTotal, 1<<20)
	t := &Table{o: o}
	for i := range t.shards {
		t.shards[i].groups = make(map[Group]*group)
		t.shards[i].at = make(map[pair]int32)
		t.shards[i].networks = make(map[uint64]int32)
		t.counts[i].groups = make(map[vl1.Address]int32)
	}
	return t
}

func setDefault(v *int, def int) {
	if *v <= 0 {
		*v = def
	}
}

// spread turns a key into the number of a shard.
func spread(key uint64) uint64 { return key * 0x9e3779b97f4a7c15 >> (64 - 6) }

func (t *Table) shard(network uint64) *shard { return &t.shards[spread(network)] }

func (t *Table) count(peer vl1.Address) *count { return &t.counts[spread(uint64(peer))] }

// Like notes that peer wants g, at the time now in milliseconds. It returns false for a new pair beyond a bound. It
// does not allocate for a pair that is known.
func (t *Table) Like(peer vl1.Address, g Group, now int64) bool {
	s := t.shard(g.Network)
	s.mu.Lock()
	defer s.mu.Unlock()
	if i, ok := s.at[pair{g, peer}]; ok {
		s.groups[g].touch(i, now)
		return true
	}
	if !t.admit(s, peer, g.Network) {
		return false
	}
	gr := s.groups[g]
	if gr == nil {
		gr = newGroup()
		s.groups[g] = gr
	}
	s.at[pair{g, peer}] = gr.add(peer, now)
	s.networks[g.Network]++
	return true
}

// admit checks the bounds for one more pair and counts it in those that are shared by all shards. s is locked.
func (t *Table) admit(s *shard, peer vl1.Address, network uint64) bool {
	if int(s.networks[network]) >= t.o.MaxPerNetwork {
		t.refusedNetwork.Add(1)
		return false
	}
	if t.pairs.Add(1) > int64(t.o.MaxTotal) {
		t.pairs.Add(-1)
		t.refusedTotal.Add(1)
		return false
	}
	c := t.count(peer)
	c.mu.Lock()
	defer c.mu.Unlock()
	if int(c.groups[peer]) >= t.o.MaxGroupsPerPeer {
		t.pairs.Add(-1)
		t.refusedPeer.Add(1)
		return false
	}
	c.groups[peer]++
	return true
}

// Gather picks up to limit members of g at random, never asker, and never more than [MaxAnswer]. rnd is the randomness
// of the choice: every set of that size is equally likely, their order means nothing. total is the number of all
// members known, the asker among them if it is one. The members are written to out from its start; it does not allocate
// if they fit.
func (t *Table) Gather(g Group, asker vl1.Address, limit int, now int64, rnd uint64, out []vl1.Address) (
	total int, members []vl1.Address,
) {
	out = out[:0]
	s := t.shard(g.Network)
	s.mu.Lock()
	defer s.mu.Unlock()
	gr := s.groups[g]
	if gr == nil {
		return 0, out
	}
	t.expire(s, g, gr, now)
	total = len(gr.members)

	// The members without the asker are numbered 0 to n-1: those behind it move up by one.
	n, gap := total, total
	if i, ok := s.at[pair{g, asker}]; ok {
		n, gap = total-1, int(i)
	}
	member := func(i int) vl1.Address {
		if i >= gap {
			i++
		}
		return gr.members[i].peer
	}
	// Floyd's sampling: in step j, one of 0 to j that is not chosen yet, j itself if the dice fall on a chosen one.
	// It needs no memory but the answer, which is short enough to be searched.
	for j := max(0, n-min(max(limit, 0), MaxAnswer)); j < n; j++ {
		pick := member(int(below(&rnd, uint64(j)+1)))
		if slices.Contains(out, pick) {
			pick = member(j)
		}
		out = append(out, pick)
	}
	return total, out
}

// below returns a number from 0 to n-1 and advances the state (splitmix64; the bias of the product is below 2^-40).
func below(state *uint64, n uint64) uint64 {
	*state += 0x9e3779b97f4a7c15
	x := *state
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	hi, _ := bits.Mul64(x^x>>31, n)
	return hi
}

// Expire removes all pairs whose last LIKE is older than [Lifetime] and returns their number. It takes about 0.1 µs per
// group, in 64 portions; every ten seconds or so is often enough.
func (t *Table) Expire(now int64) int {
	removed := 0
	for i := range t.shards {
		s := &t.shards[i]
		s.mu.Lock()
		for g, gr := range s.groups {
			removed += t.expire(s, g, gr, now)
		}
		s.mu.Unlock()
	}
	return removed
}

// expire removes what has expired in one group, and the group if nothing is left of it. s is locked.
func (t *Table) expire(s *shard, g Group, gr *group, now int64) (removed int) {
	for len(gr.members) > 0 && gr.oldest().seen <= now-Lifetime {
		peer := gr.oldest().peer
		delete(s.at, pair{g, peer})
		if moved, to, ok := gr.removeOldest(); ok {
			s.at[pair{g, moved}] = to
		}
		decrement(s.networks, g.Network)
		c := t.count(peer)
		c.mu.Lock()
		decrement(c.groups, peer)
		c.mu.Unlock()
		t.pairs.Add(-1)
		removed++
	}
	if len(gr.members) == 0 {
		delete(s.groups, g)
	}
	return removed
}

// decrement counts down, and forgets what has come to zero.
func decrement[K comparable](m map[K]int32, k K) {
	if m[k]--; m[k] <= 0 {
		delete(m, k)
	}
}

// Stats counts what is in the table.
func (t *Table) Stats() Stats {
	st := Stats{
		RefusedPeer: t.refusedPeer.Load(), RefusedNetwork: t.refusedNetwork.Load(), RefusedTotal: t.refusedTotal.Load(),
	}
	for i := range t.shards {
		s, c := &t.shards[i], &t.counts[i]
		s.mu.Lock()
		st.Networks += len(s.networks)
		st.Groups += len(s.groups)
		st.Pairs += len(s.at)
		s.mu.Unlock()
		c.mu.Lock()
		st.Peers += len(c.groups)
		c.mu.Unlock()
	}
	return st
}
