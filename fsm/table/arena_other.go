//go:build !linux && !darwin && !freebsd

package table

import "unsafe"

// mapMemory returns zeroed memory of the Go heap: there is no mapping here. It is free of pointers, so the collector does not look
// into it, but counts it.
func mapMemory(size int, _ bool) ([]byte, error) {
	words := make([]uint64, size/8)
	return unsafe.Slice((*byte)(unsafe.Pointer(&words[0])), size), nil
}

func unmapMemory([]byte) {}
