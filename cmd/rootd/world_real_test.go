package main

import (
	"time"

	"golang.org/x/sys/unix"
)

// now is the time outside of the bubble.
func now() time.Duration {
	var ts unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts)
	return time.Duration(ts.Nano())
}
