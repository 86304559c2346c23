package mux

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync"
	"syscall"
	"time"
)

// Network is TCP in memory, for tests: hosts with addresses, connections with latency, links that are cut in one
// direction or both. What is sent into a cut link is not lost but waits, as if it were sent again until it arrives;
// after 15 seconds of that the connection breaks at both ends, as TCP's keep-alive and user timeout do it here.
//
// It starts no goroutines of its own and reads the clock with package time alone, so it works in a testing/synctest
// bubble, where latency costs no real time. A network belongs to the bubble it is used in. One mutex protects all of it.
type Network struct {
	mu        sync.Mutex // guards everything below and the pipes of all connections
	listeners map[netip.AddrPort]*memListener
	conns     map[*memConn]struct{}
	delay     func(from, to netip.Addr) time.Duration
	cuts      map[link]uint64 // the how many-th cut it is
	cutCount  uint64
	healed    chan struct{} // closed and replaced when a link heals
	port      uint16        // last one given to a dialing socket, or to a listener that asked for 0
}

const firstPort = 32769 // of those the system chooses

type link struct{ from, to netip.Addr }

// NewNetwork returns a network without hosts, latency or trouble.
func NewNetwork() *Network {
	return &Network{
		listeners: map[netip.AddrPort]*memListener{},
		conns:     map[*memConn]struct{}{},
		delay:     func(_, _ netip.Addr) time.Duration { return 0 },
		cuts:      map[link]uint64{},
		healed:    make(chan struct{}),
		port:      firstPort,
	}
}

// SetDelay makes f decide how long each write takes to the other end; order is kept. It runs with the network locked.
func (n *Network) SetDelay(f func(from, to netip.Addr) time.Duration) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.delay = f
}

// Lossy returns a function for SetDelay: base, and for the given share (0 to 1) of writes what TCP needs to send them
// again. The same seed gives the same decisions.
func Lossy(seed uint64, share float64, base func(from, to netip.Addr) time.Duration) func(from, to netip.Addr) time.Duration {
	const rto = 200 * time.Millisecond
	r := rand.New(rand.NewPCG(seed, seed))
	return func(from, to netip.Addr) time.Duration {
		once := base(from, to)
		d := once
		for again := rto + 2*once; r.Float64() < share && d < userTimeout; again *= 2 {
			d += again
		}
		return d
	}
}

// Cut stops what from sends to to. What is under way still arrives.
func (n *Network) Cut(from, to netip.Addr) {
	n.mu.Lock()
	defer n.mu.Unlock()
	l := link{from, to}
	if _, ok := n.cuts[l]; ok {
		return
	}
	n.cutCount++
	cut := n.cutCount
	n.cuts[l] = cut
	var stuck []*memConn
	for c := range n.conns {
		if c.between(l) {
			stuck = append(stuck, c)
		}
	}
	time.AfterFunc(userTimeout, func() {
		n.mu.Lock()
		defer n.mu.Unlock()
		if n.cuts[l] != cut { // healed meanwhile, maybe cut again
			return
		}
		for _, c := range stuck {
			c.fail(syscall.ETIMEDOUT)
		}
	})
}

// Heal undoes Cut: what waited arrives.
func (n *Network) Heal(from, to netip.Addr) {
	n.mu.Lock()
	defer n.mu.Unlock()
	l := link{from, to}
	if _, ok := n.cuts[l]; !ok {
		return
	}
	delete(n.cuts, l)
	close(n.healed)
	n.healed = make(chan struct{})
	for c := range n.conns {
		if c.remote.Addr() == from && c.local.Addr() == to {
			c.in.release(time.Now().Add(n.delay(from, to)))
		}
	}
}

// Reset ends whatever runs on a host, as when its process dies: its ports close, and its connections break at both ends
// at once. What is opened there afterwards is new.
func (n *Network) Reset(host netip.Addr) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for c := range n.conns {
		if c.local.Addr() == host || c.remote.Addr() == host {
			c.fail(syscall.ECONNRESET)
		}
	}
	for at, l := range n.listeners {
		if at.Addr() == host {
			delete(n.listeners, at)
			l.end()
		}
	}
}

