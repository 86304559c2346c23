package table

import (
	"math/bits"
	"sync/atomic"

	"github.com/rootd/rootd/packetpath/vl1"
)

// Hops are eight bits in word 0 of a slot that say where the peers are whose home it is, but who found it taken when they came: bit k-1 is set if
// one of them is at neighbour k, and the last bit if one is further away. So a lookup reads the slots that can be the right
// one and no other, mostly one or two, where a walk from slot to slot would read more than two on average, and seven for a peer that is not
// there. Bits are set by the writer, after the slot that they tell of was filled, and are never taken back once a segment is in the directory.
type hops uint8

const (
	neighbours = 7               // slots that have a bit of their own
	farHop     = 1 << neighbours // the bit of all others

	hopShift = seqBits // in word 0
	hopMask  = 0xff << hopShift
)

// Neighbours of a home are in the same 64 slots as it is, which are 4 KiB: a page, to which a processor knows the way once it was asked for the
// home. They are strewn over it, since where the next slots are the neighbours, as hopscotch hashing has it, a crowd of homes in a row
// takes those of each other.
const (
	vicinity = 64 // slots, a power of two that divides blockSlots

	// nearest is how many neighbours are asked for with a home, and are where others make room: see prefetchNearest, which asks for just these,
	// and clear. More lines take longer to come.
	nearest = 3

	// distances are how many slots after its home each neighbour is, round the end of the vicinity: byte k for neighbour k.
	distances uint64 = 1<<8 | 5<<16 | 18<<24 | 27<<32 | 39<<40 | 48<<48 | 58<<56
)

// neighbour is the slot of neighbour k of a home, from 1 on; 0 is the home itself.
func neighbour(home, k uint32) uint32 {
	return home&^(vicinity-1) | (home+uint32(distances>>(8*k&63)))&(vicinity-1)
}

func hopsOf(w0 uint64) hops { return hops(w0 >> hopShift) }

// hopTo is the bit for a peer in slot i that is not its home.
func hopTo(home, i uint32) hops {
	if (home^i)/vicinity != 0 {
		return farHop
	}
	return hopAfter[(i-home)%vicinity]
}

// hopAfter has that bit by how many slots of a vicinity it is after the home.
var hopAfter = func() (bit [vicinity]hops) {
	for i := range bit {
		bit[i] = farHop
	}
	for k := uint32(1); k <= neighbours; k++ {
		bit[neighbour(0, k)] = 1 << (k - 1)
	}
	return bit
}()

// first returns which neighbour the lowest bit tells of, and the other bits. There must be one, and it is not the last.
func (h hops) first() (k uint32, rest hops) {
	return uint32(bits.TrailingZeros8(uint8(h))) + 1, h & (h - 1)
}

// near reports whether there are neighbours to look at before the walk that the last bit stands for.
func (h hops) near() bool { return h&^farHop != 0 }

// addHop notes in a peer's home that it is in slot i.
func (s *segment) addHop(home, i uint32) {
	sl := s.slot(home)
	store(&sl[0], sl[0].Load()|uint64(hopTo(home, i))<<hopShift)
}

// dropHop notes in a peer's home that it is in slot i no more, if that is a neighbour: those who are further away have one bit together. Nobody
// may read the segment yet.
func (s *segment) dropHop(home, i uint32) {
	sl := s.slot(home)
	fill(&sl[0], sl[0].Load()&^(uint64(hopTo(home, i)&^farHop)<<hopShift))
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
	vicinity := b[home>>blockShift].Load()
	for h.near() {
		var k uint32
		k, h = h.first()
		i = neighbour(home, k)
		if w0 = vicinity.slot(i)[0].Load(); addressOf(w0) == a {
			return i, w0, true
		}
	}
	if !far {
		return 0, 0, false
	}
	i = walk(home, slots)
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

// walk is where the search for a peer begins that is in none of the neighbours of its home. It goes on from slot to slot.
func walk(home, slots uint32) uint32 { return after(home, 2, slots) } // the next one is a neighbour

// after is the slot that is n further on than slot i, round the end.
func after(i, n, slots uint32) uint32 {
	if i += n; i >= slots {
		i -= slots
	}
	return i
}
