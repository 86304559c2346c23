package mux_test

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"io"
	"math/big"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/rootd/rootd/transport/mux"
	"github.com/rootd/rootd/transport/pki"
)

// TestDialMatrix: who gets in, who does not, and what each is told.
func TestDialMatrix(t *testing.T) {
	now := time.Now()
	c := newCluster(t, alice)
	server := c.member(1)
	for _, p := range mux.Protos() {
		if p != mux.Admin {
			echo(t, server, p)
		}
	}
	twin, other := newCluster(t, alice), newCluster(t, bob) // twin: the same ID, another CA
	c.remove(9)
	day := 24 * time.Hour
	for _, tc := range []struct {
		name  string
		from  *cluster
		cred  *pki.Credential
		proto mux.Proto
		want  pki.MemberID
		err   error
		text  string
	}{
		{"member, raft", c, credential(t, c.ca, 2, now, 0), mux.Raft, 1, nil, ""},
		{"member, rpc, whoever answers", c, credential(t, c.ca, 2, now, 0), mux.RPC, 0, nil, ""},
		{"member, join", c, credential(t, c.ca, 2, now, 0), mux.Join, 1, nil, ""},
		{"nobody listens", c, credential(t, c.ca, 2, now, 0), mux.Admin, 1, mux.ErrNotServed, "rootd-admin/1 is not served here"},
		{"wanted another member", c, credential(t, c.ca, 2, now, 0), mux.Raft, 5, mux.ErrWrongMember, "another member answers: member 1 (m1)"},
		{"removed", c, credential(t, c.ca, 9, now, 0), mux.Raft, 1, pki.ErrNotAdmitted, "refused: member 9 (m9): removed from the cluster"},
		{"expired", c, credential(t, c.ca, 2, now.Add(-2*day), day), mux.Raft, 1, pki.ErrExpired, "expired at"},
		{"not yet valid", c, credential(t, c.ca, 2, now.Add(2*time.Hour), 0), mux.RPC, 1, pki.ErrNotYetValid, "begins at"},
		// These trust another CA, so they refuse the server before it can refuse them.
		{"another CA of the same cluster", twin, credential(t, twin.ca, 2, now, 0), mux.Raft, 1, pki.ErrUntrusted, "not signed by the CA"},
		{"another cluster", other, credential(t, other.ca, 1, now, 0), mux.Raft, 1, pki.ErrUntrusted, "not signed by the CA"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			client := tc.from.start(tc.cred, nil)
			conn, err := client.Dial(t.Context(), tc.proto, server.Addr().String(), tc.want)
			if !errors.Is(err, tc.err) || err != nil && !strings.Contains(err.Error(), tc.text) {
				t.Fatalf("got %v, want %v with %q", err, tc.err, tc.text)
			}
			if err != nil {
				if !strings.Contains(err.Error(), server.Addr().String()) {
					t.Errorf("%q does not say who was dialed", err)
				}
				return
			}
			defer conn.Close()
			if p, ok := mux.PeerOf(conn); !ok || p.ID != 1 || p.Name != "m1" || conn.Proto() != tc.proto {
				t.Errorf("peer %v", p)
			}
			if err := pingPong(conn); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestStrangers: clients that keep to none of the rules, on all protocols.
func TestStrangers(t *testing.T) {
	c := newCluster(t, alice)
	server := c.member(1, func(o *mux.Options) { o.HandshakeTimeout = 2 * time.Second })
	for _, p := range mux.Protos() {
		echo(t, server, p)
	}
	address := server.Addr().String()
	twin := credential(t, newCA(t, alice), 2, time.Now(), 0).TLS()
	own := *twin
	own.Certificate = [][]byte{credential(t, c.ca, 2, time.Now(), 0).TLS().Certificate[0]} // a member's, which is public, with another key

	operator := *pass(t, c.ca, "ann", time.Now(), time.Hour, bundle(t, c.ca)).TLS()

	for _, tc := range []struct {
		name string
		cfg  *tls.Config
		ok   bool
		text string // of what the client sees
	}{
		{"join without certificate", &tls.Config{NextProtos: []string{string(mux.Join)}}, true, ""},
		{"raft without certificate", &tls.Config{NextProtos: []string{string(mux.Raft)}}, false, "certificate required"},
		{"rpc without certificate", &tls.Config{NextProtos: []string{string(mux.RPC)}}, false, "certificate required"},
		{"admin without certificate", &tls.Config{NextProtos: []string{string(mux.Admin)}}, false, "certificate required"},
		{"raft hidden behind join", &tls.Config{NextProtos: []string{string(mux.Raft), string(mux.Join)}}, false, "certificate required"},
		{"stranger's certificate", &tls.Config{NextProtos: []string{string(mux.Raft)}, Certificates: []tls.Certificate{*twin}}, false, "not signed by the CA"},
		{"self-signed", &tls.Config{NextProtos: []string{string(mux.Raft)}, Certificates: []tls.Certificate{selfSigned(t)}}, false, "not signed by the CA"},
		{"raft as an operator", &tls.Config{NextProtos: []string{string(mux.Raft)}, Certificates: []tls.Certificate{operator}}, false, "is not the URI of a member"},
		{"rpc as an operator", &tls.Config{NextProtos: []string{string(mux.RPC)}, Certificates: []tls.Certificate{operator}}, false, "is not the URI of a member"},
		{"rpc behind admin as an operator", &tls.Config{NextProtos: []string{string(mux.Admin), string(mux.RPC)}, Certificates: []tls.Certificate{operator}}, true, ""},
		{"a member's certificate without its key", &tls.Config{NextProtos: []string{string(mux.RPC)}, Certificates: []tls.Certificate{own}}, false, "handshake"},
		{"unknown protocol", &tls.Config{NextProtos: []string{"h2"}}, false, "no application protocol"},
		{"future protocol", &tls.Config{NextProtos: []string{"rootd-raft/2"}}, false, "no application protocol"},
		{"no protocol", &tls.Config{Certificates: []tls.Certificate{*twin}}, false, "no protocol (ALPN)"},
		{"TLS 1.2", &tls.Config{NextProtos: []string{string(mux.Join)}, MaxVersion: tls.VersionTLS12}, false, "protocol version"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			tc.cfg.InsecureSkipVerify = true
			raw, err := mux.DialTCP(t.Context(), address)
			if err != nil {
				t.Fatal(err)
			}
			defer raw.Close()
			_ = raw.SetDeadline(time.Now().Add(5 * time.Second))
			conn := tls.Client(raw, tc.cfg)
			seen, err := io.ReadAll(io.LimitReader(conn, 1)) // handshake, then the greeting
			if err == nil && len(seen) == 1 && seen[0] == byte(mux.Welcome) {
				if !tc.ok {
					t.Fatal("a stranger was let in")
				}
				return
			}
			if tc.ok {
				t.Fatalf("refused: %x %v", seen, err)
			}
			rest, _ := io.ReadAll(conn)
			said := string(rest)
			if err != nil {
				said += err.Error()
			}
			if tc.name == "a member's certificate without its key" { // the handshake itself fails, each side says it in its way
				return
			}
			if !strings.Contains(said, tc.text) {
				t.Errorf("was told %q, want %q", said, tc.text)
			}
		})
	}

	t.Run("plain TCP", func(t *testing.T) {
		raw, err := mux.DialTCP(t.Context(), address)
		if err != nil {
			t.Fatal(err)
		}
		defer raw.Close()
		_ = raw.SetDeadline(time.Now().Add(5 * time.Second))
		if _, err := raw.Write([]byte("GET / HTTP/1.1\r\nHost: x\r\n\r\n")); err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, raw) // ends
		eventually(t, func() error {
			if server.Metrics().NotTLS != 1 {
				return errors.New("not counted")
			}
			return nil
		})
	})
	t.Run("slow handshake", func(t *testing.T) {
		raw, err := mux.DialTCP(t.Context(), address)
		if err != nil {
			t.Fatal(err)
		}
		defer raw.Close()
		_ = raw.SetDeadline(time.Now().Add(10 * time.Second))
		if _, err := raw.Write([]byte{22, 3, 1, 2}); err != nil { // a record that never comes
			t.Fatal(err)
		}
		begin := time.Now()
		_, _ = io.Copy(io.Discard, raw)
		if took := time.Since(begin); took > 5*time.Second {
			t.Errorf("closed after %v", took)
		}
		eventually(t, func() error {
			if server.Metrics().Timeouts != 1 {
				return errors.New("not counted")
			}
			return nil
		})
	})
	t.Run("still serves", func(t *testing.T) {
		conn, err := c.member(3).Dial(t.Context(), mux.Raft, address, 1)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if err := pingPong(conn); err != nil {
			t.Error(err)
		}
	})
}

// TestDialStranger: a server that is not of the cluster gets nothing from the dialer.
func TestDialStranger(t *testing.T) {
	c := newCluster(t, alice)
	client := c.member(2)
	for _, cert := range []tls.Certificate{selfSigned(t), *credential(t, newCA(t, bob), 1, time.Now(), 0).TLS()} {
		ln, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{
			Certificates: []tls.Certificate{cert}, NextProtos: []string{string(mux.Raft), string(mux.Join)}, ClientAuth: tls.RequestClientCert,
		})
		if err != nil {
			t.Fatal(err)
		}
		got := make(chan int64, 2)
		go func() {
			for {
				conn, err := ln.Accept()
				if err != nil {
					return
				}
				_ = conn.SetDeadline(time.Now().Add(5 * time.Second))
				n, _ := io.Copy(io.Discard, conn)
				_ = conn.Close()
				got <- n
			}
		}()
		if _, err := client.Dial(t.Context(), mux.Raft, ln.Addr().String(), 0); !errors.Is(err, pki.ErrUntrusted) {
			t.Errorf("member: %v", err)
		}
		if _, _, err := mux.DialJoin(t.Context(), mux.DialTCP, ln.Addr().String(), c.ca.Fingerprint()); !errors.Is(err, pki.ErrUntrusted) {
			t.Errorf("joiner: %v", err)
		}
		for range 2 {
			if n := <-got; n != 0 {
				t.Errorf("%d bytes sent to a stranger", n)
			}
		}
		_ = ln.Close()
	}
}

