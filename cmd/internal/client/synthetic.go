package client

import (
	"crypto/ecdh"
	"crypto/ed25519"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"math/rand/v2"

	"github.com/rootd/rootd/packetpath/vl1"
)

// Synthetic makes an identity whose keys work but whose address is random instead of derived from them. It costs
// microseconds where a real one costs a second, and the same source gives the same identity. No root accepts it from
// a HELLO: it must be in the root's state before.
func Synthetic(src rand.Source) (*vl1.SecretIdentity, error) {
	var raw [8 + 32 + 32]byte
	for i := 0; i < len(raw); i += 8 {
		binary.BigEndian.PutUint64(raw[i:], src.Uint64())
	}
	addr := vl1.AddressFrom(raw[:])
	for addr.Reserved() {
		addr = vl1.Address(src.Uint64() >> 24)
	}
	dh, err := ecdh.X25519().NewPrivateKey(raw[8:40])
	if err != nil {
		return nil, fmt.Errorf("synthetic identity: %w", err)
	}
	sign := ed25519.NewKeyFromSeed(raw[40:72])
	text := fmt.Sprintf("%v:0:%s%s:%s", addr, hex.EncodeToString(dh.PublicKey().Bytes()),
		hex.EncodeToString(sign.Public().(ed25519.PublicKey)), hex.EncodeToString(raw[8:72]))
	return vl1.ParseSecretIdentity(text)
}
