//go:build (amd64 || arm64) && !purego

package prefetch

// fetch asks for n lines, whose addresses begin at lines.
//
//go:noescape
func fetch(lines *uintptr, n int)
