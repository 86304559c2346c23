package udp

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// maxErrors is how many errors in a row Read swallows before it gives the caller a turn.
const maxErrors = 64

// conn is a socket in the care of Go's poller. The descriptor is only touched inside methods of raw, which hold it
// open meanwhile, so that Close and the reuse of its number cannot meet a system call.
//
// The socket lives in an [os.File] and not in a [net.UDPConn]: the same poller without the address lookups, and a
// descriptor inherited from a service manager needs no other treatment.
type conn struct {
	file    *os.File
	raw     syscall.RawConn
	local   netip.AddrPort
	v4      bool
	pktinfo bool // bound to the wildcard: the kernel tells and takes the local address of every datagram

	coalesce bool // the kernel joins datagrams, see joint
	blocking bool // Read waits in the kernel, and the poller does not know the socket
	noWait   bool // Read does not wait, and the poller does not know the socket

	recvBuffer, sendBuffer int
	rx                     receiver // touched by the goroutine that reads, and by no other

	closed atomic.Bool // set before the descriptor goes away, so that its errors can be told from others

	segment atomic.Bool   // the kernel takes runs, see sender
	refused atomic.Uint32 // runs in a row that it did not take, though it took their messages

	// Counters. Rare events most of them, written by whoever meets one, read by Stats.
	overflowed, truncated, recvErrors, rejected, sendFull, segmented, coalesced atomic.Uint64
}

var (
	_ Conn       = (*conn)(nil)
	_ Sender     = (*sender)(nil)
	_ ListenFunc = Listen
)

// Listen opens a UDP socket on addr. Port 0 lets the system choose.
func Listen(addr netip.AddrPort, o Options) (Conn, error) {
	addr = plainAddr(addr)
	c, err := open(addr, o)
	if err != nil {
		return nil, listenError(addr, err)
	}
	return c, nil
}

// open makes, sets up and binds the socket. Buffers come before bind: no datagram arrives earlier.
func open(addr netip.AddrPort, o Options) (c *conn, err error) {
	family := unix.AF_INET6
	switch {
	case !addr.Addr().IsValid():
		return nil, errors.New("no address: give 0.0.0.0 or :: for all of this machine")
	case addr.Addr().Is4():
		family = unix.AF_INET
	}
	fd, err := unix.Socket(family, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			_ = unix.Close(fd) // there is an error to report already
		}
	}()
	c = &conn{v4: addr.Addr().Is4(), pktinfo: addr.Addr().IsUnspecified(), noWait: o.NoWait, blocking: o.Blocking && !o.NoWait}
	if err := c.setOptions(fd, o); err != nil {
		return nil, err
	}
	if err := unix.Bind(fd, sockaddrOf(addr)); err != nil {
		return nil, err
	}
	bound, err := unix.Getsockname(fd)
	if err != nil {
		return nil, err
	}
	c.local = addrPortOf(bound)
	if c.noWait || c.blocking { // what blocks is no business of the poller; of our calls only one does, and wants to
		if err := unix.SetNonblock(fd, false); err != nil {
			return nil, os.NewSyscallError("fcntl", err)
		}
	}
	f := os.NewFile(uintptr(fd), "udp "+c.local.String())
	if c.raw, err = f.SyscallConn(); err != nil {
		return nil, err
	}
	c.file = f // from here on the file closes the descriptor
	c.rx.init(c)
	return c, nil
}

func (c *conn) setOptions(fd int, o Options) error {
	type option struct{ level, name int }
	var on []option
	if o.ReusePort {
		on = append(on, option{unix.SOL_SOCKET, unix.SO_REUSEPORT})
	}
	if !c.v4 {
		on = append(on, option{unix.IPPROTO_IPV6, unix.IPV6_V6ONLY})
	}
	switch {
	case c.pktinfo && c.v4:
		on = append(on, option{unix.IPPROTO_IP, unix.IP_PKTINFO})
	case c.pktinfo:
		on = append(on, option{unix.IPPROTO_IPV6, unix.IPV6_RECVPKTINFO})
	}
	for _, opt := range on {
		if err := unix.SetsockoptInt(fd, opt.level, opt.name, 1); err != nil {
			return os.NewSyscallError("setsockopt", err)
		}
	}
	if o.Whole && c.v4 {
		if err := unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_MTU_DISCOVER, unix.IP_PMTUDISC_PROBE); err != nil {
			return os.NewSyscallError("setsockopt", err)
		}
	}
	// Kernels older than 4.18 and 5.0 say no: then every datagram comes and goes alone.
	_, err := unix.GetsockoptInt(fd, unix.SOL_UDP, unix.UDP_SEGMENT)
	c.segment.Store(err == nil && !o.Alone)
	c.coalesce = o.Coalesce && unix.SetsockoptInt(fd, unix.SOL_UDP, unix.UDP_GRO, 1) == nil
	c.recvBuffer = setBuffer(fd, o.RecvBuffer, unix.SO_RCVBUFFORCE, unix.SO_RCVBUF)
	c.sendBuffer = setBuffer(fd, o.SendBuffer, unix.SO_SNDBUFFORCE, unix.SO_SNDBUF)
	return nil
}

