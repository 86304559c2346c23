package fsm

import (
	"encoding/binary"
	"net/netip"
	"slices"

	"github.com/rootd/rootd/fsm/table"
	"github.com/rootd/rootd/packetpath/vl1"
)

// recordSize is the size of a peer's record in a snapshot. Each record has one form only.
//
//	offset size
//	0      5    address
//	5      64   public key
//	69     6    IPv4 endpoint: address, port. All zero: none
//	75     18   IPv6 endpoint: address, port. All zero: none
//	93     2    member of the IPv4 attachment
//	95     2    its epoch
//	97     2    member of the IPv6 attachment
//	99     2    its epoch
//	101    4    last seen, seconds since 2020-01-01
//	105    6    timestamp of its planet, ms. 0: unknown
//	111    1    protocol. 0: software unknown
//	112    1    major version
//	113    1    minor version
//	114    2    revision
//	116    6    position: three signed 16-bit components of a unit vector
//	122    1    flags
//	123    24   handoff, since version 3 of the snapshot: see putHandoff
const (
	recordSize  = handoffAt + handoffSize
	handoffAt   = 123 // and the size of a record before version 3
	handoffFrom = 3   // the version
)

func appendRecord(b []byte, r *table.Record) []byte {
	n := len(b)
	b = slices.Grow(b, recordSize)[:n+recordSize]
	putRecord((*[recordSize]byte)(b[n:]), r)
	return b
}

func putRecord(b *[recordSize]byte, r *table.Record) {
	binary.BigEndian.PutUint32(b[0:], uint32(r.Address>>8))
	b[4] = byte(r.Address)
	copy(b[5:69], r.Key[:])
	clear(b[69:93])
	if r.V4.IsValid() {
		ip := r.V4.Addr().As4()
		copy(b[69:73], ip[:])
		binary.BigEndian.PutUint16(b[73:], r.V4.Port())
	}
	if r.V6.IsValid() {
		ip := r.V6.Addr().As16()
		copy(b[75:91], ip[:])
		binary.BigEndian.PutUint16(b[91:], r.V6.Port())
	}
	binary.BigEndian.PutUint16(b[93:], uint16(r.V4Member))
	binary.BigEndian.PutUint16(b[95:], r.V4Epoch)
	binary.BigEndian.PutUint16(b[97:], uint16(r.V6Member))
	binary.BigEndian.PutUint16(b[99:], r.V6Epoch)
	binary.BigEndian.PutUint32(b[101:], r.LastSeen)
	binary.BigEndian.PutUint16(b[105:], uint16(r.Planet>>32))
	binary.BigEndian.PutUint32(b[107:], uint32(r.Planet))
	b[111], b[112], b[113] = r.Protocol, r.Major, r.Minor
	binary.BigEndian.PutUint16(b[114:], r.Revision)
	for i, p := range r.Position {
		binary.BigEndian.PutUint16(b[116+2*i:], uint16(p))
	}
	b[122] = r.Flags
	putHandoff((*[handoffSize]byte)(b[handoffAt:]), &r.Handoff)
}

// recordSizeOf is the size of a record in a snapshot of a version.
func recordSizeOf(version uint16) int {
	if version < handoffFrom {
		return handoffAt
	}
	return recordSize
}

// readRecord reads a record, with its handoff if b has one, and says what is wrong with it, or "".
func readRecord(b []byte, r *table.Record) (why string) {
	f := (*[handoffAt]byte)(b)
	*r = table.Record{Address: vl1.AddressFrom(f[:]), Key: vl1.PublicKey(f[5:69])}
	if r.Address.Reserved() {
		return "address " + r.Address.String() + " is reserved"
	}
	if v4 := [6]byte(f[69:75]); v4 != [6]byte{} {
		r.V4 = netip.AddrPortFrom(netip.AddrFrom4([4]byte(v4[:])), binary.BigEndian.Uint16(v4[4:]))
		if why := checkEndpoint(r.V4); why != "" {
			return why
		}
	}
	if v6 := [18]byte(f[75:93]); v6 != [18]byte{} {
		r.V6 = netip.AddrPortFrom(netip.AddrFrom16([16]byte(v6[:])), binary.BigEndian.Uint16(v6[16:]))
		if why := checkEndpoint(r.V6); why != "" {
			return why
		}
	}
	r.V4Member, r.V4Epoch = memberID(binary.BigEndian.Uint16(f[93:])), binary.BigEndian.Uint16(f[95:])
	r.V6Member, r.V6Epoch = memberID(binary.BigEndian.Uint16(f[97:])), binary.BigEndian.Uint16(f[99:])
	r.LastSeen = binary.BigEndian.Uint32(f[101:])
	r.Planet = uint64(binary.BigEndian.Uint16(f[105:]))<<32 | uint64(binary.BigEndian.Uint32(f[107:]))
	r.Protocol, r.Major, r.Minor, r.Revision = f[111], f[112], f[113], binary.BigEndian.Uint16(f[114:])
	for i := range r.Position {
		r.Position[i] = int16(binary.BigEndian.Uint16(f[116+2*i:]))
	}
	r.Flags = f[122]
	if len(b) >= recordSize {
		return readHandoff((*[handoffSize]byte)(b[handoffAt:]), &r.Handoff)
	}
	return ""
}
