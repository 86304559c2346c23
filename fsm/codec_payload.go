package fsm

import (
	"encoding/binary"
	"fmt"
	"net/netip"

	"github.com/rootd/rootd/fsm/table"
	"github.com/rootd/rootd/packetpath/vl1"
)

// Payloads of the other kinds, those about members and tokens apart (codec_member.go). A text is a length byte (at most 64) and printable UTF-8. An endpoint is a family byte
// (4 or 6), the address and two bytes of port. A list of addresses is their number (2, at least 1, at most
// 10,000), the first address (5) and for each further one its distance from the one before (base-128, shortest form,
// not 0): 3 to 5 bytes each.
//
//	bootstrap   16  cluster ID
//	            8   created, ms since 1970 (not 0)
//	            5   address of the root identity
//	            64  its public key
//	            ..  text: name, not empty
//	member up   2   member (not 0)
//	  (kind 2)  ..  text: name, not empty
//	            ..  text: version of the software
//	            1   number of endpoints, at most 32
//	            ..  endpoints
//	keep-alive  ..  list of addresses
//	expire      4   cutoff, seconds since 2020-01-01: who was last seen before is removed
//	            ..  list of addresses
//	planet      ..  the signed world, at most 8192 bytes
//	setting     ..  text: key, not empty
//	            ..  text: value
const (
	maxEndpoints = 32
	maxWorld     = 8192
)

func memberID(v uint16) table.MemberID { return table.MemberID(v) }

func (c *Bootstrap) appendPayload(b []byte) ([]byte, error) {
	if c.Created <= 0 {
		return b, fmt.Errorf("%w: no time of creation", ErrMalformed)
	}
	if c.Root.Address.Reserved() {
		return b, fmt.Errorf("%w: address %s is reserved", ErrMalformed, c.Root.Address)
	}
	b = append(b, c.ID[:]...)
	b = binary.BigEndian.AppendUint64(b, uint64(c.Created))
	b = c.Root.Address.Append(b)
	b = append(b, c.Root.Key[:]...)
	return appendText(b, c.Name, 1)
}

func readBootstrap(r *reader) *Bootstrap {
	c := new(Bootstrap)
	copy(c.ID[:], r.take(len(c.ID)))
	if c.Created = int64(r.uint64()); c.Created <= 0 {
		r.fail("no time of creation")
	}
	c.Root.Address = r.address()
	copy(c.Root.Key[:], r.take(len(c.Root.Key)))
	c.Name = r.text(1)
	return c
}

func appendEndpoints(b []byte, eps []netip.AddrPort) ([]byte, error) {
	if len(eps) > maxEndpoints {
		return b, fmt.Errorf("%w: %d endpoints, at most %d", ErrMalformed, len(eps), maxEndpoints)
	}
	b = append(b, byte(len(eps)))
	for _, ep := range eps {
		if why := checkEndpoint(ep); why != "" {
			return b, fmt.Errorf("endpoint %s: %w: %s", ep, ErrMalformed, why)
		}
		family := byte(6)
		if ep.Addr().Is4() {
			family = 4
		}
		b = appendEndpoint(append(b, family), ep)
	}
	return b, nil
}

func readEndpoints(r *reader) []netip.AddrPort {
	n := int(r.byte())
	if n > maxEndpoints {
		r.fail("too many endpoints")
		return nil
	}
	var eps []netip.AddrPort
	for range n {
		switch r.byte() {
		case 4:
			eps = append(eps, r.endpoint4())
		case 6:
			eps = append(eps, r.endpoint6())
		default:
			r.fail("endpoint of unknown family")
		}
	}
	return eps
}

func (c *KeepAlive) appendPayload(b []byte) ([]byte, error) { return appendAddresses(b, c.Addresses) }

func (c *Expire) appendPayload(b []byte) ([]byte, error) {
	return appendAddresses(binary.BigEndian.AppendUint32(b, c.Cutoff), c.Addresses)
}

func appendAddresses(b []byte, as []vl1.Address) ([]byte, error) {
	if len(as) == 0 || len(as) > MaxAddresses {
		return b, fmt.Errorf("%w: %d addresses, not 1 to %d", ErrMalformed, len(as), MaxAddresses)
	}
	b = binary.BigEndian.AppendUint16(b, uint16(len(as)))
	for i, a := range as {
		switch {
		case a.Reserved():
			return b, fmt.Errorf("%w: address %s is reserved", ErrMalformed, a)
		case i == 0:
			b = a.Append(b)
		case a <= as[i-1]:
			return b, fmt.Errorf("%w: address %s does not come after %s", ErrMalformed, a, as[i-1])
		default:
			b = binary.AppendUvarint(b, uint64(a-as[i-1]))
		}
	}
	return b, nil
}

func readAddresses(r *reader) []vl1.Address {
	n := int(r.uint16())
	if n == 0 || n > MaxAddresses || n > len(r.b) {
		r.fail("wrong number of addresses")
		return nil
	}
	as := make([]vl1.Address, 1, n)
	as[0] = r.address()
	for range n - 1 {
		gap := vl1.Address(r.uvarint())
		last := as[len(as)-1]
		if a := last + gap; gap == 0 || a < last || a.Reserved() {
			r.fail("addresses out of order or range")
			return nil
		}
		as = append(as, last+gap)
	}
	return as
}

func (c *PublishPlanet) appendPayload(b []byte) ([]byte, error) {
	if len(c.World) == 0 || len(c.World) > maxWorld {
		return b, fmt.Errorf("%w: planet of %d bytes, not 1 to %d", ErrMalformed, len(c.World), maxWorld)
	}
	return append(b, c.World...), nil
}

func readPlanet(r *reader) *PublishPlanet {
	if len(r.b) == 0 || len(r.b) > maxWorld {
		r.fail("wrong size of a planet")
		return nil
	}
	return &PublishPlanet{World: append([]byte(nil), r.take(len(r.b))...)}
}

func (c *Set) appendPayload(b []byte) ([]byte, error) {
	b, err := appendText(b, c.Key, 1)
	if err != nil {
		return b, err
	}
	return appendText(b, c.Value, 0)
}
