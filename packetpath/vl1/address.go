package vl1

import (
	"errors"
	"fmt"
)

// AddressLen is the size of an address on the wire, in bytes.
const AddressLen = 5

// Address is the 40-bit ZeroTier address of a node, in the low 40 bits.
type Address uint64

// ErrAddress is returned for text that is not an address of ten hexadecimal digits.
var ErrAddress = errors.New("not a ZeroTier address (ten hexadecimal digits)")

// ParseAddress reads the ten hexadecimal digits of an address, in either case.
func ParseAddress(s string) (Address, error) {
	if len(s) != 2*AddressLen {
		return 0, fmt.Errorf("%q: %w", s, ErrAddress)
	}
	var a Address
	for i := range len(s) {
		d, ok := hexDigit(s[i])
		if !ok {
			return 0, fmt.Errorf("%q: %w", s, ErrAddress)
		}
		a = a<<4 | Address(d)
	}
	return a, nil
}

func hexDigit(c byte) (byte, bool) {
	switch {
	case '0' <= c && c <= '9':
		return c - '0', true
	case 'a' <= c && c <= 'f':
		return c - 'a' + 10, true
	case 'A' <= c && c <= 'F':
		return c - 'A' + 10, true
	}
	return 0, false
}

// AddressFrom reads the five big-endian bytes at the start of b. It panics if b is shorter.
func AddressFrom(b []byte) Address {
	_ = b[4]
	return Address(b[0])<<32 | Address(b[1])<<24 | Address(b[2])<<16 | Address(b[3])<<8 | Address(b[4])
}

// Put writes the address as five big-endian bytes at the start of b. It panics if b is shorter.
func (a Address) Put(b []byte) {
	_ = b[4]
	b[0], b[1], b[2], b[3], b[4] = byte(a>>32), byte(a>>24), byte(a>>16), byte(a>>8), byte(a)
}

// Append appends the address as five big-endian bytes.
func (a Address) Append(b []byte) []byte {
	return append(b, byte(a>>32), byte(a>>24), byte(a>>16), byte(a>>8), byte(a))
}

// Reserved reports whether no node may have the address: zero, and all that begin with the byte 0xff,
// which marks a fragment on the wire.
func (a Address) Reserved() bool { return a == 0 || a>>32 == 0xff || a>>40 != 0 }

// String returns ten lower-case hexadecimal digits.
func (a Address) String() string { return fmt.Sprintf("%010x", uint64(a)) }

// MarshalText implements [encoding.TextMarshaler].
func (a Address) MarshalText() ([]byte, error) { return []byte(a.String()), nil }

// UnmarshalText implements [encoding.TextUnmarshaler].
func (a *Address) UnmarshalText(b []byte) error {
	v, err := ParseAddress(string(b))
	if err != nil {
		return err
	}
	*a = v
	return nil
}
