//go:build (amd64 || arm64) && !purego

package prefetch

import "unsafe"

// run asks for RunLines lines from p on.
//
//go:noescape
func run(p unsafe.Pointer)

// fetch asks for n lines, whose addresses begin at lines.
//
//go:noescape
func fetch(lines *uintptr, n int)
