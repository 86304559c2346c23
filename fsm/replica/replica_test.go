package replica_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.etcd.io/bbolt"

	"github.com/rootd/rootd/fsm"
	"github.com/rootd/rootd/fsm/replica"
)

func TestRestartFromSnapshotAndLog(t *testing.T) {
	dir := t.TempDir()
	n := alone(t, dir, func(o *replica.Options) { o.TrailingLogs = 1 })
	for i := range 50 {
		n.must(t, newPeer(i))
	}
	if err := n.Snapshot(t.Context()); err != nil {
		t.Fatal(err)
	}
	for i := 50; i < 80; i++ {
		n.must(t, newPeer(i))
	}
	hash := n.fsm.Hash()
	if err := n.stop(); err != nil {
		t.Fatal(err)
	}
	m := open(t, dir, "a", nil)
	if m.fsm.Hash() != hash {
		t.Fatal("state differs after the restart")
	}
	if s := m.Stats(); s.Replayed < 30 || s.Replayed > 35 || s.Running {
		t.Errorf("%+v", s)
	}
	m.run(t).ready(t)
	m.must(t, newPeer(80)) // it still knows that it is a voter, and applies what is new
	if !m.knows(80) || m.fsm.View().State().Peers != 81 {
		t.Error("the new peer is not known")
	}
}

// More entries than Raft's own replay can take without a deadlock, and a configuration among them.
func TestLongReplay(t *testing.T) {
	dir := t.TempDir()
	n := alone(t, dir, func(o *replica.Options) { o.SnapshotThreshold = 1 << 40 })
	const entries = 3000
	done := make(chan error, 64)
	for w := range cap(done) {
		go func() {
			var err error
			for i := w; i < entries && err == nil; i += cap(done) {
				_, err = n.Apply(t.Context(), encode(newPeer(i)))
			}
			done <- err
		}()
	}
	for range cap(done) {
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	}
	hash := n.fsm.Hash()
	if err := n.stop(); err != nil {
		t.Fatal(err)
	}
	m := open(t, dir, "a", nil)
	if m.fsm.Hash() != hash {
		t.Fatal("state differs after the restart")
	}
	m.run(t).ready(t).must(t, newPeer(entries))
	if st := m.fsm.View().State(); st.Peers != entries+1 || st.Counters.Changes != entries+1 {
		t.Errorf("%d peers after %d changes: something was applied twice", st.Peers, st.Counters.Changes)
	}
}

func TestOpenRefuses(t *testing.T) {
	good := t.TempDir()
	n := alone(t, good, func(o *replica.Options) { o.TrailingLogs = 1 })
	for i := range 20 {
		n.must(t, newPeer(i))
	}
	if err := n.Snapshot(t.Context()); err != nil {
		t.Fatal(err)
	}
	n.must(t, newPeer(20))
	if err := n.stop(); err != nil {
		t.Fatal(err)
	}
	edit := func(name string, f func(b []byte) []byte) func(string) {
		return func(dir string) {
			path := filepath.Join(dir, name)
			b, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, f(b), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	snaps, err := filepath.Glob(filepath.Join(good, "snapshots", "*", "state.bin"))
	if err != nil || len(snaps) != 1 {
		t.Fatal(snaps, err)
	}
	state, err := filepath.Rel(good, snaps[0])
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		spoil func(dir string)
		want  error
		says  string
	}{
		"text":             {edit("raft.db", func([]byte) []byte { return []byte(strings.Repeat("not a database\n", 1000)) }), replica.ErrDamaged, "move the raft directory aside"},
		"short file":       {edit("raft.db", func(b []byte) []byte { return b[:100] }), replica.ErrDamaged, "move the raft directory aside"},
		"truncated":        {edit("raft.db", func(b []byte) []byte { return b[:3*os.Getpagesize()] }), replica.ErrDamaged, "move the raft directory aside"},
		"zeroes in it":     {edit("raft.db", func(b []byte) []byte { clear(b[2*os.Getpagesize():]); return b }), replica.ErrDamaged, "move the raft directory aside"},
		"foreign database": {foreign, replica.ErrForeign, "right directory"},
		"snapshot damaged": {edit(state, func(b []byte) []byte { b[len(b)/2] ^= 1; return b }), replica.ErrDamaged, "move the raft directory aside"},
		"snapshot missing": {func(dir string) { _ = os.RemoveAll(filepath.Join(dir, "snapshots")) }, replica.ErrDamaged, "put the missing snapshot back"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := copyDir(t, good)
			c.spoil(dir)
			before, err := os.ReadFile(filepath.Join(dir, "raft.db"))
			if err != nil {
				t.Fatal(err)
			}
			r, err := replica.Open(options(dir, "a", transport("a"), newFSM(t)))
			if err == nil {
				_ = r.Close()
			}
			if !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.says) || !strings.Contains(err.Error(), dir) {
				t.Errorf("error %v", err)
			}
			if strings.HasPrefix(name, "snapshot") {
				return // the log was fine, and could be opened
			}
			if after, err := os.ReadFile(filepath.Join(dir, "raft.db")); err != nil || string(after) != string(before) {
				t.Errorf("raft.db was changed (%v)", err)
			}
		})
	}
}

// foreign replaces the log by a database of another program.
func foreign(dir string) {
	path := filepath.Join(dir, "raft.db")
	_ = os.Remove(path)
	db, err := bbolt.Open(path, 0o600, nil)
	if err != nil {
		panic(err)
	}
	defer db.Close()
	_ = db.Update(func(tx *bbolt.Tx) error { _, err := tx.CreateBucket([]byte("photos")); return err })
}

func TestSecondProcessIsRefused(t *testing.T) {
	dir := t.TempDir()
	open(t, dir, "a", nil)
	if _, err := replica.Open(options(dir, "a", transport("a"), newFSM(t))); !errors.Is(err, replica.ErrInUse) {
		t.Errorf("error %v", err)
	}
}

func TestNotRunning(t *testing.T) {
	n := open(t, t.TempDir(), "a", nil)
	if _, err := n.Apply(t.Context(), encode(newPeer(1))); !errors.Is(err, replica.ErrNotRunning) {
		t.Errorf("apply: %v", err)
	}
	if err := n.Barrier(t.Context()); !errors.Is(err, replica.ErrNotRunning) {
		t.Errorf("barrier: %v", err)
	}
	n.run(t) // no configuration: it waits for a cluster and leads nothing
	until(t, "raft runs", func() bool { return n.Stats().Running })
	if _, err := n.Apply(t.Context(), encode(newPeer(1))); !errors.Is(err, replica.ErrNotLeader) {
		t.Errorf("apply: %v", err)
	}
}

func TestRefusesToLogNonsense(t *testing.T) {
	n := alone(t, t.TempDir(), nil)
	if _, err := n.Apply(t.Context(), []byte("nonsense")); !errors.Is(err, fsm.ErrDamaged) {
		t.Errorf("error %v", err)
	}
	if _, err := n.Apply(t.Context(), encode(bootstrap())); !errors.Is(err, fsm.ErrBootstrapped) {
		t.Errorf("error %v", err)
	}
	if !n.fsm.View().State().Voters.Servers[0].Voter {
		t.Error("the state does not know the voter")
	}
}

func TestAnotherMembersLogIsRefused(t *testing.T) {
	dir := t.TempDir()
	if err := alone(t, dir, nil).stop(); err != nil {
		t.Fatal(err)
	}
	if _, err := replica.Open(options(dir, "b", transport("b"), newFSM(t))); !errors.Is(err, replica.ErrForeign) {
		t.Errorf("error %v", err)
	}
}
