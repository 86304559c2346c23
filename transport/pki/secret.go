package pki

import (
	"crypto/ed25519"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"log/slog"
)

// secret is a private key that no verb of fmt, no logger and no encoder shows: the bytes are behind a function, where
// reflection does not look.
type secret struct {
	reveal func() ed25519.PrivateKey
}

func newSecret(key ed25519.PrivateKey) secret {
	return secret{func() ed25519.PrivateKey { return key }}
}

// Format prints "hidden" for every verb.
func (secret) Format(w fmt.State, _ rune) { _, _ = io.WriteString(w, "hidden") }

// LogValue is "hidden".
func (secret) LogValue() slog.Value { return slog.StringValue("hidden") }

// MarshalText is "hidden", in JSON too.
func (secret) MarshalText() ([]byte, error) { return []byte("hidden"), nil }

func (s secret) pem() ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(s.reveal())
	if err != nil {
		return nil, fmt.Errorf("encode private key: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: pemKey, Bytes: der}), nil
}
