package mux_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/rootd/rootd/transport/mux"
	"github.com/rootd/rootd/transport/pki"
)

// pass makes an operator's certificate as if it were the given time; members know the CAs by cas.
func pass(t *testing.T, ca *pki.Authority, name string, at time.Time, life time.Duration, cas *pki.Bundle) *pki.Pass {
	t.Helper()
	k, err := pki.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	csr, err := pki.NewRequest(k)
	if err != nil {
		t.Fatal(err)
	}
	chain, err := ca.SignOperator(csr, name, at, life)
	if err != nil {
		t.Fatal(err)
	}
	p, err := pki.NewPass(k, chain, cas)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestOperators(t *testing.T) {
	now := time.Now()
	c := newCluster(t, alice)
	server := c.member(1)
	echo(t, server, mux.Admin)
	echo(t, server, mux.Raft)
	twin := newCluster(t, alice) // the same ID, another CA
	c.revoke("gone")
	for _, tc := range []struct {
		name string
		pass *pki.Pass
		err  error
		text string
	}{
		{"let in", pass(t, c.ca, "ann", now, time.Hour, bundle(t, c.ca)), nil, ""},
		{"revoked", pass(t, c.ca, "gone", now, time.Hour, bundle(t, c.ca)), pki.ErrNotAdmitted, "operator gone: revoked"},
		{"expired", pass(t, c.ca, "old", now.Add(-3*time.Hour), time.Hour, bundle(t, c.ca)), pki.ErrExpired, "operator old expired at"},
		{"of another CA", pass(t, twin.ca, "ann", now, time.Hour, bundle(t, c.ca)), pki.ErrUntrusted, "not signed by the CA"},
		{"that trusts another CA", pass(t, c.ca, "ann", now, time.Hour, bundle(t, twin.ca)), pki.ErrUntrusted, "not signed by the CA"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			conn, err := mux.DialAdmin(t.Context(), mux.DialTCP, server.Addr().String(), tc.pass)
			if !errors.Is(err, tc.err) || err != nil && !strings.Contains(err.Error(), tc.text) {
				t.Fatalf("got %v, want %v with %q", err, tc.err, tc.text)
			}
			if err != nil {
				return
			}
			defer conn.Close()
			if err := pingPong(conn); err != nil {
				t.Error(err)
			}
			if p, ok := conn.Peer(); !ok || p.ID != 1 {
				t.Errorf("the other side is %v", p)
			}
		})
	}
}

// An operator who is revoked while connected is cut off.
func TestOperatorRevoked(t *testing.T) {
	c := newCluster(t, alice)
	server := c.member(1)
	echo(t, server, mux.Admin)
	conn, err := mux.DialAdmin(t.Context(), mux.DialTCP, server.Addr().String(), pass(t, c.ca, "ann", time.Now(), time.Hour, bundle(t, c.ca)))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := pingPong(conn); err != nil {
		t.Fatal(err)
	}
	c.revoke("ann")
	if n := server.Recheck(); n != 1 {
		t.Errorf("%d connections cut", n)
	}
	if err := pingPong(conn); err == nil {
		t.Error("still connected")
	}
}
