package vl1

import "encoding/binary"

// Sizes of packets and datagrams, in bytes of UDP payload.
const (
	HeaderLen   = 28    // header of a packet, verb included
	MinDatagram = 17    // what is smaller is junk that clients send to open NATs, or an old beacon
	MTU         = 1432  // largest datagram a root sends; larger packets are split
	MaxPacket   = 10024 // largest packet, assembled and decompressed: MaxPieces * MTU
	MaxPieces   = 7     // largest number of datagrams a packet may come in
	MaxHops     = 7     // largest hop count the header can hold
)

// Header of a packet. Hops are the only bits that change on the way.
//
//	 0  8  packet ID
//	 8  5  destination
//	13  5  source; its first byte is never 0xff
//	18  1  flags 0xc0, suite 0x38, hops 0x07
//	19  8  message authentication code
//	27  1  compressed 0x80, verb 0x1f
//	28  …  payload
const (
	offDest    = 8
	offSource  = 13
	offFlags   = 18
	offMAC     = 19
	offVerb    = 27
	offPayload = 28

	flagExtended   = 0x80 // with suite 0: extended armor; senders also set it with suite 1
	flagFragmented = 0x40
	maskSuite      = 0x38
	shiftSuite     = 3
	maskHops       = 0x07
	flagCompressed = 0x80
	maskVerb       = 0x1f
)

// Packet is a packet in the buffer it came in or is built in, at least HeaderLen bytes long.
// Accessors copy nothing and panic on shorter slices.
type Packet []byte

// ParsePacket takes a datagram that is not a fragment as a packet. It fails if it is too short.
func ParsePacket(b []byte) (Packet, error) {
	if len(b) < HeaderLen {
		return nil, ErrShort
	}
	return b, nil
}

// NewPacket writes a header into buf[:0] and returns it as a packet of HeaderLen bytes, to which the
// Append functions add the payload. It does not allocate if buf has the capacity. The id must be
// random: with suite 1 two packets with one id give each other away.
func NewPacket(buf []byte, id uint64, dst, src Address, v Verb) Packet {
	b := binary.BigEndian.AppendUint64(buf[:0], id)
	b = dst.Append(b)
	b = src.Append(b)
	return append(b, 0, 0, 0, 0, 0, 0, 0, 0, 0, byte(v)&maskVerb)
}

// ID returns the packet ID. Armor with suite 3 changes it; answers quote it as it was on the wire.
func (p Packet) ID() uint64 { return binary.BigEndian.Uint64(p) }

// Dest returns the address of the receiver.
func (p Packet) Dest() Address { return AddressFrom(p[offDest:]) }

// Source returns the address of the sender, which only the armor proves.
func (p Packet) Source() Address { return AddressFrom(p[offSource:]) }

// Hops returns how often the packet was relayed. It is not authenticated.
func (p Packet) Hops() uint8 { return p[offFlags] & maskHops }

// SetHops sets the hop count, modulo 8. The armor does not cover it.
func (p Packet) SetHops(n uint8) { p[offFlags] = p[offFlags]&^maskHops | n&maskHops }

// Suite returns the cipher suite.
func (p Packet) Suite() Suite { return Suite(p[offFlags] & maskSuite >> shiftSuite) }

// Extended reports whether the packet carries extended armor, see [DearmorExtended].
func (p Packet) Extended() bool { return p[offFlags]&(flagExtended|maskSuite) == flagExtended }

// Fragmented reports whether fragments follow.
func (p Packet) Fragmented() bool { return p[offFlags]&flagFragmented != 0 }

// SetFragmented says whether fragments will follow. The armor covers it, so it comes before Armor.
func (p Packet) SetFragmented(on bool) {
	p[offFlags] &^= flagFragmented
	if on {
		p[offFlags] |= flagFragmented
	}
}

// Verb returns the verb, which suites 1 and 3 encrypt.
func (p Packet) Verb() Verb { return Verb(p[offVerb] & maskVerb) }

// Compressed reports whether the payload is compressed, see [Decompress].
func (p Packet) Compressed() bool { return p[offVerb]&flagCompressed != 0 }

// Payload returns what follows the header.
func (p Packet) Payload() []byte { return p[offPayload:] }
