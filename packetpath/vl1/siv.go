package vl1

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/sha512"
	"crypto/subtle"
	"encoding/binary"
)

// AESKeys is what suite 3 makes of a shared key: a GMAC that authenticates and an AES that encrypts.
// It costs microseconds to make and some 1.5 KB to keep; Armor and Dearmor make it anew for each
// packet. It is immutable and safe for use by any number of goroutines.
type AESKeys struct {
	gmac  cipher.AEAD
	block cipher.Block
}

// NewAESKeys derives the keys of suite 3.
func NewAESKeys(k *Key) *AESKeys {
	k0, k1 := deriveLabel(k, '0'), deriveLabel(k, '1')
	return newAESKeys((*[32]byte)(k0[:]), (*[32]byte)(k1[:]))
}

func newAESKeys(k0, k1 *[32]byte) *AESKeys {
	b0, err := aes.NewCipher(k0[:])
	if err != nil {
		panic(err) // the size of the key is right
	}
	b1, err := aes.NewCipher(k1[:])
	if err != nil {
		panic(err)
	}
	gmac, err := cipher.NewGCM(b0)
	if err != nil {
		panic(err) // AES has the block size of GCM
	}
	return &AESKeys{gmac: gmac, block: b1}
}

// deriveLabel is the key derivation of NIST SP 800-108 in counter mode with HMAC-SHA-384, counter 0,
// context 0, for one block of output.
//
//	0  4  counter, 0
//	4  2  "ZT"
//	6  1  label
//	7  2  zero, context
//	9  4  bits of output, 384
func deriveLabel(k *Key, label byte) (out [48]byte) {
	m := hmac.New(sha512.New384, k[:])
	m.Write([]byte{0, 0, 0, 0, 'Z', 'T', label, 0, 0, 0, 0, 1, 0x80})
	m.Sum(out[:0])
	return out
}

// Armor is [Armor] with suite 3.
func (a *AESKeys) Armor(p Packet) {
	p[offFlags] = p[offFlags]&^(flagExtended|maskSuite) | byte(SuiteAES)<<shiftSuite
	a.armor(p)
}

// Dearmor is [Dearmor] for packets in suite 3; others are refused with ErrSuite.
func (a *AESKeys) Dearmor(p Packet) error {
	if p.Suite() != SuiteAES {
		return ErrSuite
	}
	return a.dearmor(p)
}

func (a *AESKeys) armor(p Packet) {
	head := authenticatedHeader(p)
	a.seal(p, &head)
}

func (a *AESKeys) dearmor(p Packet) error {
	head := authenticatedHeader(p)
	return a.open(p, &head)
}

// authenticatedHeader returns what the MAC covers of the header.
//
//	 0   5  destination
//	 5   5  source
//	10   1  flags and suite, without hops
//	11   5  zero
func authenticatedHeader(p Packet) (head [16]byte) {
	copy(head[:], p[offDest:offMAC])
	head[10] &^= maskHops
	return head
}

// seal computes a MAC over header and plain text, encrypts it together with the packet ID to one
// block, which replaces both, and uses that block as the initial counter that encrypts the rest.
func (a *AESKeys) seal(p Packet, head *[16]byte) {
	var iv [16]byte
	copy(iv[:8], p[:8])
	binary.LittleEndian.PutUint64(iv[8:], a.mac(p, head, (*[8]byte)(iv[:8])))
	a.block.Encrypt(iv[:], iv[:])
	copy(p[:8], iv[:8])
	copy(p[offMAC:offVerb], iv[8:])
	a.crypt(p, iv)
}

// open undoes seal, except that the packet ID stays as it was on the wire.
func (a *AESKeys) open(p Packet, head *[16]byte) error {
	var iv [16]byte
	copy(iv[:8], p[:8])
	copy(iv[8:], p[offMAC:offVerb])
	a.crypt(p, iv)
	a.block.Decrypt(iv[:], iv[:])
	var mac [8]byte
	binary.LittleEndian.PutUint64(mac[:], a.mac(p, head, (*[8]byte)(iv[:8])))
	if subtle.ConstantTimeCompare(mac[:], iv[8:]) != 1 {
		return ErrMAC
	}
	return nil
}

// crypt applies the key stream whose initial counter is the block of packet ID and MAC.
func (a *AESKeys) crypt(p Packet, counter [16]byte) {
	counter[12] &= 0x7f // leaves room for 2^31 blocks before the 32-bit counter wraps
	cipher.NewCTR(a.block, counter[:]).XORKeyStream(p[offVerb:], p[offVerb:])
}

// mac returns both halves of the GMAC tag XORed. What the tag covers, head and then verb and
// payload, is put together in place: head takes the 16 bytes before the verb for the time.
func (a *AESKeys) mac(p Packet, head *[16]byte, id *[8]byte) uint64 {
	const from = offVerb - len(head)
	saved := [16]byte(p[from:offVerb])
	copy(p[from:], head[:])

	var nonce [12]byte
	copy(nonce[:], id[:])
	var buf [16]byte
	tag := a.gmac.Seal(buf[:0], nonce[:], nil, p[from:])
	copy(p[from:], saved[:])
	return binary.LittleEndian.Uint64(tag) ^ binary.LittleEndian.Uint64(tag[8:])
}
