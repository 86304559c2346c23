// Package prefetch asks a processor for cache lines before they are needed, many at a time.
//
// Many at a time, because a prefetch does not wait for its line, but is not done until its address was translated: and where a table of
// gigabytes is read at random, that is a cache miss too. A processor goes on for a few hundred instructions meanwhile. So prefetches
// strewn among other work wait one after the other; one right after the other, they wait together.
package prefetch

import "unsafe"

// Lines collects the addresses of cache lines, and asks for them together. The zero value is ready. It is for one goroutine.
type Lines struct {
	n  int
	at [Most]uintptr // of what need not stay: a prefetch of whatever is there then does no harm
}

// Four asks for four lines, and does not wait for them. Any addresses will do, nil too.
func Four(a, b, c, d unsafe.Pointer) { four(a, b, c, d) }

// Most is how many lines are asked for together: ten for each packet of a batch of 32. Those that are added to so many are left out.
const Most = 320

// Add adds the line at an address. Any address will do, nil too.
func (l *Lines) Add(p unsafe.Pointer) {
	if l.n < Most {
		l.at[l.n] = uintptr(p)
		l.n++
	}
}

// Fetch asks for the lines that were added since, and does not wait for them.
func (l *Lines) Fetch() {
	fetch(&l.at[0], l.n)
	l.n = 0
}
