package udp

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"sync"
	"syscall"
	"time"
)

// Fate is what a [Network] does with one datagram.
type Fate struct {
	Drop  bool
	Delay time.Duration // from Write until it can be read; 0 means at once
	Extra int           // further copies that arrive with it
}

// FateFunc decides about one datagram that is about to travel. It must not change the payload or keep it. It runs
// with the network locked: one call at a time, in the order of the writes, no calls back into the network.
type FateFunc func(from, to netip.AddrPort, payload []byte) Fate

// Network is UDP in memory, for tests: any address exists as soon as somebody listens on it, there is no NAT, nothing
// is fragmented. By default every datagram arrives, at once and in order; a [FateFunc] makes it worse.
//
// It starts no goroutines and reads the clock with package time alone, so that it works in a testing/synctest bubble,
// where a delayed datagram costs no real time. Sockets belong to the bubble they were opened in. Queues are bounded: a
// socket holds up to 1024 datagrams, delayed ones included, or as many as fit Options.RecvBuffer, and drops what comes
// beyond.
//
// One mutex protects all of it. This is for correctness tests, not for measuring.
type Network struct {
	mu    sync.Mutex // guards everything below and the queues of all sockets
	socks map[netip.AddrPort][]*memConn
	fate  FateFunc
	cuts  map[[2]netip.Addr]struct{} // both directions of every cut pair
	seq   uint64                     // number of datagrams so far: keeps those of one moment in order
	port  uint16                     // last port given to a socket that asked for 0
}

const (
	memQueue     = 1024  // datagrams
	memDatagram  = 2048  // bytes of RecvBuffer that a datagram counts for, whatever its length
	memMaxLen    = 65507 // bytes: what fits IPv4
	memFirstPort = 32768
)

// NewNetwork returns a network without sockets or trouble.
func NewNetwork() *Network {
	return &Network{
		socks: make(map[netip.AddrPort][]*memConn),
		cuts:  make(map[[2]netip.Addr]struct{}),
		port:  memFirstPort,
	}
}

// SetFate makes f decide about every datagram from now on; nil ends that. Datagrams under way keep their fate.
func (n *Network) SetFate(f FateFunc) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.fate = f
}

// Lossy returns a FateFunc that drops the given share (0 to 1) of all datagrams and delays the others by delay and a
// random part of jitter, which may reorder them. The same seed gives the same decisions.
func Lossy(seed uint64, share float64, delay, jitter time.Duration) FateFunc {
	r := rand.New(rand.NewPCG(seed, seed))
	return func(_, _ netip.AddrPort, _ []byte) Fate {
		f := Fate{Drop: r.Float64() < share, Delay: delay}
		if jitter > 0 {
			f.Delay += time.Duration(r.Int64N(int64(jitter)))
		}
		return f
	}
}

// Cut stops everything between the hosts a and b, in both directions. What is under way still arrives.
func (n *Network) Cut(a, b netip.Addr) {
	n.CutOneWay(a, b)
	n.CutOneWay(b, a)
}

// CutOneWay stops everything from one host to another.
func (n *Network) CutOneWay(from, to netip.Addr) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.cuts[[2]netip.Addr{from, to}] = struct{}{}
}

// Heal undoes Cut and CutOneWay.
func (n *Network) Heal(a, b netip.Addr) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.cuts, [2]netip.Addr{a, b})
	delete(n.cuts, [2]netip.Addr{b, a})
}

// Listen opens a socket on addr, as the package's Listen does on the real network. It needs an address of its own: the
// wildcard means nothing here, as there are no hosts with several addresses.
func (n *Network) Listen(addr netip.AddrPort, o Options) (Conn, error) {
	addr = plainAddr(addr)
	if !addr.Addr().IsValid() || addr.Addr().IsUnspecified() {
		return nil, listenError(addr, errors.New("the network in memory needs an address, not the wildcard"))
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if addr.Port() == 0 {
		free, err := n.freePort(addr.Addr())
		if err != nil {
			return nil, listenError(addr, err)
		}
		addr = free
	}
	for _, other := range n.socks[addr] {
		if !o.ReusePort || !other.reusePort {
			return nil, listenError(addr, syscall.EADDRINUSE)
		}
	}
	c := &memConn{
		net: n, local: addr, reusePort: o.ReusePort, noWait: o.NoWait, limit: memQueue,
		wake: make(chan struct{}, 1), done: make(chan struct{}),
		stats: Stats{RecvBuffer: o.RecvBuffer, SendBuffer: o.SendBuffer},
	}
	if o.RecvBuffer > 0 {
		c.limit = max(1, o.RecvBuffer/memDatagram)
	}
	n.socks[addr] = append(n.socks[addr], c)
	return c, nil
}

// freePort finds a port of a that nobody listens on. The network is locked.
func (n *Network) freePort(a netip.Addr) (netip.AddrPort, error) {
	for range 1 << 15 {
		if n.port++; n.port < memFirstPort {
			n.port = memFirstPort
		}
		if ap := netip.AddrPortFrom(a, n.port); len(n.socks[ap]) == 0 {
			return ap, nil
		}
	}
	return netip.AddrPort{}, fmt.Errorf("no free port on %v", a)
}

// send lets one datagram travel. It reports whether it was a valid one, not whether it will arrive. The network is
// locked.
func (n *Network) send(from, to netip.AddrPort, payload []byte) bool {
	if !to.Addr().IsValid() || to.Port() == 0 || to.Addr().Is4() != from.Addr().Is4() || len(payload) > memMaxLen {
		return false
	}
	if _, cut := n.cuts[[2]netip.Addr{from.Addr(), to.Addr()}]; cut {
		return true
	}
	var f Fate
	if n.fate != nil {
		f = n.fate(from, to, payload)
	}
	socks := n.socks[to]
	if f.Drop || len(socks) == 0 {
		return true
	}
	c := socks[spread(from, len(socks))]
	for range 1 + f.Extra {
		n.seq++
		c.push(flight{at: time.Now().Add(f.Delay), seq: n.seq, from: from, payload: append([]byte(nil), payload...)})
	}
	return true
}

// spread chooses one of n sockets that share an address: always the same one for the same sender, as the kernel does.
func spread(from netip.AddrPort, n int) int {
	h := uint64(from.Port())
	for _, b := range from.Addr().As16() {
		h = (h ^ uint64(b)) * 0x100000001b3
	}
	return int((h ^ h>>32) % uint64(n))
}
