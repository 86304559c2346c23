package pki_test

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/rootd/rootd/transport/pki"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestRenewer: a virtual year with a signer that is away for a week now and then; the certificate never expires.
func TestRenewer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ca := authority(t, alice, time.Now())
		b := bundle(t, ca)
		keys := keychain(t, pki.Keys{Credential: credential(t, ca, 3, time.Now(), 0), Bundle: b})
		first := keys.Load().Credential.Self()
		begin := time.Now()
		away := func() bool { return time.Since(begin)/(7*24*time.Hour)%4 == 2 } // the third week of four
		var asked, refused, saved int
		r, err := pki.NewRenewer(pki.RenewerOptions{
			Keychain: keys,
			Ask: func(_ context.Context, csr []byte) ([]byte, *pki.Bundle, error) {
				asked++
				if away() {
					refused++
					return nil, nil, errors.New("no leader")
				}
				chain, err := ca.Sign(csr, pki.Member{Cluster: alice, ID: 3, Name: "m3"}, time.Now(), 0)
				return chain, b, err
			},
			Save:   func(pki.Keys) error { saved++; return nil },
			Logger: slog.New(slog.DiscardHandler),
		})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- r.Run(ctx) }()
		for range 365 {
			time.Sleep(24 * time.Hour)
			if left := time.Until(keys.Load().Credential.Self().NotAfter); left < 24*time.Hour {
				t.Fatalf("%v left", left)
			}
		}
		if saved < 12 || saved > 20 || refused == 0 || refused > 1500 {
			t.Errorf("saved %d, asked %d, refused %d", saved, asked, refused)
		}
		last := keys.Load().Credential.Self()
		if last.KeyHash != first.KeyHash || last.Serial == first.Serial {
			t.Error("renewal must keep the key and change the serial")
		}

		// A new CA: renewed on request.
		for away() {
			time.Sleep(time.Hour)
		}
		next := authority(t, alice, time.Now())
		if b, err = b.With(next.Certificate()); err != nil {
			t.Fatal(err)
		}
		ca = next
		r.Renew()
		synctest.Wait()
		if got := keys.Load().Credential.Self().CA; got != next.Fingerprint() {
			t.Error("not renewed by the new CA")
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// TestRenewerRefuses: what comes back is not trusted blindly; the old keys stay.
func TestRenewerRefuses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ca, stranger := authority(t, alice, time.Now()), authority(t, alice, time.Now())
		keys := keychain(t, pki.Keys{Credential: credential(t, ca, 3, time.Now(), 0), Bundle: bundle(t, ca)})
		before := keys.Load().Credential
		sign := func(a *pki.Authority, id pki.MemberID, csr []byte) []byte {
			chain, err := a.Sign(csr, pki.Member{Cluster: alice, ID: id, Name: "m"}, time.Now(), 0)
			if err != nil {
				t.Error(err)
			}
			return chain
		}
		other, err := pki.NewKey()
		if err != nil {
			t.Fatal(err)
		}
		otherCSR, err := pki.NewRequest(other)
		if err != nil {
			t.Fatal(err)
		}
		answers := []func(csr []byte) ([]byte, *pki.Bundle){
			func(csr []byte) ([]byte, *pki.Bundle) { return sign(ca, 4, csr), bundle(t, ca) },       // another member
			func(csr []byte) ([]byte, *pki.Bundle) { return sign(stranger, 3, csr), bundle(t, ca) }, // a CA that is not in the bundle
			func([]byte) ([]byte, *pki.Bundle) { return sign(ca, 3, otherCSR), bundle(t, ca) },      // another key
			func([]byte) ([]byte, *pki.Bundle) { return []byte("x"), bundle(t, ca) },
			func(csr []byte) ([]byte, *pki.Bundle) { return sign(ca, 3, csr), nil },
		}
		n := 0
		r, err := pki.NewRenewer(pki.RenewerOptions{
			Keychain: keys,
			Ask: func(_ context.Context, csr []byte) ([]byte, *pki.Bundle, error) {
				chain, b := answers[n](csr)
				n++
				return chain, b, nil
			},
			Save:   func(pki.Keys) error { t.Error("saved"); return nil },
			Logger: slog.New(slog.DiscardHandler),
		})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- r.Run(ctx) }()
		for range answers {
			r.Renew()
			synctest.Wait()
		}
		if n != len(answers) || keys.Load().Credential != before {
			t.Errorf("%d answers, or other keys", n)
		}
		cancel()
		<-done
	})
}
