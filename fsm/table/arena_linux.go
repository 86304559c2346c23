package table

import "golang.org/x/sys/unix"

// adviseHugePages asks for 2 MiB pages. A kernel without them is as good, only slower.
func adviseHugePages(b []byte) { _ = unix.Madvise(b, unix.MADV_HUGEPAGE) }
