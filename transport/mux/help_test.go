package mux_test

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/rootd/rootd/transport/mux"
	"github.com/rootd/rootd/transport/pki"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var alice, bob = pki.ClusterID{0xa1}, pki.ClusterID{0xb0}

// cluster makes members for tests.
type cluster struct {
	t  testing.TB
	ca *pki.Authority

	mu      sync.Mutex // guards the following
	removed map[pki.MemberID]bool
	revoked map[string]bool // operators
}

func newCluster(t testing.TB, id pki.ClusterID) *cluster {
	t.Helper()
	return &cluster{t: t, ca: newCA(t, id), removed: map[pki.MemberID]bool{}, revoked: map[string]bool{}}
}

func newCA(t testing.TB, id pki.ClusterID) *pki.Authority {
	t.Helper()
	ca, err := pki.NewAuthority(id, "test", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return ca
}

func (c *cluster) admit(p pki.Peer) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.removed[p.ID] {
		return errors.New("removed from the cluster")
	}
	if c.revoked[p.Operator] {
		return errors.New("revoked")
	}
	return nil
}

func (c *cluster) revoke(operator string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.revoked[operator] = true
}

func (c *cluster) remove(id pki.MemberID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.removed[id] = true
}

// credential signs with ca as if it were the given time.
func credential(t testing.TB, ca *pki.Authority, id pki.MemberID, at time.Time, life time.Duration) *pki.Credential {
	t.Helper()
	k, err := pki.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	csr, err := pki.NewRequest(k)
	if err != nil {
		t.Fatal(err)
	}
	chain, err := ca.Sign(csr, pki.Member{Cluster: ca.Cluster(), ID: id, Name: fmt.Sprintf("m%d", id)}, at, life)
	if err != nil {
		t.Fatal(err)
	}
	cred, err := pki.NewCredential(k, chain)
	if err != nil {
		t.Fatal(err)
	}
	return cred
}

func bundle(t testing.TB, cas ...*pki.Authority) *pki.Bundle {
	t.Helper()
	var certs []*x509.Certificate
	for _, ca := range cas {
		certs = append(certs, ca.Certificate())
	}
	b, err := pki.NewBundle(certs...)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// member is a mux that runs.
type member struct {
	*mux.Mux
	keys *pki.Keychain
	stop func()
}

type options func(*mux.Options)

// start runs a mux until the test ends, or until stop. A nil listener means one on loopback.
func (c *cluster) start(cred *pki.Credential, ln net.Listener, with ...options) *member {
	c.t.Helper()
	t := c.t
	keys, err := pki.NewKeychain(pki.Keys{Credential: cred, Bundle: bundle(t, c.ca)})
	if err != nil {
		t.Fatal(err)
	}
	v, err := pki.NewVerifier(pki.VerifierOptions{Keychain: keys, Now: time.Now, Admit: c.admit})
	if err != nil {
		t.Fatal(err)
	}
	if ln == nil {
		if ln, err = mux.ListenTCP(t.Context(), "127.0.0.1:0"); err != nil {
			t.Fatal(err)
		}
	}
	o := mux.Options{Keychain: keys, Verifier: v, Listener: ln, Dial: mux.DialTCP, Logger: slog.New(slog.DiscardHandler)}
	for _, f := range with {
		f(&o)
	}
	m, err := mux.New(o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- m.Run(ctx) }()
	stop := sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("run: %v", err)
		}
	})
	t.Cleanup(stop)
	return &member{m, keys, stop}
}

// member starts the member of that number with a fresh certificate.
func (c *cluster) member(id pki.MemberID, with ...options) *member {
	c.t.Helper()
	return c.start(credential(c.t, c.ca, id, time.Now(), 0), nil, with...)
}

// echo serves a protocol: every connection gets back what it sends.
func echo(t testing.TB, m *member, p mux.Proto) {
	t.Helper()
	ln, err := m.Listen(p)
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				b := make([]byte, 4096)
				for {
					n, err := c.Read(b)
					if err != nil {
						return
					}
					if _, err := c.Write(b[:n]); err != nil {
						return
					}
				}
			}()
		}
	}()
}

// pingPong checks that an echo answers.
func pingPong(c net.Conn) error {
	if err := c.SetDeadline(time.Now().Add(5 * time.Second)); err != nil {
		return err
	}
	if _, err := c.Write([]byte("ping")); err != nil {
		return err
	}
	b := make([]byte, 4)
	for n := 0; n < 4; {
		k, err := c.Read(b[n:])
		if err != nil {
			return err
		}
		n += k
	}
	if string(b) != "ping" {
		return fmt.Errorf("got %q", b)
	}
	return nil
}

// eventually polls until f returns nil.
func eventually(t testing.TB, f func() error) {
	t.Helper()
	var err error
	for end := time.Now().Add(5 * time.Second); time.Now().Before(end); {
		if err = f(); err == nil {
			return
		}
		<-time.After(2 * time.Millisecond)
	}
	t.Fatal(err)
}
