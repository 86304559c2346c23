package link

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/ecdh"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
)

// Offer and answer, 64 bytes each. They travel over a channel that proves who is at the other end, hence no signature.
//
//	offset  length  field
//	0       4       "RDL" and the version, 1
//	4       1       1 offer, 2 answer
//	5       3       zero
//	8       2       member that writes this
//	10      2       member that reads this
//	12      8       epoch of the writer: random, new at every start of the process
//	20      4       generation: higher than that of any session the writer knows of; the answer decides
//	24      4       index by which the writer wants to be sent datagrams of this session
//	28      4       zero
//	32      32      X25519 public key, made for this exchange alone
//
// Keys: HKDF-SHA256 of the X25519 result, salt "rootd link 1", info offer + answer; 32 bytes for the direction from
// offerer to answerer, then 32 for the other. The info binds both members, epochs and indexes.
const (
	helloLen    = 64
	helloOffer  = 1
	helloAnswer = 2
	helloMagic  = "RDL\x01"
	keySalt     = "rootd link 1"
	keyLen      = 32
)

// hello is an offer or an answer.
type hello struct {
	what       byte
	from, to   uint16
	epoch      uint64
	generation uint32
	index      uint32
	public     [32]byte
}

func (h *hello) encode() []byte {
	b := make([]byte, helloLen)
	copy(b, helloMagic)
	b[4] = h.what
	binary.BigEndian.PutUint16(b[8:], h.from)
	binary.BigEndian.PutUint16(b[10:], h.to)
	binary.BigEndian.PutUint64(b[12:], h.epoch)
	binary.BigEndian.PutUint32(b[20:], h.generation)
	binary.BigEndian.PutUint32(b[24:], h.index)
	copy(b[32:], h.public[:])
	return b
}

// parseHello reads an offer or answer, strictly: encode gives the same bytes again.
func parseHello(b []byte, what byte) (h hello, err error) {
	switch {
	case len(b) != helloLen:
		return h, fmt.Errorf("%d bytes, want %d", len(b), helloLen)
	case string(b[:4]) != helloMagic:
		return h, fmt.Errorf("begins with %q: another version of the link", b[:4])
	case b[4] != what:
		return h, fmt.Errorf("kind %d, want %d", b[4], what)
	}
	h = hello{
		what: what,
		from: binary.BigEndian.Uint16(b[8:]), to: binary.BigEndian.Uint16(b[10:]),
		epoch:      binary.BigEndian.Uint64(b[12:]),
		generation: binary.BigEndian.Uint32(b[20:]),
		index:      binary.BigEndian.Uint32(b[24:]),
		public:     [32]byte(b[32:]),
	}
	if !bytes.Equal(h.encode(), b) {
		return h, errors.New("bytes that must be zero are not")
	}
	return h, nil
}

// newEphemeral makes a key pair for one exchange.
func newEphemeral() (*ecdh.PrivateKey, error) { return ecdh.X25519().GenerateKey(rand.Reader) }

// agree computes what both sides of an exchange have in common. A public key of low order is an error.
func agree(own *ecdh.PrivateKey, other [32]byte) ([]byte, error) {
	public, err := ecdh.X25519().NewPublicKey(other[:])
	if err != nil {
		return nil, err
	}
	return own.ECDH(public)
}

// deriveKeys makes the ciphers of a session: there is the one for datagrams from offerer to answerer.
func deriveKeys(secret, offer, answer []byte) (there, back cipher.AEAD, err error) {
	keys, err := hkdf.Key(sha256.New, secret, []byte(keySalt), string(offer)+string(answer), 2*keyLen)
	if err != nil {
		return nil, nil, err
	}
	if there, err = newAEAD(keys[:keyLen]); err != nil {
		return nil, nil, err
	}
	back, err = newAEAD(keys[keyLen:])
	return there, back, err
}

// newAEAD returns the cipher of the link. AES-256-GCM, because it takes two thirds of the time of ChaCha20-Poly1305
// where the processor knows AES (docs/link.md).
func newAEAD(key []byte) (cipher.AEAD, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}

func random64() uint64 {
	var b [8]byte
	rand.Read(b[:]) //nolint:errcheck // it never fails
	return binary.BigEndian.Uint64(b[:])
}
