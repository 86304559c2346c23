package main

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"syscall"
)

// clockTicks is the unit of /proc/PID/stat, per second; it is 100 on every Linux that Go runs on.
const clockTicks = 100

// processCPU returns the CPU seconds of another process, and false if it cannot be read.
func processCPU(pid int) (float64, bool) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, false
	}
	b = b[bytes.LastIndexByte(b, ')')+1:] // the name may hold anything
	f := bytes.Fields(b)
	if len(f) < 13 {
		return 0, false
	}
	user, err1 := strconv.ParseUint(string(f[11]), 10, 64)
	system, err2 := strconv.ParseUint(string(f[12]), 10, 64)
	return float64(user+system) / clockTicks, err1 == nil && err2 == nil
}

// ownCPU returns the CPU seconds of this process.
func ownCPU() float64 {
	var ru syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &ru) != nil {
		return 0
	}
	return float64(ru.Utime.Sec+ru.Stime.Sec) + float64(ru.Utime.Usec+ru.Stime.Usec)/1e6
}
