package udp

import (
	"errors"
	"net/netip"
	"syscall"
)

func Listen(addr netip.AddrPort, o Options) (Conn, error) {
	return nil, listenError(addr, errors.ErrUnsupported)
}
func isInUse(err error) bool { return errors.Is(err, syscall.EADDRINUSE) }
