package main

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync/atomic"

	"github.com/rootd/rootd/packetpath/udp"
)

// Endpoints of clients.
//
// Every client has an address of its own, out of a prefix that is local to this machine as a whole: 127.0.0.0/8 is, and
// "ip route add local PREFIX dev lo" makes any other one so. The sockets are bound to no address; each datagram says
// which one it leaves from, or came to. So a few sockets serve any number of clients, many datagrams pass the kernel
// with one system call, and the root still sees every client at an endpoint that nobody else has.

// socketBuffer is what a socket asks the kernel for, in bytes: thousands of clients hear through it at once.
const socketBuffer = 8 << 20

// openPorts opens n sockets on ports that the system chooses.
func openPorts(n int, v6 bool) ([]udp.Conn, error) {
	any := netip.IPv4Unspecified()
	if v6 {
		any = netip.IPv6Unspecified()
	}
	var conns []udp.Conn
	for i := range n {
		c, err := udp.Listen(netip.AddrPortFrom(any, 0), udp.Options{
			RecvBuffer: socketBuffer, SendBuffer: socketBuffer, NoWait: true, Whole: true,
		})
		if err != nil {
			closeAll(conns)
			return nil, fmt.Errorf("socket %d of %d: %w", i+1, n, err)
		}
		conns = append(conns, c)
	}
	return conns, nil
}

func closeAll(conns []udp.Conn) {
	for _, c := range conns {
		_ = c.Close() // nothing is lost with it
	}
}

// outbox collects datagrams of one socket until the end of a round.
type outbox struct {
	sender udp.Sender
	msgs   []udp.Message
	n      int
}

func newOutbox(c udp.Conn) outbox {
	return outbox{sender: c.NewSender(batch), msgs: newBatch()}
}

// bufferSize is room for a datagram. It is an odd number of cache lines: a power of two would put the beginnings of
// all buffers, which is what packets fill, into the same few places of the cache.
const bufferSize = 33 * 64

func newBatch() []udp.Message {
	msgs := make([]udp.Message, batch)
	all := make([]byte, batch*bufferSize)
	for i := range msgs {
		msgs[i].Buf = all[i*bufferSize : (i+1)*bufferSize : (i+1)*bufferSize]
	}
	return msgs
}

// flush sends what an outbox holds.
func (s *shard) flush(o *outbox) {
	if o.n == 0 {
		return
	}
	sent, err := o.sender.Write(o.msgs[:o.n])
	s.count.sent += uint64(sent)
	s.count.unsent += uint64(o.n - sent)
	o.n = 0
	if err != nil && !errors.Is(err, net.ErrClosed) {
		s.failed = err
	}
}

func (s *shard) flushAll() {
	for i := range s.outs {
		s.flush(&s.outs[i])
	}
}

// source deals out the addresses of one prefix.
type source struct {
	prefix netip.Prefix
	dealt  atomic.Uint32 // shards share a source
}

// stride spreads neighbors over the /24 networks of a prefix, and is odd, so that every address has its turn.
const stride = 257

// deal returns the next address. When all had their turn it begins anew.
func (s *source) deal() netip.Addr {
	free := min(s.prefix.Addr().BitLen()-s.prefix.Bits(), 31)
	n := s.dealt.Add(1) * stride & (1<<free - 1)
	b := s.prefix.Addr().AsSlice()
	for i := len(b) - 1; n > 0; i-- {
		b[i] |= byte(n)
		n >>= 8
	}
	a, _ := netip.AddrFromSlice(b)
	return a
}
