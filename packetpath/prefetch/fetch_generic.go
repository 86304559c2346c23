//go:build (!amd64 && !arm64) || purego

package prefetch

import "unsafe"

func four(_, _, _, _ unsafe.Pointer) {}

func fetch(*uintptr, int) {}
