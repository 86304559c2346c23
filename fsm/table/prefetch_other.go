//go:build !amd64 && !arm64

package table

import (
	"sync/atomic"
	"unsafe"
)

// prefetch reads the first word at p: the processor may go on before it is there.
func prefetch(p unsafe.Pointer) { (*atomic.Uint64)(p).Load() }
