package table

import (
	"sync/atomic"
	"unsafe"
)

// store writes a word that readers may look at: what was written before comes before it for every reader. It is all that the one writer
// needs, whose readers store nothing.
//
// Processors of this kind do that with any store: they make stores visible in the order of the program, and load in that order. What they do
// not do is to wait with a later load until a store is visible; an atomic store, which is a locked exchange here, waits, for a cache miss if
// it must, and lets nothing that follows begin. The writer has no use for that: what it loads, it wrote itself, but for counts of who reads
// a freeze, of which it may learn late. The load that follows is for the compiler, which would else drop a store that another one to the same
// word follows, and keeps its order otherwise: see TestStoreOrder.
func store(p *atomic.Uint64, x uint64) {
	if raceDetector {
		p.Store(x)
		return
	}
	*(*uint64)(unsafe.Pointer(p)) = x
	_ = p.Load()
}
