package packetpath_test

import (
	"errors"
	"net/netip"
	"syscall"
	"testing"

	"github.com/rootd/rootd/packetpath"
	"github.com/rootd/rootd/packetpath/udp"
)

// Two roots must not share a port by accident, although the sockets of one root do on purpose.
func TestListenRefusesAPortThatAnotherRootShares(t *testing.T) {
	any := []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:0")}
	first, err := packetpath.Listen(any, 2, udp.Listen, udp.Options{})
	if errors.Is(err, udp.ErrReusePort) {
		t.Skip("this system has one socket per port")
	}
	if err != nil {
		t.Fatal(err)
	}
	defer first.Close()
	if second, err := packetpath.Listen(first.Addrs(), 2, udp.Listen, udp.Options{}); !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("the port was taken twice: %v", err)
		if second != nil {
			_ = second.Close()
		}
	}
}
