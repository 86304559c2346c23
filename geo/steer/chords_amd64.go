//go:build !purego

package steer

import (
	"golang.org/x/sys/cpu"

	"github.com/rootd/rootd/geo"
)

// leastSSE is leastGeneric among n times eight places, n at least 1. It needs SSE 4.1.
//
//go:noescape
func leastSSE(among *chords, n int, from *geo.Unit) uint64

func (l *list) least(from *geo.Unit) uint64 {
	if cpu.X86.HasSSE41 {
		return leastSSE(&l.chords[0], len(l.chords), from)
	}
	return l.leastGeneric(from)
}
