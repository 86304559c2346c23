//go:build !linux

package mux

import (
	"net"
	"time"
)

// setUserTimeout does nothing where the system has no such option: keep-alive and deadlines remain.
func setUserTimeout(*net.TCPConn, time.Duration) {}
