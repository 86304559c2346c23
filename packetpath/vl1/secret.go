package vl1

import (
	"crypto/ecdh"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha512"
	"crypto/subtle"
	"encoding/hex"
	"fmt"
	"io"
	"log/slog"
)

// SignatureLen is the size of a signature: 64 bytes of Ed25519 (R, S), then the first half of the
// SHA-512 of the message, which is what Ed25519 signed.
const SignatureLen = 96

// Signature is a signature as worlds carry it.
type Signature [SignatureLen]byte

// Verify reports whether sig is k's signature of msg.
func (k *PublicKey) Verify(msg []byte, sig *Signature) bool {
	h := sha512.Sum512(msg)
	return subtle.ConstantTimeCompare(sig[64:], h[:32]) == 1 &&
		ed25519.Verify(ed25519.PublicKey(k[32:]), h[:32], sig[:64])
}

// Key is the secret that two identities share. It never changes, so every holder of a root's
// secret computes the same one for a peer.
type Key [48]byte

const hidden = "[secret]"

// Format implements [fmt.Formatter] and hides the key.
func (Key) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, hidden) }

// LogValue implements [slog.LogValuer] and hides the key.
func (Key) LogValue() slog.Value { return slog.StringValue(hidden) }

// MarshalText implements [encoding.TextMarshaler] and hides the key.
func (Key) MarshalText() ([]byte, error) { return []byte(hidden), nil }

// keyPair is a public key and both its secret halves. They are behind pointers, as is the pair where
// it is kept, because fmt follows only one: it must not see them in someone's unexported field, on
// which it calls no Format method.
type keyPair struct {
	public PublicKey
	dh     *ecdh.PrivateKey
	sign   *ed25519.PrivateKey
}

// newKeyPair makes the pair of the secret keys in b: X25519, then the Ed25519 seed.
func newKeyPair(b *[SecretKeyLen]byte) (*keyPair, error) {
	dh, err := ecdh.X25519().NewPrivateKey(b[:32])
	if err != nil {
		return nil, err
	}
	sign := ed25519.NewKeyFromSeed(b[32:])
	kp := &keyPair{dh: dh, sign: &sign}
	copy(kp.public[:32], dh.PublicKey().Bytes())
	copy(kp.public[32:], sign.Public().(ed25519.PublicKey))
	return kp, nil
}

// parseKeyPair reads 128 hexadecimal digits of secret keys and checks them against their public keys.
func parseKeyPair(public PublicKey, secret string) (*keyPair, error) {
	var b [SecretKeyLen]byte
	if len(secret) != 2*SecretKeyLen {
		return nil, fmt.Errorf("secret key has %d characters, want %d: %w", len(secret), 2*SecretKeyLen, ErrIdentity)
	}
	if _, err := hex.Decode(b[:], []byte(secret)); err != nil {
		return nil, fmt.Errorf("secret key is not hexadecimal: %w", ErrIdentity) // err would quote a digit of it
	}
	kp, err := newKeyPair(&b)
	if err != nil {
		return nil, fmt.Errorf("secret key: %w: %w", err, ErrIdentity)
	}
	if kp.public != public {
		return nil, fmt.Errorf("secret key does not belong to the public key: %w", ErrIdentity)
	}
	return kp, nil
}

func generateKeyPair() (*keyPair, error) {
	var b [SecretKeyLen]byte
	if _, err := rand.Read(b[:]); err != nil {
		return nil, err
	}
	return newKeyPair(&b)
}

func (kp *keyPair) secretHex() string {
	return hex.EncodeToString(kp.dh.Bytes()) + hex.EncodeToString(kp.sign.Seed())
}

func (kp *keyPair) signMessage(msg []byte) (s Signature) {
	h := sha512.Sum512(msg)
	copy(s[:64], ed25519.Sign(*kp.sign, h[:32]))
	copy(s[64:], h[:32])
	return s
}

// SecretIdentity is an identity with its secret keys. However it is printed, logged or marshalled,
// only the public half shows; [SecretIdentity.SecretString] is the only way out. It is immutable
// and safe for use by any number of goroutines.
type SecretIdentity struct {
	Identity
	keys *keyPair
}

