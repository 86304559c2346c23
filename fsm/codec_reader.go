package fsm

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"unicode"
	"unicode/utf8"

	"github.com/rootd/rootd/fsm/table"
	"github.com/rootd/rootd/packetpath/vl1"
)

// reader takes a payload apart. The first mistake sticks, and everything read after it is zero; [reader.end] tells.
type reader struct {
	b   []byte
	bad string // the first mistake, or ""
}

func (r *reader) fail(what string) {
	if r.bad == "" {
		r.bad, r.b = what, nil
	}
}

// end returns the first mistake, also that bytes are left.
func (r *reader) end() error {
	if r.bad == "" && len(r.b) > 0 {
		return fmt.Errorf("%w: %d bytes too many", ErrMalformed, len(r.b))
	}
	if r.bad != "" {
		return fmt.Errorf("%w: %s", ErrMalformed, r.bad)
	}
	return nil
}

// take returns the next n bytes, or nil.
func (r *reader) take(n int) []byte {
	if len(r.b) < n {
		r.fail("too short")
		return nil
	}
	b := r.b[:n:n]
	r.b = r.b[n:]
	return b
}

func (r *reader) byte() byte {
	if b := r.take(1); b != nil {
		return b[0]
	}
	return 0
}

// flag reads a byte that is 0 or 1.
func (r *reader) flag(what string) bool {
	b := r.byte()
	if b > 1 {
		r.fail(what + " is neither 0 nor 1")
	}
	return b == 1
}

func (r *reader) uint16() uint16 {
	if b := r.take(2); b != nil {
		return binary.BigEndian.Uint16(b)
	}
	return 0
}

func (r *reader) uint32() uint32 {
	if b := r.take(4); b != nil {
		return binary.BigEndian.Uint32(b)
	}
	return 0
}

func (r *reader) uint48() uint64 {
	return uint64(r.uint16())<<32 | uint64(r.uint32())
}

func (r *reader) uint64() uint64 {
	return uint64(r.uint32())<<32 | uint64(r.uint32())
}

// uvarint reads a base-128 number in its shortest form.
func (r *reader) uvarint() uint64 {
	v, n := binary.Uvarint(r.b)
	switch {
	case n <= 0:
		r.fail("number cut off")
		return 0
	case n > 1 && r.b[n-1] == 0:
		r.fail("number not in its shortest form")
		return 0
	}
	r.b = r.b[n:]
	return v
}

// member reads the ID of a member.
func (r *reader) member() table.MemberID {
	id := table.MemberID(r.uint16())
	if id == 0 {
		r.fail("member 0")
	}
	return id
}

// epoch reads an epoch in which a member lived.
func (r *reader) epoch() uint16 {
	e := r.uint16()
	if e == 0 {
		r.fail("epoch 0")
	}
	return e
}

func (r *reader) hash() (h [32]byte) {
	copy(h[:], r.take(len(h)))
	return h
}

func (r *reader) tokenID() (id TokenID) {
	copy(id[:], r.take(len(id)))
	if id == (TokenID{}) {
		r.fail("token without an ID")
	}
	return id
}

func (r *reader) address() vl1.Address {
	b := r.take(vl1.AddressLen)
	if b == nil {
		return 0
	}
	a := vl1.AddressFrom(b)
	if a.Reserved() {
		r.fail("address " + a.String() + " is reserved")
	}
	return a
}

// text reads a length byte and that many bytes of printable UTF-8.
func (r *reader) text(least int) string {
	s := string(r.take(int(r.byte())))
	if why := checkText(s, least); r.bad == "" && why != "" {
		r.fail(why)
	}
	return s
}

func (r *reader) endpoint4() netip.AddrPort {
	b := r.take(6)
	if b == nil {
		return netip.AddrPort{}
	}
	return r.endpoint(netip.AddrPortFrom(netip.AddrFrom4([4]byte(b)), binary.BigEndian.Uint16(b[4:])))
}

func (r *reader) endpoint6() netip.AddrPort {
	b := r.take(18)
	if b == nil {
		return netip.AddrPort{}
	}
	return r.endpoint(netip.AddrPortFrom(netip.AddrFrom16([16]byte(b)), binary.BigEndian.Uint16(b[16:])))
}

func (r *reader) endpoint(ap netip.AddrPort) netip.AddrPort {
	if why := checkEndpoint(ap); why != "" {
		r.fail(why)
	}
	return ap
}

// checkEndpoint says what is wrong with an endpoint in the log, or "".
func checkEndpoint(ap netip.AddrPort) string {
	switch {
	case !ap.IsValid():
		return "endpoint without an address"
	case ap.Port() == 0:
		return "endpoint with port 0"
	case ap.Addr().Is4In6():
		return "IPv4 endpoint in IPv6 form"
	case ap.Addr().Zone() != "":
		return "endpoint with a zone"
	}
	return ""
}

func appendEndpoint(b []byte, ap netip.AddrPort) []byte {
	if ap.Addr().Is4() {
		a := ap.Addr().As4()
		b = append(b, a[:]...)
	} else {
		a := ap.Addr().As16()
		b = append(b, a[:]...)
	}
	return binary.BigEndian.AppendUint16(b, ap.Port())
}

func appendUint48(b []byte, v uint64) []byte {
	b = binary.BigEndian.AppendUint16(b, uint16(v>>32))
	return binary.BigEndian.AppendUint32(b, uint32(v))
}

// maxText is the longest name, version, key or value, in bytes.
const maxText = 64

// checkText says what is wrong with a string in the log, or "".
func checkText(s string, least int) string {
	switch {
	case len(s) < least:
		return "empty text"
	case len(s) > maxText:
		return fmt.Sprintf("text of %d bytes, at most %d", len(s), maxText)
	case !utf8.ValidString(s):
		return "text is not UTF-8"
	}
	for _, c := range s {
		if !unicode.IsPrint(c) {
			return fmt.Sprintf("character %U in a text", c)
		}
	}
	return ""
}

func appendText(b []byte, s string, least int) ([]byte, error) {
	if why := checkText(s, least); why != "" {
		return b, fmt.Errorf("%w: %s", ErrMalformed, why)
	}
	return append(append(b, byte(len(s))), s...), nil
}
