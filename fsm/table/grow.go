package table

import (
	"errors"
	"math"

	"github.com/rootd/rootd/packetpath/prefetch"
	"github.com/rootd/rootd/packetpath/vl1"
)

// How a table grows: a segment with as many peers, deleted ones included, as its limit says is replaced by one with so many blocks that
// it is filled to at most fillAfter; or, where maxBlocks are too few for that, by two, each for half of the range. So a
// segment goes from 4 blocks to 5, 6, 7, and then to twice 4, and is between 0.62 and 0.81 full, or 0.84 while others grow. Limits differ by segment,
// within limitSpread, so that segments with the same number of peers, which the hash gives them, do not all grow at once.
const (
	fillAfter   = 0.715
	limitLeast  = 0.75
	limitSpread = 0.0625

	// restBetween is how many new peers or entries are stored between the replacements of two segments, unless one cannot wait: so a log
	// entry of a thousand new peers waits for three of them, not for a dozen that happen to come together.
	restBetween = 300

	// maxDepth keeps the directory small whatever the addresses: 2^28 segments.
	maxDepth = 28
)

var errTooDeep = errors.New("too many peers in one range of hashes")

// blocksFor is the number of blocks of slots for n peers, and more that come; more than maxBlocks if they need more than one segment.
func blocksFor(n int) int { return blocksAt(n, fillAfter) }

// blocksAt is the number of blocks that n peers fill to at most so much.
func blocksAt(n int, load float64) int {
	return max(1, int(math.Ceil(float64(n)/(load*blockSlots))))
}

// geometry is the depth and the blocks of the segments of a new table for n peers.
func geometry(n int) (depth uint8, blocks int) {
	for ; ; depth++ {
		each := float64(n) / float64(uint64(1)<<depth)
		blocks = blocksAt(int(each+4*math.Sqrt(each)), limitLeast) // the fullest of many segments has about that
		if blocks <= maxBlocks || depth == maxDepth {
			return depth, min(blocks, maxBlocks)
		}
	}
}

// newSegment returns an empty segment that is not in the directory yet.
func (t *Table) newSegment(prefix uint64, depth uint8, blocks int) (*segment, error) {
	s := &segment{prefix: prefix, depth: depth, slots: uint32(blocks * blockSlots), mem: t.mem, born: t.epoch}
	chance := float64((prefix+uint64(depth))*0x9e3779b97f4a7c15>>40&0xffff) / 0x10000
	s.limit = int(float64(s.slots) * (limitLeast + limitSpread*chance))
	for i := range blocks {
		b, dirty, err := t.mem.slots.get(t.mem)
		if err != nil {
			t.free(s)
			return nil, err
		}
		s.hot[i].Store(b)
		if dirty {
			for j := range b {
				fill(&b[j][0], 0)
			}
		}
	}
	return s, nil
}

// free gives the blocks of s back. Readers may still be in them: what they read there does not count.
func (t *Table) free(s *segment) {
	for i := range s.hot {
		t.mem.slots.put(t.mem, s.hot[i].Load())
	}
	for i := range s.cold {
		t.mem.entries.put(t.mem, s.cold[i].Load())
	}
}

// count adds the segment to the statistics, or takes it out.
func (t *Table) count(s *segment, sign int64) {
	t.stats.segments.Add(sign)
	t.stats.slots.Add(sign * int64(s.slots))
}

// makeRoom rebuilds or splits s until the segment for hash h can take another key, and returns that one.
func (t *Table) makeRoom(s *segment, h uint64) (*segment, error) {
	for s.full() {
		if err := t.replace(s); err != nil {
			return nil, err
		}
		s = t.dir.Load().segment(h)
	}
	return s, nil
}

// replace puts one or two new segments with the live peers of s into the directory, and retires s.
func (t *Table) replace(s *segment) error {
	blocks := blocksFor(s.live)
	split := blocks > maxBlocks
	if split && s.depth == maxDepth {
		return errTooDeep
	}
	var low, high *segment // the same one if there is no split
	var err error
	if split {
		low, high, err = t.newHalves(s)
	} else {
		low, err = t.newSegment(s.prefix, s.depth, blocks)
		high = low
	}
	if err != nil {
		return err
	}
	if err := t.copyInto(s, low, high); err != nil {
		t.free(low)
		if split {
			t.free(high)
		}
		return err
	}

	d := t.dir.Load()
	depth := max(64-d.shift, low.depth)
	grown := d
	if depth != 64-d.shift || t.held(d.born) {
		grown = d.copy(depth, t.epoch)
	}
	grown.put(low)
	t.count(low, 1)
	if split {
		grown.put(high)
		t.count(high, 1)
		t.stats.splits.Add(1)
	} else {
		t.stats.rebuilds.Add(1)
	}
	t.dir.Store(grown)
	t.moves++
	t.count(s, -1)
	if t.held(s.born) {
		t.limbo = append(t.limbo, s)
	} else {
		t.free(s)
	}
	return nil
}

