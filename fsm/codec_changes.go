package fsm

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"

	"github.com/rootd/rootd/geo"
	"github.com/rootd/rootd/packetpath/vl1"
)

// Payload of a changes entry: one group per run of changes by the same member and epoch.
//
//	size
//	2    member, 0: none (then no change of the group has an endpoint)
//	2    epoch of the member
//	2    number of changes, at least 1
//	..   changes
//
// One change:
//
//	size
//	1    flags: which of the following are there; the upper two bits are 0
//	5    address of the peer
//	64   flag 0x01: public key. Without the flag: 2 bytes, the first two of the key
//	6    flag 0x02: IPv4 endpoint: address, port
//	18   flag 0x04: IPv6 endpoint: address, port
//	5    flag 0x08: protocol (not 0), major, minor, revision (2)
//	6    flag 0x10: timestamp of its planet in ms (not 0)
//	7    flag 0x20: position: unit vector (3 x 2), class of its radius (1; at most 15, 0 if the vector is zero)
//
// So an endpoint change costs 14 bytes (IPv4) or 26 (IPv6), a new peer 81 to 106.
const (
	changeKey = 1 << iota
	changeV4
	changeV6
	changeSoftware
	changePlanet
	changePosition

	changeFlags = 1<<iota - 1
	changeLeast = 1 + vl1.AddressLen + 2
)

// Kind implements [Command].
func (Changes) Kind() Kind { return KindChanges }

func (cs Changes) appendPayload(b []byte) ([]byte, error) {
	if len(cs) == 0 || len(cs) > MaxChanges {
		return b, fmt.Errorf("%w: %d changes, not 1 to %d", ErrMalformed, len(cs), MaxChanges)
	}
	for len(cs) > 0 {
		n := 1
		for n < len(cs) && cs[n].Member == cs[0].Member && cs[n].Epoch == cs[0].Epoch {
			n++
		}
		b = binary.BigEndian.AppendUint16(b, uint16(cs[0].Member))
		b = binary.BigEndian.AppendUint16(b, cs[0].Epoch)
		b = binary.BigEndian.AppendUint16(b, uint16(n))
		for i := range cs[:n] {
			if why := cs[i].check(); why != "" {
				return b, fmt.Errorf("change of peer %s: %w: %s", cs[i].Address, ErrMalformed, why)
			}
			b = cs[i].append(b)
		}
		cs = cs[n:]
	}
	return b, nil
}

// check says what is wrong with a change, or "".
func (c *Change) check() string {
	v4, v6 := c.V4.IsValid(), c.V6.IsValid()
	switch {
	case c.Address.Reserved():
		return "address is reserved"
	case (c.Member == 0) != (c.Epoch == 0):
		return "member without epoch, or epoch without member"
	case c.Member == 0 && (v4 || v6):
		return "endpoint without a member"
	case v4 && (!c.V4.Addr().Is4() || checkEndpoint(c.V4) != ""):
		return "not an IPv4 endpoint: " + c.V4.String()
	case v6 && (!c.V6.Addr().Is6() || checkEndpoint(c.V6) != ""):
		return "not an IPv6 endpoint: " + c.V6.String()
	case c.Planet>>48 != 0:
		return "planet timestamp over 48 bits"
	case !c.HasPosition && (c.Position.Known() || c.Radius != 0), c.Radius >= geo.RadiusClasses, !c.Position.Known() && c.Radius != 0:
		return "radius of no position"
	case !c.Position.Valid():
		return "position is no unit vector"
	case c.Protocol == 0 && (c.Major|c.Minor != 0 || c.Revision != 0):
		return "software version without a protocol"
	}
	return ""
}

func (c *Change) append(b []byte) []byte {
	at := len(b)
	b = c.Address.Append(append(b, 0))
	var flags byte
	if c.HasKey {
		flags |= changeKey
		b = append(b, c.Key[:]...)
	} else {
		b = append(b, c.Key[:2]...)
	}
	if c.V4.IsValid() {
		flags |= changeV4
		b = appendEndpoint(b, c.V4)
	}
	if c.V6.IsValid() {
		flags |= changeV6
		b = appendEndpoint(b, c.V6)
	}
	if c.Protocol != 0 {
		flags |= changeSoftware
		b = binary.BigEndian.AppendUint16(append(b, c.Protocol, c.Major, c.Minor), c.Revision)
	}
	if c.Planet != 0 {
		flags |= changePlanet
		b = appendUint48(b, c.Planet)
	}
	if c.HasPosition {
		flags |= changePosition
		b = append(appendUnit(b, c.Position), c.Radius)
	}
	b[at] = flags
	return b
}

