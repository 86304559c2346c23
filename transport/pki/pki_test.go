package pki_test

import (
	"bytes"
	"crypto/x509"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/rootd/rootd/transport/pki"
)

var (
	start = time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	alice = pki.ClusterID{0xa1, 1, 2, 3}
	bob   = pki.ClusterID{0xb0, 1, 2, 3}
)

func authority(t testing.TB, c pki.ClusterID, now time.Time) *pki.Authority {
	t.Helper()
	a, err := pki.NewAuthority(c, "alice", now)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func credential(t testing.TB, a *pki.Authority, id pki.MemberID, now time.Time, life time.Duration) *pki.Credential {
	t.Helper()
	k, err := pki.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	return reissue(t, a, k, id, now, life)
}

func reissue(t testing.TB, a *pki.Authority, k *pki.Key, id pki.MemberID, now time.Time, life time.Duration) *pki.Credential {
	t.Helper()
	csr, err := pki.NewRequest(k)
	if err != nil {
		t.Fatal(err)
	}
	chain, err := a.Sign(csr, pki.Member{Cluster: a.Cluster(), ID: id, Name: fmt.Sprintf("m%d", id)}, now, life)
	if err != nil {
		t.Fatal(err)
	}
	c, err := pki.NewCredential(k, chain)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func bundle(t testing.TB, as ...*pki.Authority) *pki.Bundle {
	t.Helper()
	var cas []*x509.Certificate
	for _, a := range as {
		cas = append(cas, a.Certificate())
	}
	b, err := pki.NewBundle(cas...)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func keychain(t testing.TB, k pki.Keys) *pki.Keychain {
	t.Helper()
	c, err := pki.NewKeychain(k)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func chain(t testing.TB, c *pki.Credential) []*x509.Certificate {
	t.Helper()
	var out []*x509.Certificate
	for _, der := range c.TLS().Certificate {
		cert, err := x509.ParseCertificate(der)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, cert)
	}
	return out
}

func TestVerify(t *testing.T) {
	t.Parallel()
	ca, stranger, other := authority(t, alice, start), authority(t, alice, start), authority(t, bob, start)
	self := credential(t, ca, 1, start, 0)
	good := credential(t, ca, 3, start, 0)
	day := 24 * time.Hour
	for _, tc := range []struct {
		name  string
		chain []*x509.Certificate
		at    time.Time
		want  error
		text  string
	}{
		{"good", chain(t, good), start, nil, ""},
		{"clock behind the signer's", chain(t, good), start.Add(-pki.Backdate), nil, ""},
		{"clock further behind", chain(t, good), start.Add(-pki.Backdate - time.Second), pki.ErrNotYetValid, "begins at 2026-05-01 11:00:00 UTC, the clock here says 2026-05-01 10:59:59 UTC"},
		{"last second", chain(t, good), start.Add(pki.MemberLife), nil, ""},
		{"expired", chain(t, good), start.Add(pki.MemberLife + time.Second), pki.ErrExpired, "certificate of member 3 (m3) expired at 2026-05-31"},
		{"short life", chain(t, credential(t, ca, 3, start, day)), start.Add(2 * day), pki.ErrExpired, "expired"},
		{"CA expired", chain(t, good), start.Add(11 * 365 * day), pki.ErrExpired, "expired"},
		{"nothing", nil, start, pki.ErrUntrusted, "no certificate"},
		{"another CA for the same cluster", chain(t, credential(t, stranger, 3, start, 0)), start, pki.ErrUntrusted, "not signed by the CA of cluster a1010203"},
		{"another cluster", chain(t, credential(t, other, 3, start, 0)), start, pki.ErrUntrusted, "not signed"},
		{"the CA itself", []*x509.Certificate{ca.Certificate()}, start, pki.ErrUntrusted, "not the URI of a member"},
		{"removed", chain(t, credential(t, ca, 9, start, 0)), start, pki.ErrNotAdmitted, "member 9 (m9): removed from the cluster"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			v, err := pki.NewVerifier(pki.VerifierOptions{
				Keychain: keychain(t, pki.Keys{Credential: self, Bundle: bundle(t, ca)}),
				Now:      func() time.Time { return tc.at },
				Admit: func(p pki.Peer) error {
					if p.ID == 9 {
						return errors.New("removed from the cluster")
					}
					return nil
				},
			})
			if err != nil {
				t.Fatal(err)
			}
			p, err := v.Verify(tc.chain)
			if !errors.Is(err, tc.want) {
				t.Fatalf("got %v, want %v", err, tc.want)
			}
			if err != nil {
				if !strings.Contains(err.Error(), tc.text) {
					t.Fatalf("got %q, want %q in it", err, tc.text)
				}
				return
			}
			if p.ID != 3 || p.Name != "m3" || p.Cluster != alice || p.CA != ca.Fingerprint() || p.KeyHash != good.Self().KeyHash {
				t.Fatalf("peer is %+v", p)
			}
			if err := v.Recheck(p); err != nil {
				t.Fatalf("recheck: %v", err)
			}
		})
	}
}

func TestPin(t *testing.T) {
	t.Parallel()
	ca, other := authority(t, alice, start), authority(t, alice, start)
	c := credential(t, ca, 1, start, 0)
	p, b, err := pki.VerifyPinned(ca.Fingerprint(), chain(t, c), start)
	if err != nil || p.ID != 1 || b.Cluster() != alice {
		t.Fatalf("got %v %v %v", p, b, err)
	}
	if _, _, err := pki.VerifyPinned(other.Fingerprint(), chain(t, c), start); !errors.Is(err, pki.ErrUntrusted) {
		t.Fatalf("other pin: %v", err)
	}
	// A man in the middle shows the right CA, public as it is, behind a certificate of his own.
	forged := []*x509.Certificate{chain(t, credential(t, other, 1, start, 0))[0], ca.Certificate()}
	if _, _, err := pki.VerifyPinned(ca.Fingerprint(), forged, start); !errors.Is(err, pki.ErrUntrusted) {
		t.Fatalf("forged chain: %v", err)
	}
	if _, _, err := pki.VerifyPinned(ca.Fingerprint(), []*x509.Certificate{ca.Certificate()}, start); !errors.Is(err, pki.ErrUntrusted) {
		t.Fatalf("CA as leaf: %v", err)
	}
	if _, _, err := pki.VerifyPinned(ca.Fingerprint(), nil, start); !errors.Is(err, pki.ErrUntrusted) {
		t.Fatalf("no chain: %v", err)
	}
}

func TestSignRefuses(t *testing.T) {
	t.Parallel()
	ca := authority(t, alice, start)
	k, err := pki.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	csr, err := pki.NewRequest(k)
	if err != nil {
		t.Fatal(err)
	}
	good := pki.Member{Cluster: alice, ID: 2, Name: "m2"}
	bent := bytes.Clone(csr)
	bent[len(bent)-1] ^= 1
	for name, tc := range map[string]struct {
		csr []byte
		m   pki.Member
		at  time.Time
	}{
		"other cluster": {csr, pki.Member{Cluster: bob, ID: 2, Name: "m2"}, start},
		"no ID":         {csr, pki.Member{Cluster: alice, Name: "m2"}, start},
		"no name":       {csr, pki.Member{Cluster: alice, ID: 2}, start},
		"space in name": {csr, pki.Member{Cluster: alice, ID: 2, Name: "a b"}, start},
		"long name":     {csr, pki.Member{Cluster: alice, ID: 2, Name: strings.Repeat("x", 65)}, start},
		"not signed":    {bent, good, start},
		"garbage":       {[]byte("hello"), good, start},
		"CA expired":    {csr, good, start.Add(pki.AuthorityLife + time.Hour)},
	} {
		if chain, err := ca.Sign(tc.csr, tc.m, tc.at, 0); err == nil {
			t.Errorf("%s: signed: %s", name, chain)
		}
	}
	chain, err := ca.Sign(csr, good, start.Add(pki.AuthorityLife-time.Hour), 0)
	if err != nil {
		t.Fatal(err)
	}
	c, err := pki.NewCredential(k, chain)
	if err != nil {
		t.Fatal(err)
	}
	if end := c.Self().NotAfter; end.After(ca.Certificate().NotAfter) {
		t.Errorf("certificate outlives its CA: %v", end)
	}
}

func TestRotation(t *testing.T) {
	t.Parallel()
	before, after := authority(t, alice, start), authority(t, alice, start)
	key, err := pki.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	a, b := reissue(t, before, key, 1, start, 0), credential(t, before, 2, start, 0)
	admit := func(pki.Peer) error { return nil }
	verifier := func(k *pki.Keychain) *pki.Verifier {
		v, err := pki.NewVerifier(pki.VerifierOptions{Keychain: k, Now: func() time.Time { return start }, Admit: admit})
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	ka, kb := keychain(t, pki.Keys{Credential: a, Bundle: bundle(t, before)}), keychain(t, pki.Keys{Credential: b, Bundle: bundle(t, before)})
	va, vb := verifier(ka), verifier(kb)
	meet := func(step string) {
		t.Helper()
		if _, err := va.Verify(chain(t, kb.Load().Credential)); err != nil {
			t.Fatalf("%s: 1 refuses 2: %v", step, err)
		}
		if _, err := vb.Verify(chain(t, ka.Load().Credential)); err != nil {
			t.Fatalf("%s: 2 refuses 1: %v", step, err)
		}
	}
	swap := func(k *pki.Keychain, keys pki.Keys) {
		t.Helper()
		if err := k.Swap(keys); err != nil {
			t.Fatal(err)
		}
		meet("between two steps")
	}
	meet("before")
	both, err := ka.Load().Bundle.With(after.Certificate())
	if err != nil {
		t.Fatal(err)
	}
	old, err := va.Verify(chain(t, b))
	if err != nil {
		t.Fatal(err)
	}
	if err := ka.Swap(pki.Keys{Credential: reissue(t, after, key, 1, start, 0), Bundle: bundle(t, before)}); !errors.Is(err, pki.ErrUntrusted) {
		t.Fatalf("took a certificate of an unknown CA: %v", err)
	}
	swap(ka, pki.Keys{Credential: a, Bundle: both})
	swap(kb, pki.Keys{Credential: b, Bundle: both})
	a2, b2 := reissue(t, after, key, 1, start, 0), credential(t, after, 2, start, 0)
	swap(ka, pki.Keys{Credential: a2, Bundle: both})
	swap(kb, pki.Keys{Credential: b2, Bundle: both})
	if a2.Self().KeyHash != a.Self().KeyHash || a2.Self().Serial == a.Self().Serial {
		t.Error("renewal must keep the key and change the serial")
	}
	only, err := both.Without(before.Fingerprint())
	if err != nil {
		t.Fatal(err)
	}
	swap(ka, pki.Keys{Credential: a2, Bundle: only})
	swap(kb, pki.Keys{Credential: b2, Bundle: only})
	if err := va.Recheck(old); !errors.Is(err, pki.ErrUntrusted) {
		t.Errorf("peer of the old CA is still good: %v", err)
	}
	if _, err := only.Without(after.Fingerprint()); err == nil {
		t.Error("last CA removed")
	}
	if _, err := only.With(authority(t, bob, start).Certificate()); err == nil {
		t.Error("bundle of two clusters")
	}
}