// Host returns the machine with that address.
func (n *Network) Host(a netip.Addr) *Host { return &Host{n, a} }

// Host is a machine of a [Network].
type Host struct {
	net  *Network
	addr netip.Addr
}

// Listen opens a port; 0 takes a free one.
func (h *Host) Listen(port uint16) (net.Listener, error) {
	n := h.net
	n.mu.Lock()
	defer n.mu.Unlock()
	if port == 0 {
		port = n.freePort()
	}
	at := netip.AddrPortFrom(h.addr, port)
	if n.listeners[at] != nil {
		return nil, &net.OpError{Op: "listen", Net: "tcp", Addr: net.TCPAddrFromAddrPort(at), Err: syscall.EADDRINUSE}
	}
	l := &memListener{net: n, at: at, queue: make(chan *memConn, 128), done: make(chan struct{})}
	n.listeners[at] = l
	return l, nil
}

// Dial connects to an address (host:port). It takes a round trip, and waits while the link is cut.
func (h *Host) Dial(ctx context.Context, address string) (net.Conn, error) {
	to, err := netip.ParseAddrPort(address)
	if err != nil {
		return nil, fmt.Errorf("dial %s: %w", address, err)
	}
	fail := func(err error) (net.Conn, error) {
		return nil, &net.OpError{Op: "dial", Net: "tcp", Addr: net.TCPAddrFromAddrPort(to), Err: err}
	}
	n := h.net
	for waited := false; ; waited = true {
		n.mu.Lock()
		_, out := n.cuts[link{h.addr, to.Addr()}]
		_, back := n.cuts[link{to.Addr(), h.addr}]
		healed, rtt := n.healed, n.delay(h.addr, to.Addr())+n.delay(to.Addr(), h.addr)
		if !out && !back && (waited || rtt == 0) {
			c, err := n.connect(h.addr, to)
			n.mu.Unlock()
			if err != nil {
				return fail(err)
			}
			return c, nil
		}
		n.mu.Unlock()
		var arrived <-chan time.Time
		if !out && !back {
			healed, arrived = nil, time.After(rtt)
		}
		select {
		case <-ctx.Done():
			return fail(ctx.Err())
		case <-healed:
		case <-arrived:
		}
	}
}

func (n *Network) freePort() uint16 {
	n.port = max(n.port+1, firstPort)
	return n.port
}

// connect makes a connection to a listener. The network is locked.
func (n *Network) connect(from netip.Addr, to netip.AddrPort) (*memConn, error) {
	l := n.listeners[to]
	if l == nil || len(l.queue) == cap(l.queue) {
		return nil, syscall.ECONNREFUSED
	}
	at := netip.AddrPortFrom(from, n.freePort())
	up, down := newPipe(), newPipe()
	a := &memConn{net: n, local: at, remote: to, in: down, out: up}
	b := &memConn{net: n, local: to, remote: at, in: up, out: down}
	for _, c := range []*memConn{a, b} {
		c.reading.moved, c.writing.moved = make(chan struct{}), make(chan struct{})
		n.conns[c] = struct{}{}
	}
	l.queue <- b
	return a, nil
}

type memListener struct {
	net            *Network
	at             netip.AddrPort
	queue          chan *memConn
	done           chan struct{}
	ended, drained sync.Once
}

// end makes Accept return.
func (l *memListener) end() { l.ended.Do(func() { close(l.done) }) }

func (l *memListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.queue:
		return c, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}

func (l *memListener) Close() error {
	l.net.mu.Lock()
	if l.net.listeners[l.at] == l {
		delete(l.net.listeners, l.at)
	}
	l.net.mu.Unlock()
	l.end()
	l.drained.Do(func() {
		for len(l.queue) > 0 { // nobody else sends or, soon, receives
			select {
			case c := <-l.queue:
				_ = c.Close()
			default:
			}
		}
	})
	return nil
}

func (l *memListener) Addr() net.Addr { return net.TCPAddrFromAddrPort(l.at) }
