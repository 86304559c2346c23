package table

import (
	"runtime"
	"sync"
	"sync/atomic"
	"unsafe"
)

const (
	blockBytes = blockSlots * slotWords * 8
	minChunk   = 2 << 20
	maxChunk   = 64 << 20

	// aheadFrom is the size of a pool from which on its next chunk is taken and touched before it is needed.
	aheadFrom = 16 << 20
)

// An arena gives out blocks. It takes memory from the system in chunks, and gives it back when nothing leads to the
// arena any more: neither its table, nor a segment in the hands of a reader, nor a [Frozen]. get and put are for the writer, or
// for loaders; anyone may read the counters.
type arena struct {
	take  func(size int) ([]block, error) // takes zeroed memory from the system
	touch func([]block)                   // makes the system provide memory before it is used; nil: it does not

	mu    sync.Mutex // guards pools; only loaders ever wait for it
	pools [2]pool

	total  atomic.Int64 // bytes taken from the system
	unused atomic.Int64 // bytes of it not in use by a segment
}

// Blocks of slots and blocks of entries come from chunks of their own. Nearly all lookups end at a slot: the fewer pages
// slots lie on, the more of them the processor knows its way to.
type kind int

const (
	ofSlots kind = iota
	ofEntries
)

// A pool is the blocks of one kind that nobody has.
type pool struct {
	fresh []block        // of the newest chunk, not given out yet
	ahead <-chan []block // gives the next chunk, empty if the system had none; nil: it was not asked for
	free  []*block       // given back, not cleared
	total int            // bytes taken from the system, without ahead
}

// mappings are apart from the arena so that its cleanup can have them when the arena is gone.
type mappings struct {
	mu   sync.Mutex
	list [][]byte
}

func newArena(o Options) *arena {
	a := &arena{}
	if o.OnHeap {
		a.take = func(size int) ([]block, error) { return make([]block, size/blockBytes), nil }
		return a
	}
	if canTouch {
		a.touch = func(b []block) {
			touchMemory(unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(b))), len(b)*blockBytes))
		}
	}
	maps := &mappings{}
	a.take = func(size int) ([]block, error) {
		m, err := mapMemory(size, o.HugePages)
		if err != nil {
			return nil, err
		}
		maps.mu.Lock()
		maps.list = append(maps.list, m)
		maps.mu.Unlock()
		return unsafe.Slice((*block)(unsafe.Pointer(unsafe.SliceData(m))), size/blockBytes), nil
	}
	runtime.AddCleanup(a, func(maps *mappings) {
		for _, m := range maps.list {
			unmapMemory(m)
		}
	}, maps)
	return a
}

// get returns a block, and whether it may hold old words.
func (a *arena) get(k kind) (b *block, dirty bool, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	p := &a.pools[k]
	if n := len(p.free); n > 0 {
		b, p.free = p.free[n-1], p.free[:n-1]
		a.unused.Add(-blockBytes)
		return b, true, nil
	}
	if len(p.fresh) == 0 {
		if err := a.extend(p); err != nil {
			return nil, false, err
		}
	}
	b, p.fresh = &p.fresh[0], p.fresh[1:]
	a.unused.Add(-blockBytes)
	return b, false, nil
}

// put takes back a block that no segment of the current directory uses.
func (a *arena) put(k kind, b *block) {
	if b != nil {
		a.mu.Lock()
		defer a.mu.Unlock()
		a.pools[k].free = append(a.pools[k].free, b)
		a.unused.Add(blockBytes)
	}
}

// extend takes another chunk from the system: an eighth of what is there, so that there are few chunks and little is
// taken in vain.
//
// Systems provide memory when it is first touched, which may take milliseconds for a huge page; and who asks for more address space waits until
// nobody touches any. Neither is for the middle of a log entry. So when a pool that is no longer small begins a chunk, a goroutine takes the
// next one and touches it; it ends by itself, and reads and writes none of its words.
func (a *arena) extend(p *pool) error {
	p.fresh = nil
	if p.ahead != nil {
		p.fresh = <-p.ahead // asked for a chunk ago: it is there
		p.ahead = nil
	}
	if len(p.fresh) == 0 {
		var err error
		if p.fresh, err = a.chunk(p.step()); err != nil {
			return err
		}
	}
	p.total += len(p.fresh) * blockBytes
	if a.touch == nil || p.total < aheadFrom {
		return nil
	}
	ahead, size := make(chan []block, 1), p.step()
	p.ahead = ahead
	go func() {
		next, _ := a.chunk(size) // if there is none, that is an error when it is needed
		ahead <- next
		a.touch(next)
		runtime.KeepAlive(a) // it was mapped until here
	}()
	return nil
}

// step is the size of the next chunk.
func (p *pool) step() int { return min(max(p.total/8, minChunk), maxChunk) &^ (minChunk - 1) }

// chunk takes memory from the system. It may be called without the lock.
func (a *arena) chunk(size int) ([]block, error) {
	b, err := a.take(size)
	if err != nil {
		return nil, err
	}
	a.total.Add(int64(size))
	a.unused.Add(int64(size))
	return b, nil
}