// readChanges appends the changes of a payload to dst.
func readChanges(r *reader, dst Changes) Changes {
	first := true
	var member, epoch uint16
	for first || len(r.b) > 0 {
		m, e, n := r.uint16(), r.uint16(), int(r.uint16())
		switch {
		case r.bad != "":
			return dst
		case n == 0:
			r.fail("group without changes")
			return dst
		case len(dst)+n > MaxChanges:
			r.fail("too many changes")
			return dst
		case n*changeLeast > len(r.b):
			r.fail("too short")
			return dst
		case (m == 0) != (e == 0):
			r.fail("member without epoch, or epoch without member")
			return dst
		case !first && m == member && e == epoch:
			r.fail("group split in two")
			return dst
		}
		first, member, epoch = false, m, e
		dst = slices.Grow(dst, n)
		for range n {
			dst = append(dst, Change{})
			c := &dst[len(dst)-1]
			if c.read(r, m, e); r.bad != "" {
				return dst
			}
		}
	}
	return dst
}

// read fills the zero change c. What it takes is what check allows, by the same rules; the group's member and epoch are checked.
func (c *Change) read(r *reader, member, epoch uint16) {
	flags := r.byte()
	switch {
	case flags&^byte(changeFlags) != 0:
		r.fail("unknown flags of a change")
		return
	case member == 0 && flags&(changeV4|changeV6) != 0:
		r.fail("endpoint without a member")
		return
	}
	c.Member, c.Epoch = memberID(member), epoch
	c.HasKey, c.HasPosition = flags&changeKey != 0, flags&changePosition != 0
	b := r.take(changeSize(flags) - 1) // taken apart here: a reader checks, and writes where it is, for every number
	if b == nil {
		return
	}
	if c.Address = vl1.AddressFrom(b); c.Address.Reserved() {
		r.fail("address " + c.Address.String() + " is reserved")
	}
	b = b[vl1.AddressLen:]
	if c.HasKey {
		c.Key, b = vl1.PublicKey(b), b[len(c.Key):]
	} else {
		c.Key[0], c.Key[1], b = b[0], b[1], b[2:]
	}
	if flags&changeV4 != 0 {
		port := binary.BigEndian.Uint16(b[4:])
		if c.V4 = netip.AddrPortFrom(netip.AddrFrom4([4]byte(b)), port); port == 0 {
			r.fail("endpoint with port 0")
		}
		b = b[6:]
	}
	if flags&^(changeKey|changeV4) == 0 {
		return
	}
	rest := reader{b: b}
	c.readRare(&rest, flags)
	if rest.bad != "" {
		r.fail(rest.bad)
	}
}

// readRare reads what follows the IPv4 endpoint.
func (c *Change) readRare(r *reader, flags byte) {
	if flags&changeV6 != 0 {
		c.V6 = r.endpoint6()
	}
	if flags&changeSoftware != 0 {
		c.Protocol, c.Major, c.Minor, c.Revision = r.byte(), r.byte(), r.byte(), r.uint16()
		if c.Protocol == 0 {
			r.fail("software version without a protocol")
		}
	}
	if flags&changePlanet != 0 {
		if c.Planet = r.uint48(); c.Planet == 0 {
			r.fail("planet timestamp 0")
		}
	}
	if c.HasPosition {
		c.Position, c.Radius = r.unit(), r.byte()
	}
	if why := c.check(); why != "" {
		r.fail(why)
	}
}

// changeSize is the size of a change with these flags.
func changeSize(flags byte) int {
	n := changeLeast
	if flags&changeKey != 0 {
		n += len(vl1.PublicKey{}) - 2
	}
	if flags&changeV4 != 0 {
		n += 6
	}
	if flags&^(changeKey|changeV4) == 0 {
		return n
	}
	if flags&changeV6 != 0 {
		n += 18
	}
	if flags&changeSoftware != 0 {
		n += 5
	}
	if flags&changePlanet != 0 {
		n += 6
	}
	if flags&changePosition != 0 {
		n += 7
	}
	return n
}

func appendUnit(b []byte, u geo.Unit) []byte {
	for _, v := range u {
		b = binary.BigEndian.AppendUint16(b, uint16(v))
	}
	return b
}

func (r *reader) unit() geo.Unit {
	u := geo.Unit{int16(r.uint16()), int16(r.uint16()), int16(r.uint16())}
	if !u.Valid() {
		r.fail("position is no unit vector")
	}
	return u
}
