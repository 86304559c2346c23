//go:build !linux

package procs_test

const hasParentDeathSignal = false
