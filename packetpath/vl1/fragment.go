package vl1

import "encoding/binary"

// Fragments carry the rest of a packet larger than a datagram. They have no MAC: that of the packet
// covers the whole. Piece 0 is the packet's head with the flag that fragments follow.
//
//	 0  8  packet ID
//	 8  5  destination
//	13  1  0xff, which no source address begins with
//	14  1  number of pieces << 4 | number of this piece
//	15  1  hops
//	16  …  data
const (
	FragmentHeaderLen = 16

	fragmentMark = 0xff
	offTotal     = 14
	offFragHops  = 15
)

// IsFragment reports whether a datagram is a fragment. It says nothing about its numbers, see
// [Fragment.Check].
func IsFragment(b []byte) bool { return len(b) >= FragmentHeaderLen && b[offSource] == fragmentMark }

// Fragment is a datagram for which IsFragment is true.
type Fragment []byte

// ID returns the packet ID of the head.
func (f Fragment) ID() uint64 { return binary.BigEndian.Uint64(f) }

// Dest returns the address of the receiver.
func (f Fragment) Dest() Address { return AddressFrom(f[offDest:]) }

// Total returns the number of pieces, the head included.
func (f Fragment) Total() int { return int(f[offTotal] >> 4) }

// No returns the number of this piece; the head is 0.
func (f Fragment) No() int { return int(f[offTotal] & 0x0f) }

// Hops returns how often the fragment was relayed.
func (f Fragment) Hops() uint8 { return f[offFragHops] & maskHops }

// SetHops sets the hop count, modulo 8.
func (f Fragment) SetHops(n uint8) { f[offFragHops] = f[offFragHops]&^maskHops | n&maskHops }

// Data returns the fragment's part of the packet.
func (f Fragment) Data() []byte { return f[FragmentHeaderLen:] }

// Check returns ErrFragment if the numbers are impossible or there is no data.
func (f Fragment) Check() error {
	if f.Total() < 2 || f.Total() > MaxPieces || f.No() < 1 || f.No() >= f.Total() || len(f.Data()) == 0 {
		return ErrFragment
	}
	return nil
}

// Split emits an armored packet as datagrams of at most mtu bytes: one, if it fits, or its head and
// fragments, for which [Packet.SetFragmented] must have preceded Armor. emit must be done with a
// datagram when it returns. The packet is used up: headers of fragments overwrite what was emitted
// before. It returns ErrFragment, having emitted nothing, if the packet needs more than MaxPieces.
func Split(p Packet, mtu int, emit func(datagram []byte)) error {
	if len(p) <= mtu {
		emit(p)
		return nil
	}
	if mtu <= HeaderLen {
		return ErrFragment
	}
	data := mtu - FragmentHeaderLen
	total := 1 + (len(p)-mtu+data-1)/data
	if total > MaxPieces || !p.Fragmented() {
		return ErrFragment
	}
	var head [FragmentHeaderLen]byte
	copy(head[:], p[:offSource])
	head[offSource] = fragmentMark
	head[offFragHops] = p.Hops()
	emit(p[:mtu])
	no := 1
	for at := mtu; at < len(p); at += data {
		head[offTotal] = byte(total<<4 | no)
		piece := p[at-FragmentHeaderLen : min(at+data, len(p))]
		copy(piece, head[:])
		emit(piece)
		no++
	}
	return nil
}
