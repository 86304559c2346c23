package udp

import (
	"encoding/binary"
	"net/netip"
	"structs"
	"unsafe"

	"golang.org/x/sys/unix"
)

// How the system calls are made.
//
// recvmmsg and sendmmsg are issued as RawSyscall6 with MSG_DONTWAIT: without a word to the scheduler, which would
// otherwise take the processor away from any call longer than 20 µs, as every full one is. The price: a raw call cannot
// be preempted and holds up a garbage collection for its length. So no call carries more than maxCall headers (about
// 50 µs to receive, 80 to send); larger batches take several. More in one call saves nothing that can be measured.
//
// Reading waits in the poller (RawConn.Read) or, on a blocking socket that is not busy, in a recvmmsg that the scheduler
// knows of. Writing never waits (RawConn.Control, which also lets any number of
// senders into the kernel at once).
//
// The kernel reads and writes arrays that live in a receiver or sender for good. Each header points to name and control
// memory of its own; that is set once. The heap does not move, and the owner keeps it alive during a call.
const maxCall = 32

// header is the kernel's struct mmsghdr.
type header struct {
	_   structs.HostLayout
	hdr unix.Msghdr
	n   uint32 // set by the kernel: length of the datagram
}

// sockaddr is room for the other end of a datagram: a RawSockaddrInet6, or a RawSockaddrInet4, which is shorter.
type sockaddr unix.RawSockaddrInet6

func (s *sockaddr) v4() *unix.RawSockaddrInet4 { return (*unix.RawSockaddrInet4)(unsafe.Pointer(s)) }

// addr reads the address that the kernel wrote.
func (s *sockaddr) addr() netip.AddrPort {
	if s.Family == unix.AF_INET {
		sa := s.v4()
		return netip.AddrPortFrom(netip.AddrFrom4(sa.Addr), swapped(sa.Port))
	}
	return netip.AddrPortFrom(netip.AddrFrom16(s.Addr), swapped(s.Port))
}

// set writes the address to which the kernel is to send. It returns its length.
func (s *sockaddr) set(a netip.Addr, port uint16) uint32 {
	if a.Is4() {
		*s.v4() = unix.RawSockaddrInet4{Family: unix.AF_INET, Port: swapped(port), Addr: a.As4()}
		return unix.SizeofSockaddrInet4
	}
	*s = sockaddr{Family: unix.AF_INET6, Port: swapped(port), Addr: a.As16()}
	return unix.SizeofSockaddrInet6
}

// swapped converts a port between the machine's byte order and the network's, either way.
func swapped(port uint16) uint16 {
	var b [2]byte
	binary.BigEndian.PutUint16(b[:], port)
	return binary.NativeEndian.Uint16(b[:])
}

// control is room for the control messages of one header: at most which local address, and how large the segments are.
// Each is a struct cmsghdr and its data, padded to a multiple of the machine's word.
//
//	IP_PKTINFO    data[0:4] interface, [4:8] local address, [8:12] address in the IP header
//	IPV6_PKTINFO  data[0:16] local address, [16:20] interface
//	UDP_SEGMENT   data[0:2] bytes of a segment, to be sent
//	UDP_GRO       data[0:4] bytes of a segment, received
type control [controlSize / 8]uint64

const controlSize = 64

// put writes a control message at byte offset at. It returns its data, zeroed, and the offset behind it.
func (c *control) put(at int, level, kind int32, size int) (data []byte, end int) {
	b := (*[controlSize]byte)(unsafe.Pointer(c))[at : at+unix.CmsgSpace(size)]
	clear(b)
	h := (*unix.Cmsghdr)(unsafe.Pointer(unsafe.SliceData(b)))
	h.Level, h.Type = level, kind
	h.SetLen(unix.CmsgLen(size))
	return b[unix.CmsgLen(0):], at + len(b)
}

// putLocal asks that a datagram leave from a, by whatever interface the route takes. It is the first message.
func (c *control) putLocal(a netip.Addr) (end int) {
	if a.Is4() {
		data, end := c.put(0, unix.IPPROTO_IP, unix.IP_PKTINFO, unix.SizeofInet4Pktinfo)
		*(*[4]byte)(data[4:]) = a.As4()
		return end
	}
	data, end := c.put(0, unix.IPPROTO_IPV6, unix.IPV6_PKTINFO, unix.SizeofInet6Pktinfo)
	*(*[16]byte)(data) = a.As16()
	return end
}

// putSegment asks that the data leave as datagrams of the given size.
func (c *control) putSegment(at, size int) (end int) {
	data, end := c.put(at, unix.SOL_UDP, unix.UDP_SEGMENT, 2)
	binary.NativeEndian.PutUint16(data, uint16(size))
	return end
}

// read returns what the kernel wrote to the first n bytes: the local address of a received datagram, invalid if it came
// to a multicast group, from which nothing can be sent; and the size of its segments, 0 if it is a single one.
func (c *control) read(n int) (local netip.Addr, segment int) {
	b := (*[controlSize]byte)(unsafe.Pointer(c))[:n]
	for len(b) >= unix.CmsgLen(0) {
		h := (*unix.Cmsghdr)(unsafe.Pointer(unsafe.SliceData(b)))
		size := int(h.Len) - unix.CmsgLen(0)
		if size < 0 || int(h.Len) > len(b) {
			break
		}
		data := b[unix.CmsgLen(0):h.Len]
		switch {
		case h.Level == unix.IPPROTO_IP && h.Type == unix.IP_PKTINFO && size >= unix.SizeofInet4Pktinfo:
			local = netip.AddrFrom4([4]byte(data[4:8]))
		case h.Level == unix.IPPROTO_IPV6 && h.Type == unix.IPV6_PKTINFO && size >= unix.SizeofInet6Pktinfo && data[0] != 0xff:
			local = netip.AddrFrom16([16]byte(data[:16]))
		case h.Level == unix.SOL_UDP && h.Type == unix.UDP_GRO && size >= 4:
			segment = int(binary.NativeEndian.Uint32(data))
		}
		b = b[min(unix.CmsgSpace(size), len(b)):]
	}
	return local, segment
}
