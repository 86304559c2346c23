package agent_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rootd/rootd/snapshot"
	"github.com/rootd/rootd/snapshot/agent"
)

// run runs an agent in virtual time until the test ends.
func run(t *testing.T, o agent.Options) *agent.Agent {
	t.Helper()
	a := agent.New(o)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- a.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return a
}

func names(t *testing.T, s agent.Store) []string {
	t.Helper()
	files, err := s.List(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var list []string
	for _, f := range files {
		list = append(list, f.Name)
	}
	slices.Sort(list)
	return list
}

func TestSchedule(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src, store := newSource(t, 50), &memStore{files: map[string][]byte{"mine.txt": []byte("hands off")}}
		a := run(t, src.options(store))
		time.Sleep(time.Minute)
		if n := src.backups(); n != 1 {
			t.Fatalf("%d backups after a minute", n)
		}
		time.Sleep(10 * time.Hour)
		st := a.Status()
		if st.Backups != 11 || st.Failures != 0 || st.Removed != 8 || st.Problem != "" || st.Bytes == 0 {
			t.Errorf("after ten hours: %+v", st)
		}
		if got := names(t, store); len(got) != 4 || got[3] != "mine.txt" || !strings.HasPrefix(got[0], "alice---bob-07000000-2000") {
			t.Errorf("files %q", got)
		}
		if got := restored(t, store, names(t, store)[2]); got.Hash() != src.Hash() {
			t.Error("another state came back")
		}
		// Another member leads now, and then this one again: it goes by what is there.
		src.lead(false)
		time.Sleep(5 * time.Hour)
		if n := src.backups(); n != 11 {
			t.Errorf("%d backups without leadership", n-11)
		}
		src.lead(true)
		time.Sleep(time.Minute)
		src.lead(false)
		time.Sleep(time.Minute)
		src.lead(true)
		time.Sleep(time.Minute)
		if n := src.backups(); n != 12 {
			t.Errorf("%d backups after leadership came back twice in an hour", n-11)
		}
	})
}

// Leadership moves while a backup is on its way: it is given up, the next leader makes its own, and then goes by what is there.
func TestLeadershipMoves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src, store := newSource(t, 50), &memStore{files: map[string][]byte{}, slow: 5 * time.Minute}
		other := newSource(t, 50)
		other.lead(false)
		a, b := run(t, src.options(store)), run(t, other.options(store))
		time.Sleep(3 * time.Minute)
		src.lead(false)
		other.lead(true)
		time.Sleep(6 * time.Minute)
		if st := a.Status(); st.Backups != 0 || st.Failures != 0 {
			t.Errorf("who led before: %+v", st)
		}
		if n := len(names(t, store)); n != 1 || b.Status().Backups != 1 {
			t.Errorf("%d backups, by the new leader %+v", n, b.Status())
		}
		for range 10 { // back and forth
			src.lead(true)
			other.lead(false)
			time.Sleep(time.Minute)
			src.lead(false)
			other.lead(true)
			time.Sleep(time.Minute)
		}
		if n := len(names(t, store)); n != 1 {
			t.Errorf("%d backups half an hour later", n)
		}
		time.Sleep(time.Hour)
		if n := len(names(t, store)); n != 2 || a.Status().Backups+b.Status().Backups != 2 {
			t.Errorf("%d backups an hour later: %+v, %+v", n, a.Status(), b.Status())
		}
	})
}

// What fails is tried again, and costs no archive that is there.
func TestFailures(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src, store := newSource(t, 50), &memStore{files: map[string][]byte{}}
		o := src.options(store)
		o.Keep = agent.Keep{}
		a := run(t, o)
		time.Sleep(time.Minute)
		before := names(t, store)
		fail := func(what string, set func()) {
			t.Helper()
			was := a.Status()
			set()
			time.Sleep(2 * time.Hour)
			st := a.Status()
			if st.Backups != was.Backups || st.Failures < was.Failures+3 || st.Failures > was.Failures+12 || st.Problem == "" {
				t.Errorf("%s: %+v, before %+v", what, st, was)
			}
			if got := names(t, store); !slices.Equal(got, before) {
				t.Errorf("%s: files %q, before %q", what, got, before)
			}
		}
		fail("refused", func() { store.fail(errors.New("no space"), false) })
		fail("damaged", func() { store.fail(nil, true) })
		store.fail(nil, false)
		fail("no state", func() { src.fail(errors.New("halted")) })
		src.fail(nil)
		time.Sleep(30 * time.Minute)
		if st := a.Status(); st.Problem != "" || st.Backups != 2 {
			t.Errorf("after all is well again: %+v", st)
		}
		if got := names(t, store); len(got) != 1 || got[0] == before[0] {
			t.Errorf("files %q", got)
		}
	})
}

func TestDir(t *testing.T) {
	src, dir := newSource(t, 5), t.TempDir()
	store := agent.NewDir(filepath.Join(dir, "backups"))
	a := agent.New(src.options(store))
	for range 2 { // the second within the same second replaces the first
		if err := a.Once(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	list := names(t, store)
	if len(list) == 0 || src.noted[0].Secrets.Seal != snapshot.SealNone {
		t.Fatalf("files %q, %+v", list, src.noted[0].Secrets)
	}
	if fi, err := os.Stat(filepath.Join(dir, "backups", list[0])); err != nil || fi.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", fi.Mode(), err)
	}
	if got := restored(t, store, list[0]); got.Hash() != src.Hash() {
		t.Error("another state came back")
	}
	if err := os.WriteFile(filepath.Join(dir, "file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := agent.New(src.options(agent.NewDir(filepath.Join(dir, "file")))).Once(t.Context()); err == nil {
		t.Error("a file is taken for a directory")
	}
}
