package table

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/rootd/rootd/packetpath/vl1"
)

// MemberID names a member of the cluster within the log. Zero is no member.
type MemberID uint16

// Epoch is where [Record.LastSeen] begins to count.
var Epoch = time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC)

// MaxPlanet is the largest [Record.Planet] that the table keeps; larger ones are stored as this.
const MaxPlanet = 1<<48 - 1

// ErrRecord is returned by [Table.Put] for a record that the table cannot hold.
var ErrRecord = errors.New("not a record of a peer")

// Record is what the log knows about one peer. It is a plain value: comparable, and free of pointers into the table.
type Record struct {
	Address vl1.Address
	Key     vl1.PublicKey

	// V4 and V6 are where the peer was last seen, by family. The zero value is "nowhere"; so is 0.0.0.0:0 or [::]:0 once
	// stored. Zones are not kept.
	V4, V6 netip.AddrPort
	// V4Member and V6Member are the members that the peer is attached to, zero for none, and V4Epoch and V6Epoch the
	// epochs of these members at that time: an attachment counts only while its member is still in that epoch.
	V4Member, V6Member MemberID
	V4Epoch, V6Epoch   uint16

	LastSeen uint32 // seconds since Epoch, by the time of the log
	Planet   uint64 // timestamp, in ms, of the planet that the peer carries; 0 if unknown; at most MaxPlanet

	Protocol, Major, Minor uint8
	Revision               uint16

	Position [3]int16 // unit vector from the centre of the Earth, times 32767; all zero if unknown
	Flags    uint8    // the table keeps them and gives them no meaning

	// Handoff is what the cluster did to this peer. It lies beside the key unless it is zero.
	Handoff Handoff
}

// check says why r cannot be stored.
func (r *Record) check() error {
	switch {
	case r.Address.Reserved():
		return fmt.Errorf("peer %v: %w: the address is reserved", r.Address, ErrRecord)
	case r.V4.IsValid() && !r.V4.Addr().Is4():
		return fmt.Errorf("peer %v: %w: V4 is %v", r.Address, ErrRecord, r.V4)
	case r.V6.IsValid() && !r.V6.Addr().Is6():
		return fmt.Errorf("peer %v: %w: V6 is %v", r.Address, ErrRecord, r.V6)
	}
	return nil
}

// A slot holds a record but for its key and its handoff, in eight words:
//
//	word  bits 63..0
//	0     address (40), sequence (24)
//	1     IPv4 address (32), port (16), member (16)
//	2     IPv4 epoch (16), IPv6 epoch (16), last seen (32)
//	3, 4  IPv6 address (128)
//	5     IPv6 port (16), IPv6 member (16), revision (16), where the entry is in the segment (16)
//	6     planet (48), major (8), minor (8)
//	7     flags (8), protocol (8), position (3 x 16, the first one in the lowest bits)
//
// What changes together shares a word where it can: a keep-alive changes word 2 alone.
const slotWords = 8

type words [slotWords]uint64

// Where in a slot the place of the entry is.
const (
	placeWord = 5
	placeMask = 1<<16 - 1
)

// place is where the entry of the record is.
func (w *words) place() placement { return placement(w[placeWord]) }

// strip takes out what is of the table and not of the record, word 0 and the place, which it returns.
func (w *words) strip() placement {
	p := w.place()
	w[0] = 0
	w.setPlace(0)
	return p
}

func (w *words) setPlace(p placement) { w[placeWord] = w[placeWord]&^placeMask | uint64(p) }

// pack fills words 1 to 7 of w with r; the place of the entry is given, and word 0 is the caller's.
func (r *Record) pack(w *words, p placement) {
	w[1] = uint64(r.V4Member)
	if r.V4.IsValid() {
		ip := r.V4.Addr().As4()
		w[1] |= uint64(binary.BigEndian.Uint32(ip[:]))<<32 | uint64(r.V4.Port())<<16
	}
	w[2] = uint64(r.V4Epoch)<<48 | uint64(r.V6Epoch)<<32 | uint64(r.LastSeen)
	w[3], w[4] = 0, 0
	w[5] = uint64(r.V6Member)<<32 | uint64(r.Revision)<<16 | uint64(p)
	if r.V6.IsValid() {
		ip := r.V6.Addr().As16()
		w[3], w[4] = binary.BigEndian.Uint64(ip[:8]), binary.BigEndian.Uint64(ip[8:])
		w[5] |= uint64(r.V6.Port()) << 48
	}
	w[6] = min(r.Planet, MaxPlanet)<<16 | uint64(r.Major)<<8 | uint64(r.Minor)
	w[7] = uint64(r.Flags)<<56 | uint64(r.Protocol)<<48 | uint64(uint16(r.Position[2]))<<32 | uint64(uint16(r.Position[1]))<<16 | uint64(uint16(r.Position[0]))
}

// unpack fills r from w, but for the key and the handoff.
func (r *Record) unpack(w *words) {
	w1, w2, w3, w4, w5, w6, w7 := w[1], w[2], w[3], w[4], w[5], w[6], w[7] // each once: for all that Go knows, r may be where w is
	r.Position[0], r.Position[1], r.Position[2] = int16(w7), int16(w7>>16), int16(w7>>32)
	r.Protocol, r.Flags = uint8(w7>>48), uint8(w7>>56)
	r.Planet, r.Major, r.Minor = w6>>16, uint8(w6>>8), uint8(w6)
	r.V4Member, r.V6Member, r.Revision = MemberID(w1), MemberID(w5>>32), uint16(w5>>16)
	r.V4Epoch, r.V6Epoch, r.LastSeen = uint16(w2>>48), uint16(w2>>32), uint32(w2)
	r.Address = addressOf(w[0])
	r.V4, r.V6 = endpoint4(w1), endpoint6(w3, w4, w5)
}

// endpoint4 takes word 1 apart.
func endpoint4(w1 uint64) netip.AddrPort {
	if w1>>16 == 0 {
		return netip.AddrPort{}
	}
	var ip [4]byte
	binary.BigEndian.PutUint32(ip[:], uint32(w1>>32))
	return netip.AddrPortFrom(netip.AddrFrom4(ip), uint16(w1>>16))
}

// endpoint6 takes words 3 to 5 apart.
func endpoint6(w3, w4, w5 uint64) netip.AddrPort {
	if w3|w4|w5>>48 == 0 {
		return netip.AddrPort{}
	}
	var ip [16]byte
	binary.BigEndian.PutUint64(ip[:8], w3)
	binary.BigEndian.PutUint64(ip[8:], w4)
	return netip.AddrPortFrom(netip.AddrFrom16(ip), uint16(w5>>48))
}
