package table

import "golang.org/x/sys/unix"

// adviseHugePages asks for 2 MiB pages. A kernel without them is as good, only slower.
func adviseHugePages(b []byte) { _ = unix.Madvise(b, unix.MADV_HUGEPAGE) }

const canTouch = true

// touchMemory makes the kernel provide memory, a huge page at a time. A kernel before 5.14 does not: then it is slower when it is used.
func touchMemory(b []byte) {
	for len(b) > 0 {
		n := min(len(b), minChunk)
		if unix.Madvise(b[:n], unix.MADV_POPULATE_WRITE) != nil {
			return
		}
		b = b[n:]
	}
}
