package sim_test

import (
	"net/netip"
	"slices"
	"testing"

	"github.com/rootd/rootd/cmd/internal/client/sim"
	"github.com/rootd/rootd/packetpath/vl1"
)

// TestAncientClient: a client of protocol 4 says HELLO without worlds, knows no ECHO, keeps its NAT open with empty
// datagrams, and takes a redirect for a plain push.
func TestAncientClient(t *testing.T) {
	w := newWorld(t, setting{family: "1.0", v4only: true, noBob: true})
	empty := 0
	trace := w.Trace
	w.Trace = func(from, to netip.AddrPort, b []byte) {
		if len(b) == 0 {
			empty++
			return
		}
		trace(from, to, b)
	}
	w.seconds(600)
	if s := w.log[0]; !s.hello || s.size != 28+13+71+7 {
		t.Errorf("first it sent %+v, want a HELLO of 119 bytes", s)
	}
	if n := w.count(func(s sent) bool { return s.size == sizeEcho }); n > 0 {
		t.Errorf("%d ECHOs", n)
	}
	if n := w.count(func(s sent) bool { return s.hello }); n < 4 || n > 10 {
		t.Errorf("%d HELLOs in ten minutes, want one each two minutes", n)
	}
	if empty < 20 {
		t.Errorf("%d empty datagrams in ten minutes", empty)
	}
	m, x := w.member(w.uses()), w.others()[0]
	m.Redirect(w.session(m), 1, x.Endpoints[0])
	w.seconds(1)
	for _, p := range w.c.Paths(w.alice.ID.Address, w.Now) {
		if p.Priority != 1 {
			t.Errorf("table %s after a redirect", w.table(w.alice))
		}
	}
	if x.Session(w.id.Address) == nil {
		t.Error("no HELLO to the endpoint that was pushed")
	}
}

// TestMulticast: groups are announced to all roots at once and then each minute, and GATHER finds the other members.
func TestMulticast(t *testing.T) {
	for _, f := range all {
		w := newWorld(t, setting{family: f, v4only: true})
		g := vl1.Group{Network: 1, MAC: [6]byte{1, 0, 0x5e, 0, 0, 1}}
		w.seconds(7)
		likes := make(map[*sim.Member]int)
		for _, m := range []*sim.Member{w.a[0], w.a[1], w.a[2], w.b} {
			m.Seen = func(m *sim.Member, _ *sim.Session, p vl1.Packet) {
				if p.Verb() == vl1.VerbMulticastLike {
					likes[m]++
				}
			}
		}
		if err := w.c.Subscribe(&w.Env, g); err != nil {
			t.Fatal(err)
		}
		w.seconds(1)
		if likes[w.b] != 1 || likes[w.a[0]]+likes[w.a[1]]+likes[w.a[2]] != 1 {
			t.Errorf("%s: %v announcements at once, want one to each root", f, likes)
		}
		w.seconds(600)
		period := int(w.c.Family().LikePeriod / 1000)
		if n := likes[w.b]; n < 600/period || n > 600/period+2 {
			t.Errorf("%s: %d announcements in ten minutes, want one each %d s", f, n, period)
		}
		other := w.member("m1").Root
		other.Join(g, 0x1234567890, w.Now)
		w.bob.Join(g, 0x1234567890, w.Now)
		if !w.c.Gather(&w.Env, g, 32) {
			t.Errorf("%s: did not ask", f)
		}
		w.seconds(1)
		if got := w.c.Members(g); !slices.Equal(got, []vl1.Address{0x1234567890}) {
			t.Errorf("%s: members %v", f, got)
		}
		if w.c.Gather(&w.Env, g, 32) {
			t.Errorf("%s: asked again within a minute", f)
		}
	}
}

// TestNAT drives each kind through mapping, filter, timeout and restart.
func TestNAT(t *testing.T) {
	for _, tc := range []struct {
		kind       sim.NATKind
		sameIP     bool // lets in another port of an address that was sent to
		stranger   bool // lets in anybody
		sameSource bool // one external port for all remotes
	}{
		{sim.FullCone, true, true, true},
		{sim.AddressRestricted, true, false, true},
		{sim.PortRestricted, false, false, true},
		{sim.Symmetric, false, false, false},
	} {
		t.Run(tc.kind.String(), func(t *testing.T) {
			nat := &sim.NAT{Kind: tc.kind, Timeout: 30_000}
			nat.External[0] = addrPort("62.0.0.1:1").Addr()
			w := newWorld(t, setting{family: "1.14", v4only: true, noBob: true, nat: nat})
			w.seconds(1)
			m, x := w.member(w.uses()), w.others()[0]
			s := w.session(m)
			reaches := func(from netip.AddrPort) bool {
				before := w.c.Stats(w.Now).RecvPackets
				m.Nop(s.Peer, from, s.Client, 1)
				w.Run(rttDefault)
				return w.c.Stats(w.Now).RecvPackets > before
			}
			if !reaches(m.Endpoints[0]) {
				t.Error("the answer to a request is not let in")
			}
			if got := reaches(addrPort(m.Endpoints[0].Addr().String() + ":7")); got != tc.sameIP {
				t.Errorf("another port of the same address is let in: %v", got)
			}
			if got := reaches(addrPort("9.9.9.9:9")); got != tc.stranger {
				t.Errorf("a stranger is let in: %v", got)
			}
			m.Rendezvous(s, w.alice.ID.Address, x.Endpoints[0])
			w.seconds(1)
			if got := w.session(x).Client == s.Client; got != tc.sameSource {
				t.Errorf("two members see %v and %v", s.Client, w.session(x).Client)
			}
			old := s.Client
			w.node.Asleep = true
			w.seconds(31)
			w.node.Asleep = false
			m.Nop(s.Peer, m.Endpoints[0], old, 1)
			before := w.c.Stats(w.Now).RecvPackets
			w.Run(rttDefault)
			if w.c.Stats(w.Now).RecvPackets > before {
				t.Error("a mapping outlives its timeout")
			}
		})
	}
}

// TestManyPaths: a root with more endpoints than a path table has places never overfills it.
func TestManyPaths(t *testing.T) {
	for _, f := range all {
		w := newWorld(t, setting{family: f, v4only: true, noBob: true, members: 32, sockets: [2]int{3, 0}})
		w.seconds(1)
		m := w.member(w.uses())
		for range 20 {
			for _, x := range w.a {
				if s := m.Session(w.id.Address); s != nil {
					m.Rendezvous(s, w.alice.ID.Address, x.Endpoints[0])
				}
				w.Nop(x)
			}
			w.seconds(7)
			if n := len(w.c.Paths(w.alice.ID.Address, w.Now)); n > w.c.Family().MaxPaths {
				t.Fatalf("%s: %d paths", f, n)
			}
		}
	}
}
