package pki

import (
	"bytes"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
)

// Bundle is the set of CAs that a cluster trusts: one, or two while the CA is rotated. Immutable.
type Bundle struct {
	cluster ClusterID
	cas     []*x509.Certificate
}

// NewBundle makes a bundle of CAs of one cluster.
func NewBundle(cas ...*x509.Certificate) (*Bundle, error) {
	if len(cas) == 0 {
		return nil, &Error{Err: ErrBroken, Why: "CA bundle: it is empty"}
	}
	if len(cas) > maxCertificates {
		return nil, &Error{Err: ErrBroken, Why: fmt.Sprintf("CA bundle: more than %d certificates", maxCertificates)}
	}
	b := new(Bundle)
	for i, ca := range cas {
		cluster, err := checkCA(ca)
		if err != nil {
			return nil, err
		}
		if i == 0 {
			b.cluster = cluster
		}
		if cluster != b.cluster {
			return nil, &Error{Err: ErrBroken, Why: fmt.Sprintf("CA bundle: certificates of two clusters, %v and %v", b.cluster, cluster)}
		}
		if !b.Has(FingerprintOf(ca)) {
			b.cas = append(b.cas, ca)
		}
	}
	return b, nil
}

// ParseBundle is the reverse of [Bundle.PEM].
func ParseBundle(b []byte) (*Bundle, error) {
	certs, key, err := parsePEM("CA bundle", b)
	if err != nil {
		return nil, err
	}
	if key != nil {
		return nil, &Error{Err: ErrBroken, Why: "CA bundle: holds a private key", Hint: "a bundle is public: find out who has read the key"}
	}
	return NewBundle(certs...)
}

// PEM returns the certificates, one after the other.
func (b *Bundle) PEM() []byte {
	var out bytes.Buffer
	for _, ca := range b.cas {
		out.Write(certificatePEM(ca))
	}
	return out.Bytes()
}

// With returns a bundle that trusts the CA too.
func (b *Bundle) With(ca *x509.Certificate) (*Bundle, error) {
	return NewBundle(append(slices.Clone(b.cas), ca)...)
}

// Without returns a bundle that does not trust the CA. The last one stays.
func (b *Bundle) Without(f Fingerprint) (*Bundle, error) {
	rest := slices.DeleteFunc(slices.Clone(b.cas), func(ca *x509.Certificate) bool { return FingerprintOf(ca).Equal(f) })
	switch {
	case len(rest) == len(b.cas):
		return nil, fmt.Errorf("remove CA %s: it is not in the bundle", f.Short())
	case len(rest) == 0:
		return nil, errors.New("remove CA " + f.Short() + ": it is the only one")
	}
	return NewBundle(rest...)
}

// Cluster returns the cluster that the CAs are of.
func (b *Bundle) Cluster() ClusterID { return b.cluster }

// Has reports whether the CA is trusted.
func (b *Bundle) Has(f Fingerprint) bool {
	return slices.ContainsFunc(b.cas, func(ca *x509.Certificate) bool { return FingerprintOf(ca).Equal(f) })
}

// Fingerprints lists the CAs, in the order they were added.
func (b *Bundle) Fingerprints() []Fingerprint {
	var out []Fingerprint
	for _, ca := range b.cas {
		out = append(out, FingerprintOf(ca))
	}
	return out
}

// Certificates lists the CAs, in the order they were added. They must not be changed.
func (b *Bundle) Certificates() []*x509.Certificate { return slices.Clone(b.cas) }

// issuer returns the CA that signed the certificate, or nil.
func (b *Bundle) issuer(cert *x509.Certificate) *x509.Certificate {
	for _, ca := range b.cas {
		if bytes.Equal(ca.RawSubject, cert.RawIssuer) && cert.CheckSignatureFrom(ca) == nil {
			return ca
		}
	}
	return nil
}
