//go:build (amd64 || arm64) && !purego

package packetpath

import "unsafe"

// prefetch asks for the cache line at an address and does not wait for it. Any address will do, nil too.
//
//go:noescape
func prefetch(line unsafe.Pointer)
