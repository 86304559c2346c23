package datadir_test

import (
	"bytes"
	"errors"
	"io/fs"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/rootd/rootd/cmd/internal/datadir"
	"github.com/rootd/rootd/packetpath/vl1"
)

// identity returns one of a few known identities: making one takes a second.
func identity(t testing.TB, i int) *vl1.SecretIdentity {
	t.Helper()
	b, err := os.ReadFile("testdata/identities-secret.txt")
	if err != nil {
		t.Fatal(err)
	}
	id, err := vl1.ParseSecretIdentity(strings.Fields(string(b))[i])
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func options(t testing.TB) datadir.Options {
	return datadir.Options{
		Name: "m1", Identity: identity(t, 0), Now: time.UnixMilli(1790000000000),
		Endpoints: []netip.AddrPort{netip.MustParseAddrPort("203.0.113.1:9993"), netip.MustParseAddrPort("[2001:db8::1]:9993")},
	}
}

// create makes a data directory and closes it.
func create(t testing.TB, o datadir.Options) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "data")
	d, err := datadir.Create(path, o)
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	return path
}

// files is the content and mode of everything below a directory.
func files(t testing.TB, path string) map[string]string {
	t.Helper()
	m := map[string]string{}
	err := filepath.WalkDir(path, func(p string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		fi, err := e.Info()
		if err != nil {
			return err
		}
		content := ""
		if fi.Mode().IsRegular() {
			b, err := os.ReadFile(p)
			if err != nil {
				return err
			}
			content = string(b)
		}
		m[strings.TrimPrefix(p, path)] = fi.Mode().String() + " " + content
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestCreate(t *testing.T) {
	o := options(t)
	o.Identity = nil // the whole way once
	path := filepath.Join(t.TempDir(), "a", "data")
	d, err := datadir.OpenOrCreate(path, o)
	if err != nil {
		t.Fatal(err)
	}
	if !d.Created || d.Meta.Name != "m1" || d.Meta.ClusterID() == [16]byte{} {
		t.Errorf("created %v, meta %+v", d.Created, d.Meta)
	}
	if d.Planet.Timestamp != 1790000000000 || d.Planet.Roots[0].Identity != d.Identity.Identity {
		t.Errorf("planet %+v", d.Planet)
	}
	if diff := cmp.Diff(o.Endpoints, d.Planet.Roots[0].Endpoints, cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b })); diff != "" {
		t.Errorf("endpoints (-want +got):\n%s", diff)
	}
	if d.SigningKey == nil || !d.Planet.Verify(new(d.SigningKey.Public())) {
		t.Error("the planet is not signed by planet.key")
	}
	if d.Planet.ID == 0 || d.Planet.ID == vl1.WorldIDEarth || d.Planet.ID == vl1.WorldIDMars {
		t.Errorf("world ID %x", d.Planet.ID)
	}
	for name, want := range map[string]fs.FileMode{".": 0o700, "identity.secret": 0o600, "identity.public": 0o644, "planet": 0o644, "planet.key": 0o600, "lock": 0o600, "rootd.json": 0o644, "ca.pem": 0o644, "ca.key": 0o600, "node.pem": 0o644, "node.key": 0o600} {
		fi, err := os.Stat(filepath.Join(path, name))
		if err != nil {
			t.Error(err)
		} else if fi.Mode().Perm() != want {
			t.Errorf("%s has mode %04o, want %04o", name, fi.Mode().Perm(), want)
		}
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}

	before := files(t, path)
	again, err := datadir.Create(path, o)
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	if again.Created {
		t.Error("the second Create says it created")
	}
	if diff := cmp.Diff(before, files(t, path)); diff != "" {
		t.Errorf("the second Create changed files (-before +after):\n%s", diff)
	}
}

// TestCreateGoesOn: whatever subset of the files an interrupted Create left, the next one finishes, and keeps what
// was there.
func TestCreateGoesOn(t *testing.T) {
	whole := create(t, options(t))
	steps := []string{"identity.secret", "identity.public", "planet.key", "planet", "ca.key", "ca.pem", "node.key", "node.pem"}
	for n := range len(steps) + 1 {
		path := filepath.Join(t.TempDir(), "data")
		if err := os.Mkdir(path, 0o700); err != nil {
			t.Fatal(err)
		}
		left := map[string][]byte{}
		for _, name := range steps[:n] {
			b, err := os.ReadFile(filepath.Join(whole, name))
			if err != nil {
				t.Fatal(err)
			}
			left[name] = b
			if err := os.WriteFile(filepath.Join(path, name), b, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.WriteFile(filepath.Join(path, ".tmp-planet-123"), []byte("half"), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := datadir.Open(path); !errors.Is(err, datadir.ErrMissing) {
			t.Errorf("after %d steps: Open says %v, want ErrMissing", n, err)
		}
		d, err := datadir.OpenOrCreate(path, options(t))
		if err != nil {
			t.Errorf("after %d steps: %v", n, err)
			continue
		}
		for name, b := range left {
			if now, err := os.ReadFile(filepath.Join(path, name)); err != nil || !bytes.Equal(now, b) {
				t.Errorf("after %d steps: %s was replaced (%v)", n, name, err)
			}
		}
		if _, err := os.Stat(filepath.Join(path, ".tmp-planet-123")); err == nil {
			t.Error("a half-written file stayed")
		}
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestInUse(t *testing.T) {
	path := create(t, options(t))
	d, err := datadir.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	_, err = datadir.Open(path)
	if !errors.Is(err, datadir.ErrInUse) || !strings.Contains(err.Error(), "another rootd (pid ") {
		t.Errorf("second Open: %v", err)
	}
	if _, err := datadir.Read(path); err != nil {
		t.Errorf("Read beside a running rootd: %v", err)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	if d, err = datadir.Open(path); err != nil {
		t.Fatalf("after Close: %v", err)
	}
	_ = d.Close()
}

// TestRefused breaks a good directory in every way; each must be refused with the reason, and left as it is.
func TestRefused(t *testing.T) {
	good := create(t, options(t))
	otherOptions := options(t)
	otherOptions.Identity = identity(t, 1)
	other := create(t, otherOptions)

	write := func(name, content string, mode fs.FileMode) func(t *testing.T, dir string) {
		return func(t *testing.T, dir string) {
			path := filepath.Join(dir, name)
			if err := errors.Join(os.WriteFile(path, []byte(content), mode), os.Chmod(path, mode)); err != nil {
				t.Fatal(err)
			}
		}
	}
	remove := func(name string) func(t *testing.T, dir string) {
		return func(t *testing.T, dir string) {
			if err := os.Remove(filepath.Join(dir, name)); err != nil {
				t.Fatal(err)
			}
		}
	}
	swap := func(name string) func(t *testing.T, dir string) {
		return func(t *testing.T, dir string) {
			b, err := os.ReadFile(filepath.Join(other, name))
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	both := func(fs ...func(t *testing.T, dir string)) func(t *testing.T, dir string) {
		return func(t *testing.T, dir string) {
			for _, f := range fs {
				f(t, dir)
			}
		}
	}
	planet := func(change func([]byte) []byte) func(t *testing.T, dir string) {
		return func(t *testing.T, dir string) {
			path := filepath.Join(dir, "planet")
			b, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, change(b), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	chmod := func(name string, mode fs.FileMode) func(t *testing.T, dir string) {
		return func(t *testing.T, dir string) {
			if err := os.Chmod(filepath.Join(dir, name), mode); err != nil {
				t.Fatal(err)
			}
		}
	}
	invalid := identity(t, 0).SecretString()
	invalid = "0000000001" + invalid[10:]

	for _, c := range []struct {
		name   string
		damage func(t *testing.T, dir string)
		is     error
		want   string // in the text
		hint   string // in the hint
	}{
		{"world-readable secret", chmod("identity.secret", 0o644), datadir.ErrPermission, "identity.secret: holds a secret but other users may open it (mode 0644)", "chmod 600 "},
		{"group-readable key", chmod("planet.key", 0o640), datadir.ErrPermission, "planet.key: holds a secret", "chmod 600 "},
		{"world-writable directory", chmod(".", 0o777), datadir.ErrPermission, "any user may put files into it", "chmod 700 "},
		{"no secret", remove("identity.secret"), datadir.ErrBroken, "identity.secret: is missing", "backup"},
		{"empty secret", write("identity.secret", "", 0o600), datadir.ErrBroken, "identity.secret: ", "backup"},
		{"garbage secret", write("identity.secret", "x:0:y:z", 0o600), datadir.ErrBroken, "identity.secret: ", "backup"},
		{"identity that does not validate", both(write("identity.secret", invalid, 0o600), remove("identity.public")), datadir.ErrBroken, "identity.secret: ", "no client would believe"},
		{"secret of another root", swap("identity.secret"), datadir.ErrBroken, "identity.public: belongs to another identity", "right pair"},
		{"both identity files of another root", both(swap("identity.secret"), swap("identity.public")), datadir.ErrForeign, "planet: names other roots", "right pair"},
		{"no planet", remove("planet"), datadir.ErrBroken, "planet: is missing", "client"},
		{"planet cut short", planet(func(b []byte) []byte { return b[:len(b)-1] }), datadir.ErrBroken, "planet: damaged", "client"},
		{"planet with more behind", planet(func(b []byte) []byte { return append(b, 0) }), datadir.ErrBroken, "1 bytes after its end", ""},
		{"planet with a flipped bit", planet(func(b []byte) []byte { b[len(b)-3] ^= 1; return b }), datadir.ErrBroken, "not signed by its own key", ""},
		{"planet of another root", swap("planet"), datadir.ErrForeign, "names other roots", ""},
		{"key of another planet", swap("planet.key"), datadir.ErrBroken, "is not the key that signs this planet", "right key"},
		{"garbage key", write("planet.key", "secret!", 0o600), datadir.ErrBroken, "planet.key: ", "backup"},
		{"garbage meta", write("rootd.json", "{", 0o644), datadir.ErrBroken, "rootd.json: damaged", "backup"},
		{"empty meta", write("rootd.json", "{}", 0o644), datadir.ErrBroken, "fields are missing", "backup"},
		{"short cluster ID", write("rootd.json", `{"format":1,"name":"m1","cluster":"0123456789abcdef"}`, 0o644), datadir.ErrBroken, "fields are missing", ""},
		{"newer format", write("rootd.json", `{"format":99,"name":"m1","cluster":"0123456789abcdef0123456789abcdef"}`, 0o644), datadir.ErrForeign, "format 99, this rootd knows up to 2", "newer rootd"},
		{"group-readable CA key", chmod("ca.key", 0o640), datadir.ErrPermission, "ca.key: holds a secret", "chmod 600 "},
		{"group-readable node key", chmod("node.key", 0o640), datadir.ErrPermission, "node.key: holds a secret", "chmod 600 "},
		{"garbage CA key", write("ca.key", "x", 0o600), datadir.ErrBroken, "ca.key: ", "backup"},
		{"garbage CA", write("ca.pem", "x", 0o644), datadir.ErrBroken, "ca.pem: ", "another member"},
		{"no CA", remove("ca.pem"), datadir.ErrBroken, "ca.pem: is missing", "another member"},
		{"no node key", remove("node.key"), datadir.ErrBroken, "node.key: is missing", "backup"},
		{"no certificate", remove("node.pem"), datadir.ErrBroken, "node.pem: is missing", "backup"},
		{"another member's key", swap("node.key"), datadir.ErrBroken, "node.pem: ", "backup"},
		{"another cluster's CA key", swap("ca.key"), datadir.ErrBroken, "ca.key: is of cluster", "right ones"},
		{"another cluster's files", both(swap("ca.pem"), swap("node.pem"), swap("node.key")), datadir.ErrBroken, "is of member 1", "right ones"},
		{"joined, but no member", write("rootd.json", `{"format":2,"name":"m1","joined":true,"cluster":"0123456789abcdef0123456789abcdef"}`, 0o644), datadir.ErrBroken, "fields are missing", ""},
		{"foreign directory", both(remove("rootd.json"), write("family.jpg", "", 0o644)), datadir.ErrForeign, "it holds family.jpg", "empty"},
		{"home of zerotier-one", both(remove("rootd.json"), write("controller.d", "", 0o644)), datadir.ErrForeign, "it holds controller.d", "rootctl init"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "data")
			if err := os.CopyFS(dir, os.DirFS(good)); err != nil {
				t.Fatal(err)
			}
			chmod(".", 0o700)(t, dir)
			for _, secret := range []string{"identity.secret", "planet.key", "ca.key", "node.key", "lock"} {
				chmod(secret, 0o600)(t, dir)
			}
			if _, err := datadir.Read(dir); err != nil {
				t.Fatalf("the copy is not good: %v", err)
			}
			_ = os.Remove(filepath.Join(dir, "lock")) // a refusal must not even make this
			c.damage(t, dir)
			before := files(t, dir)
			_, err := datadir.OpenOrCreate(dir, options(t))
			if err == nil {
				t.Fatal("accepted")
			}
			e, ok := errors.AsType[*datadir.Error](err)
			if !ok {
				t.Fatalf("%T has no hint: %v", err, err)
			}
			if !errors.Is(err, c.is) {
				t.Errorf("%v is not %v", err, c.is)
			}
			if !strings.Contains(err.Error(), c.want) || !strings.Contains(e.Hint(), c.hint) {
				t.Errorf("got %q, hint %q\nwant %q, hint %q", err, e.Hint(), c.want, c.hint)
			}
			if secret := identity(t, 0).SecretString(); strings.Contains(err.Error()+e.Hint(), secret[len(secret)-64:]) {
				t.Error("the error shows the secret")
			}
			if diff := cmp.Diff(before, files(t, dir)); diff != "" {
				t.Errorf("refused, but changed (-before +after):\n%s", diff)
			}
		})
	}
}

func TestCreateRefused(t *testing.T) {
	good := create(t, options(t))
	for _, c := range []struct {
		name   string
		change func(*datadir.Options)
		want   string
	}{
		{"no name", func(o *datadir.Options) { o.Name = "" }, "no member name"},
		{"no endpoint", func(o *datadir.Options) { o.Endpoints = nil }, "no endpoint"},
		{"33 endpoints", func(o *datadir.Options) {
			o.Endpoints = make([]netip.AddrPort, 33)
		}, "33 endpoints, a planet holds at most 32"},
		{"built-in world", func(o *datadir.Options) { o.WorldID = vl1.WorldIDEarth }, "built with"},
		{"planet without identity", func(o *datadir.Options) { o.Planet, o.Identity = []byte{1}, nil }, "without the identity"},
		{"damaged planet", func(o *datadir.Options) { o.Planet = []byte{1} }, "damaged"},
	} {
		o := options(t)
		c.change(&o)
		path := filepath.Join(t.TempDir(), "data")
		if _, err := datadir.Create(path, o); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v lacks %q", c.name, err, c.want)
		}
		if _, err := os.Stat(path); err == nil {
			t.Errorf("%s: refused, but made a directory", c.name)
		}
	}
	o := options(t)
	o.Identity = identity(t, 1)
	before := files(t, good)
	if _, err := datadir.Create(good, o); !errors.Is(err, datadir.ErrForeign) || !strings.Contains(err.Error(), "already belongs to the root "+identity(t, 0).Address.String()) {
		t.Errorf("other identity: %v", err)
	}
	after := files(t, good)
	delete(before, "/lock") // holds the process ID
	delete(after, "/lock")
	if !maps.Equal(before, after) {
		t.Error("refused, but changed")
	}
}

// TestTakeOver moves an existing root, its planet and its key into a data directory.
func TestTakeOver(t *testing.T) {
	old, err := datadir.Read(create(t, options(t)))
	if err != nil {
		t.Fatal(err)
	}
	for _, withKey := range []bool{true, false} {
		o := datadir.Options{Name: "m1", Identity: old.Identity, Planet: old.PlanetRaw, Now: time.Now()}
		if withKey {
			o.Key = old.SigningKey
		}
		d, err := datadir.Read(create(t, o))
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(d.PlanetRaw, old.PlanetRaw) {
			t.Error("another planet")
		}
		if got := d.SigningKey != nil; got != withKey {
			t.Errorf("has a signing key: %v, want %v", got, withKey)
		}
	}
	key, err := vl1.GenerateSigningKey()
	if err != nil {
		t.Fatal(err)
	}
	o := datadir.Options{Name: "m1", Identity: old.Identity, Planet: old.PlanetRaw, Key: key}
	if _, err := datadir.Create(filepath.Join(t.TempDir(), "d"), o); !errors.Is(err, datadir.ErrForeign) {
		t.Errorf("with a wrong key: %v", err)
	}
}

func TestSetPlanet(t *testing.T) {
	d, err := datadir.Open(create(t, options(t)))
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	next := *d.Planet
	next.Timestamp++
	next.Sign(d.SigningKey)
	raw := next.AppendBinary(nil)
	if err := d.SetPlanet(raw); err != nil {
		t.Fatal(err)
	}
	again, err := datadir.Read(d.Path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(again.PlanetRaw, raw) || again.Fingerprint() != datadir.Fingerprint(raw) {
		t.Error("the new planet is not on disk")
	}
	raw[20] ^= 1
	if err := d.SetPlanet(raw); !errors.Is(err, datadir.ErrBroken) {
		t.Errorf("damaged planet: %v", err)
	}
	if now, err := datadir.Read(d.Path); err != nil || now.Planet.Timestamp != next.Timestamp {
		t.Errorf("a refused planet changed the file: %v", err)
	}
}

// A member of several that lost its log must not begin another one: it forgot what it voted for.
func TestLogIsGone(t *testing.T) {
	path := filepath.Join(t.TempDir(), "m1")
	d, err := datadir.Create(path, datadir.Options{Name: "m1", Endpoints: []netip.AddrPort{netip.MustParseAddrPort("192.0.2.1:9993")}, Now: time.UnixMilli(1700000000000)})
	if err != nil {
		t.Fatal(err)
	}
	check := func(want bool) {
		t.Helper()
		d, err := datadir.OpenOrCreate(path, datadir.Options{Now: time.Now()})
		if err != nil {
			t.Fatal(err)
		}
		defer d.Close()
		if gone := d.LogIsGone(); gone != want {
			t.Errorf("the log is gone: %v", gone)
		}
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	check(false) // alone, it begins one
	if err := d.SetContacts([]datadir.Contact{{Member: 2, Name: "m2", Address: "192.0.2.2:9995"}}); err != nil {
		t.Fatal(err)
	}
	check(true)
	if d, err = datadir.Read(path); err != nil || d.Meta.Founds() || len(d.Meta.Contacts) != 1 || d.Meta.Contacts[0].Name != "m2" {
		t.Errorf("%+v, %v", d, err)
	}
	if err := errors.Join(os.MkdirAll(d.RaftDir(), 0o700), os.WriteFile(filepath.Join(d.RaftDir(), "raft.db"), nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	check(false)
}
