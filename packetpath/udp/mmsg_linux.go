package udp

import (
	"encoding/binary"
	"net/netip"
	"os"
	"structs"
	"unsafe"

	"golang.org/x/sys/unix"
)

// How the system calls are made.
//
// recvmmsg and sendmmsg are issued as RawSyscall6 with MSG_DONTWAIT: without a word to the scheduler, which would
// otherwise take the processor away from any call longer than 20 µs, as every full one is. The price: a raw call cannot
// be preempted and holds up a garbage collection for its length. So no call carries more than maxCall messages (about
// 50 µs to receive, 80 to send); larger batches take several. More in one call saves nothing that can be measured.
//
// Reading waits in the poller (RawConn.Read), writing never waits (RawConn.Control, which also lets any number of
// senders into the kernel at once).
//
// The kernel reads and writes arrays that live in a receiver or sender for good. Each slot's header points to its
// slot's name and control memory; that is set once. The heap does not move, and the owner keeps it alive during a call.
//
// Segmentation offload (UDP_SEGMENT, UDP_GRO) is not used. It would fit here: runs of messages of one size and address
// as one header with several iovecs, in Write; one received buffer cut into several messages, in take.
const maxCall = 32

// header is the kernel's struct mmsghdr.
type header struct {
	_   structs.HostLayout
	hdr unix.Msghdr
	n   uint32 // set by the kernel: length of the datagram
}

// control is one control message: which local address. Its size is CMSG_SPACE(sizeof(struct in6_pktinfo)).
//
//	IPv4  data[0:4] interface, [4:8] local address, [8:12] address in the IP header
//	IPv6  data[0:16] local address, [16:20] interface
type control struct {
	_    structs.HostLayout
	hdr  unix.Cmsghdr
	data [unix.SizeofInet6Pktinfo]byte
}

// slot is what one header points to.
type slot struct {
	name unix.RawSockaddrInet6 // or RawSockaddrInet4, which is shorter
	iov  unix.Iovec
	ctl  control
}

// scratch is the memory of one direction of one goroutine.
type scratch struct {
	headers []header
	slots   []slot
}

// grow makes room for n messages and ties headers to slots.
func (s *scratch) grow(n int) {
	s.headers, s.slots = make([]header, n), make([]slot, n)
	for i := range s.headers {
		h, sl := &s.headers[i].hdr, &s.slots[i]
		h.Name = (*byte)(unsafe.Pointer(&sl.name))
		h.Iov = &sl.iov
		h.SetIovlen(1)
		h.Control = (*byte)(unsafe.Pointer(&sl.ctl))
	}
}

// receiver is the reading side of a conn.
type receiver struct {
	scratch
	c     *conn
	fill  func(fd uintptr) bool // r.receive, bound once
	batch []Message
	n     int // messages filled so far
	err   error
}

func (r *receiver) init(c *conn) { r.c, r.fill = c, r.receive }

func (r *receiver) read(batch []Message) (int, error) {
	if len(batch) > len(r.headers) {
		r.grow(len(batch))
		for i := range r.headers {
			r.rearm(i)
		}
	}
	r.batch, r.n, r.err = batch, 0, nil
	err := r.c.raw.Read(r.fill)
	r.batch = nil
	if err == nil {
		err = r.err
	}
	return r.n, err
}

// rearm undoes what the kernel wrote to a header.
func (r *receiver) rearm(i int) {
	h := &r.headers[i].hdr
	h.Namelen = unix.SizeofSockaddrInet6
	h.Flags = 0
	if r.c.pktinfo {
		h.SetControllen(int(unsafe.Sizeof(control{})))
	}
}

// receive runs under the poller: false means that nothing is there, wait and call again.
func (r *receiver) receive(fd uintptr) bool {
	for failures := 0; r.n < len(r.batch); {
		want := min(len(r.batch)-r.n, maxCall)
		for i := r.n; i < r.n+want; i++ {
			buf, iov := r.batch[i].Buf, &r.slots[i].iov
			iov.Base = unsafe.SliceData(buf)
			iov.SetLen(len(buf))
		}
		got, _, errno := unix.RawSyscall6(unix.SYS_RECVMMSG, fd, uintptr(unsafe.Pointer(&r.headers[r.n])),
			uintptr(want), unix.MSG_DONTWAIT, 0, 0)
		switch {
		case errno == 0:
			failures = 0
			for range int(got) {
				r.take(r.n)
				r.n++
			}
			if int(got) < want {
				return true
			}
		case errno == unix.EAGAIN:
			return r.n > 0
		case errno == unix.EINTR:
		case fatal(errno) || errno == unix.EINVAL:
			r.err = os.NewSyscallError("recvmmsg", errno)
			return true
		default: // an ICMP message, or memory was short for one datagram
			r.c.recvErrors.Add(1)
			if failures++; failures == maxErrors {
				return true
			}
		}
	}
	return true
}

// take turns what the kernel left in slot i into message i.
func (r *receiver) take(i int) {
	h, s, m := &r.headers[i], &r.slots[i], &r.batch[i]
	m.N = int(h.n)
	if h.hdr.Flags&unix.MSG_TRUNC != 0 {
		r.c.truncated.Add(1)
		m.N = 0
	}
	m.Addr = s.addr()
	m.Local = r.c.local.Addr()
	if r.c.pktinfo {
		m.Local = netip.Addr{}
		if h.hdr.Controllen > 0 {
			m.Local = s.ctl.local()
		}
	}
	r.rearm(i)
}

