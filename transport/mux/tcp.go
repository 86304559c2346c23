package mux

import (
	"context"
	"net"
	"time"
)

// A connection whose other end is gone is noticed by this, whether data waits to be acknowledged or not.
const (
	keepAliveEvery = 5 * time.Second
	keepAliveTries = 3
	userTimeout    = 15 * time.Second // unacknowledged data ends the connection after that; Linux only
)

func keepAlive() net.KeepAliveConfig {
	return net.KeepAliveConfig{Enable: true, Idle: keepAliveEvery, Interval: keepAliveEvery, Count: keepAliveTries}
}

// ListenTCP listens on host:port; an empty host means all addresses of both families.
func ListenTCP(ctx context.Context, address string) (net.Listener, error) {
	lc := net.ListenConfig{KeepAliveConfig: keepAlive()}
	return lc.Listen(ctx, "tcp", address)
}

// DialTCP connects to host:port.
func DialTCP(ctx context.Context, address string) (net.Conn, error) {
	d := net.Dialer{KeepAliveConfig: keepAlive()}
	return d.DialContext(ctx, "tcp", address)
}

// tune sets what cannot be set before a connection exists. It is best effort: the connection works without.
func tune(c net.Conn) {
	if t, ok := c.(*net.TCPConn); ok {
		setUserTimeout(t, userTimeout)
	}
}
