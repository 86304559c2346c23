package main

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/rootd/rootd/packetpath/udp"
	"github.com/rootd/rootd/transport/admin"
	"github.com/rootd/rootd/transport/mux"
)

// platform is what a member takes from the machine that it runs on: its networks, and what the system knows about the
// process. [thisMachine] is the real one. Tests run many members on machines in memory, in virtual time; files are real
// there, too, and the clock is always package time's.
type platform struct {
	listenUDP   udp.ListenFunc
	dialUDP     func(to netip.AddrPort) (net.Conn, error)
	listenTCP   func(ctx context.Context, address string) (net.Listener, error)
	dialTCP     func(ctx context.Context, address string) (net.Conn, error)
	listenAdmin func(path string) (net.Listener, error)
	usage       func() usage
	// reload is a channel on which the operator asks to read files again, and its end; nil: nobody asks.
	reload func() (<-chan os.Signal, func())
}

// usage is what the process has used so far.
type usage struct {
	cpu      time.Duration
	resident uint64 // bytes of memory now; 0: the system does not tell
}

func thisMachine() *platform {
	return &platform{
		listenUDP: udp.Listen,
		dialUDP: func(to netip.AddrPort) (net.Conn, error) {
			return net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(to))
		},
		listenTCP: mux.ListenTCP, dialTCP: mux.DialTCP, listenAdmin: admin.Listen, usage: usageOfProcess,
		reload: hangups,
	}
}

func hangups() (<-chan os.Signal, func()) {
	c := make(chan os.Signal, 1)
	signal.Notify(c, syscall.SIGHUP)
	return c, func() { signal.Stop(c) }
}

func usageOfProcess() usage {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return usage{time.Duration(u.Utime.Nano() + u.Stime.Nano()), residentBytes()}
}

// residentBytes is the memory of the process, 0 where the system does not tell.
func residentBytes() uint64 {
	b, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return 0
	}
	var size, resident uint64
	if _, err := fmt.Sscan(string(b), &size, &resident); err != nil {
		return 0
	}
	return resident * uint64(os.Getpagesize())
}
