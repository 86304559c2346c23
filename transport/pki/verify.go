package pki

import (
	"crypto/x509"
	"errors"
	"fmt"
	"time"
)

// VerifierOptions are the needs of a [Verifier]. All are required.
type VerifierOptions struct {
	Keychain *Keychain
	Now      func() time.Time
	// Admit says whether a peer with a good certificate is a member still: nil, or the reason why not. It is called for
	// every handshake, by any goroutine, and must answer from memory. What it refuses, it should refuse by ID and key,
	// which a renewal does not change.
	Admit func(Peer) error
}

// Verifier decides about the certificates that others present. Any goroutine may use it.
type Verifier struct {
	o VerifierOptions
}

// NewVerifier returns a verifier.
func NewVerifier(o VerifierOptions) (*Verifier, error) {
	if o.Keychain == nil || o.Now == nil || o.Admit == nil {
		return nil, errors.New("verifier without keychain, clock or admission")
	}
	return &Verifier{o}, nil
}

// Verify decides about a peer by the chain that it presented (its own certificate first). TLS has checked that the
// peer has the private key. The error is an [*Error]; the peer is returned with it when the certificate says who it is
// and a CA of the cluster vouches for that, so that a log line can name it.
func (v *Verifier) Verify(chain []*x509.Certificate) (Peer, error) {
	keys := v.o.Keychain.Load()
	p, err := verify(keys.Bundle, chain, v.o.Now())
	if p.ID != 0 { // who it is is proven, whatever the time
		if err := sameEpoch(keys.Credential.Self().Epoch, p); err != nil {
			return p, err
		}
	}
	if err != nil {
		return p, err
	}
	return p, v.admit(p)
}

// Recheck decides again about a peer that was verified before: its certificate may have expired since, its CA be
// trusted no more, the member removed.
func (v *Verifier) Recheck(p Peer) error {
	if !v.o.Keychain.Load().Bundle.Has(p.CA) {
		return untrusted(fmt.Sprintf("%v: CA %s is not trusted any more", p, p.CA.Short()))
	}
	if now := v.o.Now(); now.After(p.NotAfter) {
		return expired(p.String(), p.NotAfter, now)
	}
	return v.admit(p)
}

func (v *Verifier) admit(p Peer) error {
	err := v.o.Admit(p)
	if err == nil {
		return nil
	}
	return &Error{Err: ErrNotAdmitted, Why: fmt.Sprintf("%v: %v", p, err)}
}

// VerifyPinned decides about a member that a joining machine dials, which trusts nothing but the fingerprint in its
// token. It returns the CA, which is in the chain, as a bundle.
func VerifyPinned(pin Fingerprint, chain []*x509.Certificate, now time.Time) (Peer, *Bundle, error) {
	for _, cert := range chain[min(1, len(chain)):] {
		if !FingerprintOf(cert).Equal(pin) {
			continue
		}
		b, err := NewBundle(cert)
		if err != nil {
			return Peer{}, nil, err
		}
		p, err := verify(b, chain, now)
		return p, b, err
	}
	e := untrusted(fmt.Sprintf("the other side does not have a certificate of CA %s", pin.Short()))
	e.Hint = "the token is of another cluster, or older than a rotation of its CA, or somebody answers who is not the cluster: make a new token, check the address"
	return Peer{}, nil, e
}

// verify decides about a member, which may be at either end.
func verify(b *Bundle, chain []*x509.Certificate, now time.Time) (Peer, error) {
	return verifyAs(b, chain, now, peerOf, x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth)
}

func verifyAs(b *Bundle, chain []*x509.Certificate, now time.Time, read func(*x509.Certificate) (Peer, error), usages ...x509.ExtKeyUsage) (Peer, error) {
	if len(chain) == 0 {
		return Peer{}, untrusted("no certificate was presented")
	}
	leaf := chain[0]
	ca := b.issuer(leaf)
	if ca == nil {
		return Peer{}, untrusted(fmt.Sprintf("certificate of %q is not signed by the CA of cluster %v", clip(leaf.Subject.CommonName), b.cluster))
	}
	p, err := read(leaf)
	if err != nil {
		return Peer{}, untrusted(err.Error())
	}
	p.CA = FingerprintOf(ca)
	if p.Cluster != b.cluster { // a CA signs no others: somebody has its key
		return Peer{}, untrusted(fmt.Sprintf("certificate is of cluster %v, not of %v", p.Cluster, b.cluster))
	}
	for _, cert := range []*x509.Certificate{leaf, ca} {
		who := p.String()
		if cert == ca {
			who = "CA " + p.CA.Short()
		}
		switch {
		case now.Before(cert.NotBefore):
			return p, &Error{
				Err: ErrNotYetValid, Why: fmt.Sprintf("certificate of %s begins at %s, the clock here says %s", who, stamp(cert.NotBefore), stamp(now)),
				Hint: "check the clocks of both machines",
			}
		case now.After(cert.NotAfter):
			return p, expired(who, cert.NotAfter, now)
		}
	}
	roots := x509.NewCertPool()
	roots.AddCert(ca)
	if _, err := leaf.Verify(x509.VerifyOptions{
		Roots: roots, CurrentTime: now, KeyUsages: usages,
	}); err != nil {
		return Peer{}, untrusted(fmt.Sprintf("certificate of %v: %v", p, err))
	}
	return p, nil
}

func expired(who string, end, now time.Time) *Error {
	return &Error{
		Err: ErrExpired, Why: fmt.Sprintf("certificate of %s expired at %s, the clock here says %s", who, stamp(end), stamp(now)),
		Hint: "check the clocks of both machines; a member that was away for too long joins again with a new token",
	}
}

func untrusted(why string) *Error { return &Error{Err: ErrUntrusted, Why: why} }
