package join

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/rootd/rootd/transport/pki"
)

// TokenPrefix begins the text of a token. Its number changes with the format.
const TokenPrefix = "rootd-join-1."

// Sizes of a token's parts, in bytes. See the package comment.
const (
	offTokenID   = 32
	offSecret    = offTokenID + 8
	offExpiry    = offSecret + secretLen
	offAddresses = offExpiry + 8
	secretLen    = 16
	checksumLen  = 4

	maxAddresses = 8
	maxTokenText = 4096
)

// ErrToken is wrapped by what [ParseToken] returns. The text of a token is never quoted: it holds a secret.
var ErrToken = errors.New("not a join token")

// TokenID names a token. It is no secret.
type TokenID [8]byte

// String returns 16 hexadecimal digits.
func (t TokenID) String() string { return hex.EncodeToString(t[:]) }

// ParseTokenID reads 16 hexadecimal digits.
func ParseTokenID(s string) (t TokenID, err error) {
	if len(s) != 2*len(t) {
		return t, fmt.Errorf("token ID: want %d hexadecimal digits", 2*len(t))
	}
	if _, err := hex.Decode(t[:], []byte(s)); err != nil {
		return TokenID{}, fmt.Errorf("token ID: want %d hexadecimal digits", 2*len(t))
	}
	return t, nil
}

// Token admits one machine to one cluster until it expires.
type Token struct {
	CA        pki.Fingerprint // of the authority whose members are to be believed
	ID        TokenID
	Expires   time.Time // whole milliseconds, UTC
	Addresses []string  // host:port of cluster ports, in the order to try; 1 to 8

	secret Hidden
}

// NewToken makes a token with a new ID and secret.
func NewToken(ca pki.Fingerprint, expires time.Time, addresses ...string) (*Token, error) {
	t := &Token{CA: ca, Expires: time.UnixMilli(expires.UnixMilli()).UTC(), Addresses: slices.Clone(addresses)}
	var secret [secretLen]byte
	_, _ = rand.Read(t.ID[:]) // never fails
	_, _ = rand.Read(secret[:])
	t.secret = Hide(secret[:])
	if err := t.check(); err != nil {
		return nil, fmt.Errorf("make join token: %w", err)
	}
	return t, nil
}

// ParseToken reads the text of a token. It is strict: a letter too many, too few or mistyped is refused with [ErrToken].
func ParseToken(s string) (*Token, error) {
	refuse := func(why string) (*Token, error) { return nil, fmt.Errorf("%w: %s", ErrToken, why) }
	if len(s) > maxTokenText {
		return refuse("it is too long")
	}
	text, ok := strings.CutPrefix(s, TokenPrefix)
	switch {
	case !ok && strings.HasPrefix(s, "rootd-join-"):
		return refuse("it is of another version: use the rootctl of the release that made it")
	case !ok:
		return refuse("it does not begin with " + TokenPrefix)
	}
	b, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil || strings.ContainsAny(text, "\r\n") { // which the decoder skips
		return refuse("it holds a character that none has: was it copied whole?")
	}
	if len(b) <= offAddresses+checksumLen {
		return refuse("it is too short: was it copied whole?")
	}
	body, sum := b[:len(b)-checksumLen], b[len(b)-checksumLen:]
	if want := tokenChecksum(body); string(want[:]) != string(sum) {
		return refuse("its checksum is wrong: a character is missing or mistyped")
	}
	t := &Token{CA: pki.Fingerprint(body[:offTokenID]), ID: TokenID(body[offTokenID:offSecret]), secret: Hide(body[offSecret:offExpiry])}
	ms := binary.BigEndian.Uint64(body[offExpiry:])
	if ms > maxExpiry {
		return refuse("its expiry makes no sense")
	}
	t.Expires = time.UnixMilli(int64(ms)).UTC()
	n, rest := int(body[offAddresses]), body[offAddresses+1:]
	for range n {
		if len(rest) < 1 || len(rest) < 1+int(rest[0]) {
			return refuse("its addresses are cut short")
		}
		t.Addresses = append(t.Addresses, string(rest[1:1+rest[0]]))
		rest = rest[1+rest[0]:]
	}
	if len(rest) > 0 {
		return refuse("there is something behind its end")
	}
	if err := t.check(); err != nil {
		return refuse(err.Error())
	}
	return t, nil
}

// maxExpiry is in the year 9999, the last that times are written with four digits.
const maxExpiry = 253402300799999

func (t *Token) check() error {
	if ms := t.Expires.UnixMilli(); ms <= 0 || ms > maxExpiry {
		return errors.New("its expiry makes no sense")
	}
	if n := len(t.Addresses); n == 0 || n > maxAddresses {
		return fmt.Errorf("%d addresses: want 1 to %d", n, maxAddresses)
	}
	for i, a := range t.Addresses {
		if err := CheckAddress(a); err != nil {
			return err
		}
		if slices.Contains(t.Addresses[:i], a) {
			return fmt.Errorf("address %s is there twice", a)
		}
	}
	return nil
}

// CheckAddress complains about an address at which members could not dial each other.
func CheckAddress(a string) error {
	host, port, err := net.SplitHostPort(a)
	if err != nil || len(a) > 255 {
		return fmt.Errorf("address %q: want HOST:PORT", clip(a))
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 || strconv.FormatUint(n, 10) != port {
		return fmt.Errorf("address %q: want a port from 1 to 65535", clip(a))
	}
	if host == "" || net.JoinHostPort(host, port) != a {
		return fmt.Errorf("address %q: want HOST:PORT", clip(a))
	}
	if ip := net.ParseIP(host); ip != nil && (ip.IsUnspecified() || ip.IsMulticast()) {
		return fmt.Errorf("address %q: other machines cannot dial it", clip(a))
	}
	for _, r := range host {
		if r <= ' ' || r >= 0x7f || strings.ContainsRune("/\\\"'`<>#?@", r) {
			return fmt.Errorf("address %q: want HOST:PORT", clip(a))
		}
	}
	return nil
}

// Text returns the token itself: whoever reads it can join.
func (t *Token) Text() string {
	b := make([]byte, 0, 128)
	b = append(b, t.CA[:]...)
	b = append(b, t.ID[:]...)
	b = append(b, t.secret.Reveal()...)
	b = binary.BigEndian.AppendUint64(b, uint64(t.Expires.UnixMilli()))
	b = append(b, byte(len(t.Addresses)))
	for _, a := range t.Addresses {
		b = append(append(b, byte(len(a))), a...)
	}
	sum := tokenChecksum(b)
	return TokenPrefix + base64.RawURLEncoding.EncodeToString(append(b, sum[:]...))
}

// SecretHash returns the SHA-256 of the secret: what the log holds of it.
func (t *Token) SecretHash() [32]byte { return sha256.Sum256(t.secret.Reveal()) }

// String names the token, never its secret.
func (t *Token) String() string {
	return fmt.Sprintf("join token %v of CA %s", t.ID, t.CA.Short())
}

func tokenChecksum(body []byte) [checksumLen]byte {
	sum := sha256.Sum256(append([]byte(TokenPrefix), body...))
	return [checksumLen]byte(sum[:])
}

// clip shortens text of unknown origin for an error.
func clip(s string) string {
	const most = 96
	if len(s) > most {
		return s[:most] + "…"
	}
	return s
}
