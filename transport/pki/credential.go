package pki

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"time"
)

// Key is a member's own private key, its node key. It is made on the member's machine and stays there.
type Key struct {
	key secret
}

// NewKey makes a key.
func NewKey() (*Key, error) {
	_, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		return nil, fmt.Errorf("make member key: %w", err)
	}
	return &Key{newSecret(key)}, nil
}

// ParseKey is the reverse of [Key.PEM].
func ParseKey(b []byte) (*Key, error) {
	certs, key, err := parsePEM("member key", b)
	if err != nil {
		return nil, err
	}
	if key == nil || len(certs) != 0 {
		return nil, &Error{Err: ErrBroken, Why: "member key: want one private key and nothing else"}
	}
	return &Key{newSecret(key)}, nil
}

// PEM returns the key itself.
func (k *Key) PEM() ([]byte, error) { return k.key.pem() }

// String hides the key.
func (k *Key) String() string { return "hidden" }

// NewRequest returns a request (DER) for a certificate of the key, for [Authority.Sign].
func NewRequest(k *Key) ([]byte, error) {
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, k.key.reveal())
	if err != nil {
		return nil, fmt.Errorf("make certificate request: %w", err)
	}
	return der, nil
}

// Credential is a member's key with the certificate for it: what it presents to others. Immutable.
type Credential struct {
	key  *Key
	leaf *x509.Certificate
	ca   *x509.Certificate // signed leaf
	self Peer
}

// NewCredential joins a key and the chain that [Authority.Sign] made for it (PEM: certificate, CA).
func NewCredential(k *Key, chain []byte) (*Credential, error) {
	certs, key, err := parsePEM("member certificate", chain)
	if err != nil {
		return nil, err
	}
	if key != nil {
		return nil, &Error{Err: ErrBroken, Why: "member certificate: holds a private key"}
	}
	return newCredential(k, certs)
}

// ParseCredential is the reverse of [Credential.PEM].
func ParseCredential(b []byte) (*Credential, error) {
	certs, key, err := parsePEM("member certificate", b)
	if err != nil {
		return nil, err
	}
	if key == nil {
		return nil, &Error{Err: ErrBroken, Why: "member certificate: its private key is missing"}
	}
	return newCredential(&Key{newSecret(key)}, certs)
}

func newCredential(k *Key, certs []*x509.Certificate) (*Credential, error) {
	broken := func(why string) (*Credential, error) {
		return nil, &Error{Err: ErrBroken, Why: "member certificate: " + why, Hint: "put the file back from a backup, or join again"}
	}
	if len(certs) != 2 {
		return broken(fmt.Sprintf("want the member's and the CA's, got %d", len(certs)))
	}
	leaf, ca := certs[0], certs[1]
	self, err := peerOf(leaf)
	if err != nil {
		return broken(err.Error())
	}
	cluster, err := checkCA(ca)
	if err != nil {
		return nil, err
	}
	if cluster != self.Cluster || leaf.CheckSignatureFrom(ca) != nil {
		return broken("not signed by the CA that comes with it")
	}
	if pub, ok := leaf.PublicKey.(ed25519.PublicKey); !ok || !pub.Equal(k.key.reveal().Public()) {
		return broken("it is for another private key")
	}
	self.CA = FingerprintOf(ca)
	return &Credential{key: k, leaf: leaf, ca: ca, self: self}, nil
}

// PEM returns key, certificate and CA certificate: one file, so that they never disagree.
func (c *Credential) PEM() ([]byte, error) {
	b, err := c.key.PEM()
	if err != nil {
		return nil, err
	}
	return append(append(b, certificatePEM(c.leaf)...), certificatePEM(c.ca)...), nil
}

// Self returns what others see of this member.
func (c *Credential) Self() Peer { return c.self }

// Key returns the private key, to ask for the next certificate.
func (c *Credential) Key() *Key { return c.key }

// NotBefore returns when the certificate begins.
func (c *Credential) NotBefore() time.Time { return c.leaf.NotBefore }

// RenewAt returns when two thirds of the certificate's life have passed.
func (c *Credential) RenewAt() time.Time {
	return c.leaf.NotBefore.Add(c.leaf.NotAfter.Sub(c.leaf.NotBefore) / 3 * 2)
}

// TLS returns the credential as package tls takes it, with the CA's certificate in the chain: who joins pins that one.
func (c *Credential) TLS() *tls.Certificate {
	return &tls.Certificate{Certificate: [][]byte{c.leaf.Raw, c.ca.Raw}, PrivateKey: c.key.key.reveal(), Leaf: c.leaf}
}

// String names the owner.
func (c *Credential) String() string { return "certificate of " + c.self.String() }
