//go:build (!amd64 && !arm64) || purego

package packetpath

import "unsafe"

func prefetch(unsafe.Pointer) {}
