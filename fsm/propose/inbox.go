package propose

import (
	"sync/atomic"

	"github.com/rootd/rootd/packetpath/vl1"
)

// offered is one fact on its way to the proposer's goroutine.
type offered struct {
	address vl1.Address
	fact    fact
}

// parcel is what one Offer left in the inbox.
type parcel struct {
	next  *parcel
	facts []offered
}

// inbox is a stack of parcels: any goroutine pushes, one takes all. Pushing is lock-free, and retried only when
// another push came in between. What is taken comes newest parcel first.
type inbox struct {
	head atomic.Pointer[parcel]
	size atomic.Int64 // facts in it
	wake chan struct{}
}

// push adds a parcel unless there are limit facts already, and reports whether it did.
func (in *inbox) push(facts []offered, limit int) bool {
	if in.size.Add(int64(len(facts))) > int64(limit) {
		in.size.Add(-int64(len(facts)))
		return false
	}
	p := &parcel{facts: facts}
	for {
		p.next = in.head.Load()
		if in.head.CompareAndSwap(p.next, p) {
			break
		}
	}
	select {
	case in.wake <- struct{}{}:
	default: // it is awake
	}
	return true
}

// take empties the inbox and returns the parcels, oldest first.
func (in *inbox) take() *parcel {
	var oldest *parcel
	for p := in.head.Swap(nil); p != nil; {
		in.size.Add(-int64(len(p.facts)))
		next := p.next
		p.next, oldest = oldest, p
		p = next
	}
	return oldest
}
