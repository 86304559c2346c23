package replica_test

import (
	"testing"

	"github.com/hashicorp/raft"

	"github.com/rootd/rootd/fsm"
	"github.com/rootd/rootd/fsm/replica"
	"github.com/rootd/rootd/fsm/table"
)

// A server that comes late gets the state in a snapshot, because the log no longer begins at the beginning, and still
// has it after a restart, alone.
func TestNewServerBeginsWithASnapshot(t *testing.T) {
	short := func(o *replica.Options) { patient(o); o.TrailingLogs = 1 }
	first, second := transport("a"), transport("b")
	first.Connect("b", second)
	second.Connect("a", first)
	n := alone(t, t.TempDir(), func(o *replica.Options) { short(o); o.Transport = first })
	for i := range 200 {
		n.must(t, newPeer(i))
	}
	if err := n.Snapshot(t.Context()); err != nil {
		t.Fatal(err)
	}
	n.must(t, newPeer(200))
	dir := t.TempDir()
	late := open(t, dir, "b", func(o *replica.Options) { short(o); o.Transport = second }).run(t)
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

// A restore into the running cluster makes a log that nobody is to begin with: not before it is shortened, which is known also after a
// restart; then who joins gets a snapshot, and what came after.
func TestNewServerAfterARestore(t *testing.T) {
	dir := t.TempDir()
	n := alone(t, dir, nil)
	for i := range 20 {
		n.must(t, newPeer(i))
	}
	only := newFSM(t) // what is restored
	for i, c := range []fsm.Command{bootstrap(), newPeer(500)} {
		entry := encode(c)
		fsm.Stamp(entry, 1)
		only.Apply(&raft.Log{Index: uint64(i + 1), Type: raft.LogCommand, Data: entry})
	}
	var record table.Record
	if !only.View().Peer(address(500), &record) {
		t.Fatal("there is no peer to restore")
	}
	step := func(s fsm.RestoreStep, c fsm.Restore) {
		t.Helper()
		c.ID, c.Step = fsm.RestoreID{1}, s
		n.must(t, &c)
	}
	if n.HoldsRestore() {
		t.Error("a log without a restore holds one")
	}
	step(fsm.RestoreBegin, fsm.Restore{Peers: 1})
	step(fsm.RestorePart, fsm.Restore{Records: []table.Record{record}})
	if n.HoldsRestore() {
		t.Error("it is not done yet")
	}
	step(fsm.RestoreEnd, fsm.Restore{Peers: 1, Sum: only.View().State().PeersSum()})
	if st := n.fsm.View().State(); st.Peers != 1 || !n.HoldsRestore() {
		t.Fatalf("%d peers, the log holds a restore: %v", st.Peers, n.HoldsRestore())
	}
	if err := n.stop(); err != nil {
		t.Fatal(err)
	}

	first, second := transport("a"), transport("b")
	first.Connect("b", second)
	second.Connect("a", first)
	n = open(t, dir, "a", func(o *replica.Options) { patient(o); o.Transport = first }).run(t).ready(t)
	if !n.HoldsRestore() {
		t.Fatal("after a restart it is forgotten")
	}
	n.must(t, newPeer(1))
	if err := n.Compact(t.Context()); err != nil || n.HoldsRestore() {
		t.Fatalf("shortened: %v, the log holds a restore: %v", err, n.HoldsRestore())
	}
	n.must(t, newPeer(2))
	late := open(t, t.TempDir(), "b", func(o *replica.Options) { patient(o); o.Transport = second }).run(t)
	if err := n.AddNonvoter(t.Context(), "b", "b"); err != nil {
		t.Fatal(err)
	}
	until(t, "equal states", func() bool { return late.fsm.Hash() == n.fsm.Hash() })
	if s := late.Stats(); s.SnapshotIndex == 0 || late.fsm.RestoredAt() != 0 || late.HoldsRestore() {
		t.Errorf("it has replayed the restore: %+v", s)
	}
}
