package vl1

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/ecdh"
)

// ephemeralLen is the size of the X25519 key at the end of a packet with extended armor.
const ephemeralLen = 32

// ArmorExtended armors a HELLO with suite 0 under k and then hides it from everyone but the root:
// what follows the flags is encrypted under a key agreed between an ephemeral key and the root's, and
// the ephemeral public key is appended. Clients before 1.15 do not know it.
//
//	 0  19  as in every packet
//	19   …  MAC, verb, payload, encrypted with AES-256-CTR
//	-32 32  ephemeral X25519 public key
func ArmorExtended(p Packet, k *Key, root *PublicKey, ephemeral *ecdh.PrivateKey) (Packet, error) {
	key, err := agree(ephemeral, root[:32])
	if err != nil {
		return nil, err
	}
	p[offFlags] = p[offFlags]&^maskSuite | flagExtended
	armorMAC(p, k)
	cryptExtended(p, &key)
	return append(p, ephemeral.PublicKey().Bytes()...), nil
}

// DearmorExtended decrypts a packet that is [Packet.Extended] in place and returns it without the
// ephemeral key. What comes out is not verified: Dearmor does that. It costs an X25519, so it belongs
// behind the limits for unknown sources.
func DearmorExtended(p Packet, root *SecretIdentity) (Packet, error) {
	if !p.Extended() {
		return nil, ErrSuite
	}
	n := len(p) - ephemeralLen
	if n < HeaderLen {
		return nil, ErrShort
	}
	key, err := root.keys.agree(p[n:])
	if err != nil {
		return nil, ErrMAC // a point of low order: nobody honest sends that
	}
	p = p[:n]
	cryptExtended(p, &key)
	return p, nil
}

// cryptExtended applies the key stream to everything after the flags. The counter begins with the
// packet ID and four bytes of the destination.
func cryptExtended(p Packet, key *[64]byte) {
	block, err := aes.NewCipher(key[:32])
	if err != nil {
		panic(err) // the size of the key is right
	}
	var counter [16]byte
	copy(counter[:12], p[:12])
	cipher.NewCTR(block, counter[:]).XORKeyStream(p[offMAC:], p[offMAC:])
}
