package table

import (
	"math/bits"
	"sync/atomic"

	"github.com/rootd/rootd/packetpath/vl1"
)

// Hops are eight bits in word 0 of a slot that say where the peers are whose home it is, but who found it taken when they came: bit k is set if
// one of them is k+1 slots further on, and the last bit if one is further than that. So a lookup reads the slots that can be the right
// one and no other, mostly one or two, where a walk from slot to slot would read more than two on average, and seven for a peer that is not
// there. Bits are set by the writer, after the slot that they tell of was filled, and are never taken back in the life of a segment.
type hops uint8

const (
	nearHops = 7 // slots that have a bit of their own
	farHop   = 1 << nearHops

	hopShift = seqBits // in word 0
)

func hopsOf(w0 uint64) hops { return hops(w0 >> hopShift) }

// hopTo is the bit for a distance in slots, which is not 0.
func hopTo(distance uint32) hops {
	if distance > nearHops {
		return farHop
	}
	return 1 << (distance - 1)
}

// first returns the distance that the lowest bit tells of, and the other bits. There must be one, and it is not the last.
func (h hops) first() (distance uint32, rest hops) {
	return uint32(bits.TrailingZeros8(uint8(h))) + 1, h & (h - 1)
}

// near reports whether there are slots to look at before the walk that the last bit stands for.
func (h hops) near() bool { return h&^farHop != 0 }

// addHop notes in a peer's home that it is in slot i.
func (s *segment) addHop(home, i uint32) {
	sl, distance := s.slot(home), i-home
	if i < home {
		distance += s.slots
	}
	store(&sl[0], sl[0].Load()|uint64(hopTo(distance))<<hopShift)
}

// slotBlocks are the slots of a segment.
type slotBlocks [maxBlocks]atomic.Pointer[block]

func (b *slotBlocks) slot(i uint32) *slot { return b[i>>blockShift].Load().slot(i) }

// search returns the slot of a peer, and its word 0 as it was then. It ends whatever the slots say, as those of a segment may that was
// replaced; slots is how many there are, and not 0.
func (b *slotBlocks) search(home, slots uint32, a vl1.Address) (i uint32, w0 uint64, found bool) {
	w0 = b.slot(home)[0].Load()
	if addressOf(w0) == a {
		return home, w0, true
	}
	return b.searchOn(home, slots, hopsOf(w0), a)
}

// searchOn is search for a peer that is not at its home, which has these hops.
func (b *slotBlocks) searchOn(home, slots uint32, h hops, a vl1.Address) (i uint32, w0 uint64, found bool) {
	far := h&farHop != 0
	for h.near() {
		var d uint32
		d, h = h.first()
		i = after(home, d, slots)
		if w0 = b.slot(i)[0].Load(); addressOf(w0) == a {
			return i, w0, true
		}
	}
	if !far {
		return 0, 0, false
	}
	i = after(home, nearHops+1, slots)
	for range slots {
		switch w0 = b.slot(i)[0].Load(); addressOf(w0) {
		case a:
			return i, w0, true
		case 0:
			return 0, 0, false
		}
		i = after(i, 1, slots)
	}
	return 0, 0, false
}

// after is the slot that is n further on than slot i, round the end.
func after(i, n, slots uint32) uint32 {
	if i += n; i >= slots {
		i -= slots
	}
	return i
}