func TestDialJoin(t *testing.T) {
	c := newCluster(t, alice)
	server := c.member(1)
	echo(t, server, mux.Join)
	conn, ca, err := mux.DialJoin(t.Context(), mux.DialTCP, server.Addr().String(), c.ca.Fingerprint())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if !ca.Has(c.ca.Fingerprint()) || ca.Cluster() != alice {
		t.Error("another CA came back")
	}
	if p, ok := conn.Peer(); !ok || p.ID != 1 {
		t.Errorf("peer %v", p)
	}
	if err := pingPong(conn); err != nil {
		t.Error(err)
	}
	if _, _, err := mux.DialJoin(t.Context(), mux.DialTCP, server.Addr().String(), newCA(t, alice).Fingerprint()); !errors.Is(err, pki.ErrUntrusted) {
		t.Errorf("wrong pin: %v", err)
	}
}

// TestDialSilent: whoever accepts and says nothing holds a dialer no longer than its context.
func TestDialSilent(t *testing.T) {
	client := newCluster(t, alice).member(2)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := client.Dial(ctx, mux.Raft, ln.Addr().String(), 1); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
	if n := client.Metrics().DialFailed; n != 1 {
		t.Errorf("%d failed dials", n)
	}
}

func selfSigned(t *testing.T) tls.Certificate {
	t.Helper()
	pub, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "rootd CA test"}, NotBefore: time.Now(), NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, pub, key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}
