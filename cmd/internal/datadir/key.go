package datadir

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"

	"github.com/rootd/rootd/packetpath/vl1"
)

// rawKeyLen is the size of the signing key files that the reference's mkworld writes: 64 bytes of public key, 64 of
// secret.
const rawKeyLen = 128

// ReadKey reads a file with a world's signing key: the text form that rootctl writes, the 128 bytes that mkworld
// writes (current.c25519), or a world definition with signingKey_SECRET as zerotier-idtool makes it.
func ReadKey(path string) (*vl1.SigningKey, error) {
	b, err := ReadSecret(path)
	if err != nil {
		return nil, err
	}
	k, err := parseKey(b)
	if err != nil {
		return nil, &Error{Path: path, Err: ErrBroken, Why: err.Error(), Way: "restore it from a backup; a new key would mean touching every client"}
	}
	return k, nil
}

func parseKey(b []byte) (*vl1.SigningKey, error) {
	text := string(bytes.TrimSpace(b))
	switch {
	case len(b) == rawKeyLen:
		text = hex.EncodeToString(b[:rawKeyLen/2]) + ":" + hex.EncodeToString(b[rawKeyLen/2:])
	case len(text) > 0 && text[0] == '{':
		var def struct {
			Public string `json:"signingKey"`
			Secret string `json:"signingKey_SECRET"`
		}
		if json.Unmarshal([]byte(text), &def) != nil || def.Secret == "" { // the decoder's error might quote the secret
			return nil, errors.New("holds no signingKey_SECRET")
		}
		text = def.Public + ":" + def.Secret
	}
	return vl1.ParseSigningKey(text)
}