// ParseSecretIdentity reads "address:0:public key:secret key", strictly, and checks that both keys
// belong together; whether the identity is valid is for [Hasher.Validate] to say.
func ParseSecretIdentity(s string) (*SecretIdentity, error) {
	if len(s) < identityTextLen || s[identityTextLen:] == "" {
		return nil, fmt.Errorf("identity without a secret key (want address:0:public key:secret key): %w", ErrIdentity)
	}
	if s[identityTextLen] != ':' {
		return nil, fmt.Errorf("identity is not of the form address:0:public key:secret key: %w", ErrIdentity)
	}
	id, err := ParseIdentity(s[:identityTextLen])
	if err != nil {
		return nil, err
	}
	kp, err := parseKeyPair(id.Key, s[identityTextLen+1:])
	if err != nil {
		return nil, fmt.Errorf("identity %s: %w", id.Address, err)
	}
	return &SecretIdentity{Identity: id, keys: kp}, nil
}

// SecretString returns the text form with the secret key, as identity.secret files hold it.
func (s *SecretIdentity) SecretString() string { return s.Identity.String() + ":" + s.keys.secretHex() }

// Format implements [fmt.Formatter] and shows the public half whatever the verb.
func (s SecretIdentity) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, s.Identity.String()) }

// LogValue implements [slog.LogValuer] and shows the address.
func (s SecretIdentity) LogValue() slog.Value { return slog.StringValue(s.Address.String()) }

// UnmarshalText always fails: the half that may be marshalled does not make a secret identity.
func (s *SecretIdentity) UnmarshalText([]byte) error {
	return fmt.Errorf("secret identities are not unmarshalled: %w", ErrIdentity)
}

// Agree computes the key shared with the owner of peer, which takes tens of microseconds. It fails
// only for keys that nobody honest has (points of low order).
func (s *SecretIdentity) Agree(peer *PublicKey) (Key, error) {
	h, err := s.keys.agree(peer[:32])
	return Key(h[:48]), err
}

// agree returns the SHA-512 of the X25519 secret shared with the owner of the 32-byte public key.
func (kp *keyPair) agree(public []byte) ([64]byte, error) { return agree(kp.dh, public) }

func agree(secret *ecdh.PrivateKey, public []byte) ([64]byte, error) {
	pub, err := ecdh.X25519().NewPublicKey(public)
	if err != nil {
		return [64]byte{}, fmt.Errorf("agree on a key: %w", err)
	}
	raw, err := secret.ECDH(pub)
	if err != nil {
		return [64]byte{}, fmt.Errorf("agree on a key: %w", err)
	}
	return sha512.Sum512(raw), nil
}

// Sign signs msg with the identity's Ed25519 key.
func (s *SecretIdentity) Sign(msg []byte) Signature { return s.keys.signMessage(msg) }

// SigningKey is the key pair that signs a world's updates. It has the shape of an identity's keys
// but no address. It prints as its public key.
type SigningKey struct{ keys *keyPair }

// GenerateSigningKey makes a new signing key.
func GenerateSigningKey() (*SigningKey, error) {
	kp, err := generateKeyPair()
	if err != nil {
		return nil, fmt.Errorf("generate signing key: %w", err)
	}
	return &SigningKey{keys: kp}, nil
}

// ParseSigningKey reads "public key:secret key", each of 128 hexadecimal digits.
func ParseSigningKey(s string) (*SigningKey, error) {
	if len(s) < 2*PublicKeyLen+1 || s[2*PublicKeyLen] != ':' {
		return nil, fmt.Errorf("signing key is not of the form public key:secret key: %w", ErrIdentity)
	}
	public, err := ParsePublicKey(s[:2*PublicKeyLen])
	if err != nil {
		return nil, fmt.Errorf("signing key: %w", err)
	}
	kp, err := parseKeyPair(public, s[2*PublicKeyLen+1:])
	if err != nil {
		return nil, fmt.Errorf("signing key: %w", err)
	}
	return &SigningKey{keys: kp}, nil
}

// Public returns the key that worlds name as the one their next update must be signed with.
func (k *SigningKey) Public() PublicKey { return k.keys.public }

// Sign signs msg.
func (k *SigningKey) Sign(msg []byte) Signature { return k.keys.signMessage(msg) }

// SecretString returns "public key:secret key", the only way the secret leaves.
func (k *SigningKey) SecretString() string { return k.keys.public.String() + ":" + k.keys.secretHex() }

// Format implements [fmt.Formatter] and shows the public key.
func (k SigningKey) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, k.keys.public.String()) }

// LogValue implements [slog.LogValuer] and shows the public key.
func (k SigningKey) LogValue() slog.Value { return slog.StringValue(k.keys.public.String()) }
