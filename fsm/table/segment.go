package table

import (
	"sync"
	"sync/atomic"
	"unsafe"

	"github.com/rootd/rootd/packetpath/vl1"
)

const (
	seqBits = 16
	seqMask = 1<<seqBits - 1

	addressShift = 24 // of the address in word 0: 16 bits of sequence and 8 of hops come before it

	blockSlots = 1024 // slots of one block
	blockShift = 10
	maxBlocks  = 7 // blocks of slots in a segment that is not yet split: what a lane has room for

	// dead is the address in word 0 of a slot whose peer was deleted. No node may have it; and a probe goes on past it.
	dead = vl1.Address(1<<40 - 1)
)

// A slot is eight words, one cache line: see [slotWords] for what is in them, [segment] for who may touch them.
type slot [slotWords]atomic.Uint64

// A block is the unit of memory for slots: 64 KiB.
type block [blockSlots]slot

// slot returns a slot of the block; what is beyond its end is counted from its beginning. By pointer arithmetic, because Go reads the
// first byte of an array to see that there is one before it forms the address of an element: a line that nobody needs, and a cache miss.
func (b *block) slot(i uint32) *slot {
	return (*slot)(unsafe.Add(unsafe.Pointer(b), i%blockSlots*(slotWords*8)))
}

func addressOf(w0 uint64) vl1.Address { return vl1.Address(w0 >> addressShift) }

// word0 makes word 0 of a slot to which nothing was added yet.
func word0(a vl1.Address) uint64 { return uint64(a) << addressShift }

// next returns word 0 with the address a and the sequence n further on.
func next(w0 uint64, a vl1.Address, n uint64) uint64 {
	return uint64(a)<<addressShift | w0&(1<<addressShift-1)&^seqMask | (w0+n)&seqMask
}

// place is where the entry of the peer in the slot is.
func (s *slot) place() placement { return placement(s[placeWord].Load()) }

func (s *slot) load(w *words) {
	for i := range s {
		w[i] = s[i].Load()
	}
}

// A segment holds the peers of one range of hashes: those that begin with the first depth bits of prefix. Slots lie in
// the order of the hash as far as there was room; entries lie densely, in the order in which they came.
//
// Who writes: the one writer of the table. Who reads: everyone who got the segment from the directory.
//
//   - hot, slots, depth, prefix, born and mem are set before the segment is published in the directory, by an atomic
//     store, and never change.
//   - Words of slots and entries are atomics. A slot is filled once: words 1 to 7 and the entry first, word 0, which makes it
//     visible, last: see fill and store. Later changes obey the sequence in word 0: see
//     [Table.overwrite].
//   - An entry, once a slot points to it, is never written again while the segment is in the directory.
//   - cold and saves are atomic pointers, written by the writer; saves is also set to nil by the last [Frozen.Release].
//   - live, filled, limit, used and units are the writer's own.
//
// When a segment is replaced, its blocks are soon written for another one. A reader may still be looking at them; so
// nothing that was read from a segment counts until the directory was seen to lead to this segment *after* the
// reading. Headers are never used twice: a reader that holds one keeps the collector from giving its address away.
type segment struct {
	hot    slotBlocks
	slots  uint32 // usable ones: a multiple of blockSlots; 0 only in a closed table
	depth  uint8
	prefix uint64
	saves  atomic.Pointer[saveSet]
	mem    *arena // keeps the blocks mapped as long as the segment can be reached
	born   uint64 // epoch of the table when it was made

	live   int // slots that hold a peer
	filled int // slots that hold one or held one
	limit  int // at so many filled ones, the segment is rebuilt or split
	used   int // units of entries that were ever given out
	units  int // those of them that live peers have

	loading sync.Mutex // held by the [Loader] that fills the segment, while the table is private

	cold [maxEntryBlocks]atomic.Pointer[entryBlock]
}

// slot returns slot i, which must be less than s.slots.
func (s *segment) slot(i uint32) *slot { return s.hot.slot(i) }

// home is the slot where a probe for hash h begins: where h lies in the segment's range.
func (s *segment) home(h uint64) uint32 { return home(h, s.depth, s.slots) }

func home(h uint64, depth uint8, slots uint32) uint32 {
	return uint32((h << (depth & 63) >> 32) * uint64(slots) >> 32)
}

// find returns the slot of a, or else the empty one where it would come. For the writer.
func (s *segment) find(h uint64, a vl1.Address) (i uint32, found bool) {
	home := s.home(h)
	if i, _, found := s.hot.search(home, s.slots, a); found {
		return i, true
	}
	return s.empty(home), false
}

// empty returns the first empty slot for a peer of that home.
func (s *segment) empty(home uint32) uint32 {
	if i, found := s.emptyNear(home, neighbours); found {
		return i
	}
	i := walk(home, s.slots)
	for addressOf(s.slot(i)[0].Load()) != 0 { // it ends: see brimming
		i = after(i, 1, s.slots)
	}
	return i
}

// emptyNear returns a home or the first of so many neighbours that is empty, and false if there is none.
func (s *segment) emptyNear(home, among uint32) (i uint32, found bool) {
	for k := range among + 1 {
		if i = neighbour(home, k); addressOf(s.slot(i)[0].Load()) == 0 {
			return i, true
		}
	}
	return 0, false
}

// full reports whether the segment should be replaced before it takes another peer or entry: it has so many peers, or so many units that
// nobody needs any more.
func (s *segment) full() bool {
	return s.filled >= s.limit || s.used-s.units >= int(s.slots)/4
}

// brimming reports whether a full segment cannot wait any longer.
func (s *segment) brimming() bool {
	return s.filled >= int(s.slots)*27/32 || s.used-s.units >= int(s.slots)*3/8
}

// has reports whether hash h is in the segment's range.
func (s *segment) has(h uint64) bool { return (h^s.prefix)>>(64-s.depth) == 0 }

// end is the first hash after the segment's range, zero if there is none.
func (s *segment) end() uint64 { return s.prefix + 1<<(64-s.depth) }
