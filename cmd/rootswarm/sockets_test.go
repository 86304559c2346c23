package main

import (
	"net/netip"
	"testing"
)

func TestSourcesDealEveryAddressOnce(t *testing.T) {
	for _, tc := range []struct {
		prefix string
		n      int
		nets   int // different /24 networks among the first 200
	}{
		{"127.64.0.0/10", 100_000, 200},
		{"10.1.0.0/16", 1 << 16, 200},
		{"192.0.2.0/28", 16, 1},
		{"127.0.0.5/32", 1, 1},
		{"2001:db8::/64", 100_000, 200},
		{"::1/128", 1, 1},
	} {
		s := &source{prefix: netip.MustParsePrefix(tc.prefix)}
		seen := make(map[netip.Addr]bool)
		nets := make(map[netip.Addr]bool)
		for i := range tc.n {
			a := s.deal()
			if seen[a] || !s.prefix.Contains(a) {
				t.Fatalf("%s: address %d is %v: dealt before, or outside", tc.prefix, i, a)
			}
			seen[a] = true
			if i < 200 {
				p, _ := a.Prefix(a.BitLen() - 8)
				nets[p.Addr()] = true
			}
		}
		if len(nets) < tc.nets {
			t.Errorf("%s: the first 200 addresses are in %d /24 networks, want %d", tc.prefix, len(nets), tc.nets)
		}
		if a := s.deal(); tc.n < 100_000 && !seen[a] {
			t.Errorf("%s: %v after all had their turn", tc.prefix, a)
		}
	}
}

func TestSilentSocketsAreLookedAtLess(t *testing.T) {
	var g gap
	looks := func(rounds int, any bool) (n int) {
		for range rounds {
			if g.rounds--; g.rounds <= 0 {
				n++
				g.next(any, 8)
			}
		}
		return n
	}
	if n := looks(100, true); n != 100 {
		t.Errorf("%d looks in 100 rounds at a busy socket, want all", n)
	}
	if n := looks(800, false); n < 100 || n > 110 {
		t.Errorf("%d looks in 800 rounds at a silent socket, want one of 8", n)
	}
	if n := looks(100, true); n < 92 {
		t.Errorf("%d looks in 100 rounds at a socket that woke up, want nearly all", n)
	}
}

// TestRoamedClientIsGone: what comes to the address that a client left reaches nobody.
func TestRoamedClientIsGone(t *testing.T) {
	w := newBenchSwarm(t, 4, 8)
	m := w.s.members[0]
	send := func() (received, stray uint64) {
		before := w.s.count
		w.s.current = m
		w.s.make(m)
		w.s.flushAll()
		return w.s.count.framesReceived - before.framesReceived, w.s.count.stray - before.stray
	}
	to := w.s.byAddr[m.flow.to]
	w.local = to.addr
	if got, stray := send(); got != 1 || stray != 0 {
		t.Fatalf("%d frames received, %d stray: want one and none", got, stray)
	}
	if err := w.s.act(to, action{verb: "roam"}); err != nil {
		t.Fatal(err)
	}
	if got, stray := send(); got != 0 || stray != 1 {
		t.Errorf("after the client roamed: %d frames received, %d stray: want none and one", got, stray)
	}
}
