package procs

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
)

// Ports come from below what kernels hand out by themselves (32768 and up on Linux), so that between the moment a
// port is found free and the moment a process takes it no outgoing connection gets it.
const (
	firstPort = 18_000
	lastPort  = 30_000
)

// ErrNoPort is returned when no free port was found in many tries.
var ErrNoPort = errors.New("no free port found")

// FreePort returns a port of the host that neither UDP nor TCP uses at the moment.
func FreePort(host netip.Addr) (netip.AddrPort, error) {
	for range 200 {
		port := firstPort + rand.N(lastPort-firstPort)
		ap := netip.AddrPortFrom(host, uint16(port))
		if isFree(ap) {
			return ap, nil
		}
	}
	return netip.AddrPort{}, fmt.Errorf("%s: %w", host, ErrNoPort)
}

func isFree(ap netip.AddrPort) bool {
	udp, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(ap))
	if err != nil {
		return false
	}
	udp.Close()
	tcp, err := net.ListenTCP("tcp", net.TCPAddrFromAddrPort(ap))
	if err != nil {
		return false
	}
	tcp.Close()
	return true
}
