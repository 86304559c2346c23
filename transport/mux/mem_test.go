package mux_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rootd/rootd/transport/mux"
	"github.com/rootd/rootd/transport/pki"
)

var hostA, hostB = netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("10.0.0.2")

// TestVirtual: TLS, greeting and all in virtual time, over a link of 100 ms each way.
func TestVirtual(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := mux.NewNetwork()
		n.SetDelay(func(_, _ netip.Addr) time.Duration { return 100 * time.Millisecond })
		c := newCluster(t, alice)
		start := func(id pki.MemberID, at netip.Addr, life time.Duration) *member {
			ln, err := n.Host(at).Listen(9995)
			if err != nil {
				t.Fatal(err)
			}
			return c.start(credential(t, c.ca, id, time.Now(), life), ln, func(o *mux.Options) { o.Dial = n.Host(at).Dial })
		}
		one, two := start(1, hostA, 0), start(2, hostB, 24*time.Hour)
		echo(t, one, mux.RPC)
		begin := time.Now()
		conn, err := two.Dial(t.Context(), mux.RPC, one.Addr().String(), 1)
		if err != nil {
			t.Fatal(err)
		}
		if took := time.Since(begin); took != 600*time.Millisecond { // TCP, TLS, greeting: a round trip each
			t.Errorf("dialed in %v", took)
		}
		begin = time.Now()
		if err := pingPong(conn); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(begin); took != 200*time.Millisecond {
			t.Errorf("round trip of %v", took)
		}

		// A deadline passes while nothing comes.
		_ = conn.SetReadDeadline(time.Now().Add(time.Second))
		if _, err := conn.Read(make([]byte, 1)); !isTimeout(err) {
			t.Errorf("read: %v", err)
		}
		_ = conn.SetDeadline(time.Time{})

		// The certificate of member 2 expires: within a minute its connection is gone, and it cannot come back.
		time.Sleep(24 * time.Hour)
		if _, err := conn.Read(make([]byte, 1)); err == nil {
			t.Error("connection outlives its certificate")
		}
		if _, err := two.Dial(t.Context(), mux.RPC, one.Addr().String(), 1); !errors.Is(err, pki.ErrExpired) {
			t.Errorf("dial: %v", err)
		}
		_ = conn.Close()

		// A client that says nothing is cut off after the handshake timeout.
		raw, err := n.Host(hostB).Dial(t.Context(), one.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		begin = time.Now()
		_, _ = io.Copy(io.Discard, raw)
		if took := time.Since(begin); took < 9*time.Second || took > 11*time.Second {
			t.Errorf("cut off after %v", took)
		}
		_ = raw.Close()
		one.stop()
		two.stop()
	})
}

func isTimeout(err error) bool {
	e, ok := errors.AsType[net.Error](err)
	return ok && e.Timeout()
}

// pair returns both ends of a plain connection from host B to host A.
func pair(t *testing.T, n *mux.Network) (b, a net.Conn) {
	t.Helper()
	ln, err := n.Host(hostA).Listen(0)
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	if b, err = n.Host(hostB).Dial(t.Context(), ln.Addr().String()); err != nil {
		t.Fatal(err)
	}
	if a, err = ln.Accept(); err != nil {
		t.Fatal(err)
	}
	return b, a
}

