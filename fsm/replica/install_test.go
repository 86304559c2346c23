package replica_test

import (
	"testing"
	"time"

	"github.com/rootd/rootd/fsm/replica"
)

// A server that comes late gets the state in a snapshot, because the log no longer begins at the beginning, and still
// has it after a restart, alone.
func TestNewServerBeginsWithASnapshot(t *testing.T) {
	patient := func(o *replica.Options) {
		o.TrailingLogs = 1
		o.Heartbeat, o.Election, o.LeaderLease = time.Second, time.Second, 500*time.Millisecond
	}
	first, second := transport("a"), transport("b")
	first.Connect("b", second)
	second.Connect("a", first)
	n := alone(t, t.TempDir(), func(o *replica.Options) { patient(o); o.Transport = first })
	for i := range 200 {
		n.must(t, newPeer(i))
	}
	if err := n.Snapshot(t.Context()); err != nil {
		t.Fatal(err)
	}
	n.must(t, newPeer(200))
	dir := t.TempDir()
	late := open(t, dir, "b", func(o *replica.Options) { patient(o); o.Transport = second }).run(t)
	if err := n.AddNonvoter(t.Context(), "b", "b"); err != nil {
		t.Fatal(err)
	}
	until(t, "equal states", func() bool { return late.fsm.Hash() == n.fsm.Hash() })
	if err := n.Promote(t.Context(), "b"); err != nil {
		t.Fatal(err)
	}
	n.must(t, newPeer(201))
	until(t, "equal states", func() bool {
		return late.fsm.Hash() == n.fsm.Hash() && late.Stats().NotedIndex >= late.Stats().CommitIndex
	})
	if err := late.stop(); err != nil {
		t.Fatal(err)
	}
	again := open(t, dir, "b", nil)
	if !again.knows(0) || !again.knows(201) || again.fsm.View().State().Peers != 202 {
		t.Errorf("%d peers after the restart", again.fsm.View().State().Peers)
	}
}
