package main

import (
	"net/netip"
	"testing"
	"time"

	"github.com/rootd/rootd/cmd/internal/client/sim"
	"github.com/rootd/rootd/packetpath/udp"
)

// TestShardNAT follows one client's flows through its NAT: which of the shard's ports they leave from, and what comes
// back in.
func TestShardNAT(t *testing.T) {
	root := netip.MustParseAddrPort("127.0.0.1:9993")
	other := netip.MustParseAddrPort("127.0.0.1:443")
	far := netip.MustParseAddrPort("127.0.0.2:9993")
	for _, tc := range []struct {
		kind        sim.NATKind
		other, far  bool // answered though they were not asked
		onePort     bool // all remotes see one port
		afterSilent bool // an answer still comes in a minute later
	}{
		{kind: sim.NoNAT, other: true, far: true, onePort: true, afterSilent: true},
		{kind: sim.FullCone, other: true, far: true, onePort: true},
		{kind: sim.AddressRestricted, other: true, onePort: true},
		{kind: sim.PortRestricted, onePort: true},
		{kind: sim.Symmetric},
	} {
		t.Run(tc.kind.String(), func(t *testing.T) {
			s := &shard{conns: make([]udp.Conn, 4), ports: []uint16{20, 21, 22, 23}, sockOf: map[uint16]uint8{20: 0, 21: 1, 22: 2, 23: 3}}
			s.env.Now = sim.Epoch
			m := &member{locals: 2, nat: s.newNAT(tc.kind, 30*time.Second)}
			s.place(m)
			m.settle(netip.MustParseAddr("127.64.0.1"))
			sock := s.outward(m, 1, root)
			if k, ok := s.inward(m, sock, root); !ok || k != 1 {
				t.Errorf("an answer reaches socket %d, %v: want 1", k, ok)
			}
			if _, ok := s.inward(m, sock, other); ok != tc.other {
				t.Errorf("another port of the same host is let in: %v", ok)
			}
			if _, ok := s.inward(m, sock, far); ok != tc.far {
				t.Errorf("another host is let in: %v", ok)
			}
			if same := s.outward(m, 1, far) == sock; same != tc.onePort {
				t.Errorf("another host sees the same port: %v", same)
			}
			if s.outward(m, 0, root) == sock {
				t.Error("two sockets have the same port")
			}
			s.env.Now += 60_000
			if _, ok := s.inward(m, sock, root); ok != tc.afterSilent {
				t.Errorf("an answer is let in a minute later: %v", ok)
			}
			before := s.outward(m, 1, root)
			s.move(m)
			if s.outward(m, 1, root) == before {
				t.Error("after rebinding the root sees the same port")
			}
		})
	}
}