func TestNetwork(t *testing.T) {
	run := func(name string, f func(t *testing.T, n *mux.Network)) {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { f(t, mux.NewNetwork()) })
		})
	}
	run("order and end", func(t *testing.T, n *mux.Network) {
		delay := 500 * time.Millisecond
		n.SetDelay(func(_, _ netip.Addr) time.Duration { delay -= time.Millisecond; return delay }) // later is faster
		b, a := pair(t, n)
		var want []byte
		for i := range 100 {
			part := bytes.Repeat([]byte{byte(i)}, i)
			want = append(want, part...)
			if _, err := b.Write(part); err != nil {
				t.Fatal(err)
			}
		}
		_ = b.Close()
		if got, err := io.ReadAll(a); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%d bytes, %v", len(got), err)
		}
		if _, err := a.Write([]byte("x")); !errors.Is(err, syscall.EPIPE) {
			t.Errorf("write to a closed end: %v", err)
		}
		if _, err := b.Read(want); !errors.Is(err, net.ErrClosed) {
			t.Errorf("read of a closed end: %v", err)
		}
		_ = a.Close()
	})
	run("a writer waits for a slow reader", func(t *testing.T, n *mux.Network) {
		b, a := pair(t, n)
		_ = b.SetWriteDeadline(time.Now().Add(time.Second))
		sent, err := b.Write(make([]byte, 1<<20))
		if !isTimeout(err) || sent != 256<<10 {
			t.Errorf("%d bytes, %v", sent, err)
		}
		_ = b.SetWriteDeadline(time.Time{})
		go func() {
			_, _ = b.Write(make([]byte, 1<<20))
			_ = b.Close()
		}()
		if got, err := io.ReadAll(a); err != nil || len(got) != sent+1<<20 {
			t.Errorf("%d bytes, %v", len(got), err)
		}
		_ = a.Close()
	})
	run("a short cut only delays", func(t *testing.T, n *mux.Network) {
		b, a := pair(t, n)
		n.Cut(hostB, hostA)
		begin := time.Now()
		time.AfterFunc(10*time.Second, func() { n.Heal(hostB, hostA) })
		if _, err := b.Write([]byte("late")); err != nil {
			t.Fatal(err)
		}
		_ = b.Close()
		got, err := io.ReadAll(a)
		if err != nil || string(got) != "late" || time.Since(begin) != 10*time.Second {
			t.Errorf("%q, %v after %v", got, err, time.Since(begin))
		}
		_ = a.Close()
		time.Sleep(time.Minute) // the cut's timeout passes without effect
	})
	run("a long one breaks both ends", func(t *testing.T, n *mux.Network) {
		b, a := pair(t, n)
		begin := time.Now()
		n.Cut(hostB, hostA)
		for _, c := range []net.Conn{a, b} {
			if _, err := c.Read(make([]byte, 1)); !errors.Is(err, syscall.ETIMEDOUT) || time.Since(begin) != 15*time.Second {
				t.Errorf("%v after %v", err, time.Since(begin))
			}
			_ = c.Close()
		}
	})
	run("dial", func(t *testing.T, n *mux.Network) {
		if _, err := n.Host(hostB).Dial(t.Context(), "10.0.0.1:1"); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("nobody listens: %v", err)
		}
		ln, err := n.Host(hostA).Listen(7)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := n.Host(hostA).Listen(7); !errors.Is(err, syscall.EADDRINUSE) {
			t.Errorf("listen twice: %v", err)
		}
		n.Cut(hostA, hostB)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := n.Host(hostB).Dial(ctx, "10.0.0.1:7"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("dial into a cut: %v", err)
		}
		time.AfterFunc(time.Minute, func() { n.Heal(hostA, hostB) })
		c, err := n.Host(hostB).Dial(t.Context(), "10.0.0.1:7")
		if err != nil {
			t.Fatalf("dial until healed: %v", err)
		}
		_ = ln.Close() // nobody has accepted it
		if _, err := c.Read(make([]byte, 1)); err == nil {
			t.Error("connection works")
		}
		_ = c.Close()
	})
}

// TestReset: who dies takes ports and connections along, and what comes after it on that host is not disturbed by it.
func TestReset(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := mux.NewNetwork()
		listen := func() net.Listener {
			ln, err := n.Host(hostA).Listen(9995)
			if err != nil {
				t.Fatal(err)
			}
			return ln
		}
		old := listen()
		c, err := n.Host(hostB).Dial(t.Context(), old.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		d, err := old.Accept()
		if err != nil {
			t.Fatal(err)
		}
		n.Reset(hostA)
		if _, err := old.Accept(); !errors.Is(err, net.ErrClosed) {
			t.Errorf("accept: %v", err)
		}
		for _, end := range []net.Conn{c, d} {
			if _, err := end.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
				t.Errorf("read: %v", err)
			}
		}
		again := listen()
		if err := old.Close(); err != nil {
			t.Error(err)
		}
		if _, err := n.Host(hostB).Dial(t.Context(), again.Addr().String()); err != nil {
			t.Error(err)
		}
	})
}
