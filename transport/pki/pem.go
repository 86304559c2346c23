package pki

import (
	"bytes"
	"crypto/ed25519"
	"crypto/x509"
	"encoding/pem"
	"fmt"
)

const (
	pemKey         = "PRIVATE KEY" // PKCS #8
	pemCertificate = "CERTIFICATE"
	pemRequest     = "CERTIFICATE REQUEST"

	maxPEM          = 64 << 10 // bytes of a file
	maxCertificates = 8        // in a file or a bundle
)

// parsePEM reads a file of certificates and at most one private key. It is strict: there is nothing in it that is
// skipped but text outside of blocks that is white space.
func parsePEM(what string, b []byte) (certs []*x509.Certificate, key ed25519.PrivateKey, err error) {
	broken := func(format string, args ...any) error {
		return &Error{Err: ErrBroken, Why: what + ": " + fmt.Sprintf(format, args...), Hint: "put the file back from a backup, or join again"}
	}
	if len(b) > maxPEM {
		return nil, nil, broken("too large (%d bytes)", len(b))
	}
	for n := 1; len(bytes.TrimSpace(b)) > 0; n++ {
		if !bytes.HasPrefix(bytes.TrimSpace(b), []byte("-----BEGIN ")) {
			return nil, nil, broken("block %d is no PEM", n)
		}
		block, rest := pem.Decode(b)
		if block == nil {
			return nil, nil, broken("block %d is no PEM", n)
		}
		b = rest
		switch block.Type {
		case pemCertificate:
			cert, err := x509.ParseCertificate(block.Bytes)
			if err != nil {
				return nil, nil, broken("certificate in block %d: %v", n, err)
			}
			if certs = append(certs, cert); len(certs) > maxCertificates {
				return nil, nil, broken("more than %d certificates", maxCertificates)
			}
		case pemKey:
			if key != nil {
				return nil, nil, broken("more than one private key")
			}
			k, err := x509.ParsePKCS8PrivateKey(block.Bytes)
			if err != nil {
				return nil, nil, broken("private key in block %d is damaged", n) // the cause might quote it
			}
			var ok bool
			if key, ok = k.(ed25519.PrivateKey); !ok {
				return nil, nil, broken("private key in block %d is no Ed25519 key", n)
			}
		default:
			return nil, nil, broken("block %d is a %q", n, clip(block.Type))
		}
	}
	return certs, key, nil
}

func certificatePEM(cert *x509.Certificate) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: pemCertificate, Bytes: cert.Raw})
}