// setBuffer asks for a buffer of n bytes: beyond the system's limit where the process may, else up to it. It returns
// what the kernel granted. A small buffer is worth a warning by the caller, never a failure.
func setBuffer(fd, n, force, normal int) int {
	if n > 0 && unix.SetsockoptInt(fd, unix.SOL_SOCKET, force, n) != nil {
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, normal, n) //nolint:errcheck // what was granted is read below
	}
	got, _ := unix.GetsockoptInt(fd, unix.SOL_SOCKET, normal) // 0 says: unknown
	return got
}

// isInUse reports whether err says that the port is taken.
func isInUse(err error) bool { return errors.Is(err, syscall.EADDRINUSE) }

func (c *conn) Read(batch []Message) (int, error) {
	if len(batch) == 0 {
		return 0, nil
	}
	n, err := c.rx.read(batch)
	if err != nil {
		return n, c.plainError(err)
	}
	return n, nil
}

// plainError maps what a call of raw returned to what the interface promises.
func (c *conn) plainError(err error) error {
	switch {
	case c.closed.Load():
		return net.ErrClosed
	case errors.Is(err, os.ErrDeadlineExceeded):
		return os.ErrDeadlineExceeded
	}
	return err
}

func (c *conn) SetReadDeadline(t time.Time) error {
	if err := c.file.SetReadDeadline(t); err != nil {
		return c.plainError(err)
	}
	return nil
}

func (c *conn) LocalAddr() netip.AddrPort { return c.local }

func (c *conn) Close() error {
	c.countOverflow() // the last chance to ask
	if c.closed.Swap(true) {
		return net.ErrClosed
	}
	if c.blocking { // wakes whoever waits in the kernel
		_ = c.raw.Control(func(fd uintptr) { _ = unix.Shutdown(int(fd), unix.SHUT_RDWR) })
	}
	return c.file.Close()
}

func (c *conn) Stats() Stats {
	c.countOverflow()
	return Stats{
		RecvBuffer: c.recvBuffer, SendBuffer: c.sendBuffer,
		Overflowed: c.overflowed.Load(), Truncated: c.truncated.Load(), RecvErrors: c.recvErrors.Load(),
		Rejected: c.rejected.Load(), SendFull: c.sendFull.Load(),
		Segmented: c.segmented.Load(), Coalesced: c.coalesced.Load(),
		CanSegment: c.segment.Load(), CanCoalesce: c.coalesce,
	}
}

// countOverflow asks the kernel how many datagrams it has dropped at this socket. A closed one keeps its last answer.
func (c *conn) countOverflow() {
	_ = c.raw.Control(func(fd uintptr) {
		const drops = 8 // SK_MEMINFO_DROPS: where in the array it is
		var info [drops + 1]uint32
		size := uint32(unsafe.Sizeof(info))
		_, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, fd, unix.SOL_SOCKET, unix.SO_MEMINFO,
			uintptr(unsafe.Pointer(&info)), uintptr(unsafe.Pointer(&size)), 0)
		if errno == 0 && size == uint32(unsafe.Sizeof(info)) {
			c.overflowed.Store(uint64(info[drops]))
		}
	})
}

// fatal tells errors of the socket or of this package from those of one datagram.
func fatal(e syscall.Errno) bool {
	switch e {
	case unix.EBADF, unix.ENOTSOCK, unix.EFAULT, unix.ENOSYS, unix.EOPNOTSUPP:
		return true
	}
	return false
}

func sockaddrOf(a netip.AddrPort) unix.Sockaddr {
	if a.Addr().Is4() {
		return &unix.SockaddrInet4{Port: int(a.Port()), Addr: a.Addr().As4()}
	}
	return &unix.SockaddrInet6{Port: int(a.Port()), Addr: a.Addr().As16()}
}

func addrPortOf(sa unix.Sockaddr) netip.AddrPort {
	switch sa := sa.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(sa.Addr), uint16(sa.Port))
	case *unix.SockaddrInet6:
		return netip.AddrPortFrom(netip.AddrFrom16(sa.Addr), uint16(sa.Port))
	}
	return netip.AddrPort{}
}
