//go:build !linux

package procs

import "syscall"

// dieWithParent does nothing: this system cannot tie a process to its starter.
func dieWithParent(*syscall.SysProcAttr) {}
