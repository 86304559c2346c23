package pki_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/rootd/rootd/transport/pki"
)

func newPass(t testing.TB, ca *pki.Authority, name string) (*pki.Pass, []byte) {
	t.Helper()
	k, err := pki.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	csr, err := pki.NewRequest(k)
	if err != nil {
		t.Fatal(err)
	}
	chain, err := ca.SignOperator(csr, name, time.Now(), time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	cas, err := pki.NewBundle(ca.Certificate())
	if err != nil {
		t.Fatal(err)
	}
	p, err := pki.NewPass(k, chain, cas)
	if err != nil {
		t.Fatal(err)
	}
	b, err := p.PEM()
	if err != nil {
		t.Fatal(err)
	}
	return p, b
}

func TestPass(t *testing.T) {
	ca, err := pki.NewAuthority(pki.ClusterID{1}, "test", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	p, b := newPass(t, ca, "ann@example")
	again, err := pki.ParsePass(b)
	if err != nil {
		t.Fatal(err)
	}
	text, err := again.PEM()
	if err != nil || !bytes.Equal(text, b) || again.Name() != "ann@example" || again.Cluster() != ca.Cluster() || !again.NotAfter().Equal(p.NotAfter()) {
		t.Errorf("%v, %v", again, err)
	}
	if s := p.String(); s != "certificate of operator ann@example" {
		t.Error(s)
	}
	for name, damaged := range map[string][]byte{
		"empty": nil, "cut": b[:len(b)/2], "no key": b[bytes.Index(b, []byte("-----BEGIN CERT")):], "no CA": b[:bytes.LastIndex(b, []byte("-----BEGIN"))],
	} {
		if _, err := pki.ParsePass(damaged); !errors.Is(err, pki.ErrBroken) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := pki.ParseCredential(b); err == nil {
		t.Error("an operator's certificate is taken for a member's")
	}
	for _, name := range []string{"", "a b", "ä", "a/b", strings.Repeat("a", 65)} {
		if pki.CheckOperatorName(name) == nil {
			t.Errorf("name %q is good", name)
		}
	}
	csr, err := pki.NewRequest(mustKey(t))
	if err != nil {
		t.Fatal(err)
	}
	for _, life := range []time.Duration{0, -1, pki.OperatorLifeMax + 1} {
		if _, err := ca.SignOperator(csr, "ann", time.Now(), life); err == nil {
			t.Errorf("signed for %s", life)
		}
	}
}

func mustKey(t testing.TB) *pki.Key {
	t.Helper()
	k, err := pki.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// FuzzPass feeds a file that somebody may have been given.
func FuzzPass(f *testing.F) {
	ca, err := pki.NewAuthority(pki.ClusterID{1}, "test", time.Now())
	if err != nil {
		f.Fatal(err)
	}
	_, b := newPass(f, ca, "ann")
	f.Add(b)
	f.Add([]byte("-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := pki.ParsePass(b)
		if err != nil {
			return
		}
		if out, err := p.PEM(); err != nil || p.Name() == "" {
			t.Errorf("%q, %v", out, err)
		}
	})
}
