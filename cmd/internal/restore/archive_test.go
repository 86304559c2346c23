package restore_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"filippo.io/age"
	"github.com/google/go-cmp/cmp"

	"github.com/rootd/rootd/cmd/internal/datadir"
	"github.com/rootd/rootd/cmd/internal/restore"
	"github.com/rootd/rootd/packetpath/vl1"
	"github.com/rootd/rootd/snapshot"
	"github.com/rootd/rootd/transport/pki"
)

// A cluster that begins from an archive has everything that clients know it by, in a new epoch, and no old member.
func TestFromArchive(t *testing.T) {
	c := newCluster(t, 3000)
	want := c.View().State()
	o := c.archive()
	a, err := restore.FromArchive(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Lstat(o.Dir); !errors.Is(err, os.ErrNotExist) {
		t.Error("looking at an archive made a directory")
	}
	plan := *a.Plan()
	done, err := a.Found()
	if err != nil {
		t.Fatal(err)
	}
	d, st := started(t, o.Dir)
	if st.Contents() != want.Contents() || plan.Contents != want.Contents().String() || done.Next != st.Cluster.Epoch.String() {
		t.Errorf("contents %v, want %v; plan %+v", st.Contents(), want.Contents(), plan)
	}
	if d.Identity.SecretString() != c.dir.Identity.SecretString() || d.SigningKey.SecretString() != c.dir.SigningKey.SecretString() || d.Authority.Fingerprint() != c.dir.Authority.Fingerprint() {
		t.Error("other keys")
	}
	if len(st.Members) != 1 || st.Members[0].ID != 4 || st.Members[0].Name != "r1" || len(st.Removed) != 3 || len(st.Tokens) != 0 {
		t.Errorf("members %+v, removed %+v", st.Members, st.Removed)
	}
	w := st.Planet.World
	if w.Timestamp <= c.dir.Planet.Timestamp || !w.Verify(&w.UpdateKey) || w.ID != c.dir.Planet.ID || w.Roots[0].Endpoints[0] != o.Endpoints[0] || d.Planet.Timestamp != w.Timestamp {
		t.Errorf("planet %+v, file %+v", w, d.Planet)
	}
	if c.dir.Planet.ReplacedBy(w) != nil {
		t.Error("clients would not take the planet")
	}
	want4 := []datadir.Contact{{Member: 1, Name: "m1", Address: "127.0.0.1:1"}, {Member: 2, Name: "m2", Address: "127.0.0.1:2"}, {Member: 3, Name: "m3", Address: "127.0.0.1:3"}}
	if diff := cmp.Diff(want4, d.Meta.Former); diff != "" {
		t.Errorf("former members:\n%s", diff)
	}
	if v := st.Voters.Servers; len(v) != 1 || v[0].ID != "4" || !v[0].Voter || v[0].Address != o.Address {
		t.Errorf("voters %+v", v)
	}
}

// Without the planet's key the old planet stays, and the plan says that one is to be published.
func TestFromArchiveWithoutThePlanetKey(t *testing.T) {
	c := newCluster(t, 1)
	path := filepath.Join(t.TempDir(), "a")
	c.write(path, snapshot.Secrets{}, snapshot.Seal{})
	o := options(path, "")
	o.Dir = filepath.Join(t.TempDir(), "new")
	o.Key = func(*snapshot.Meta) (snapshot.Key, error) { t.Error("asked for a key"); return snapshot.Key{}, nil }
	o.Secrets = snapshot.Secrets{Identity: c.dir.Identity, Authority: c.dir.Authority}
	a, err := restore.FromArchive(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := a.Found(); err != nil {
		t.Fatal(err)
	}
	d, st := started(t, o.Dir)
	if d.SigningKey != nil || string(st.Planet.Raw) != string(c.dir.PlanetRaw) || !a.Plan().Planet.Changes || a.Plan().Planet.Signed {
		t.Errorf("planet %+v", a.Plan().Planet)
	}
}

// TestRefused: what is wrong is refused with the reason before anything is written.
func TestRefused(t *testing.T) {
	c := newCluster(t, 500)
	good := c.archive()
	raw, err := os.ReadFile(good.Path)
	if err != nil {
		t.Fatal(err)
	}
	changed := func(f func(b []byte) []byte) func(*restore.ArchiveOptions) {
		return func(o *restore.ArchiveOptions) {
			o.Path = filepath.Join(t.TempDir(), "archive")
			if err := os.WriteFile(o.Path, f(append([]byte(nil), raw...)), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	flip := func(at int) func(*restore.ArchiveOptions) {
		return changed(func(b []byte) []byte { b[at] ^= 4; return b })
	}
	ca, err := pki.NewAuthority(pki.ClusterID{1}, "bob", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	key, err := vl1.GenerateSigningKey()
	if err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		change func(o *restore.ArchiveOptions)
		want   error
	}{
		"empty":                {changed(func([]byte) []byte { return nil }), snapshot.ErrForeign},
		"foreign":              {changed(func([]byte) []byte { return []byte(strings.Repeat("something else ", 100)) }), snapshot.ErrForeign},
		"cut off":              {changed(func(b []byte) []byte { return b[:len(b)/2] }), snapshot.ErrDamaged},
		"cut off at the end":   {changed(func(b []byte) []byte { return b[:len(b)-1] }), snapshot.ErrDamaged},
		"flipped in the meta":  {flip(700), snapshot.ErrDamaged},
		"flipped in the peers": {flip(len(raw) / 2), snapshot.ErrDamaged},
		"flipped near the end": {flip(len(raw) - 1400), snapshot.ErrDamaged},
		"newer": {changed(func(b []byte) []byte {
			return []byte(strings.Replace(string(b), `"format": 1,`, `"format": 9,`, 1))
		}), snapshot.ErrTooNew},
		"a directory":        {func(o *restore.ArchiveOptions) { o.Path = t.TempDir() }, os.ErrInvalid},
		"no such file":       {func(o *restore.ArchiveOptions) { o.Path += "x" }, os.ErrNotExist},
		"wrong key":          {func(o *restore.ArchiveOptions) { *o = withKey(t, *o) }, snapshot.ErrSealed},
		"another authority":  {func(o *restore.ArchiveOptions) { o.Secrets.Authority = ca }, datadir.ErrForeign},
		"another planet key": {func(o *restore.ArchiveOptions) { o.Secrets.PlanetKey = key }, datadir.ErrForeign},
		"a directory in use": {func(o *restore.ArchiveOptions) { o.Dir = c.dir.Path }, datadir.ErrForeign},
		"a directory with something": {func(o *restore.ArchiveOptions) {
			o.Dir = t.TempDir()
			if err := os.WriteFile(filepath.Join(o.Dir, "holiday.jpg"), nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}, datadir.ErrForeign},
		"no secrets": {func(o *restore.ArchiveOptions) {
			o.Path = filepath.Join(t.TempDir(), "archive")
			c.write(o.Path, snapshot.Secrets{}, snapshot.Seal{})
		}, snapshot.ErrNoSecret},
	} {
		t.Run(name, func(t *testing.T) {
			o := good
			o.Dir = filepath.Join(t.TempDir(), "new")
			tc.change(&o)
			a, err := restore.FromArchive(t.Context(), o)
			if !errors.Is(err, tc.want) || a != nil {
				t.Fatalf("got %v, want %v", err, tc.want)
			}
			if o.Dir != c.dir.Path && name != "a directory with something" {
				if _, err := os.Lstat(o.Dir); !errors.Is(err, os.ErrNotExist) {
					t.Error("something was written")
				}
			}
		})
	}
}

func withKey(t *testing.T, o restore.ArchiveOptions) restore.ArchiveOptions {
	t.Helper()
	id, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	o.Key = func(*snapshot.Meta) (snapshot.Key, error) { return snapshot.ParseKey(id.String()) }
	return o
}

// What cannot be written is undone: the directory can be used again.
func TestFoundUndone(t *testing.T) {
	c := newCluster(t, 10)
	o := c.archive()
	a, err := restore.FromArchive(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(o.Dir, 0o700); err != nil {
		t.Fatal(err)
	}
	// A state that cannot be written stands for a disk that is full.
	a.Break()
	if _, err := a.Found(); err == nil {
		t.Fatal("made a directory of a broken state")
	}
	left, err := os.ReadDir(o.Dir)
	if err != nil || len(left) != 1 || left[0].Name() != datadir.FileLock {
		t.Errorf("left: %v, %v", left, err)
	}
	if err := datadir.CheckRestore(o.Dir); err != nil {
		t.Error(err)
	}
}
