//go:build !linux

package udp

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"runtime"
	"sync/atomic"
	"syscall"
	"time"
)

// maxErrors is how many errors in a row Read swallows before it gives the caller a turn.
const maxErrors = 64

// glance is how long a Read that must not wait looks.
const glance = 50 * time.Microsecond

// msgTrunc is the flag of a truncated datagram on the BSDs and macOS. (Windows returns an error instead.)
const msgTrunc = 0x10

// conn is the portable socket: one datagram per system call.
type conn struct {
	pc    *net.UDPConn
	local netip.AddrPort

	noWait bool

	recvBuffer, sendBuffer         int // as asked: not every system tells what it granted
	truncated, recvErrors, rejects atomic.Uint64
}

var (
	_ Conn       = (*conn)(nil)
	_ Sender     = (*sender)(nil)
	_ ListenFunc = Listen
)

// Listen opens a UDP socket on addr. Port 0 lets the system choose.
func Listen(addr netip.AddrPort, o Options) (Conn, error) {
	addr = plainAddr(addr)
	if o.ReusePort {
		return nil, listenError(addr, ErrReusePort)
	}
	network := "udp4"
	if addr.Addr().Is6() {
		network = "udp6" // V6ONLY
	}
	pc, err := net.ListenUDP(network, net.UDPAddrFromAddrPort(addr))
	if err != nil {
		var op *net.OpError
		if errors.As(err, &op) {
			err = op.Err // the address would be named twice
		}
		return nil, listenError(addr, err)
	}
	c := &conn{pc: pc, noWait: o.NoWait, local: plainAddr(pc.LocalAddr().(*net.UDPAddr).AddrPort())}
	if o.RecvBuffer > 0 && pc.SetReadBuffer(o.RecvBuffer) == nil {
		c.recvBuffer = o.RecvBuffer
	}
	if o.SendBuffer > 0 && pc.SetWriteBuffer(o.SendBuffer) == nil {
		c.sendBuffer = o.SendBuffer
	}
	return c, nil
}

// isInUse reports whether err says that the port is taken. Windows has a number of its own for it.
func isInUse(err error) bool {
	const wsaEADDRINUSE = syscall.Errno(10048)
	return errors.Is(err, syscall.EADDRINUSE) || runtime.GOOS == "windows" && errors.Is(err, wsaEADDRINUSE)
}

func (c *conn) Read(batch []Message) (int, error) {
	if len(batch) == 0 {
		return 0, nil
	}
	m := &batch[0]
	if c.noWait { // a deadline that has passed would not even look
		if err := c.pc.SetReadDeadline(time.Now().Add(glance)); err != nil {
			return 0, net.ErrClosed
		}
	}
	for range maxErrors {
		n, _, flags, from, err := c.pc.ReadMsgUDPAddrPort(m.Buf, nil)
		switch {
		case err == nil:
			m.N, m.Addr, m.Local = n, plainAddr(from), c.localOf()
			if flags&msgTrunc != 0 {
				c.truncated.Add(1)
				m.N = 0
			}
			return 1, nil
		case errors.Is(err, net.ErrClosed):
			return 0, net.ErrClosed
		case errors.Is(err, os.ErrDeadlineExceeded) && c.noWait:
			return 0, nil
		case errors.Is(err, os.ErrDeadlineExceeded):
			return 0, os.ErrDeadlineExceeded
		}
		c.recvErrors.Add(1)
	}
	return 0, nil
}

// localOf is the local address of a datagram: known only if it can be no other.
func (c *conn) localOf() netip.Addr {
	if a := c.local.Addr(); !a.IsUnspecified() {
		return a
	}
	return netip.Addr{}
}

func (c *conn) SetReadDeadline(t time.Time) error { return c.pc.SetReadDeadline(t) }
func (c *conn) NewSender(int) Sender              { return (*sender)(c) }
func (c *conn) LocalAddr() netip.AddrPort         { return c.local }

func (c *conn) Close() error {
	if err := c.pc.Close(); errors.Is(err, net.ErrClosed) {
		return net.ErrClosed
	} else if err != nil {
		return err
	}
	return nil
}

func (c *conn) Stats() Stats {
	return Stats{
		RecvBuffer: c.recvBuffer, SendBuffer: c.sendBuffer,
		Truncated: c.truncated.Load(), RecvErrors: c.recvErrors.Load(), Rejected: c.rejects.Load(),
	}
}

// sender has no state of its own.
type sender conn

func (s *sender) Write(batch []Message) (sent int, err error) {
	for i := range batch {
		m := &batch[i]
		switch _, err := s.pc.WriteToUDPAddrPort(m.Buf[:m.N], m.Addr); {
		case err == nil:
			sent++
		case errors.Is(err, net.ErrClosed):
			return sent, net.ErrClosed
		default:
			s.rejects.Add(1)
		}
	}
	return sent, nil
}
