package replica_test

import (
	"io"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"github.com/rootd/rootd/fsm/replica"
)

// A log of one member that knew no network becomes that of a cluster over TCP: the configuration in the log has the old
// address, which the member replaces once it leads.
func TestOneMemberLogGrowsOverTCP(t *testing.T) {
	dir := t.TempDir()
	n := alone(t, dir, nil)
	for i := range 50 {
		n.must(t, newPeer(i))
	}
	hash := n.fsm.Hash()
	if err := n.stop(); err != nil {
		t.Fatal(err)
	}
	tcp := func() *raft.NetworkTransport {
		tr, err := raft.NewTCPTransport("127.0.0.1:0", nil, 2, 5*time.Second, io.Discard)
		if err != nil {
			t.Fatal(err)
		}
		return tr
	}
	slow := func(tr raft.Transport) func(*replica.Options) {
		return func(o *replica.Options) { patient(o); o.Transport = tr }
	}
	first, second := tcp(), tcp()
	m := open(t, dir, "a", slow(first))
	if m.fsm.Hash() != hash {
		t.Error("another state after the restart")
	}
	m.run(t).ready(t)
	for range 2 { // idempotent
		if err := m.AddNonvoter(t.Context(), "a", string(first.LocalAddr())); err != nil {
			t.Fatal(err)
		}
	}
	if servers := m.fsm.View().State().Voters.Servers; len(servers) != 1 || servers[0].Address != string(first.LocalAddr()) || !servers[0].Voter {
		t.Fatalf("%+v", servers)
	}
	o := open(t, t.TempDir(), "b", slow(second)).run(t)
	if err := m.AddNonvoter(t.Context(), "b", string(second.LocalAddr())); err != nil {
		t.Fatal(err)
	}
	until(t, "the new one has it all", func() bool { return o.knows(49) })
	if err := m.Promote(t.Context(), "b"); err != nil {
		t.Fatal(err)
	}
	m.must(t, newPeer(50))
	until(t, "equal states", func() bool { return o.fsm.Hash() == m.fsm.Hash() })
	if got, err := m.TransferLeadership(t.Context(), "b"); err != nil || got != "b" {
		t.Fatalf("leader %q, %v", got, err)
	}
	until(t, "the new one leads", o.IsLeader)
	o.must(t, newPeer(51))
	until(t, "back at the first", func() bool { return m.knows(51) })
}
