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

	// largeFrom is the size of a pool from which on it has huge pages, and its next chunk is taken and touched before it is needed. The
	// system provides a smaller one page by page, as much as it needs.
	largeFrom = 16 << 20
)

// An arena gives out blocks. It takes memory from the system in chunks, and gives it back when nothing leads to the
// arena any more: neither its table, nor a segment in the hands of a reader, nor a [Frozen]. Its pools are for the writer, or
// for loaders; anyone may read the counters.
//
// Blocks of slots and blocks of entries come from chunks of their own. Nearly all lookups end at a slot: the fewer pages
// slots lie on, the more of them the processor knows its way to.
type arena struct {
	take  func(size int, huge bool) ([]block, error) // takes zeroed memory from the system
	touch func([]block)                              // makes the system provide memory before it is used; nil: it does not

	mu      sync.Mutex // guards the pools; only loaders ever wait for it
	slots   pool[block]
	entries pool[entryBlock]

	total  atomic.Int64 // bytes taken from the system
	unused atomic.Int64 // bytes of it not in use by a segment
}

// A pool is the blocks of one kind that nobody has.
type pool[B block | entryBlock] struct {
	fresh []B            // of the newest chunk, not given out yet
	ahead <-chan []block // gives the next chunk, empty if the system had none; nil: it was not asked for
	free  []*B           // given back, not cleared
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
		a.take = func(size int, _ bool) ([]block, error) { return make([]block, size/blockBytes), nil }
		return a
	}
	if canTouch {
		a.touch = func(b []block) {
			touchMemory(unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(b))), len(b)*blockBytes))
		}
	}
	maps := &mappings{}
	a.take = func(size int, huge bool) ([]block, error) {
		m, err := mapMemory(size, huge && o.HugePages)
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
func (p *pool[B]) get(a *arena) (b *B, dirty bool, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if n := len(p.free); n > 0 {
		b, p.free = p.free[n-1], p.free[:n-1]
		a.unused.Add(-p.size())
		return b, true, nil
	}
	if len(p.fresh) == 0 {
		if err := p.extend(a); err != nil {
			return nil, false, err
		}
	}
	b, p.fresh = &p.fresh[0], p.fresh[1:]
	a.unused.Add(-p.size())
	return b, false, nil
}

// put takes back a block that no segment of the current directory uses.
func (p *pool[B]) put(a *arena, b *B) {
	if b != nil {
		a.mu.Lock()
		defer a.mu.Unlock()
		p.free = append(p.free, b)
		a.unused.Add(p.size())
	}
}

// size is that of a block, in bytes.
func (p *pool[B]) size() int64 {
	var b B
	return int64(unsafe.Sizeof(b))
}

// extend takes another chunk from the system: an eighth of what is there, so that there are few chunks and little is
// taken in vain.
//
// Systems provide memory when it is first touched, which may take milliseconds for a huge page; and who asks for more address space waits until
// nobody touches any. Neither is for the middle of a log entry. So when a pool that is no longer small begins a chunk, a goroutine takes the
// next one and touches it; it ends by itself, and reads and writes none of its words.
func (p *pool[B]) extend(a *arena) error {
	var chunk []block
	if p.ahead != nil {
		chunk = <-p.ahead // asked for a chunk ago: it is there
		p.ahead = nil
	}
	if len(chunk) == 0 {
		var err error
		if chunk, err = a.chunk(p.step(), p.large()); err != nil {
			p.fresh = nil
			return err
		}
	}
	p.fresh = unsafe.Slice((*B)(unsafe.Pointer(unsafe.SliceData(chunk))), len(chunk)*blockBytes/int(p.size()))
	p.total += len(chunk) * blockBytes
	if a.touch == nil || !p.large() {
		return nil
	}
	ahead, size := make(chan []block, 1), p.step()
	p.ahead = ahead
	go func() {
		next, _ := a.chunk(size, true) // if there is none, that is an error when it is needed
		ahead <- next
		a.touch(next)
		runtime.KeepAlive(a) // it was mapped until here
	}()
	return nil
}

func (p *pool[B]) large() bool { return p.total >= largeFrom }

// step is the size of the next chunk.
func (p *pool[B]) step() int { return min(max(p.total/8, minChunk), maxChunk) &^ (minChunk - 1) }

// chunk takes memory from the system. It may be called without the lock.
func (a *arena) chunk(size int, huge bool) ([]block, error) {
	b, err := a.take(size, huge)
	if err != nil {
		return nil, err
	}
	a.total.Add(int64(size))
	a.unused.Add(int64(size))
	return b, nil
}
