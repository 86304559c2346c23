package sim_test

import (
	"net/netip"
	"testing"

	"github.com/rootd/rootd/cmd/internal/client/sim"
)

var (
	inside  = netip.MustParseAddrPort("10.0.0.1:9993")
	inside2 = netip.MustParseAddrPort("10.0.0.1:9994")
	remote  = netip.MustParseAddrPort("192.0.2.1:9993")
	sameIP  = netip.MustParseAddrPort("192.0.2.1:443")
	other   = netip.MustParseAddrPort("192.0.2.2:9993")
)

// TestNATKinds: who is let in, and where the mapping ends, for every kind.
func TestNATKinds(t *testing.T) {
	for _, tc := range []struct {
		kind              sim.NATKind
		sameIP, elsewhere bool // who was not sent to is let in: another port of the same host, another host
		onePort           bool // all remotes see the same port
	}{
		{sim.FullCone, true, true, true},
		{sim.AddressRestricted, true, false, true},
		{sim.PortRestricted, false, false, true},
		{sim.Symmetric, false, false, false},
	} {
		t.Run(tc.kind.String(), func(t *testing.T) {
			n := &sim.NAT{Kind: tc.kind, Timeout: 30_000, External: [2]netip.Addr{netip.MustParseAddr("198.51.100.1")}, Ports: []uint16{1, 2, 3, 4}}
			now := int64(sim.Epoch)
			out, fresh := n.Out(now, inside, remote)
			if !fresh || out.Addr() != n.External[0] || out.Port() != 1 {
				t.Fatalf("first mapping: %v, new: %v", out, fresh)
			}
			for from, want := range map[netip.AddrPort]bool{remote: true, sameIP: tc.sameIP, other: tc.elsewhere} {
				if local, ok := n.In(now+30_000, out.Port(), false, from); ok != want || ok && local != inside {
					t.Errorf("from %v: %v, let in: %v, want %v", from, local, ok, want)
				}
			}
			if _, ok := n.In(now+30_001, out.Port(), false, remote); ok {
				t.Error("let in after the mapping had timed out")
			}
			if again, fresh := n.Out(now+1, inside, remote); fresh || again != out {
				t.Errorf("the same flow got %v, new: %v", again, fresh)
			}
			if o, _ := n.Out(now+1, inside, other); (o == out) != tc.onePort {
				t.Errorf("another remote sees %v, the first %v", o, out)
			}
			if o, fresh := n.Out(now+1, inside2, remote); !fresh || o.Port() == out.Port() {
				t.Errorf("another socket got %v, new: %v", o, fresh)
			}
			if o, fresh := n.Out(now+40_000, inside, remote); !fresh || o == out {
				t.Errorf("after a silence: %v, new: %v; want another port", o, fresh)
			}
			n.Forget()
			if _, ok := n.In(now+40_000, out.Port(), false, remote); ok {
				t.Error("let in after a restart of the box")
			}
		})
	}
}

// TestNATPorts: a NAT with few ports uses each once before it uses one again, and then takes that of the flow that was
// silent longest.
func TestNATPorts(t *testing.T) {
	n := &sim.NAT{Kind: sim.Symmetric, Timeout: 30_000, External: [2]netip.Addr{netip.MustParseAddr("198.51.100.1")}, Ports: []uint16{10, 20, 30}, First: 2}
	now := int64(sim.Epoch)
	to := func(i int) netip.AddrPort { return netip.AddrPortFrom(remote.Addr(), uint16(i)) }
	for i, want := range []uint16{30, 10, 20} {
		if o, _ := n.Out(now+int64(i), inside, to(i+1)); o.Port() != want {
			t.Errorf("flow %d got port %d, want %d", i+1, o.Port(), want)
		}
	}
	n.Out(now+10, inside, to(1)) // now the second is the oldest
	if o, _ := n.Out(now+11, inside, to(4)); o.Port() != 10 {
		t.Errorf("with all ports in use the fourth flow got %d, want 10", o.Port())
	}
	if _, ok := n.In(now+12, 10, false, to(2)); ok {
		t.Error("the flow that made room is still open")
	}
	if o, fresh := n.Out(now+50_000, inside, to(5)); !fresh || o.Port() == 0 {
		t.Errorf("after all had timed out: %v", o)
	}
}
