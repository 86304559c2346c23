package main_test

import (
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hashicorp/raft"

	"github.com/rootd/rootd/cmd/internal/procs"
	"github.com/rootd/rootd/fsm"
	"github.com/rootd/rootd/fsm/replica"
	"github.com/rootd/rootd/packetpath/vl1"
	"github.com/rootd/rootd/snapshot"
	"github.com/rootd/rootd/transport/admin"
)

// runningCluster: the state is wrong, the cluster is well.
func (b binaries) runningCluster(t *testing.T) {
	f, peers := peopled(t, b)
	archive := filepath.Join(t.TempDir(), "alice.rootd-snapshot")
	b.ctl(t, f.members[1], "snapshot", "save", "--no-secrets", archive)
	state := readArchive(t, archive)
	saved := state.View().State().Contents().String()

	late := devices(t, 9, readPlanet(t, f.members[0]), f.members[0].UDP)[8]
	late.hello(t)
	for _, m := range f.members {
		waitKnown(t, m, late.id.Address)
	}
	if _, err := f.admin(0).SetSetting(longDeadline(t), "peer_expiry", "72h"); err != nil {
		t.Fatal(err)
	}
	refused := func(want, file string, args ...string) {
		t.Helper()
		p := procs.StartTest(t, procs.Command{Path: b.rootctl(), Args: append([]string{"snapshot", "restore", file, "--data-dir", f.members[0].DataDir}, args...)})
		code, err := p.Wait(deadline(t))
		if err != nil || code != 1 || !strings.Contains(p.Output(), want) {
			t.Errorf("snapshot restore %q: exit code %d, %v, want %q:\n%s", args, code, err, want, p.Output())
		}
	}
	whole, err := os.ReadFile(archive)
	if err != nil {
		t.Fatal(err)
	}
	cut := filepath.Join(t.TempDir(), "cut")
	if err := os.WriteFile(cut, whole[:len(whole)-600], 0o600); err != nil {
		t.Fatal(err)
	}
	wrong := f.contents(0, 1, 2)
	refused("archive is damaged", cut, "--yes")
	if _, err := f.admin(1).Restore(longDeadline(t), strings.NewReader(string(whole[:len(whole)-600])), admin.RestoreOptions{}); err == nil || !strings.Contains(err.Error(), "damaged") {
		t.Errorf("half an archive, past rootctl: %v", err)
	}
	refused("no terminal", archive)
	if out := b.ctl(t, f.members[0], "snapshot", "restore", archive, "--dry-run"); !strings.Contains(out, "3, now 4") || !strings.Contains(out, "Nothing was changed") {
		t.Errorf("dry run:\n%s", out)
	}
	if got := f.contents(0, 1, 2); got != wrong {
		t.Fatal("something has changed")
	}

	f.waitMembers("m1 up voter", "m2 up voter", "m3 up voter")
	out := b.ctl(t, f.members[2], "snapshot", "restore", archive, "--yes") // whoever leads
	t.Logf("rootctl snapshot restore:\n%s", out)
	if !strings.Contains(out, "3 peers (4 before)") || !strings.Contains(out, "m1, m2, m3") {
		t.Errorf("it said:\n%s", out)
	}
	if got := f.contents(0, 1, 2); got != saved {
		t.Errorf("contents %s, when it was saved %s", got, saved)
	}
	f.waitMembers("m1 up voter", "m2 up voter", "m3 up voter")
	for i, d := range peers { // clients go on where they were
		if got := d.whois(t, peers[(i+1)%3].id.Address); got != peers[(i+1)%3].id.Identity {
			t.Errorf("WHOIS: %v", got)
		}
	}
	late.hello(t) // who is missing in the archive comes back by itself
	for _, m := range f.members {
		waitKnown(t, m, late.id.Address)
	}
	f.logShortened()

	// A member that was away for the restore has it when it is back.
	f.members[2].Kill()
	f.waitStatus(0, "m3", admin.StatusDown)
	refused("voters are not up: m3", archive, "--yes")
	b.ctl(t, f.members[0], "snapshot", "restore", archive, "--yes", "--force")
	f.start(2)
	f.waitMembers("m1 up voter", "m2 up voter", "m3 up voter")
	f.contents(0, 1, 2)
	f.restoreKilled(b, archive, 3)
	f.joinsRestored(b, archive)
}

// enlarge writes an archive of the same cluster with more peers.
func enlarge(t *testing.T, from, to string, peers int) {
	t.Helper()
	m := readArchive(t, from)
	for i := 0; i < peers; i += fsm.MaxChanges {
		cs := make(fsm.Changes, fsm.MaxChanges)
		for j := range cs {
			cs[j] = fsm.Change{Address: vl1.Address(1<<36 + i + j), HasKey: true}
		}
		entry, err := fsm.Encode(cs)
		if err != nil {
			t.Fatal(err)
		}
		fsm.Stamp(entry, m.View().State().Time)
		m.Apply(&raft.Log{Index: m.View().State().Index + 1, Type: raft.LogCommand, Data: entry})
	}
	frozen, err := m.Freeze()
	if err != nil {
		t.Fatal(err)
	}
	defer frozen.Release()
	file, err := os.Create(to)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if _, err := snapshot.Write(file, snapshot.Describe(frozen), frozen.Write, snapshot.Secrets{}, snapshot.Seal{}); err != nil {
		t.Fatal(err)
	}
}

// readArchive returns a state machine with the state of an archive.
func readArchive(t *testing.T, path string) *fsm.FSM {
	t.Helper()
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	a, err := snapshot.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	m, err := fsm.New(fsm.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Restore(io.NopCloser(a.State())); err != nil {
		t.Fatal(err)
	}
	return m
}

// logShortened waits until no member keeps the archive in its log.
func (f *fleet) logShortened() {
	f.Helper()
	eventually(f.T, "the log is short", func() bool {
		for i := range f.members {
			s, err := f.admin(i).Status(f.Context())
			if err != nil || s.Raft.SnapshotIndex == 0 {
				return false
			}
		}
		return true
	})
}

// joinsRestored: who joins right after a restore begins with a snapshot of what was restored, and its log with what came after.
func (f *fleet) joinsRestored(b binaries, archive string) {
	f.Helper()
	var done struct {
		Index uint64 `json:"index"`
	}
	out := b.ctl(f.T, f.members[0], "snapshot", "restore", archive, "--yes", "-o", "json")
	if err := json.Unmarshal([]byte(out), &done); err != nil || done.Index == 0 {
		f.Fatalf("%v:\n%s", err, out)
	}
	m := f.grow()
	want := readArchive(f.T, archive).View().State().Contents().String()
	if got := f.contents(0, len(f.members)-1); got != want {
		f.Errorf("contents %s, of the archive %s", got, want)
	}
	m.Kill()
	state, err := fsm.New(fsm.Options{})
	if err != nil {
		f.Fatal(err)
	}
	survey, err := replica.Examine(replica.Options{Dir: filepath.Join(m.DataDir, "raft"), FSM: state})
	if err != nil || survey.Snapshot < done.Index || survey.First != 0 && survey.First <= done.Index || state.RestoredAt() != 0 {
		f.Errorf("the restore is entry %d; who joined after it has %+v, %v", done.Index, survey, err)
	}
	f.Logf("restored at entry %d; who joined has a snapshot at %d and a log from %d to %d", done.Index, survey.Snapshot, survey.First, survey.Last)
}
