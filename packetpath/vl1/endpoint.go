package vl1

import (
	"encoding/binary"
	"net/netip"
)

// Endpoints on the wire:
//
//	0x00                         none                     1 byte
//	0x01, 0x02 + 6 bytes         ignored, reads as none   7
//	0x03 + length (2) + data     ignored, reads as none   3 + length
//	0x04 + IPv4 (4) + port (2)                            7
//	0x06 + IPv6 (16) + port (2)                          19
const (
	endpointNone  = 0x00
	endpointMAC   = 0x01
	endpointBT    = 0x02
	endpointOther = 0x03
	endpointV4    = 0x04
	endpointV6    = 0x06

	maxEndpointLen = 19
)

// AppendEndpoint appends an endpoint; the zero AddrPort is none. IPv4 in IPv6 is written as the
// IPv6 address it is: unmap it first if it came from a dual-stack socket. Zones are dropped.
func AppendEndpoint(b []byte, ap netip.AddrPort) []byte {
	switch a := ap.Addr(); {
	case !a.IsValid():
		return append(b, endpointNone)
	case a.Is4():
		ip := a.As4()
		b = append(b, endpointV4)
		b = append(b, ip[:]...)
	default:
		ip := a.As16()
		b = append(b, endpointV6)
		b = append(b, ip[:]...)
	}
	return binary.BigEndian.AppendUint16(b, ap.Port())
}

// DecodeEndpoint reads the endpoint at the start of b and returns the number of bytes read. Kinds
// that are no IP address give the zero AddrPort.
func DecodeEndpoint(b []byte) (netip.AddrPort, int, error) {
	if len(b) == 0 {
		return netip.AddrPort{}, 0, ErrShort
	}
	n := 0
	switch b[0] {
	case endpointNone:
		n = 1
	case endpointMAC, endpointBT, endpointV4:
		n = 7
	case endpointV6:
		n = 19
	case endpointOther:
		if len(b) < 3 {
			return netip.AddrPort{}, 0, ErrShort
		}
		n = 3 + int(binary.BigEndian.Uint16(b[1:]))
	default:
		return netip.AddrPort{}, 0, ErrEndpoint
	}
	if len(b) < n {
		return netip.AddrPort{}, 0, ErrShort
	}
	switch b[0] {
	case endpointV4, endpointV6:
		return addrPort(b[1:n-2], b[n-2:]), n, nil
	}
	return netip.AddrPort{}, n, nil
}

// addrPort makes an endpoint of 4 or 16 bytes of address and 2 of port.
func addrPort(ip, port []byte) netip.AddrPort {
	var a netip.Addr
	if len(ip) == 4 {
		a = netip.AddrFrom4([4]byte(ip))
	} else {
		a = netip.AddrFrom16([16]byte(ip))
	}
	return netip.AddrPortFrom(a, binary.BigEndian.Uint16(port))
}

// Scope classes IP addresses by where they can be reached from, as clients class them.
type Scope uint8

// The scopes. Their values are the protocol's: clients prefer larger ones.
const (
	ScopeNone Scope = iota
	ScopeMulticast
	ScopeLoopback
	ScopePseudoPrivate // routable blocks used as if they were private
	ScopeGlobal
	ScopeLinkLocal
	ScopeShared
	ScopePrivate // also shared address space, benchmarking and documentation networks
)

// String returns the scope's name.
func (s Scope) String() string {
	names := [...]string{"none", "multicast", "loopback", "pseudo-private", "global", "link-local", "shared", "private"}
	if int(s) < len(names) {
		return names[s]
	}
	return "unknown"
}

// ScopeOf returns the scope of an address. IPv4 in IPv6 counts as IPv6.
func ScopeOf(a netip.Addr) Scope {
	switch {
	case !a.IsValid():
		return ScopeNone
	case a.Is4():
		return scope4(a.As4())
	}
	return scope6(a)
}

func scope4(ip [4]byte) Scope {
	switch ip[0] {
	case 0, 255:
		return ScopeNone
	case 10:
		return ScopePrivate
	case 127:
		return ScopeLoopback
	case 6, 11, 21, 22, 25, 26, 28, 29, 30, 51, 55, 56:
		return ScopePseudoPrivate
	}
	switch ip := binary.BigEndian.Uint32(ip[:]); {
	case ip>>22 == 0x64400000>>22, // 100.64.0.0/10
		ip>>20 == 0xac100000>>20, // 172.16.0.0/12
		ip>>8 == 0xc0000200>>8,   // 192.0.2.0/24
		ip>>16 == 0xc0a80000>>16, // 192.168.0.0/16
		ip>>17 == 0xc6120000>>17, // 198.18.0.0/15
		ip>>8 == 0xc6336400>>8,   // 198.51.100.0/24
		ip>>8 == 0xcb007100>>8:   // 203.0.113.0/24
		return ScopePrivate
	case ip>>16 == 0xa9fe0000>>16: // 169.254.0.0/16
		return ScopeLinkLocal
	case ip>>28 == 0xe:
		return ScopeMulticast
	case ip>>28 == 0xf:
		return ScopePseudoPrivate
	}
	return ScopeGlobal
}

func scope6(a netip.Addr) Scope {
	ip := a.As16()
	switch {
	case a.IsUnspecified():
		return ScopeNone
	case a.IsLoopback():
		return ScopeLoopback
	case ip[0] == 0xff:
		return ScopeMulticast
	case a.IsLinkLocalUnicast():
		if a.WithZone("") == netip.AddrFrom16([16]byte{0: 0xfe, 1: 0x80, 15: 1}) {
			return ScopeLoopback // fe80::1 is the loopback interface's on some systems
		}
		return ScopeLinkLocal
	case ip[0]&0xfe == 0xfc:
		return ScopePrivate
	}
	return ScopeGlobal
}
