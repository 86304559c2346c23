package vl1

// Salsa12XOR combines b with the key stream of Salsa20/12 from block 0 on.
func Salsa12XOR(b []byte, key *[32]byte, nonce uint64) {
	var s salsa12
	s.init(key, nonce)
	s.xor(b, 0)
}

// DeriveLabel is the key derivation of suite 3.
func DeriveLabel(k *Key, label byte) [48]byte { return deriveLabel(k, label) }

// SealSIV armors p with suite 3 under given keys, with head in place of the packet's own header.
func SealSIV(p Packet, k0, k1 *[32]byte, head *[16]byte) { newAESKeys(k0, k1).seal(p, head) }

// OpenSIV undoes SealSIV.
func OpenSIV(p Packet, k0, k1 *[32]byte, head *[16]byte) error {
	return newAESKeys(k0, k1).open(p, head)
}
