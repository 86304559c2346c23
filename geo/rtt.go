package geo

import (
	"encoding/binary"
	"net/netip"
)

// RTT is what one member measured of a neighbourhood: the round trip to the peers there.
type RTT struct {
	Member uint16 // who measured
	N      uint16 // samples behind it, at most 65535
	Micros uint32 // smoothed round trip
	Dev    uint32 // its mean deviation, in µs
	At     uint32 // when, in seconds since the epoch of the log's records
}

// Area names a neighbourhood on the network: an IPv4 /24 or an IPv6 /48, or the wider one around it, a /16 or /32.
// The zero Area is none. It is the prefix's first 48 bits, left-aligned, with the kind in the low byte, so that areas
// order by kind last.
type Area uint64

// The kinds of areas, in the low byte of an [Area].
const (
	areaNear4 = 1
	areaWide4 = 2
	areaNear6 = 3
	areaWide6 = 4
)

// Areas returns the two neighbourhoods of an address. Those of a private or special address say nothing about where it
// is, but so is the log told: who measures there gets what it measures.
func Areas(a netip.Addr) (near, wide Area) {
	switch {
	case a.Is4() || a.Is4In6():
		ip := a.As4()
		v := uint64(binary.BigEndian.Uint32(ip[:])) << 32
		return Area(v&(0xffffff<<40) | areaNear4), Area(v&(0xffff<<48) | areaWide4)
	case a.Is6():
		ip := a.As16()
		v := binary.BigEndian.Uint64(ip[:8])
		return Area(v&(0xffffffffffff<<16) | areaNear6), Area(v&(0xffffffff<<32) | areaWide6)
	}
	return 0, 0
}

// Valid reports whether a is one that [Areas] could have returned.
func (a Area) Valid() bool {
	p := a.Prefix()
	if !p.IsValid() {
		return false
	}
	near, wide := Areas(p.Addr())
	return a == near || a == wide
}

// Wide reports whether a is of the wider kind.
func (a Area) Wide() bool { return byte(a) == areaWide4 || byte(a) == areaWide6 }

// Prefix returns the area as a prefix; the zero Prefix if it is none.
func (a Area) Prefix() netip.Prefix {
	var ip [16]byte
	switch byte(a) {
	case areaNear4, areaWide4:
		binary.BigEndian.PutUint32(ip[:4], uint32(a>>32))
		return netip.PrefixFrom(netip.AddrFrom4([4]byte(ip[:4])), map[byte]int{areaNear4: 24, areaWide4: 16}[byte(a)])
	case areaNear6, areaWide6:
		binary.BigEndian.PutUint64(ip[:8], uint64(a)&^0xff)
		return netip.PrefixFrom(netip.AddrFrom16(ip), map[byte]int{areaNear6: 48, areaWide6: 32}[byte(a)])
	}
	return netip.Prefix{}
}

// String returns the prefix.
func (a Area) String() string { return a.Prefix().String() }