// newHalves returns two empty segments that together have the range of s, each with room for its peers.
func (t *Table) newHalves(s *segment) (low, high *segment, err error) {
	bit := 63 - s.depth
	n := 0 // peers of the upper half
	for i := range s.slots {
		if a := addressOf(s.slot(i)[0].Load()); a != 0 && a != dead {
			n += int(Hash(a) >> bit & 1)
		}
	}
	low, err = t.newSegment(s.prefix, s.depth+1, min(blocksFor(s.live-n), maxBlocks))
	if err != nil {
		return nil, nil, err
	}
	high, err = t.newSegment(s.prefix|1<<bit, s.depth+1, min(blocksFor(n), maxBlocks))
	if err != nil {
		t.free(low)
		return nil, nil, err
	}
	return low, high, nil
}

// copyInto adds every live peer of s to that half of its range that its hash belongs to.
func (t *Table) copyInto(s, low, high *segment) error {
	var w words
	var e entry
	half := func(h uint64) *segment {
		if h>>(63-s.depth)&1 != 0 {
			return high
		}
		return low
	}
	var lines prefetch.Lines
	t.late = t.late[:0]
	for i := range s.slots {
		if i%group == 0 { // segments have whole groups
			for j := range uint32(group) {
				s.prefetchEntry(s.slot(after(i, group+j, s.slots)).place(), &lines)
			}
			lines.Fetch()
		}
		sl := s.slot(i)
		sl.load(&w)
		a := addressOf(w[0])
		if a == 0 || a == dead {
			continue
		}
		h := Hash(a)
		to := half(h)
		s.loadEntry(w.place(), &e)
		place, err := to.addEntry(&e)
		if err != nil {
			return err
		}
		w.setPlace(place)
		if !to.fillHome(h, a, &w) {
			t.late = append(t.late, w)
		}
	}
	settle(t.late, half)
	return nil
}

// fillHome puts a peer that s does not have where it belongs, and reports false if that slot is taken. Whoever fills a segment in the order of
// the hash does it first for all, and then settles the others: so nobody finds his home taken by one that belongs elsewhere. Of peers in tables
// as full as those that are restored, 72 in 100 are at home so, before others make room.
func (s *segment) fillHome(h uint64, a vl1.Address, w *words) bool {
	home := s.home(h)
	if addressOf(s.slot(home)[0].Load()) != 0 {
		return false
	}
	s.fillSlot(home, h, a, w)
	return true
}

// settle puts the peers whose homes were taken, with their addresses in word 0, into their segments: first those for whom there is room
// among the nearest neighbours of their homes, then those for whom others can make room there, and then the rest. Who is there already is
// left out. Nobody may read the segments yet.
func settle(late []words, to func(hash uint64) *segment) {
	rooms := [...]func(s *segment, home uint32) (i uint32, found bool){
		func(s *segment, home uint32) (uint32, bool) { return s.emptyNear(home, nearest) },
		(*segment).clear,
		func(s *segment, home uint32) (uint32, bool) { return s.empty(home), true },
	}
	for _, room := range rooms {
		rest := late[:0]
		for i := range late {
			w := &late[i]
			a := addressOf(w[0])
			h := Hash(a)
			s := to(h)
			home := s.home(h)
			if _, _, known := s.hot.search(home, s.slots, a); known {
				continue
			}
			if i, found := room(s, home); found {
				s.fillSlot(i, h, a, w)
			} else {
				rest = append(rest, *w)
			}
		}
		late = rest
	}
}

// mostMoves is how many peers move for one more to be near its home. In a table that is restored, by a simulation, 70 of 1,000 are not without
// any, 21 with one, 7 with two. With three it would be 3, for twice the work; and a chain of three could come back to where it began.
const mostMoves = 2

// clear empties a home or one of its nearest neighbours, which are all taken: who is there goes to another slot near its own home, from which
// somebody else may have to go first.
func (s *segment) clear(home uint32) (i uint32, cleared bool) {
	for moves := 1; moves <= mostMoves; moves++ { // the fewer, the more stay at home
		for k := range uint32(nearest + 1) {
			if i := neighbour(home, k); s.vacate(i, moves) {
				return i, true
			}
		}
	}
	return 0, false
}

// vacate moves the peer in slot i to another one near its home, with so many moves in all, and reports whether it could.
func (s *segment) vacate(i uint32, moves int) bool {
	a := addressOf(s.slot(i)[0].Load())
	if a == dead {
		return false
	}
	home := s.home(Hash(a))
	for k := range uint32(nearest + 1) {
		to := neighbour(home, k)
		if to == i {
			continue
		}
		if addressOf(s.slot(to)[0].Load()) == 0 || moves > 1 && s.vacate(to, moves-1) {
			s.move(i, to, home)
			return true
		}
	}
	return false
}

// move puts the peer in slot i, of that home, into an empty slot. Its own is empty then, and must not stay so: searches end there.
func (s *segment) move(i, to, home uint32) {
	from, sl := s.slot(i), s.slot(to)
	for j := 1; j < slotWords; j++ {
		fill(&sl[j], from[j].Load())
	}
	w0 := from[0].Load()
	fill(&sl[0], word0(addressOf(w0))|sl[0].Load()&hopMask)
	fill(&from[0], w0&hopMask)
	if i != home {
		s.dropHop(home, i)
	}
	if to != home {
		s.addHop(home, to)
	}
}

// reap frees a few of the segments that were kept for a Frozen, once there is none.
func (t *Table) reap() {
	for range 4 {
		n := len(t.limbo)
		if n == 0 || t.active.Load() > 0 {
			return
		}
		t.free(t.limbo[n-1])
		t.limbo[n-1] = nil
		t.limbo = t.limbo[:n-1]
	}
}