// sender is the writing side of a conn for one goroutine.
type sender struct {
	scratch
	c     *conn
	flush func(fd uintptr) // s.send, bound once
	n     int              // headers to be sent
	sent  int              // messages taken by the kernel, of the whole batch
	err   error
}

func (c *conn) NewSender(batch int) Sender {
	s := &sender{c: c}
	s.grow(min(max(batch, 1), maxCall))
	s.flush = s.send
	return s
}

func (s *sender) Write(batch []Message) (int, error) {
	if len(batch) > len(s.headers) && len(s.headers) < maxCall {
		s.grow(min(len(batch), maxCall))
	}
	s.sent, s.n, s.err = 0, 0, nil
	for i := range batch {
		if !s.put(&batch[i]) {
			s.c.rejected.Add(1)
		}
		if s.n < len(s.headers) && i < len(batch)-1 {
			continue
		}
		err := s.c.raw.Control(s.flush)
		s.n = 0
		if err == nil {
			err = s.err
		}
		if err != nil {
			return s.sent, s.c.plainError(err)
		}
	}
	return s.sent, nil
}

// put prepares the next header for m. It refuses a destination that this socket's family cannot reach.
func (s *sender) put(m *Message) bool {
	h, sl := &s.headers[s.n].hdr, &s.slots[s.n]
	to := m.Addr.Addr().Unmap()
	if !to.IsValid() || to.Is4() != s.c.v4 {
		return false
	}
	sl.setAddr(h, to, m.Addr.Port())
	payload := m.Buf[:m.N]
	sl.iov.Base = unsafe.SliceData(payload)
	sl.iov.SetLen(len(payload))
	if s.c.pktinfo && m.Local.IsValid() && m.Local.Is4() == s.c.v4 {
		h.SetControllen(sl.ctl.setLocal(m.Local))
	} else {
		h.SetControllen(0)
	}
	s.n++
	return true
}

// send gives the first n headers to the kernel.
func (s *sender) send(fd uintptr) {
	for i, again := 0, -1; i < s.n; {
		got, _, errno := unix.RawSyscall6(unix.SYS_SENDMMSG, fd, uintptr(unsafe.Pointer(&s.headers[i])),
			uintptr(s.n-i), unix.MSG_DONTWAIT, 0, 0)
		switch {
		case errno == 0:
			i += int(got)
			s.sent += int(got)
		case errno == unix.EINTR:
		case errno == unix.EAGAIN:
			s.c.sendFull.Add(uint64(s.n - i))
			return
		case errno == unix.ENOBUFS: // the device's queue, not ours
			s.c.sendFull.Add(1)
			i++
		case fatal(errno):
			s.err = os.NewSyscallError("sendmmsg", errno)
			return
		case again < i:
			again = i // it may be the ICMP error of an earlier message, which is gone once reported
		default: // the first message not sent is the one that was rejected
			s.c.rejected.Add(1)
			i++
		}
	}
}

func (s *slot) v4() *unix.RawSockaddrInet4 { return (*unix.RawSockaddrInet4)(unsafe.Pointer(&s.name)) }

// addr reads the address that the kernel wrote.
func (s *slot) addr() netip.AddrPort {
	if s.name.Family == unix.AF_INET {
		sa := s.v4()
		return netip.AddrPortFrom(netip.AddrFrom4(sa.Addr), swapped(sa.Port))
	}
	return netip.AddrPortFrom(netip.AddrFrom16(s.name.Addr), swapped(s.name.Port))
}

// setAddr writes the address to which the kernel is to send.
func (s *slot) setAddr(h *unix.Msghdr, a netip.Addr, port uint16) {
	if a.Is4() {
		*s.v4() = unix.RawSockaddrInet4{Family: unix.AF_INET, Port: swapped(port), Addr: a.As4()}
		h.Namelen = unix.SizeofSockaddrInet4
		return
	}
	s.name = unix.RawSockaddrInet6{Family: unix.AF_INET6, Port: swapped(port), Addr: a.As16()}
	h.Namelen = unix.SizeofSockaddrInet6
}

// swapped converts a port between the machine's byte order and the network's, either way.
func swapped(port uint16) uint16 {
	var b [2]byte
	binary.BigEndian.PutUint16(b[:], port)
	return binary.NativeEndian.Uint16(b[:])
}

// local reads the local address of a received datagram; invalid for one that came to a multicast group, from which
// nothing can be sent.
func (c *control) local() netip.Addr {
	switch {
	case c.hdr.Level == unix.IPPROTO_IP && c.hdr.Type == unix.IP_PKTINFO:
		return netip.AddrFrom4([4]byte(c.data[4:8]))
	case c.hdr.Level == unix.IPPROTO_IPV6 && c.hdr.Type == unix.IPV6_PKTINFO && c.data[0] != 0xff:
		return netip.AddrFrom16([16]byte(c.data[:16]))
	}
	return netip.Addr{}
}

// setLocal asks that a datagram leave from a, by whatever interface the route takes. It returns the length of the
// control memory in use.
func (c *control) setLocal(a netip.Addr) int {
	clear(c.data[:])
	size := unix.SizeofInet4Pktinfo
	if a.Is4() {
		c.hdr.Level, c.hdr.Type = unix.IPPROTO_IP, unix.IP_PKTINFO
		*(*[4]byte)(c.data[4:]) = a.As4()
	} else {
		size = unix.SizeofInet6Pktinfo
		c.hdr.Level, c.hdr.Type = unix.IPPROTO_IPV6, unix.IPV6_PKTINFO
		*(*[16]byte)(c.data[:]) = a.As16()
	}
	c.hdr.SetLen(unix.CmsgLen(size))
	return unix.CmsgSpace(size)
}
