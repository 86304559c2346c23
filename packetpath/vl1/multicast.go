package vl1

import "encoding/binary"

// groupLen is the size of a group on the wire: network ID (8), MAC (6), ADI (4).
const groupLen = 18

// Group is a multicast group of a network: a MAC address and, for ARP, the IPv4 address asked for.
type Group struct {
	Network uint64
	MAC     [6]byte
	ADI     uint32
}

func (g *Group) append(b []byte) []byte {
	b = binary.BigEndian.AppendUint64(b, g.Network)
	b = append(b, g.MAC[:]...)
	return binary.BigEndian.AppendUint32(b, g.ADI)
}

// GroupList is a run of groups inside a packet, without copying it.
type GroupList []byte

// Len returns the number of whole groups.
func (l GroupList) Len() int { return len(l) / groupLen }

// At returns group i.
func (l GroupList) At(i int) Group {
	b := l[i*groupLen : (i+1)*groupLen]
	return Group{
		Network: binary.BigEndian.Uint64(b),
		MAC:     [6]byte(b[8:14]),
		ADI:     binary.BigEndian.Uint32(b[14:]),
	}
}

// AppendMulticastLike appends groups the sender is a member of.
func AppendMulticastLike(p Packet, groups ...Group) Packet {
	for i := range groups {
		p = groups[i].append(p)
	}
	return p
}

// DecodeMulticastLike returns the groups of a MULTICAST_LIKE. A partial one at the end is ignored.
func DecodeMulticastLike(p Packet) (GroupList, error) {
	if p.Verb() != VerbMulticastLike {
		return nil, ErrVerb
	}
	return GroupList(p.Payload()), nil
}

// gatherHasCertificate is the flag of a MULTICAST_GATHER that a certificate of membership follows.
const gatherHasCertificate = 0x01

// Gather asks for members of a group.
//
//	28  8  network ID
//	36  1  flags, 0x01: certificate follows
//	37  6  MAC
//	43  4  ADI
//	47  4  number of members wanted
//	51  …  certificate of membership, of no interest to a root
type Gather struct {
	Group       Group
	Limit       uint32
	Certificate []byte // aliases the packet after decoding; nil: none
}

// AppendMulticastGather appends a question for members.
func AppendMulticastGather(p Packet, m *Gather) Packet {
	flags := byte(0)
	if m.Certificate != nil {
		flags = gatherHasCertificate
	}
	p = append(binary.BigEndian.AppendUint64(p, m.Group.Network), flags)
	p = append(p, m.Group.MAC[:]...)
	p = binary.BigEndian.AppendUint32(p, m.Group.ADI)
	return append(binary.BigEndian.AppendUint32(p, m.Limit), m.Certificate...)
}

// DecodeMulticastGather reads a question for members.
func DecodeMulticastGather(p Packet) (Gather, error) {
	if p.Verb() != VerbMulticastGather {
		return Gather{}, ErrVerb
	}
	b := p.Payload()
	if len(b) < 23 {
		return Gather{}, ErrShort
	}
	g := Gather{
		Group: Group{
			Network: binary.BigEndian.Uint64(b),
			MAC:     [6]byte(b[9:15]),
			ADI:     binary.BigEndian.Uint32(b[15:]),
		},
		Limit: binary.BigEndian.Uint32(b[19:]),
	}
	if b[8]&gatherHasCertificate != 0 {
		g.Certificate = b[23:]
	}
	return g, nil
}

// OKGather answers MULTICAST_GATHER.
//
//	37  8  network ID, MAC (6), ADI (4)
//	55  4  number of members known
//	59  2  number of addresses n
//	61  5  n times an address
type OKGather struct {
	Group   Group
	Total   uint32
	Members AddressList // aliases the packet
}

// MaxOKGatherMembers is the number of addresses that fit an answer of one datagram.
const MaxOKGatherMembers = (MTU - 61) / AddressLen

// AppendOKGather appends the answer to the MULTICAST_GATHER with the given packet ID.
func AppendOKGather(p Packet, gatherID uint64, g Group, total uint32, members []Address) Packet {
	p = g.append(AppendOK(p, VerbMulticastGather, gatherID))
	p = binary.BigEndian.AppendUint32(p, total)
	p = binary.BigEndian.AppendUint16(p, uint16(len(members)))
	for _, a := range members {
		p = a.Append(p)
	}
	return p
}

// DecodeOKGather reads the body of an OK to a MULTICAST_GATHER.
func DecodeOKGather(body []byte) (OKGather, error) {
	if len(body) < 24 {
		return OKGather{}, ErrShort
	}
	n := int(binary.BigEndian.Uint16(body[22:])) * AddressLen
	if len(body) < 24+n {
		return OKGather{}, ErrShort
	}
	return OKGather{
		Group:   GroupList(body[:groupLen]).At(0),
		Total:   binary.BigEndian.Uint32(body[18:]),
		Members: AddressList(body[24 : 24+n]),
	}, nil
}
