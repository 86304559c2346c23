//go:build (!amd64 && !arm64) || purego

package prefetch

import "unsafe"

func run(unsafe.Pointer) {}

func fetch(*uintptr, int) {}
