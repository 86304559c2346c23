package mux_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"testing"
	"time"

	"github.com/rootd/rootd/transport/mux"
	"github.com/rootd/rootd/transport/pki"
)

// TestRemove: a removed member's connections end at once, in both directions, and it does not come back.
func TestRemove(t *testing.T) {
	c := newCluster(t, alice)
	one, two, three := c.member(1), c.member(2), c.member(3)
	for _, m := range []*member{one, two, three} {
		echo(t, m, mux.RPC)
	}
	dial := func(from, to *member) (*mux.Conn, error) {
		return from.Dial(t.Context(), mux.RPC, to.Addr().String(), to.Self().ID)
	}
	must := func(from, to *member) *mux.Conn {
		t.Helper()
		conn, err := dial(from, to)
		if err != nil {
			t.Fatal(err)
		}
		if err := pingPong(conn); err != nil {
			t.Fatal(err)
		}
		return conn
	}
	out, in, stays := must(one, two), must(two, one), must(three, one)
	defer out.Close()
	defer in.Close()
	defer stays.Close()
	c.remove(2)
	if n := one.CloseMember(2); n != 2 {
		t.Errorf("%d connections closed", n)
	}
	for name, conn := range map[string]net.Conn{"dialed": out, "accepted": in} {
		if err := pingPong(conn); err == nil {
			t.Errorf("%s connection works", name)
		}
	}
	if err := pingPong(stays); err != nil {
		t.Errorf("another member's connection: %v", err)
	}
	if _, err := dial(two, one); !errors.Is(err, pki.ErrNotAdmitted) {
		t.Errorf("removed member dials: %v", err)
	}
	if _, err := dial(one, two); !errors.Is(err, pki.ErrNotAdmitted) {
		t.Errorf("removed member is dialed: %v", err)
	}
	eventually(t, func() error { // what was refused is being closed still
		if s := one.Metrics(); s.Cut != 2 || s.RefusedNotAdmitted != 1 || s.DialFailed != 1 || s.Open[mux.RPC] != 1 {
			return fmt.Errorf("%+v", s)
		}
		return nil
	})
}

// TestRotation: keys are swapped under live connections; Recheck ends those that rest on what is not trusted any more.
func TestRotation(t *testing.T) {
	c := newCluster(t, alice)
	one, two := c.member(1), c.member(2)
	echo(t, one, mux.RPC)
	dial := func() *mux.Conn {
		t.Helper()
		conn, err := two.Dial(t.Context(), mux.RPC, one.Addr().String(), 1)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		if err := pingPong(conn); err != nil {
			t.Fatal(err)
		}
		return conn
	}
	next := newCA(t, alice)
	both, only := bundle(t, c.ca, next), bundle(t, next)
	swap := func(m *member, k pki.Keys) {
		t.Helper()
		if err := m.keys.Swap(k); err != nil {
			t.Fatal(err)
		}
		dial()
	}
	old := dial()
	for _, m := range []*member{one, two} {
		swap(m, pki.Keys{Credential: m.keys.Load().Credential, Bundle: both})
	}
	for _, m := range []*member{one, two} {
		swap(m, pki.Keys{Credential: credential(t, next, m.Self().ID, time.Now(), 0), Bundle: both})
	}
	fresh := dial()
	if p, _ := fresh.Peer(); p.CA != next.Fingerprint() {
		t.Error("new connection, old certificate")
	}
	if n := one.Recheck() + two.Recheck(); n != 0 {
		t.Errorf("%d connections closed while both CAs are trusted", n)
	}
	if err := pingPong(old); err != nil {
		t.Errorf("old connection: %v", err)
	}
	for _, m := range []*member{one, two} {
		swap(m, pki.Keys{Credential: m.keys.Load().Credential, Bundle: only})
	}
	if one.Recheck() == 0 {
		t.Error("nothing closed")
	}
	if err := pingPong(old); err == nil {
		t.Error("a connection of the old CA works")
	}
	if err := pingPong(fresh); err != nil {
		t.Errorf("fresh connection: %v", err)
	}
}

