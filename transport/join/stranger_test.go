package join_test

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"io"
	"math/big"
	"net"
	"net/url"
	"sync"
	"testing"
	"time"

	"github.com/rootd/rootd/transport/join"
	"github.com/rootd/rootd/transport/pki"
)

// eavesdrop is a TLS server with the chain, which records every byte that a client sends it.
func eavesdrop(t *testing.T, cert tls.Certificate) (address string, heard func() []byte) {
	t.Helper()
	ln := must(net.Listen("tcp", "127.0.0.1:0"))
	var mu sync.Mutex
	var all []byte
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			raw, err := ln.Accept()
			if err != nil {
				return
			}
			c := tls.Server(raw, &tls.Config{MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{cert}, NextProtos: []string{"rootd-join/1"}})
			_ = c.SetDeadline(time.Now().Add(3 * time.Second))
			_ = c.Handshake()
			_, _ = c.Write([]byte{0}) // welcome
			one := make([]byte, 4096)
			n, _ := io.ReadAtLeast(c, one, 1)
			_ = c.Close()
			mu.Lock()
			all = append(all, one[:n]...)
			mu.Unlock()
		}
	})
	t.Cleanup(func() { _ = ln.Close(); wg.Wait() })
	return ln.Addr().String(), func() []byte {
		_ = ln.Close()
		wg.Wait()
		mu.Lock()
		defer mu.Unlock()
		return all
	}
}

// leaf makes a certificate that names a member of the cluster, signed by signer, and a chain of it and the CA given.
func leaf(signer *x509.Certificate, key ed25519.PrivateKey, cluster pki.ClusterID, chain *x509.Certificate) tls.Certificate {
	pub, own, err := ed25519.GenerateKey(nil)
	if err != nil {
		panic(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(7), Subject: pkix.Name{CommonName: "m1"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		BasicConstraintsValid: true, URIs: []*url.URL{pki.Member{Cluster: cluster, ID: 1}.URI()},
	}
	if key == nil { // by itself
		signer, key = template, own
	}
	der := must(x509.CreateCertificate(rand.Reader, template, signer, pub, key))
	return tls.Certificate{Certificate: [][]byte{der, chain.Raw}, PrivateKey: own}
}

// TestStrangersHearNothing: who is not a member of the token's cluster never gets a byte of what a machine has to say, least
// of all the secret. The last case is a member: it hears all, so the test can fail.
func TestStrangersHearNothing(t *testing.T) {
	c := newCluster(t)
	other := must(pki.NewAuthority(c.ca.Cluster(), "mallory", time.Now())) // of a cluster with the same ID, even
	k := must(pki.NewKey())
	sign := func(ca *pki.Authority, at time.Time, life time.Duration) tls.Certificate {
		chain := must(ca.Sign(must(pki.NewRequest(k)), pki.Member{Cluster: ca.Cluster(), ID: 1, Name: "m1"}, at, life))
		return *must(pki.NewCredential(k, chain)).TLS()
	}
	swapped := sign(other, time.Now(), 0)
	swapped.Certificate = [][]byte{swapped.Certificate[0], c.ca.Certificate().Raw} // the real CA's certificate is public
	for name, cert := range map[string]tls.Certificate{
		"stranger":                    sign(other, time.Now(), 0),
		"stranger with the real CA":   swapped,
		"both CAs":                    {Certificate: append(sign(other, time.Now(), 0).Certificate, c.ca.Certificate().Raw), PrivateKey: sign(other, time.Now(), 0).PrivateKey},
		"signed by itself":            leaf(nil, nil, c.ca.Cluster(), c.ca.Certificate()),
		"member that has expired":     sign(c.ca, time.Now().Add(-48*time.Hour), time.Hour),
		"member of tomorrow":          sign(c.ca, time.Now().Add(48*time.Hour), 0),
		"member (the test's control)": sign(c.ca, time.Now(), 0),
	} {
		t.Run(name, func(t *testing.T) {
			address, heard := eavesdrop(t, cert)
			tok := c.token(time.Hour, address)
			_, err := join.Join(t.Context(), options(tok))
			if err == nil {
				t.Fatal("joined")
			}
			got := heard()
			if name == "member (the test's control)" {
				if !bytes.Contains(got, []byte(`"secret":`)) {
					t.Errorf("the control heard %q", got)
				}
				return
			}
			if len(got) != 0 {
				t.Errorf("heard %d bytes: %q", len(got), got)
			}
			if got := code(err); got != join.CodeCluster && got != join.CodeClock {
				t.Errorf("%v (%s)", err, got)
			}
		})
	}
}
