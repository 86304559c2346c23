//go:build linux || darwin || freebsd

package table

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// mapMemory returns zeroed memory outside of the Go heap, aligned to a page.
func mapMemory(size int, hugePages bool) ([]byte, error) {
	b, err := unix.Mmap(-1, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
	if err != nil {
		return nil, fmt.Errorf("map %d bytes for the peer table: %w", size, err)
	}
	if hugePages {
		adviseHugePages(b)
	}
	return b, nil
}

func unmapMemory(b []byte) { _ = unix.Munmap(b) }
