//go:build (amd64 || arm64) && !purego

package prefetch

import "unsafe"

// four asks for four lines.
//
//go:noescape
func four(a, b, c, d unsafe.Pointer)

// fetch asks for n lines, whose addresses begin at lines.
//
//go:noescape
func fetch(lines *uintptr, n int)
