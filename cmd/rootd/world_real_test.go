package main

import (
	"syscall"
	"time"
)

// now is the time outside of the bubble.
func now() time.Duration {
	var tv syscall.Timeval
	_ = syscall.Gettimeofday(&tv)
	return time.Duration(tv.Nano())
}
