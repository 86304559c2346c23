package table

import (
	"sync/atomic"
	"unsafe"
)

// fill writes a word that no reader counts on yet, and that a store will vouch for: it may come late, and among others in any order.
// Under the race detector, which does not know that, it is atomic.
//
// A reader of a segment that was replaced may see such words in a block that was given to another segment. Its atomic loads find any words
// there, and then, since the lock of [arena.get] lies between the change of the directory and these stores, another segment in the directory.
func fill(p *atomic.Uint64, x uint64) {
	if raceDetector {
		p.Store(x)
		return
	}
	*(*uint64)(unsafe.Pointer(p)) = x
}
