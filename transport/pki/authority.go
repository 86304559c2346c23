package pki

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"math/big"
	"net/url"
	"slices"
	"time"
)

// How long certificates live.
const (
	AuthorityLife = 10 * 365 * 24 * time.Hour
	MemberLife    = 30 * 24 * time.Hour
	Backdate      = time.Hour // certificates begin this long before they are signed
)

// Authority is a CA with its private key: who has it can make members. Immutable.
type Authority struct {
	cert    *x509.Certificate
	cluster ClusterID
	key     secret
}

// NewAuthority makes a CA for the cluster. The name is for people who look at the certificate.
func NewAuthority(cluster ClusterID, name string, now time.Time) (*Authority, error) {
	pub, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		return nil, fmt.Errorf("make CA key: %w", err)
	}
	serial, err := newSerial()
	if err != nil {
		return nil, err
	}
	if cluster == (ClusterID{}) {
		return nil, errors.New("make CA: no cluster ID")
	}
	template := &x509.Certificate{
		SerialNumber:          serial,
		Subject:               pkix.Name{CommonName: "rootd CA " + name},
		NotBefore:             now.Add(-Backdate).UTC().Truncate(time.Second),
		NotAfter:              now.Add(AuthorityLife).UTC().Truncate(time.Second),
		KeyUsage:              x509.KeyUsageCertSign,
		BasicConstraintsValid: true,
		IsCA:                  true,
		MaxPathLenZero:        true,
		URIs:                  []*url.URL{{Scheme: uriScheme, Host: cluster.String()}},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, pub, key)
	if err != nil {
		return nil, fmt.Errorf("make CA certificate: %w", err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("make CA certificate: %w", err)
	}
	return &Authority{cert: cert, cluster: cluster, key: newSecret(key)}, nil
}

// ParseAuthority is the reverse of [Authority.PEM].
func ParseAuthority(b []byte) (*Authority, error) {
	const what = "CA key"
	certs, key, err := parsePEM(what, b)
	if err != nil {
		return nil, err
	}
	if len(certs) != 1 || key == nil {
		return nil, &Error{Err: ErrBroken, Why: what + ": want one certificate and its private key"}
	}
	cluster, err := checkCA(certs[0])
	if err != nil {
		return nil, err
	}
	if !key.Public().(ed25519.PublicKey).Equal(certs[0].PublicKey) {
		return nil, &Error{Err: ErrBroken, Why: what + ": the private key is not that of the certificate"}
	}
	return &Authority{cert: certs[0], cluster: cluster, key: newSecret(key)}, nil
}

// PEM returns the certificate and the private key: the most secret thing of a cluster after its identity.
func (a *Authority) PEM() ([]byte, error) {
	key, err := a.key.pem()
	if err != nil {
		return nil, err
	}
	return append(certificatePEM(a.cert), key...), nil
}

// Certificate returns the CA's certificate. It must not be changed.
func (a *Authority) Certificate() *x509.Certificate { return a.cert }

// Cluster returns the cluster whose members it makes.
func (a *Authority) Cluster() ClusterID { return a.cluster }

// Fingerprint returns the fingerprint of the CA's certificate.
func (a *Authority) Fingerprint() Fingerprint { return FingerprintOf(a.cert) }

// String names the CA, never its key.
func (a *Authority) String() string {
	return fmt.Sprintf("CA %s of cluster %v", a.Fingerprint().Short(), a.cluster)
}

// Sign makes a certificate for the member and the key in the request (DER, from [NewRequest]), and returns it with
// the CA's (PEM): what [NewCredential] takes. Whatever else the request asks for is ignored: the caller decides who its owner is.
// A life of 0 is [MemberLife]; a certificate never outlives its CA.
func (a *Authority) Sign(request []byte, m Member, now time.Time, life time.Duration) ([]byte, error) {
	if m.Cluster != a.cluster {
		return nil, fmt.Errorf("sign certificate of %v: it is of cluster %v, the CA of %v", m, m.Cluster, a.cluster)
	}
	if err := m.check(); err != nil {
		return nil, fmt.Errorf("sign certificate: %w", err)
	}
	if life == 0 {
		life = MemberLife
	}
	return a.sign(request, subject{m.Name, m.URI(), m.String()}, []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}, now, life)
}

// subject is for whom a certificate is.
type subject struct {
	name string
	uri  *url.URL
	who  string // for errors
}

func (a *Authority) sign(request []byte, s subject, usages []x509.ExtKeyUsage, now time.Time, life time.Duration) ([]byte, error) {
	key, err := requestKey(request)
	if err != nil {
		return nil, err
	}
	end := now.Add(life)
	if end.After(a.cert.NotAfter) {
		end = a.cert.NotAfter
	}
	if !end.After(now) {
		return nil, &Error{
			Err: ErrExpired, Why: fmt.Sprintf("sign certificate of %s: the CA expired at %s", s.who, stamp(a.cert.NotAfter)),
			Hint: "check this machine's clock; else rotate the CA",
		}
	}
	serial, err := newSerial()
	if err != nil {
		return nil, err
	}
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber:          serial,
		Subject:               pkix.Name{CommonName: s.name},
		NotBefore:             now.Add(-Backdate).UTC().Truncate(time.Second),
		NotAfter:              end.UTC().Truncate(time.Second),
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           usages,
		BasicConstraintsValid: true,
		URIs:                  []*url.URL{s.uri},
	}, a.cert, key, a.key.reveal())
	if err != nil {
		return nil, fmt.Errorf("sign certificate of %s: %w", s.who, err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("sign certificate of %s: %w", s.who, err)
	}
	return slices.Concat(certificatePEM(leaf), certificatePEM(a.cert)), nil
}

func requestKey(request []byte) (ed25519.PublicKey, error) {
	broken := func(why string) error {
		return &Error{Err: ErrBroken, Why: "certificate request: " + why}
	}
	if len(request) > maxPEM {
		return nil, broken("too large")
	}
	csr, err := x509.ParseCertificateRequest(request)
	if err != nil {
		return nil, broken(err.Error())
	}
	if err := csr.CheckSignature(); err != nil {
		return nil, broken("its sender does not have the private key")
	}
	key, ok := csr.PublicKey.(ed25519.PublicKey)
	if !ok {
		return nil, broken("want an Ed25519 key")
	}
	return key, nil
}

// checkCA complains about a certificate that cannot be a cluster's CA. It does not look at the time.
func checkCA(cert *x509.Certificate) (ClusterID, error) {
	broken := func(why string) error {
		return &Error{Err: ErrBroken, Why: fmt.Sprintf("CA certificate %s: %s", FingerprintOf(cert).Short(), why)}
	}
	if !cert.IsCA || !cert.BasicConstraintsValid || cert.KeyUsage&x509.KeyUsageCertSign == 0 {
		return ClusterID{}, broken("is not one of a CA")
	}
	if _, ok := cert.PublicKey.(ed25519.PublicKey); !ok {
		return ClusterID{}, broken("want an Ed25519 key")
	}
	if err := cert.CheckSignatureFrom(cert); err != nil {
		return ClusterID{}, broken("is not signed by itself")
	}
	cluster, err := clusterOf(cert)
	if err != nil {
		return ClusterID{}, broken(err.Error())
	}
	return cluster, nil
}

func newSerial() (*big.Int, error) {
	b := make([]byte, 16)
	if _, err := rand.Read(b); err != nil {
		return nil, fmt.Errorf("make serial number: %w", err)
	}
	b[0] = b[0]&0x7f | 0x40 // positive, and of one length
	return new(big.Int).SetBytes(b), nil
}

func stamp(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 MST") }
