package vl1

import (
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
)

// Sizes of an identity.
const (
	PublicKeyLen = 64 // X25519 public key, then Ed25519 public key
	SecretKeyLen = 64 // X25519 secret key, then Ed25519 seed
	IdentityLen  = 71 // a public identity on the wire
)

// ErrIdentity is wrapped by every error about a malformed or invalid identity.
var ErrIdentity = errors.New("bad ZeroTier identity")

// PublicKey is the X25519 public key (32 bytes) followed by the Ed25519 public key (32 bytes).
type PublicKey [PublicKeyLen]byte

// ParsePublicKey reads the 128 hexadecimal digits of a public key.
func ParsePublicKey(s string) (PublicKey, error) {
	var k PublicKey
	if len(s) != 2*PublicKeyLen {
		return k, fmt.Errorf("public key has %d characters, want %d: %w", len(s), 2*PublicKeyLen, ErrIdentity)
	}
	if _, err := hex.Decode(k[:], []byte(s)); err != nil {
		return PublicKey{}, fmt.Errorf("public key: %w: %w", err, ErrIdentity)
	}
	return k, nil
}

// String returns the key as 128 lower-case hexadecimal digits.
func (k PublicKey) String() string { return hex.EncodeToString(k[:]) }

// Identity is the public half of a node's identity. The zero value is no identity. Identities are
// comparable; that one is well-formed does not mean that it is valid, see [Hasher.Validate].
//
// Binary form:
//
//	 0   5  address
//	 5   1  type, 0
//	 6  64  public key
//	70   1  length of the secret that follows: 0 (a secret is refused)
//
// Text form: address ":0:" public key, in lower-case hexadecimal digits.
type Identity struct {
	Address Address
	Key     PublicKey
}

const identityTextLen = 2*AddressLen + len(":0:") + 2*PublicKeyLen

// ParseIdentity reads the text form, strictly: nothing around it, lower case, no secret.
func ParseIdentity(s string) (Identity, error) {
	if len(s) > identityTextLen && s[identityTextLen] == ':' {
		return Identity{}, fmt.Errorf("identity %s carries more than the public key, remove what follows it: %w",
			s[:2*AddressLen], ErrIdentity)
	}
	if len(s) != identityTextLen {
		return Identity{}, fmt.Errorf("identity has %d characters, want %d (address:0:public key): %w",
			len(s), identityTextLen, ErrIdentity)
	}
	addr, err := ParseAddress(s[:2*AddressLen])
	if err != nil {
		return Identity{}, fmt.Errorf("%w: %w", err, ErrIdentity)
	}
	if s[10:13] != ":0:" {
		return Identity{}, fmt.Errorf("identity %s is not of type 0: %w", addr, ErrIdentity)
	}
	key, err := ParsePublicKey(s[13:])
	if err != nil {
		return Identity{}, fmt.Errorf("identity %s: %w", addr, err)
	}
	if addr.Reserved() {
		return Identity{}, fmt.Errorf("address %s is reserved: %w", addr, ErrIdentity)
	}
	if strings.ContainsAny(s, "ABCDEF") {
		return Identity{}, fmt.Errorf("identity %s is not in lower case: %w", addr, ErrIdentity)
	}
	return Identity{Address: addr, Key: key}, nil
}

// DecodeIdentity reads the binary form at the start of b and returns the number of bytes read. It
// refuses other types, reserved addresses, and secrets, which nobody has a reason to send.
func DecodeIdentity(b []byte) (Identity, int, error) {
	var id Identity
	if err := id.decode(b); err != nil {
		return Identity{}, 0, err
	}
	return id, IdentityLen, nil
}

// decode fills id from the start of b. Its errors are bare, for the hot path.
func (id *Identity) decode(b []byte) error {
	if len(b) < IdentityLen {
		return ErrShort
	}
	id.Address = AddressFrom(b)
	if b[5] != 0 || b[70] != 0 || id.Address.Reserved() {
		return ErrIdentity
	}
	copy(id.Key[:], b[6:70])
	return nil
}

// AppendBinary appends the 71 bytes of the binary form.
func (id Identity) AppendBinary(b []byte) []byte {
	b = id.Address.Append(b)
	b = append(b, 0)
	b = append(b, id.Key[:]...)
	return append(b, 0)
}

// String returns the text form.
func (id Identity) String() string { return id.Address.String() + ":0:" + id.Key.String() }

// MarshalText implements [encoding.TextMarshaler] with the text form.
func (id Identity) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

// UnmarshalText implements [encoding.TextUnmarshaler]; see [ParseIdentity].
func (id *Identity) UnmarshalText(b []byte) error {
	v, err := ParseIdentity(string(b))
	if err != nil {
		return err
	}
	*id = v
	return nil
}
