package packetpath

import (
	"runtime"

	"golang.org/x/sys/unix"
)

// lowPriority ties the goroutine to a thread of low priority: hashing strangers' identities takes what the packet path
// leaves of the processors. Not of the lowest: when the collector stops the world it waits for this thread, too. The
// thread ends with the goroutine, because raising its priority again needs a privilege.
func lowPriority() {
	runtime.LockOSThread() // never unlocked: the runtime ends the thread with the goroutine
	_ = unix.Setpriority(unix.PRIO_PROCESS, unix.Gettid(), 10)
}
