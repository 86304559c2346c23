package replica_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/rootd/rootd/fsm"
	"github.com/rootd/rootd/fsm/replica"
)

func epoch(n byte, id string) *fsm.NewEpoch {
	return &fsm.NewEpoch{Epoch: fsm.Epoch{Number: uint32(n), ID: [8]byte{n}}, ID: 9, Name: "r1", Address: id + ":1", KeyHash: fsm.KeyHash{n}}
}

// A log that is seeded with a state begins there; who joins it gets the state, not a bare log.
func TestSeed(t *testing.T) {
	old := alone(t, t.TempDir(), nil)
	for i := range 100 {
		old.must(t, newPeer(i))
	}
	if err := old.stop(); err != nil {
		t.Fatal(err)
	}
	contents := old.fsm.View().State().Contents()
	dir := filepath.Join(t.TempDir(), "raft")
	seed := replica.SeedOptions{Dir: dir, ID: "9", Address: "9", FSM: old.fsm, Term: 7, Now: time.Now().UnixMilli(), Commands: []fsm.Command{epoch(1, "9")}}
	if err := replica.Seed(seed); err != nil {
		t.Fatal(err)
	}
	hash := old.fsm.Hash()
	seed.Commands = nil
	if err := replica.Seed(seed); !errors.Is(err, os.ErrExist) {
		t.Errorf("a second time: %v", err)
	}

	first, second := transport("9"), transport("10")
	first.Connect("10", second)
	second.Connect("9", first)
	n := open(t, dir, "9", func(o *replica.Options) { patient(o); o.Transport, o.Bootstrap = first, true })
	if n.fsm.Hash() != hash || n.fsm.View().State().Contents() != contents {
		t.Error("it begins with another state")
	}
	n.run(t).ready(t)
	n.must(t, newPeer(100))
	if s := n.Stats(); s.Term <= 7 {
		t.Errorf("term %d", s.Term)
	}
	late := open(t, t.TempDir(), "10", func(o *replica.Options) { patient(o); o.Transport = second }).run(t)
	if err := n.AddNonvoter(t.Context(), "10", "10"); err != nil {
		t.Fatal(err)
	}
	until(t, "equal states", func() bool { return late.fsm.Hash() == n.fsm.Hash() })
	if s := late.Stats(); s.SnapshotIndex == 0 || !late.knows(0) || !late.knows(100) {
		t.Errorf("joined without the snapshot: %+v", s)
	}
}

// Examine finds what is on the disk of a member that lost its cluster, the uncommitted part too, and changes nothing.
func TestExamine(t *testing.T) {
	dir := t.TempDir()
	first, second := transport("a"), transport("b")
	first.Connect("b", second)
	second.Connect("a", first)
	n := alone(t, dir, func(o *replica.Options) { patient(o); o.Transport = first })
	for i := range 20 {
		n.must(t, newPeer(i))
	}
	late := open(t, t.TempDir(), "b", func(o *replica.Options) { patient(o); o.Transport = second }).run(t)
	if err := n.AddNonvoter(t.Context(), "b", "b"); err != nil {
		t.Fatal(err)
	}
	if err := n.Promote(t.Context(), "b"); err != nil {
		t.Fatal(err)
	}
	n.must(t, newPeer(20))
	if _, err := replica.Examine(replica.Options{Dir: dir, FSM: newFSM(t)}); !errors.Is(err, replica.ErrInUse) {
		t.Errorf("while it runs: %v", err)
	}
	first.Disconnect("b")
	second.Disconnect("a")
	_, _ = n.Apply(t.Context(), encode(newPeer(21))) // nobody else ever gets it
	if err := n.stop(); err != nil {
		t.Fatal(err)
	}
	_ = late.stop()
	before := tree(t, dir)
	f := newFSM(t)
	s, err := replica.Examine(replica.Options{Dir: dir, FSM: f})
	if err != nil {
		t.Fatal(err)
	}
	if f.View().State().Peers != 22 || s.Last <= s.Committed || s.Term == 0 || len(s.Servers) != 2 || s.Quorum() != 2 {
		t.Errorf("%d peers, %+v", f.View().State().Peers, s)
	}
	for name, b := range tree(t, dir) {
		if before[name] != b && filepath.Base(name) != "raft.db" { // which counts the times it was opened
			t.Errorf("%s was changed", name)
		}
	}
	if _, err := replica.Examine(replica.Options{Dir: t.TempDir(), FSM: newFSM(t)}); err == nil {
		t.Error("examined an empty directory")
	}
}

// tree is every file below dir.
func tree(t *testing.T, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, e os.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		all[path] = string(b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}
