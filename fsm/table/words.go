package table

import (
	"encoding/binary"
	"net/netip"
)

// Words is a record as the table stores it, but for its address and its key: words 1 to 7 of its slot, without the place of the entry, and
// words 8 to 10 of its entry. See [slotWords] and entry for what is in them. Word 0 is zero. A record has one form, so records with the same
// words are the same. The zero value: nothing is known of the peer.
type Words [entryWords]uint64

// Words fills w with r.
func (r *Record) Words(w *Words) {
	w[0] = 0
	r.pack(w.slot(), 0)
	r.Handoff.pack(w.handoff())
}

// Record fills r with w, but for the address and the key, which it leaves alone.
func (w *Words) Record(r *Record) {
	a := r.Address
	r.unpack(w.slot())
	r.Address = a
	r.Handoff.unpack(w.handoff())
}

// slot is words 0 to 7.
func (w *Words) slot() *words { return (*words)(w[:slotWords]) }

// handoff is words 8 to 10.
func (w *Words) handoff() *handoffWords { return (*handoffWords)(w[keyWords:]) }

// LastSeen is [Record.LastSeen].
func (w *Words) LastSeen() uint32 { return uint32(w[2]) }

// SetLastSeen sets [Record.LastSeen].
func (w *Words) SetLastSeen(seconds uint32) { w[2] = w[2]&^0xffffffff | uint64(seconds) }

// Endpoint returns V4 of the [Record], or V6.
func (w *Words) Endpoint(v6 bool) netip.AddrPort {
	if v6 {
		return endpoint6(w[3], w[4], w[5])
	}
	return endpoint4(w[1])
}

// Located reports whether that is valid.
func (w *Words) Located(v6 bool) bool {
	if v6 {
		return w[3]|w[4]|w[5]>>48 != 0
	}
	return w[1]>>16 != 0
}

// Attached returns V4Member and V4Epoch of the [Record], or V6Member and V6Epoch.
func (w *Words) Attached(v6 bool) (MemberID, uint16) {
	if v6 {
		return MemberID(w[5] >> 32), uint16(w[2] >> 32)
	}
	return MemberID(w[1]), uint16(w[2] >> 48)
}

// Attach4 sets [Record.V4], which must be an IPv4 endpoint, V4Member and V4Epoch.
func (w *Words) Attach4(at netip.AddrPort, to MemberID, epoch uint16) {
	ip := at.Addr().As4()
	w[1] = uint64(binary.BigEndian.Uint32(ip[:]))<<32 | uint64(at.Port())<<16 | uint64(to)
	w[2] = w[2]&^(0xffff<<48) | uint64(epoch)<<48
}

// Attach6 sets [Record.V6], which must be an IPv6 endpoint, V6Member and V6Epoch.
func (w *Words) Attach6(at netip.AddrPort, to MemberID, epoch uint16) {
	ip := at.Addr().As16()
	w[3], w[4] = binary.BigEndian.Uint64(ip[:8]), binary.BigEndian.Uint64(ip[8:])
	w[5] = w[5]&0xffffffff | uint64(at.Port())<<48 | uint64(to)<<32
	w[2] = w[2]&^(0xffff<<32) | uint64(epoch)<<32
}

// Software returns Protocol, Major, Minor and Revision of the [Record].
func (w *Words) Software() (protocol, major, minor uint8, revision uint16) {
	return uint8(w[7] >> 48), uint8(w[6] >> 8), uint8(w[6]), uint16(w[5] >> 16)
}

// SetSoftware sets Protocol, Major, Minor and Revision of the [Record].
func (w *Words) SetSoftware(protocol, major, minor uint8, revision uint16) {
	w[5] = w[5]&^(0xffff<<16) | uint64(revision)<<16
	w[6] = w[6]&^0xffff | uint64(major)<<8 | uint64(minor)
	w[7] = w[7]&^(0xff<<48) | uint64(protocol)<<48
}

// Planet is [Record.Planet].
func (w *Words) Planet() uint64 { return w[6] >> 16 }

// SetPlanet sets [Record.Planet].
func (w *Words) SetPlanet(timestamp uint64) { w[6] = w[6]&0xffff | min(timestamp, MaxPlanet)<<16 }

// Flags is [Record.Flags].
func (w *Words) Flags() uint8 { return uint8(w[7] >> 56) }

// Position is that of the [Record], whose three numbers are returned apart because an array would go through memory.
func (w *Words) Position() (x, y, z int16) { return int16(w[7]), int16(w[7] >> 16), int16(w[7] >> 32) }

// SetPosition sets Position and Flags of the [Record].
func (w *Words) SetPosition(at [3]int16, flags uint8) {
	w[7] = w[7]&(0xff<<48) | uint64(flags)<<56 | uint64(uint16(at[2]))<<32 | uint64(uint16(at[1]))<<16 | uint64(uint16(at[0]))
}

// HandedOff reports whether the cluster ever did something to the peer: whether [Record.Handoff] is not zero.
func (w *Words) HandedOff() bool { return !w.handoff().zero() }

// SetHandoff sets [Record.Handoff].
func (w *Words) SetHandoff(h *Handoff) { h.pack(w.handoff()) }
