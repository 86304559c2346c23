package pki

import (
	"crypto/ed25519"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"
)

// OperatorLife is how long an operator's certificate lives if nothing else is said, and OperatorLifeMax at most.
const (
	OperatorLife    = 24 * time.Hour
	OperatorLifeMax = 90 * 24 * time.Hour
)

const operatorPath = "/operator/"

// operatorURI is the name in an operator's certificate: rootd://CLUSTER/operator/NAME.
func operatorURI(c ClusterID, name string) *url.URL {
	return &url.URL{Scheme: uriScheme, Host: c.String(), Path: operatorPath + name}
}

// CheckOperatorName complains about a name that no operator may have.
func CheckOperatorName(name string) error {
	if name == "" || len(name) > maxName || strings.Trim(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-@") != "" {
		return fmt.Errorf("operator name %q: want 1 to %d letters, digits, and . _ - @", clip(name), maxName)
	}
	return nil
}

// RequestKeyHash returns the hash of the key in a certificate request (DER), once it is certain that its sender has it.
func RequestKeyHash(request []byte) (hash [32]byte, err error) {
	key, err := requestKey(request)
	if err != nil {
		return hash, err
	}
	der, err := x509.MarshalPKIXPublicKey(key)
	return sha256.Sum256(der), err
}

// SignOperator makes a certificate for an operator and the key in the request, and returns it with the CA's (PEM). It is good
// for the client's side of the admin API and for nothing else, and only as long as the log says so.
func (a *Authority) SignOperator(request []byte, name string, now time.Time, life time.Duration) ([]byte, error) {
	if err := CheckOperatorName(name); err != nil {
		return nil, err
	}
	if life <= 0 || life > OperatorLifeMax {
		return nil, fmt.Errorf("sign certificate of operator %s: a life of %s is not between 0 and %s", name, life, OperatorLifeMax)
	}
	return a.sign(request, subject{name, operatorURI(a.cluster, name), "operator " + name}, []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}, now, life)
}

// operatorOf reads what an operator's certificate says. It verifies nothing.
func operatorOf(cert *x509.Certificate) (Peer, error) {
	bad := errors.New("certificate does not name an operator, and nothing else")
	if len(cert.URIs) != 1 || len(cert.DNSNames)+len(cert.IPAddresses)+len(cert.EmailAddresses) != 0 {
		return Peer{}, bad
	}
	u := cert.URIs[0]
	name, ok := strings.CutPrefix(u.Path, operatorPath)
	cluster, err := ParseClusterID(u.Host)
	if !ok || err != nil || CheckOperatorName(name) != nil || u.String() != operatorURI(cluster, name).String() || cert.Subject.CommonName != name {
		return Peer{}, bad
	}
	p := bare(cert)
	p.Cluster, p.Operator = cluster, name
	return p, nil
}

// IsOperator reports whether a chain claims to be that of an operator.
func IsOperator(chain []*x509.Certificate) bool {
	return len(chain) > 0 && len(chain[0].URIs) == 1 && strings.HasPrefix(chain[0].URIs[0].Path, operatorPath)
}

// VerifyOperator is [Verifier.Verify] for an operator, for the admin API alone. The peer has a name, and no member's number.
func (v *Verifier) VerifyOperator(chain []*x509.Certificate) (Peer, error) {
	p, err := verifyAs(v.o.Keychain.Load().Bundle, chain, v.o.Now(), operatorOf, x509.ExtKeyUsageClientAuth)
	if err != nil {
		return p, err
	}
	return p, v.admit(p)
}

// Pass is what an operator holds: key, certificate, and the CAs by which it knows the cluster's members. Immutable.
type Pass struct {
	key    *Key
	leaf   *x509.Certificate
	bundle *Bundle
	self   Peer
}

// NewPass joins a key with the chain that [Authority.SignOperator] made for it, and the CAs of the cluster.
func NewPass(k *Key, chain []byte, cas *Bundle) (*Pass, error) {
	certs, key, err := parsePEM("operator's certificate", chain)
	if err != nil {
		return nil, err
	}
	if key != nil || len(certs) == 0 {
		return nil, &Error{Err: ErrBroken, Why: "operator's certificate: want certificates and no key"}
	}
	return newPass(k, certs[0], cas)
}

// ParsePass is the reverse of [Pass.PEM].
func ParsePass(b []byte) (*Pass, error) {
	certs, key, err := parsePEM("operator's certificate", b)
	if err != nil {
		return nil, err
	}
	if key == nil || len(certs) < 2 {
		return nil, &Error{Err: ErrBroken, Why: "operator's certificate: want a private key, its certificate and the cluster's CA", Hint: "make a new one on a member: rootctl operator create"}
	}
	cas, err := NewBundle(certs[1:]...)
	if err != nil {
		return nil, err
	}
	return newPass(&Key{newSecret(key)}, certs[0], cas)
}

func newPass(k *Key, leaf *x509.Certificate, cas *Bundle) (*Pass, error) {
	broken := func(why string) (*Pass, error) {
		return nil, &Error{Err: ErrBroken, Why: "operator's certificate: " + why, Hint: "make a new one on a member: rootctl operator create"}
	}
	self, err := operatorOf(leaf)
	if err != nil {
		return broken(err.Error())
	}
	if pub, ok := leaf.PublicKey.(ed25519.PublicKey); !ok || !pub.Equal(k.key.reveal().Public()) {
		return broken("it is for another private key")
	}
	if self.Cluster != cas.cluster {
		return broken("it is of another cluster than the CA")
	}
	return &Pass{key: k, leaf: leaf, bundle: cas, self: self}, nil
}

// PEM returns all of it: one file, which must be kept secret.
func (p *Pass) PEM() ([]byte, error) {
	b, err := p.key.PEM()
	if err != nil {
		return nil, err
	}
	return append(append(b, certificatePEM(p.leaf)...), p.bundle.PEM()...), nil
}

// Name returns the operator's name.
func (p *Pass) Name() string { return p.self.Operator }

// Cluster returns the cluster that it is for.
func (p *Pass) Cluster() ClusterID { return p.self.Cluster }

// NotAfter returns when it ends.
func (p *Pass) NotAfter() time.Time { return p.leaf.NotAfter }

// String names the owner, never the key.
func (p *Pass) String() string { return "certificate of " + p.self.String() }

// TLS returns the pass as package tls takes it.
func (p *Pass) TLS() *tls.Certificate {
	return &tls.Certificate{Certificate: [][]byte{p.leaf.Raw}, PrivateKey: p.key.key.reveal(), Leaf: p.leaf}
}

// VerifyMember decides about the member that an operator dials.
func (p *Pass) VerifyMember(chain []*x509.Certificate, now time.Time) (Peer, error) {
	if now.After(p.leaf.NotAfter) {
		e := expired(p.self.String(), p.leaf.NotAfter, now)
		e.Hint = "make a new one on a member: rootctl operator create"
		return Peer{}, e
	}
	peer, err := verify(p.bundle, chain, now)
	if e, ok := errors.AsType[*Error](err); ok && errors.Is(e, ErrUntrusted) {
		e.Hint = "is it a member of this cluster? If its CA was rotated, make a new certificate: rootctl operator create"
	}
	return peer, err
}