// TestLimits: silent connections use up what a source may have, and no more.
func TestLimits(t *testing.T) {
	c := newCluster(t, alice)
	server := c.member(1, func(o *mux.Options) {
		o.MaxHandshakesPerSource, o.MaxGuestsPerSource, o.HandshakeTimeout = 3, 2, time.Minute
	})
	echo(t, server, mux.Join)
	address := server.Addr().String()
	var silent []net.Conn
	for range 3 {
		conn, err := mux.DialTCP(t.Context(), address)
		if err != nil {
			t.Fatal(err)
		}
		silent = append(silent, conn)
	}
	idle := func(want int) {
		t.Helper()
		eventually(t, func() error {
			if n := server.Metrics().Handshakes; n != want {
				return fmt.Errorf("%d handshakes", n)
			}
			return nil
		})
	}
	idle(3)
	join := func() (*mux.Conn, error) {
		conn, _, err := mux.DialJoin(t.Context(), mux.DialTCP, address, c.ca.Fingerprint())
		return conn, err
	}
	if _, err := join(); err == nil {
		t.Error("a fourth handshake of one source")
	}
	if n := server.Metrics().RefusedBusy; n != 1 {
		t.Errorf("%d refused", n)
	}
	for _, conn := range silent {
		_ = conn.Close()
	}
	idle(0)
	var guests []*mux.Conn
	for range 2 {
		conn, err := join()
		if err != nil {
			t.Fatal(err)
		}
		guests = append(guests, conn)
	}
	if _, err := join(); !errors.Is(err, mux.ErrBusy) {
		t.Errorf("third guest of one source: %v", err)
	}
	_ = guests[0].Close()
	eventually(t, func() error {
		conn, err := join()
		if err == nil {
			_ = conn.Close()
		}
		return err
	})
	_ = guests[1].Close()
	eventually(t, func() error {
		if s := server.Metrics(); s.Guests != 0 || s.Open[mux.Join] != 0 || s.Handshakes != 0 {
			return fmt.Errorf("%+v", s)
		}
		return nil
	})
}

// TestStop: Run leaves nothing open, and a mux that has stopped says so.
func TestStop(t *testing.T) {
	c := newCluster(t, alice)
	one, two := c.member(1), c.member(2)
	ln, err := one.Listen(mux.Raft)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := one.Listen(mux.Raft); err == nil {
		t.Error("two listeners of one protocol")
	}
	if _, err := one.Listen("h2"); err == nil {
		t.Error("listener of an unknown protocol")
	}
	conn, err := two.Dial(t.Context(), mux.Raft, one.Addr().String(), 1) // nobody accepts it
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	one.stop()
	if _, err := ln.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("accept: %v", err)
	}
	if err := pingPong(conn); err == nil {
		t.Error("connection works")
	}
	if _, err := one.Dial(t.Context(), mux.Raft, two.Addr().String(), 2); !errors.Is(err, mux.ErrClosed) {
		t.Errorf("dial: %v", err)
	}
	if _, err := two.Dial(t.Context(), mux.Raft, one.Addr().String(), 1); err == nil {
		t.Error("a stopped mux answers")
	}
}

// TestListenerCloses: what waits to be accepted ends with the listener, and the protocol is refused.
func TestListenerCloses(t *testing.T) {
	c := newCluster(t, alice)
	one, two := c.member(1), c.member(2)
	ln, err := one.Listen(mux.Raft)
	if err != nil {
		t.Fatal(err)
	}
	conn, err := two.Dial(t.Context(), mux.Raft, one.Addr().String(), 1)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	eventually(t, func() error { // the greeting comes before the connection is in the queue
		if one.Metrics().Served[mux.Raft] == 0 {
			return errors.New("not served")
		}
		return nil
	})
	_ = ln.Close()
	if err := pingPong(conn); err == nil {
		t.Error("connection works")
	}
	if _, err := two.Dial(t.Context(), mux.Raft, one.Addr().String(), 1); !errors.Is(err, mux.ErrNotServed) {
		t.Errorf("dial: %v", err)
	}
	echo(t, one, mux.Raft)
	again, err := two.Dial(t.Context(), mux.Raft, one.Addr().String(), 1)
	if err != nil {
		t.Fatal(err)
	}
	_ = again.Close()
}

// BenchmarkDial measures a connection from SYN to greeting, both ends on this machine.
func BenchmarkDial(b *testing.B) {
	c := newCluster(b, alice)
	one, two := c.member(1), c.member(2)
	echo(b, one, mux.RPC)
	for b.Loop() {
		conn, err := two.Dial(context.Background(), mux.RPC, one.Addr().String(), 1)
		if err != nil {
			b.Fatal(err)
		}
		_ = conn.Close()
	}
}

// TestRemoveWhileDialing: whatever a member does at the moment of its removal, none of its connections outlives it.
func TestRemoveWhileDialing(t *testing.T) {
	for id := pki.MemberID(2); id < 12; id++ {
		c := newCluster(t, alice)
		one, two := c.member(1), c.member(id)
		echo(t, one, mux.RPC)
		refused := make(chan struct{})
		for range 4 {
			go func() {
				defer func() { refused <- struct{}{} }()
				for {
					conn, err := two.Dial(t.Context(), mux.RPC, one.Addr().String(), 1) // never closed by us
					if err != nil {
						return
					}
					_ = conn
				}
			}()
		}
		eventually(t, func() error {
			if one.Metrics().Served[mux.RPC] < uint64(id) {
				return errors.New("not yet")
			}
			return nil
		})
		c.remove(id)
		one.CloseMember(id)
		for range 4 {
			<-refused
		}
		eventually(t, func() error {
			if s := one.Metrics(); s.Open[mux.RPC] != 0 || s.Handshakes != 0 {
				return fmt.Errorf("%+v", s)
			}
			return nil
		})
		one.stop()
		two.stop()
	}
}
