package vl1

import (
	"encoding/binary"
	"net/netip"
)

// MinProtocol is the oldest protocol version a HELLO may state.
const MinProtocol = 4

// MaxHelloMoons is the number of moon records kept of a HELLO; clients have none or one.
const MaxHelloMoons = 16

const (
	offHelloIdentity = 41
	offHelloSentTo   = offHelloIdentity + IdentityLen // 112
	worldStampLen    = 17
)

// WorldStamp says which version of a world a client holds; timestamp 0: wanted, not held.
type WorldStamp struct {
	Type      WorldType
	ID        uint64
	Timestamp uint64 // milliseconds since 1970
}

// Hello is the first message of a peer, and how it keeps paths alive. The fields after the identity
// may be missing; the moons are encrypted with the shared key even in suite 0.
//
//	 28   1  protocol version
//	 29   1  major, minor (1), revision (2)
//	 33   8  sender's clock
//	 41  71  identity
//	112   …  endpoint the packet was sent to
//	  +   8  ID of the planet the sender has
//	  +   8  its timestamp
//	  +   2  number of moons n                    encrypted from here
//	  +  17  n times: type (1), ID (8), timestamp (8)
type Hello struct {
	Protocol, Major, Minor uint8
	Revision               uint16
	Clock                  uint64 // milliseconds by the sender's clock, to be echoed
	Identity               Identity
	SentTo                 netip.AddrPort // invalid: unknown to the sender, or relayed

	HasPlanet       bool // the two planet fields are there
	PlanetID        uint64
	PlanetTimestamp uint64 // milliseconds since 1970

	MoonCount int // how many of Moons are filled
	Moons     [MaxHelloMoons]WorldStamp
}

// PeekHello reads who says hello and in which protocol version, before anything is verified. It
// needs a packet in suite 0 without extended armor, or one already decrypted.
func PeekHello(p Packet) (protocol uint8, id Identity, err error) {
	if p.Verb() != VerbHello || p.Compressed() {
		return 0, Identity{}, ErrVerb
	}
	if len(p) < offHelloSentTo {
		return 0, Identity{}, ErrShort
	}
	if err := id.decode(p[offHelloIdentity:]); err != nil {
		return 0, Identity{}, err
	}
	protocol = p[offPayload]
	if protocol < MinProtocol {
		return protocol, id, ErrProtocol
	}
	if id.Address != p.Source() {
		return protocol, id, ErrSource
	}
	return protocol, id, nil
}

// DecodeHello reads a HELLO that Dearmor accepted into h. The packet is not changed. Moons are left
// out if k is nil, and in suite 3, where the packet ID that encrypts them did not survive the armor.
func DecodeHello(p Packet, k *Key, h *Hello) error {
	protocol, id, err := PeekHello(p)
	if err != nil {
		return err
	}
	*h = Hello{
		Protocol: protocol,
		Major:    p[29],
		Minor:    p[30],
		Revision: binary.BigEndian.Uint16(p[31:]),
		Clock:    binary.BigEndian.Uint64(p[33:]),
		Identity: id,
	}
	b := p[offHelloSentTo:]
	if len(b) == 0 {
		return nil
	}
	to, n, err := DecodeEndpoint(b)
	if err != nil {
		return err
	}
	h.SentTo = to
	b = b[n:]
	if len(b) < 16 {
		return nil
	}
	h.HasPlanet = true
	h.PlanetID = binary.BigEndian.Uint64(b)
	h.PlanetTimestamp = binary.BigEndian.Uint64(b[8:])
	if k != nil && p.Suite() != SuiteAES {
		h.decodeMoons(p, k, b[16:])
	}
	return nil
}

// decodeMoons decrypts and reads the records of moons at the end of a HELLO. Records that are cut
// short, and those beyond MaxHelloMoons, are dropped: the HELLO itself is good.
func (h *Hello) decodeMoons(p Packet, k *Key, sealed []byte) {
	var plain [2 + MaxHelloMoons*worldStampLen]byte
	b := plain[:copy(plain[:], sealed)]
	helloFieldCipher(p, k, b)
	if len(b) < 2 {
		return
	}
	n := min(int(binary.BigEndian.Uint16(b)), (len(b)-2)/worldStampLen, MaxHelloMoons)
	for i := range n {
		m := b[2+i*worldStampLen:]
		h.Moons[i] = WorldStamp{
			Type:      WorldType(m[0]),
			ID:        binary.BigEndian.Uint64(m[1:]),
			Timestamp: binary.BigEndian.Uint64(m[9:]),
		}
	}
	h.MoonCount = n
}

// AppendHello appends h to a fresh packet and encrypts what is encrypted even in suite 0. A HELLO
// without HasPlanet ends after the endpoint, as those of old clients do. Armor it with suite 0.
func AppendHello(p Packet, h *Hello, k *Key) Packet {
	p = append(p, h.Protocol, h.Major, h.Minor)
	p = binary.BigEndian.AppendUint16(p, h.Revision)
	p = binary.BigEndian.AppendUint64(p, h.Clock)
	p = h.Identity.AppendBinary(p)
	p = AppendEndpoint(p, h.SentTo)
	if !h.HasPlanet {
		return p
	}
	p = binary.BigEndian.AppendUint64(p, h.PlanetID)
	p = binary.BigEndian.AppendUint64(p, h.PlanetTimestamp)
	sealed := len(p)
	p = binary.BigEndian.AppendUint16(p, uint16(h.MoonCount))
	for _, m := range h.Moons[:h.MoonCount] {
		p = append(p, byte(m.Type))
		p = binary.BigEndian.AppendUint64(p, m.ID)
		p = binary.BigEndian.AppendUint64(p, m.Timestamp)
	}
	helloFieldCipher(p, k, p[sealed:])
	return p
}

// helloFieldCipher encrypts or decrypts b, the end of HELLO p, with the key stream of Salsa20/12
// under the shared key as it is and the packet ID without its low three bits.
func helloFieldCipher(p Packet, k *Key, b []byte) {
	id := binary.LittleEndian.Uint64(p) &^ (7 << 56)
	var s salsa12
	s.init((*[32]byte)(k[:]), id)
	s.xor(b, 0)
}
