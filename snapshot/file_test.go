package snapshot_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/rootd/rootd/snapshot"
)

func TestFile(t *testing.T) {
	c := newCluster(t, 10)
	b := c.archive(c.secrets, snapshot.Seal{})
	dir := t.TempDir()
	path := filepath.Join(dir, "a.rootd")
	begin := func() *snapshot.File {
		t.Helper()
		f, err := snapshot.Create(path)
		if err != nil {
			t.Fatal(err)
		}
		return f
	}
	put := func(f *snapshot.File, b []byte) {
		t.Helper()
		if _, err := f.Write(b); err != nil {
			t.Fatal(err)
		}
	}
	files := func(want ...string) {
		t.Helper()
		es, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, e := range es {
			got = append(got, e.Name())
		}
		if len(got) != len(want) || len(want) > 0 && got[0] != want[0] {
			t.Errorf("files %q, want %q", got, want)
		}
	}

	f := begin()
	put(f, b)
	files(".a.rootd.partial")
	if _, err := snapshot.Create(path); !errors.Is(err, snapshot.ErrBusy) {
		t.Errorf("two write the same archive: %v", err)
	}
	var seen bytes.Buffer
	if _, err := f.Verify(&seen); err != nil || !bytes.Equal(seen.Bytes(), b) {
		t.Errorf("verify: %v", err)
	}
	if err := f.Commit(); err != nil {
		t.Fatal(err)
	}
	f.Abandon()
	files("a.rootd")

	// What is damaged before it has its name never gets it.
	f = begin()
	put(f, b[:len(b)-1])
	if _, err := f.Verify(nil); !errors.Is(err, snapshot.ErrDamaged) {
		t.Errorf("half an archive verifies: %v", err)
	}
	f.Abandon()
	files("a.rootd")

	// What a crash left is overwritten, longer or not.
	if err := os.WriteFile(filepath.Join(dir, ".a.rootd.partial"), make([]byte, 1<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	f = begin()
	put(f, b)
	if err := f.Commit(); err != nil {
		t.Fatal(err)
	}
	files("a.rootd")
	a, closer, err := snapshot.Read(path)
	if err != nil {
		t.Fatal(err)
	}
	defer closer.Close()
	if err := a.Verify(); err != nil {
		t.Error(err)
	}
	if _, err := snapshot.Create(filepath.Join(dir, "nowhere", "a.rootd")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no directory: %v", err)
	}
}
