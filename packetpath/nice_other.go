//go:build !linux

package packetpath

func lowPriority() {}
