package pki

import (
	"crypto/sha256"
	"crypto/subtle"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"strings"
)

// Fingerprint is the SHA-256 of a CA's certificate (DER).
type Fingerprint [sha256.Size]byte

const fingerprintPrefix = "sha256:"

// FingerprintOf returns the fingerprint of the certificate.
func FingerprintOf(cert *x509.Certificate) Fingerprint { return sha256.Sum256(cert.Raw) }

// ParseFingerprint reads "sha256:" and 64 hexadecimal digits, in upper or lower case, with or without colons between bytes, as
// other tools print them.
func ParseFingerprint(s string) (f Fingerprint, err error) {
	digits, ok := strings.CutPrefix(strings.ToLower(s), fingerprintPrefix)
	if plain := strings.ReplaceAll(digits, ":", ""); ok && len(plain) == 2*len(f) && (plain == digits || len(digits) == 3*len(f)-1) {
		if _, err := hex.Decode(f[:], []byte(plain)); err == nil {
			return f, nil
		}
	}
	return Fingerprint{}, fmt.Errorf("fingerprint %q: want %s and %d hexadecimal digits", clip(s), fingerprintPrefix, 2*len(f))
}

// String returns "sha256:" and 64 hexadecimal digits.
func (f Fingerprint) String() string { return fingerprintPrefix + hex.EncodeToString(f[:]) }

// Short returns the first 16 digits, for tables and logs. It is not enough to trust anything by.
func (f Fingerprint) Short() string { return hex.EncodeToString(f[:8]) }

// Equal compares in constant time.
func (f Fingerprint) Equal(g Fingerprint) bool { return subtle.ConstantTimeCompare(f[:], g[:]) == 1 }
