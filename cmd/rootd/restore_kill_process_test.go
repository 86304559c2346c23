package main_test

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/rootd/rootd/cmd/internal/procs"
)

// TestLiveRestoreKilled kills restores into a running cluster as often as ROOTD_KILLS says. `make kill-restore`.
func TestLiveRestoreKilled(t *testing.T) {
	kills, err := strconv.Atoi(os.Getenv("ROOTD_KILLS"))
	if err != nil {
		t.Skip("ROOTD_KILLS is not set: make kill-restore; a few kills are in TestRestore")
	}
	b := binaries{t.TempDir()}
	if err := procs.Build(longDeadline(t), b.dir, ".", "../rootctl"); err != nil {
		t.Fatal(err)
	}
	f, _ := peopled(t, b)
	archive := filepath.Join(t.TempDir(), "alice.rootd-snapshot")
	b.ctl(t, f.members[1], "snapshot", "save", "--no-secrets", archive)
	f.restoreKilled(b, archive, kills)
}

// restoreKilled: while an archive of many peers is on its way into the log, rootctl is killed, or the leader, or a follower, or the first two at a
// time, or all at a time. In the end all members have all of it, or nothing.
func (f *fleet) restoreKilled(b binaries, archive string, kills int) {
	f.Helper()
	const many = 50_000
	large := filepath.Join(f.TempDir(), "large.rootd-snapshot")
	enlarge(f.T, archive, large, many)
	all := readArchive(f.T, large).View().State().Contents().String()
	b.ctl(f.T, f.members[0], "snapshot", "restore", archive, "--yes")
	few := f.contents(0, 1, 2)
	victims := []string{"rootctl", "leader", "follower", "rootctl and leader", "everything"}
	outcome := map[string][2]int{} // nothing, all
	patience := 3 * time.Second
	for round := range kills {
		p := procs.StartTest(f.T, procs.Command{Path: b.rootctl(), Args: []string{"snapshot", "restore", large, "--yes", "--data-dir", f.members[round%3].DataDir}})
		began := time.Now()
		select {
		case <-p.Done():
			patience = time.Since(began)
		case <-time.After(rand.N(patience)):
		}
		victim := victims[round%len(victims)]
		f.strike(victim, p)
		_, _ = p.Wait(longDeadline(f.T)) // that it fails is fine
		for i, m := range f.members {
			if !m.Running() {
				f.start(i)
			}
		}
		f.waitMembers("m1 up voter", "m2 up voter", "m3 up voter")
		n := outcome[victim]
		switch got := f.contents(0, 1, 2); got {
		case few:
			n[0]++
		case all:
			n[1]++
			b.ctl(f.T, f.members[0], "snapshot", "restore", archive, "--yes", "--force")
		default:
			f.Fatalf("round %d, %s killed: contents %s, before %s, of the archive %s", round, victim, got, few, all)
		}
		outcome[victim] = n
	}
	for _, v := range victims {
		f.Logf("%s killed: %d times nothing was restored, %d times all", v, outcome[v][0], outcome[v][1])
	}
}

// strike kills processes with SIGKILL.
func (f *fleet) strike(victim string, tool *procs.Process) {
	f.Helper()
	leader := f.leader(0, "")
	switch victim {
	case "leader":
		f.members[leader].Kill()
	case "follower":
		f.members[(leader+1+rand.IntN(2))%3].Kill()
	case "rootctl and leader":
		f.members[leader].Kill()
		tool.Kill()
	case "everything":
		for _, m := range f.members {
			m.Kill()
		}
		tool.Kill()
	default:
		tool.Kill()
	}
}
