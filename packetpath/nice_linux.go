package packetpath

import (
	"runtime"

	"golang.org/x/sys/unix"
)

// lowPriority ties the goroutine to a thread of the lowest priority. Hashing strangers'
// identities then takes what the packet path leaves of the processors. The thread cannot be given back as it was
// (raising the priority needs a privilege), so it ends with the goroutine, which therefore must end after it.
func lowPriority() {
	runtime.LockOSThread() // never unlocked: the runtime ends the thread with the goroutine
	_ = unix.Setpriority(unix.PRIO_PROCESS, unix.Gettid(), 19)
}
