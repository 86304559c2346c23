package vl1

import (
	"encoding/binary"
	"net/netip"
)

// AddressList is a run of addresses of 5 bytes each inside a packet, without copying it.
type AddressList []byte

// Len returns the number of whole addresses.
func (l AddressList) Len() int { return len(l) / AddressLen }

// At returns address i.
func (l AddressList) At(i int) Address { return AddressFrom(l[i*AddressLen:]) }

// AppendWhois appends a question for identities. Clients ask for one address at a time.
func AppendWhois(p Packet, addrs ...Address) Packet {
	for _, a := range addrs {
		p = a.Append(p)
	}
	return p
}

// DecodeWhois returns the addresses asked for; there is at least one.
func DecodeWhois(p Packet) (AddressList, error) {
	if p.Verb() != VerbWhois {
		return nil, ErrVerb
	}
	l := AddressList(p.Payload())
	if l.Len() == 0 {
		return nil, ErrShort
	}
	return l, nil
}

// Rendezvous tells a client to contact a peer at an endpoint.
//
//	28  1  flags, 0
//	29  5  peer
//	34  2  port
//	36  1  4 or 16
//	37  …  IP
type Rendezvous struct {
	Peer     Address
	Endpoint netip.AddrPort
}

// AppendRendezvous appends an introduction. The endpoint must be valid.
func AppendRendezvous(p Packet, m Rendezvous) Packet {
	p = m.Peer.Append(append(p, 0))
	p = binary.BigEndian.AppendUint16(p, m.Endpoint.Port())
	if a := m.Endpoint.Addr(); a.Is4() {
		ip := a.As4()
		return append(append(p, 4), ip[:]...)
	}
	ip := m.Endpoint.Addr().As16()
	return append(append(p, 16), ip[:]...)
}

// DecodeRendezvous reads an introduction. Port 0 is refused, as clients do.
func DecodeRendezvous(p Packet) (Rendezvous, error) {
	if p.Verb() != VerbRendezvous {
		return Rendezvous{}, ErrVerb
	}
	b := p.Payload()
	if len(b) < 9 {
		return Rendezvous{}, ErrShort
	}
	n := int(b[8])
	if n != 4 && n != 16 {
		return Rendezvous{}, ErrEndpoint
	}
	if len(b) < 9+n {
		return Rendezvous{}, ErrShort
	}
	ap := addrPort(b[9:9+n], b[6:8])
	if ap.Port() == 0 {
		return Rendezvous{}, ErrEndpoint
	}
	return Rendezvous{Peer: AddressFrom(b[1:]), Endpoint: ap}, nil
}

// PathFlags say what a client shall do with a pushed path.
type PathFlags uint8

// The flags of pushed paths.
const (
	PathForget   PathFlags = 0x01 // never implemented in clients: they skip the record
	PathRedirect PathFlags = 0x02 // use this path from now on and forget worse ones
)

// DirectPath is an endpoint pushed to a peer. PUSH_DIRECT_PATHS is
//
//	28  2  number of records
//	30  …  records: flags (1), extension length e (2), extension (e), type 4 or 6 (1),
//	       length 6 or 18 (1), IP (4 or 16), port (2)
type DirectPath struct {
	Flags    PathFlags
	Endpoint netip.AddrPort
}

// AppendPushDirectPaths appends pushed paths. The endpoints must be valid.
func AppendPushDirectPaths(p Packet, paths ...DirectPath) Packet {
	p = binary.BigEndian.AppendUint16(p, uint16(len(paths)))
	for _, d := range paths {
		p = append(p, byte(d.Flags), 0, 0)
		if a := d.Endpoint.Addr(); a.Is4() {
			ip := a.As4()
			p = append(append(p, 4, 6), ip[:]...)
		} else {
			ip := a.As16()
			p = append(append(p, 6, 18), ip[:]...)
		}
		p = binary.BigEndian.AppendUint16(p, d.Endpoint.Port())
	}
	return p
}

// DecodePushDirectPaths appends the paths pushed with a packet to out. Records of other types than
// IPv4 and IPv6 are skipped.
func DecodePushDirectPaths(p Packet, out []DirectPath) ([]DirectPath, error) {
	if p.Verb() != VerbPushDirectPaths {
		return out, ErrVerb
	}
	b := p.Payload()
	if len(b) < 2 {
		return out, ErrShort
	}
	count := int(binary.BigEndian.Uint16(b))
	b = b[2:]
	for range count {
		if len(b) < 3 {
			return out, ErrShort
		}
		flags, ext := PathFlags(b[0]), int(binary.BigEndian.Uint16(b[1:]))
		if len(b) < 5+ext {
			return out, ErrShort
		}
		b = b[3+ext:]
		kind, n := b[0], int(b[1])
		if b = b[2:]; len(b) < n {
			return out, ErrShort
		}
		if kind == 4 && n == 6 || kind == 6 && n == 18 {
			out = append(out, DirectPath{Flags: flags, Endpoint: addrPort(b[:n-2], b[n-2:n])})
		}
		b = b[n:]
	}
	return out, nil
}

// NetworkConfigRequest asks a controller for a network's configuration.
//
//	28  8  network ID
//	36  …  a dictionary and more, of no interest to a root
type NetworkConfigRequest struct {
	Network uint64
	Rest    []byte // aliases the packet
}

// AppendNetworkConfigRequest appends a request.
func AppendNetworkConfigRequest(p Packet, m *NetworkConfigRequest) Packet {
	return append(binary.BigEndian.AppendUint64(p, m.Network), m.Rest...)
}

// DecodeNetworkConfigRequest reads a request.
func DecodeNetworkConfigRequest(p Packet) (NetworkConfigRequest, error) {
	if p.Verb() != VerbNetworkConfigRequest {
		return NetworkConfigRequest{}, ErrVerb
	}
	b := p.Payload()
	if len(b) < 8 {
		return NetworkConfigRequest{}, ErrShort
	}
	return NetworkConfigRequest{Network: binary.BigEndian.Uint64(b), Rest: b[8:]}, nil
}

// Frame is an Ethernet frame between two clients of a network.
//
//	28  8  network ID
//	36  2  EtherType
//	38  …  frame payload
type Frame struct {
	Network   uint64
	EtherType uint16
	Payload   []byte // aliases the packet after decoding
}

// AppendFrame appends a frame.
func AppendFrame(p Packet, m *Frame) Packet {
	p = binary.BigEndian.AppendUint64(p, m.Network)
	return append(binary.BigEndian.AppendUint16(p, m.EtherType), m.Payload...)
}

// DecodeFrame reads a frame.
func DecodeFrame(p Packet) (Frame, error) {
	if p.Verb() != VerbFrame {
		return Frame{}, ErrVerb
	}
	b := p.Payload()
	if len(b) < 10 {
		return Frame{}, ErrShort
	}
	return Frame{Network: binary.BigEndian.Uint64(b), EtherType: binary.BigEndian.Uint16(b[8:]), Payload: b[10:]}, nil
}
