package restore_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/rootd/rootd/cmd/internal/datadir"
	"github.com/rootd/rootd/cmd/internal/restore"
	"github.com/rootd/rootd/fsm"
	"github.com/rootd/rootd/fsm/replica"
)

// Variables that make this test binary do one restore and end.
const (
	childDo      = "RESTORE_TEST_DO" // archive, or recover
	childDir     = "RESTORE_TEST_DIR"
	childArchive = "RESTORE_TEST_ARCHIVE"
	childKey     = "RESTORE_TEST_KEY"
)

func TestMain(m *testing.M) {
	switch os.Getenv(childDo) {
	case "archive":
		o := options(os.Getenv(childArchive), os.Getenv(childKey))
		o.Dir = os.Getenv(childDir)
		a, err := restore.FromArchive(context.Background(), o)
		if err == nil {
			fmt.Println("read") // from here on it may be killed
			_, err = a.Found()
		}
		end(err)
	case "recover":
		fmt.Println("read")
		_, err := restore.FromMember(context.Background(), restore.MemberOptions{Dir: os.Getenv(childDir), Now: time.Now})
		end(err)
	}
	os.Exit(m.Run())
}

func end(err error) {
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	os.Exit(0)
}

// kills is how often a restore is killed. `make kill-restore` sets the variable to 200.
func kills(t *testing.T) int {
	t.Helper()
	if n, err := strconv.Atoi(os.Getenv("ROOTD_KILLS")); err == nil {
		return n
	}
	if testing.Short() {
		return 5
	}
	return 20
}

// killed runs a restore in a process of its own, kills it a random time after it has begun to write, and reports whether it
// ended before that.
func killed(t *testing.T, patience *time.Duration, env ...string) (ended bool) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), env...)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := out.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	timer := time.AfterFunc(rand.N(*patience), func() { _ = cmd.Process.Kill() })
	err = cmd.Wait()
	if timer.Stop() || err == nil {
		*patience = max(2*time.Millisecond, time.Since(began)) // what it takes
		return err == nil
	}
	return false
}

// TestArchiveKilled: a restore that is killed at any moment is done, or can be run again; nobody can start what is not done.
func TestArchiveKilled(t *testing.T) {
	c := newCluster(t, 20_000)
	o, key := c.archiveAndKey()
	want := c.View().State().Contents()
	env := []string{childDo + "=archive", childArchive + "=" + o.Path, childKey + "=" + key}
	patience, died, done := 200*time.Millisecond, 0, 0
	for i := range kills(t) {
		dir := filepath.Join(t.TempDir(), strconv.Itoa(i))
		ended := killed(t, &patience, append(env, childDir+"="+dir)...)
		if !ended {
			died++
		}
		_, err := datadir.Read(dir)
		switch {
		case err == nil:
			done++
		case !errors.Is(err, datadir.ErrMissing) || ended:
			t.Fatalf("round %d: ended %v, then: %v", i, ended, err)
		default: // what was begun is begun anew
			if _, err := os.Stat(filepath.Join(dir, datadir.FileRestore)); err == nil {
				if _, err := datadir.OpenOrCreate(dir, datadir.Options{Name: "m9", Endpoints: endpoint("192.0.2.1:1"), Now: time.Now()}); err == nil {
					t.Fatalf("round %d: a root was made over half a restore", i)
				}
			}
			o.Dir = dir
			a, err := restore.FromArchive(t.Context(), o)
			if err == nil {
				_, err = a.Found()
			}
			if err != nil {
				t.Fatalf("round %d: again: %v", i, err)
			}
		}
		d, st := started(t, dir)
		if st.Contents() != want || d.Identity.Identity != c.dir.Identity.Identity {
			t.Fatalf("round %d: other contents", i)
		}
		_ = d.Close()
	}
	t.Logf("%d killed, %d of %d done", died, done, kills(t))
}

func entries(t *testing.T, dir string) []os.DirEntry {
	t.Helper()
	all, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	return all
}

// survivor makes the directory of a member of three whose log has peers.
func survivor(t testing.TB, peers int) (dir string, contents fsm.Hash) {
	t.Helper()
	c := newCluster(t, peers)
	d := c.dir
	st := c.View().State()
	contents = st.Contents()
	if err := replica.Seed(replica.SeedOptions{Dir: d.RaftDir(), ID: "1", Address: "127.0.0.1:1", FSM: c.FSM, Term: 3, Now: time.Now().UnixMilli()}); err != nil {
		t.Fatal(err)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	return d.Path, contents
}

// TestRecoverKilled: a recovery that is killed at any moment is done or not, and never half.
func TestRecoverKilled(t *testing.T) {
	master, want := survivor(t, 20_000)
	patience, died, done := 200*time.Millisecond, 0, 0
	for i := range kills(t) {
		dir := filepath.Join(t.TempDir(), strconv.Itoa(i))
		if err := os.CopyFS(dir, os.DirFS(master)); err != nil {
			t.Fatal(err)
		}
		if err := filepath.WalkDir(dir, func(path string, e os.DirEntry, err error) error { // CopyFS widens modes
			if err == nil && !e.IsDir() {
				err = os.Chmod(path, 0o600)
			}
			return err
		}); err != nil {
			t.Fatal(err)
		}
		if !killed(t, &patience, childDo+"=recover", childDir+"="+dir) {
			died++
		}
		d, st := started(t, dir)
		if st.Contents() != want {
			t.Fatalf("round %d: other contents", i)
		}
		switch {
		case st.Cluster.Epoch.Number == 0 && len(st.Members) == 3:
			if _, err := os.Stat(filepath.Join(dir, "raft.old-0")); err == nil {
				t.Fatalf("round %d: not done, but the old log was moved", i)
			}
		case st.Cluster.Epoch.Number == 1 && len(st.Members) == 1 && len(d.Meta.Former) == 2:
			done++
			if _, err := os.Stat(filepath.Join(dir, "raft.old-0")); err != nil {
				t.Fatalf("round %d: the old log is gone", i)
			}
		default:
			t.Fatalf("round %d: epoch %v, members %+v, former %+v", i, st.Cluster.Epoch, st.Members, d.Meta.Former)
		}
		_ = d.Close()
	}
	t.Logf("%d killed, %d of %d done", died, done, kills(t))
}

// TestFromMember: the last survivor keeps all and is a cluster of its own, once.
func TestFromMember(t *testing.T) {
	dir, want := survivor(t, 100)
	before := entries(t, dir)
	o := restore.MemberOptions{Dir: dir, Now: time.Now}
	plan, err := o.Plan(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if plan.Contents != want.String() || plan.Peers != 100 || len(plan.Others) != 2 || plan.Done || len(entries(t, dir)) != len(before) {
		t.Errorf("plan %+v", plan)
	}
	done, err := restore.FromMember(t.Context(), o)
	if err != nil || !done.Done {
		t.Fatalf("%+v, %v", done, err)
	}
	d, st := started(t, dir)
	if st.Contents() != want || len(st.Members) != 1 || st.Members[0].ID != 1 || len(d.Meta.Former) != 2 {
		t.Errorf("members %+v, former %+v", st.Members, d.Meta.Former)
	}
	if _, err := restore.FromMember(t.Context(), o); !errors.Is(err, datadir.ErrInUse) {
		t.Errorf("while it is in use: %v", err)
	}
	_ = d.Close()
	if _, err := restore.FromMember(t.Context(), o); err == nil {
		t.Error("recovered twice")
	}
}
