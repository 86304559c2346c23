package packetpath

import (
	"errors"
	"net/netip"

	"github.com/rootd/rootd/packetpath/udp"
)

// Sockets are the UDP sockets of a root. They are opened apart from it, and first: that a port is taken is the most
// common trouble at a start, and should be known before anything else is done.
type Sockets struct {
	listeners []listener
}

// listener is one listen address: a socket for each group of workers, all on the same port.
type listener struct {
	addr  netip.AddrPort
	conns []udp.Conn
}

// Listen opens the given number of sockets on each address. An error names the address and what to do about it.
func Listen(addrs []netip.AddrPort, workers int, open udp.ListenFunc, o udp.Options) (*Sockets, error) {
	s := &Sockets{}
	for _, addr := range addrs {
		if o.ReusePort = workers > 1; o.ReusePort {
			// Sockets that share a port would share it with another root's, too, and each would get half of the
			// packets. One that does not share finds out.
			probe, err := open(addr, udp.Options{})
			if err != nil {
				return nil, errors.Join(err, s.Close())
			}
			addr = probe.LocalAddr()
			_ = probe.Close()
		}
		l := listener{addr: addr}
		for range max(1, workers) {
			c, err := open(l.addr, o)
			if err != nil {
				s.listeners = append(s.listeners, l)
				return nil, errors.Join(err, s.Close())
			}
			l.addr = c.LocalAddr() // the same port for all, also if the first was told to choose one
			l.conns = append(l.conns, c)
		}
		s.listeners = append(s.listeners, l)
	}
	return s, nil
}

// Close closes the sockets.
func (s *Sockets) Close() error {
	var errs []error
	for _, l := range s.listeners {
		for _, c := range l.conns {
			errs = append(errs, c.Close())
		}
	}
	return errors.Join(errs...)
}

// groups returns how many sockets, and so how many readers, each address has.
func (s *Sockets) groups() (n int) {
	for _, l := range s.listeners {
		n = max(n, len(l.conns))
	}
	return n
}

// Readers returns how many goroutines read from the sockets.
func (s *Sockets) Readers() (n int) {
	for _, l := range s.listeners {
		n += len(l.conns)
	}
	return n
}

// Addrs returns the addresses listened on, in order, with the ports that were given.
func (s *Sockets) Addrs() []netip.AddrPort {
	addrs := make([]netip.AddrPort, len(s.listeners))
	for i, l := range s.listeners {
		addrs[i] = l.addr
	}
	return addrs
}
