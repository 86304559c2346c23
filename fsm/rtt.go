package fsm

import (
	"cmp"
	"encoding/binary"
	"iter"
	"slices"

	"github.com/rootd/rootd/geo"
)

// RTTs is what members measured of the neighbourhoods of their peers: the part of the state behind [RoundTrips]. Immutable.
//
// A row is what one member measured of one area. Rows lie in 4096 shards, by a hash of the area, of at most 64 rows: the
// oldest makes room for a new one. So there are at most 262,144, and a change copies three small arrays. The zero value: none.
type RTTs struct {
	n   int
	sum sum // over the rows
	top *[rttFan]*rttPage
}

const (
	rttFan     = 64
	rttShardOf = 64 // rows in a shard
)

type rttPage [rttFan]*rttShard

// rttShard has its rows ascending by area and member.
type rttShard struct {
	areas []geo.Area
	rows  []geo.RTT
}

// Len returns the number of rows.
func (t *RTTs) Len() int { return t.n }

// Of returns the rows of an area, ascending by member. The caller must not change them. It takes no lock and allocates
// nothing.
func (t *RTTs) Of(a geo.Area) []geo.RTT {
	if t.n == 0 || a == 0 {
		return nil
	}
	i, j := rttPlace(a)
	page := t.top[i]
	if page == nil || page[j] == nil {
		return nil
	}
	return page[j].of(a)
}

// All returns the areas and their rows, in the order of snapshots.
func (t *RTTs) All() iter.Seq2[geo.Area, []geo.RTT] {
	return func(yield func(geo.Area, []geo.RTT) bool) {
		for s := range t.shards() {
			for rest := s.areas; len(rest) > 0; {
				rows := s.of(rest[0])
				if !yield(rest[0], rows) {
					return
				}
				rest = rest[len(rows):]
			}
		}
	}
}

func (t *RTTs) shards() iter.Seq[*rttShard] {
	return func(yield func(*rttShard) bool) {
		if t.top == nil {
			return
		}
		for _, page := range t.top {
			if page == nil {
				continue
			}
			for _, s := range page {
				if s != nil && !yield(s) {
					return
				}
			}
		}
	}
}

func (s *rttShard) of(a geo.Area) []geo.RTT {
	from, to := 0, len(s.areas)
	for from < to {
		if mid := int(uint(from+to) >> 1); s.areas[mid] < a {
			from = mid + 1
		} else {
			to = mid
		}
	}
	to = from
	for to < len(s.areas) && s.areas[to] == a {
		to++
	}
	return s.rows[from:to:to]
}

// rttPlace returns where the shard of an area is.
func rttPlace(a geo.Area) (page, shard int) {
	h := fold(uint64(a)^hashA, hashB)
	return int(h >> 58), int(h >> 52 & (rttFan - 1))
}

// put returns t with rows set, all by one member at one time.
func (t RTTs) put(rows []RoundTrip, member uint16, at uint32) RTTs {
	for i := range rows {
		r := &rows[i]
		t.set(r.Area, geo.RTT{Member: member, N: r.N, Micros: r.Micros, Dev: r.Dev, At: at})
	}
	return t
}

// set sets one row of t, sharing nothing of what it changes with what t was.
func (t *RTTs) set(a geo.Area, r geo.RTT) {
	var top [rttFan]*rttPage
	if t.top != nil {
		top = *t.top
	}
	i, j := rttPlace(a)
	var page rttPage
	if top[i] != nil {
		page = *top[i]
	}
	var s rttShard
	if old := page[j]; old != nil {
		s = rttShard{slices.Clone(old.areas), slices.Clone(old.rows)}
	}
	k, found := s.find(a, r.Member)
	switch {
	case found:
		t.sum.removeRTT(a, &s.rows[k])
		s.rows[k] = r
	default:
		s.areas, s.rows = slices.Insert(s.areas, k, a), slices.Insert(s.rows, k, r)
		t.n++
	}
	t.sum.addRTT(a, &r)
	if len(s.rows) > rttShardOf {
		k := s.oldest()
		t.sum.removeRTT(s.areas[k], &s.rows[k])
		s.areas, s.rows = slices.Delete(s.areas, k, k+1), slices.Delete(s.rows, k, k+1)
		t.n--
	}
	page[j], top[i], t.top = &s, &page, &top
}

func (s *rttShard) find(a geo.Area, member uint16) (int, bool) {
	rows := s.of(a)
	at, _ := slices.BinarySearch(s.areas, a)
	k, ok := slices.BinarySearchFunc(rows, member, func(r geo.RTT, m uint16) int { return cmp.Compare(r.Member, m) })
	return at + k, ok
}

// oldest returns the row that was measured longest ago; of several the first.
func (s *rttShard) oldest() int {
	k := 0
	for i := range s.rows {
		if s.rows[i].At < s.rows[k].At {
			k = i
		}
	}
	return k
}

// only returns t without the rows of those that are no members.
func (t RTTs) only(members []Member) RTTs {
	var next RTTs
	for a, rows := range t.All() {
		for _, r := range rows {
			if _, ok := memberIndex(members, memberID(r.Member)); ok {
				next.set(a, r)
			}
		}
	}
	return next
}

// rttSize is the size of a row in a snapshot, and in its hash.
//
//	offset size
//	0      8    area: up to six bytes of the prefix, zeroes, and the kind: 1 IPv4 /24, 2 IPv4 /16, 3 IPv6 /48, 4 IPv6 /32
//	8      2    member
//	10     2    samples
//	12     4    round trip, µs
//	16     4    deviation, µs
//	20     4    time, seconds since 2020-01-01
const rttSize = 24

func appendRTT(b []byte, a geo.Area, r *geo.RTT) []byte {
	b = binary.BigEndian.AppendUint64(b, uint64(a))
	b = binary.BigEndian.AppendUint16(b, r.Member)
	b = binary.BigEndian.AppendUint16(b, r.N)
	b = binary.BigEndian.AppendUint32(b, r.Micros)
	b = binary.BigEndian.AppendUint32(b, r.Dev)
	return binary.BigEndian.AppendUint32(b, r.At)
}

func (s *sum) addRTT(a geo.Area, r *geo.RTT) {
	s.plus(hashRTT(a, r))
}

func (s *sum) removeRTT(a geo.Area, r *geo.RTT) {
	s.minus(hashRTT(a, r))
}

// hashRTT hashes a row, padded with zeroes to two blocks: see hashBlocks.
func hashRTT(a geo.Area, r *geo.RTT) (uint64, uint64) {
	var buf [32]byte
	appendRTT(buf[:0], a, r)
	return hashBlocks(buf[:])
}
