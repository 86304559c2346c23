package table

import "sync/atomic"

// A directory leads from the first bits of a hash to the segment that holds it, and to its lane. Readers get the current one by one
// atomic load. The writer replaces segments in place, except in a directory that a [Frozen] may hold: that one it copies first.
type directory struct {
	shift uint8 // 64 - depth
	born  uint64
	lanes []lane
	segs  []atomic.Pointer[segment]
}

// A lane is the way of lookups to the slots of a segment, past the segment: a cache line without which none goes, in an array that
// stays in a processor's second-level cache, so that the slot is all that a lookup has to wait for.
//
// The writer stores the segment in the directory, makes the count of changes in shape odd, stores the blocks, and makes it even
// again, and only then gives the blocks of the former segment away. A reader that finds an even count, and after its reading the same one,
// has read the segment that was current. Otherwise it goes by the segment itself, and waits for nobody.
type lane struct {
	shape atomic.Uint64 // count of changes (48), depth of the segment (8), blocks (8)
	hot   slotBlocks
}

const (
	laneChange   = 1 << 16 // in shape: one change
	laneChanging = laneChange
)

// laneDepth and laneSlots take the shape of a lane apart.
func laneDepth(shape uint64) uint8  { return uint8(shape >> 8) }
func laneSlots(shape uint64) uint32 { return uint32(shape&0xff) << blockShift }

// set makes l the way to s. Places of blocks that s has not keep what was there: a reader that comes late finds a block.
func (l *lane) set(s *segment) {
	count := l.shape.Load() &^ (laneChange - 1)
	l.shape.Store(count + laneChange)
	blocks := s.slots >> blockShift
	for i := range blocks {
		l.hot[i].Store(s.hot[i].Load())
	}
	l.shape.Store(count + 2*laneChange | uint64(s.depth)<<8 | uint64(blocks))
}

func newDirectory(depth uint8, born uint64) *directory {
	n := 1 << depth
	return &directory{shift: 64 - depth, born: born, lanes: make([]lane, n), segs: make([]atomic.Pointer[segment], n)}
}

func (d *directory) segment(h uint64) *segment { return d.segs[h>>d.shift].Load() }

func (d *directory) lane(h uint64) *lane { return &d.lanes[h>>d.shift] }

// set stores s at place i.
func (d *directory) set(i int, s *segment) {
	d.segs[i].Store(s)
	d.lanes[i].set(s)
}

// put stores s everywhere in its range.
func (d *directory) put(s *segment) {
	first := int(s.prefix >> d.shift)
	for i := range 1 << (64 - d.shift - s.depth) {
		d.set(first+i, s)
	}
}

// copy returns a directory of the given depth, at least its own, that leads to the same segments.
func (d *directory) copy(depth uint8, born uint64) *directory {
	c := newDirectory(depth, born)
	wider := d.shift - c.shift
	for i := range c.segs {
		c.set(i, d.segs[i>>wider].Load())
	}
	return c
}
