package prefetch_test

import (
	"testing"
	"unsafe"

	"github.com/rootd/rootd/packetpath/prefetch"
)

// Any address will do, and any number of them; and nothing is allocated.
func TestLines(t *testing.T) {
	memory := make([]byte, 1<<16)
	for _, n := range []int{0, 1, prefetch.Most - 1, prefetch.Most, 1000} {
		allocs := testing.AllocsPerRun(10, func() {
			var l prefetch.Lines
			l.Fetch()
			for i := range n {
				l.Add(unsafe.Pointer(&memory[i*64]))
			}
			l.Add(nil)
			l.Fetch()
			l.Fetch()
			prefetch.Four(unsafe.Pointer(&memory[len(memory)-64]), unsafe.Pointer(&memory[0]), nil, nil)
		})
		if allocs != 0 {
			t.Errorf("%d lines: %v allocations", n, allocs)
		}
	}
}

// What a line costs among 256 MiB: asked for together with 31 others, and each among other work.
func BenchmarkLines(b *testing.B) {
	memory := make([]byte, 256<<20)
	for i := 0; i < len(memory); i += 4096 {
		memory[i] = 1
	}
	for _, together := range []int{1, 32} {
		b.Run(map[int]string{1: "strewn", 32: "together"}[together], func(b *testing.B) {
			b.ReportAllocs()
			var l prefetch.Lines
			x, sink := uint64(88172645463325252), uint64(0)
			for n := 0; b.Loop(); n++ {
				x ^= x << 13
				x ^= x >> 7
				x ^= x << 17
				l.Add(unsafe.Pointer(&memory[x%uint64(len(memory))]))
				if n%together == 0 {
					l.Fetch()
				}
				for i := range uint64(100) {
					sink += x ^ i<<3
				}
			}
			_ = sink
		})
	}
}
