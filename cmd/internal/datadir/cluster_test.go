package datadir_test

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/rootd/rootd/cmd/internal/datadir"
	"github.com/rootd/rootd/packetpath/vl1"
	"github.com/rootd/rootd/transport/pki"
)

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// old turns a directory into one that a version without clusters made.
func old(t *testing.T, path string) {
	t.Helper()
	for _, name := range []string{"ca.pem", "ca.key", "node.pem", "node.key"} {
		if err := os.Remove(filepath.Join(path, name)); err != nil {
			t.Fatal(err)
		}
	}
	var m map[string]any
	file := filepath.Join(path, "rootd.json")
	if err := json.Unmarshal(must(os.ReadFile(file)), &m); err != nil {
		t.Fatal(err)
	}
	delete(m, "member")
	if err := os.WriteFile(file, must(json.Marshal(m)), 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestFirstMember(t *testing.T) {
	o := options(t)
	o.Cluster = "alice"
	path := create(t, o)
	d := must(datadir.Open(path))
	defer d.Close()
	self := d.Keys.Credential.Self()
	if d.Meta.Member != 1 || d.Meta.Joined || d.Meta.ClusterLabel() != "alice" || self.ID != 1 || self.Name != "m1" || self.Cluster != d.Meta.ClusterID() {
		t.Errorf("meta %+v, certificate of %v", d.Meta, self)
	}
	if d.Authority == nil || d.Authority.Cluster() != self.Cluster || !d.Keys.Bundle.Has(d.Authority.Fingerprint()) {
		t.Errorf("authority %v", d.Authority)
	}
	if left := time.Until(self.NotAfter); left < pki.MemberLife-time.Hour {
		t.Errorf("the certificate is good for %v, whatever the planet's time", left)
	}
	if err := d.SetAddress("192.0.2.1:9995"); err != nil {
		t.Fatal(err)
	}

	// A renewal, and a CA that is rotated.
	next := must(pki.NewAuthority(self.Cluster, "next", time.Now()))
	bundle := must(d.Keys.Bundle.With(next.Certificate()))
	chain := must(next.Sign(must(pki.NewRequest(d.Keys.Credential.Key())), self.Member, time.Now(), 0))
	keys := pki.Keys{Credential: must(pki.NewCredential(d.Keys.Credential.Key(), chain)), Bundle: bundle}
	if err := errors.Join(d.SaveKeys(keys), d.SaveAuthority(next)); err != nil {
		t.Fatal(err)
	}
	again := must(datadir.Read(path))
	if again.Keys.Credential.Self().Serial != keys.Credential.Self().Serial || len(again.Keys.Bundle.Fingerprints()) != 2 || again.Authority.Fingerprint() != next.Fingerprint() || again.Meta.Address != "192.0.2.1:9995" {
		t.Errorf("read back %v, %v, %+v", again.Keys.Credential, again.Authority, again.Meta)
	}

	// What is not ours is not stored.
	before := files(t, path)
	other := must(pki.NewAuthority(pki.ClusterID{9}, "other", time.Now()))
	k := must(pki.NewKey())
	mine := must(pki.NewCredential(k, must(next.Sign(must(pki.NewRequest(k)), self.Member, time.Now(), 0))))
	second := self.Member
	second.ID = 2
	for name, err := range map[string]error{
		"another cluster's CA":   d.SaveAuthority(other),
		"another key":            d.SaveKeys(pki.Keys{Credential: mine, Bundle: bundle}),
		"another member":         d.SaveKeys(pki.Keys{Credential: must(pki.NewCredential(d.Keys.Credential.Key(), must(next.Sign(must(pki.NewRequest(d.Keys.Credential.Key())), second, time.Now(), 0)))), Bundle: bundle}),
		"CA that is not trusted": d.SaveKeys(pki.Keys{Credential: keys.Credential, Bundle: must(pki.NewBundle(again.Keys.Bundle.Certificates()[0]))}),
	} {
		if err == nil {
			t.Errorf("%s: stored", name)
		}
	}
	if diff := cmp.Diff(before, files(t, path)); diff != "" {
		t.Errorf("refused, but changed:\n%s", diff)
	}
}

// TestUpgrade: a directory of a version without clusters becomes that of a first member when it is opened, and not before;
// interrupted at any step, the next Open goes on.
func TestUpgrade(t *testing.T) {
	whole := create(t, options(t))
	steps := []string{"ca.key", "ca.pem", "node.key", "node.pem"}
	for n := range len(steps) + 1 {
		path := create(t, options(t))
		old(t, path)
		cluster := must(datadir.Read(path)).Meta.Cluster
		if n > 0 { // files of an interrupted upgrade: they are of this cluster
			d := must(datadir.Open(path))
			_ = d.Close()
			kept := map[string][]byte{}
			for _, name := range steps[:n] {
				kept[name] = must(os.ReadFile(filepath.Join(path, name)))
			}
			old(t, path)
			for name, b := range kept {
				if err := os.WriteFile(filepath.Join(path, name), b, 0o600); err != nil {
					t.Fatal(err)
				}
			}
		}
		before := files(t, path)
		if d := must(datadir.Read(path)); d.Meta.Member != 0 || d.Keys.Credential != nil {
			t.Errorf("Read of an old directory: %+v", d.Meta)
		}
		if diff := cmp.Diff(before, files(t, path)); diff != "" {
			t.Errorf("Read changed it:\n%s", diff)
		}
		d, err := datadir.Open(path)
		if err != nil {
			t.Fatalf("after %d steps: %v", n, err)
		}
		if d.Meta.Member != 1 || d.Meta.Cluster != cluster || d.Keys.Credential.Self().ID != 1 || d.Authority == nil || d.Meta.Format != 1 {
			t.Errorf("after %d steps: %+v", n, d.Meta)
		}
		_ = d.Close()
		if again := must(datadir.Read(path)); again.Keys.Credential.Self().Serial != d.Keys.Credential.Self().Serial {
			t.Error("read back another certificate")
		}
	}

	// With files of another cluster it is refused, and left.
	path := create(t, options(t))
	old(t, path)
	if err := os.WriteFile(filepath.Join(path, "ca.key"), must(os.ReadFile(filepath.Join(whole, "ca.key"))), 0o600); err != nil {
		t.Fatal(err)
	}
	before := files(t, path)
	if _, err := datadir.Open(path); !errors.Is(err, datadir.ErrBroken) || !strings.Contains(err.Error(), "ca.key: is of cluster") {
		t.Errorf("with the CA of another cluster: %v", err)
	}
	after := files(t, path)
	delete(before, "/lock")
	delete(after, "/lock")
	if diff := cmp.Diff(before, after); diff != "" {
		t.Errorf("refused, but changed:\n%s", diff)
	}
}

// cluster is one to join.
type cluster struct {
	ca  *pki.Authority
	dir *datadir.Dir
}

func newCluster(t *testing.T) *cluster {
	d := must(datadir.Read(create(t, options(t))))
	return &cluster{d.Authority, d}
}

// joined is what the cluster hands out to the key.
func (c *cluster) joined(k *pki.Key) datadir.Joined {
	m := pki.Member{Cluster: c.ca.Cluster(), ID: 7, Name: "m7"}
	return datadir.Joined{
		Name: "m7", Address: "192.0.2.7:9995", Endpoints: c.dir.Planet.Roots[0].Endpoints, ClusterName: "alice",
		Keys:      pki.Keys{Credential: must(pki.NewCredential(k, must(c.ca.Sign(must(pki.NewRequest(k)), m, time.Now(), 0)))), Bundle: c.dir.Keys.Bundle},
		Authority: c.ca, Identity: c.dir.Identity, Planet: c.dir.PlanetRaw, PlanetKey: c.dir.SigningKey, Now: time.Now(),
		Contacts: []datadir.Contact{{Member: 1, Name: "m1", Address: "192.0.2.1:9995"}},
	}
}

func TestJoin(t *testing.T) {
	c := newCluster(t)
	ca := c.ca.Fingerprint()
	path := filepath.Join(t.TempDir(), "a", "data")
	if f, err := datadir.FindJoin(path, ca); err != nil || f.Dir != nil || f.Key != nil {
		t.Fatalf("%+v, %v", f, err)
	}
	j := must(datadir.BeginJoin(path, ca, time.Now()))
	if j.Resumed {
		t.Error("resumed what was never begun")
	}
	if _, err := datadir.BeginJoin(path, ca, time.Now()); !errors.Is(err, datadir.ErrInUse) {
		t.Errorf("two joins at a time: %v", err)
	}
	// Nobody makes a root of it meanwhile.
	_ = j.Close()
	before := files(t, path)
	for name, f := range map[string]func() (*datadir.Dir, error){
		"Open":         func() (*datadir.Dir, error) { return datadir.Open(path) },
		"OpenOrCreate": func() (*datadir.Dir, error) { return datadir.OpenOrCreate(path, options(t)) },
		"Create":       func() (*datadir.Dir, error) { return datadir.Create(path, options(t)) },
	} {
		if _, err := f(); err == nil || !strings.Contains(err.Error(), "a join was begun here") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := datadir.BeginJoin(path, pki.Fingerprint{1}, time.Now()); !errors.Is(err, datadir.ErrForeign) {
		t.Errorf("a join into another cluster: %v", err)
	}
	if diff := cmp.Diff(before, files(t, path)); diff != "" {
		t.Errorf("refused, but changed:\n%s", diff)
	}

	k := j.Key
	j = must(datadir.BeginJoin(path, ca, time.Now()))
	if !j.Resumed || string(must(j.Key.PEM())) != string(must(k.PEM())) {
		t.Error("another key the second time")
	}
	d, err := j.Finish(c.joined(j.Key))
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(d.Close(), j.Close()); err != nil {
		t.Fatal(err)
	}
	d = must(datadir.Open(path))
	defer d.Close()
	if !d.Meta.Joined || d.Meta.Member != 7 || d.Meta.Format != 2 || d.Meta.Name != "m7" || d.Meta.Cluster != c.dir.Meta.Cluster || len(d.Meta.Contacts) != 1 || len(d.Meta.Endpoints) != 2 || d.Meta.Address != "192.0.2.7:9995" {
		t.Errorf("meta %+v", d.Meta)
	}
	if d.Identity.SecretString() != c.dir.Identity.SecretString() || d.SigningKey == nil || d.Authority == nil || d.Keys.Credential.Self().ID != 7 || d.Fingerprint() != c.dir.Fingerprint() {
		t.Error("not what was handed out")
	}
	for name, mode := range map[string]fs.FileMode{"identity.secret": 0o600, "planet.key": 0o600, "ca.key": 0o600, "node.key": 0o600, "ca.pem": 0o644, "node.pem": 0o644, "rootd.json": 0o644} {
		if fi := must(os.Stat(filepath.Join(path, name))); fi.Mode().Perm() != mode {
			t.Errorf("%s has mode %04o", name, fi.Mode().Perm())
		}
	}
	if _, err := os.Stat(filepath.Join(path, "join.json")); err == nil {
		t.Error("join.json stayed")
	}
	if f, err := datadir.FindJoin(path, ca); err != nil || f.Dir == nil || f.Dir.Meta.Member != 7 {
		t.Errorf("found %+v, %v", f, err)
	}
	if _, err := datadir.BeginJoin(path, ca, time.Now()); !errors.Is(err, fs.ErrExist) {
		t.Errorf("joined twice: %v", err)
	}
	if _, err := datadir.FindJoin(path, pki.Fingerprint{1}); !errors.Is(err, datadir.ErrForeign) {
		t.Errorf("another cluster's: %v", err)
	}
}

// TestJoinGoesOn: whatever an interrupted Finish has left, the next one completes it, with the same key.
func TestJoinGoesOn(t *testing.T) {
	c := newCluster(t)
	steps := []string{"join.json", "node.key", "ca.pem", "node.pem", "ca.key", "identity.secret", "identity.public", "planet.key", "planet", "rootd.json"}
	for n := range len(steps) + 1 {
		path := filepath.Join(t.TempDir(), "data")
		j := must(datadir.BeginJoin(path, c.ca.Fingerprint(), time.Now()))
		mark := must(os.ReadFile(filepath.Join(path, "join.json")))
		d := must(j.Finish(c.joined(j.Key)))
		_ = d.Close()
		if err := os.WriteFile(filepath.Join(path, "join.json"), mark, 0o644); err != nil { // its removal is the last step
			t.Fatal(err)
		}
		for _, name := range steps[n:] {
			if err := os.Remove(filepath.Join(path, name)); err != nil {
				t.Fatal(err)
			}
		}
		if n == 0 { // not even the mark: as if nothing had happened but the lock
			if j, err := datadir.BeginJoin(path, c.ca.Fingerprint(), time.Now()); err != nil || j.Resumed {
				t.Errorf("from the lock alone: %v", err)
			} else {
				_ = j.Close()
			}
			continue
		}
		if n == len(steps) {
			d, err := datadir.Open(path)
			if err != nil || d.Meta.Member != 7 {
				t.Fatalf("finished but for the mark: %v", err)
			}
			_ = d.Close()
			if _, err := os.Stat(filepath.Join(path, "join.json")); err == nil {
				t.Error("the mark stayed")
			}
			continue
		}
		again, err := datadir.BeginJoin(path, c.ca.Fingerprint(), time.Now())
		if err != nil {
			t.Fatalf("after %d steps: %v", n, err)
		}
		if same := string(must(again.Key.PEM())) == string(must(j.Key.PEM())); same != (n > 1) {
			t.Errorf("after %d steps: same key %v", n, same)
		}
		if d, err = again.Finish(c.joined(again.Key)); err != nil {
			t.Fatalf("after %d steps: %v", n, err)
		}
		_ = d.Close()
	}
}

func TestJoinRefused(t *testing.T) {
	c := newCluster(t)
	stranger := must(pki.NewAuthority(pki.ClusterID{9}, "x", time.Now()))
	for name, change := range map[string]func(*datadir.Joined, *datadir.Joining){
		"no name":                    func(o *datadir.Joined, _ *datadir.Joining) { o.Name = "" },
		"certificate of another key": func(o *datadir.Joined, _ *datadir.Joining) { o.Keys = c.joined(must(pki.NewKey())).Keys },
		"CA of another cluster":      func(o *datadir.Joined, _ *datadir.Joining) { o.Authority = stranger },
		"bundle of another cluster": func(o *datadir.Joined, _ *datadir.Joining) {
			o.Keys.Bundle = must(pki.NewBundle(stranger.Certificate()))
		},
		"planet of another root": func(o *datadir.Joined, _ *datadir.Joining) { o.Identity = identity(t, 1) },
		"damaged planet":         func(o *datadir.Joined, _ *datadir.Joining) { o.Planet = o.Planet[1:] },
		"key of another planet":  func(o *datadir.Joined, _ *datadir.Joining) { o.PlanetKey = must(vl1.GenerateSigningKey()) },
		"another root's secret is there": func(_ *datadir.Joined, j *datadir.Joining) {
			if err := os.WriteFile(filepath.Join(j.Path, "identity.secret"), []byte(identity(t, 1).SecretString()), 0o600); err != nil {
				t.Fatal(err)
			}
		},
	} {
		path := filepath.Join(t.TempDir(), "data")
		j := must(datadir.BeginJoin(path, c.ca.Fingerprint(), time.Now()))
		o := c.joined(j.Key)
		change(&o, j)
		before := files(t, path)
		if _, err := j.Finish(o); err == nil {
			t.Errorf("%s: accepted", name)
		}
		if diff := cmp.Diff(before, files(t, path)); diff != "" {
			t.Errorf("%s: refused, but changed:\n%s", name, diff)
		}
		_ = j.Close()
	}

	path := filepath.Join(t.TempDir(), "data")
	j := must(datadir.BeginJoin(path, c.ca.Fingerprint(), time.Now()))
	if err := errors.Join(j.Abandon(), j.Close()); err != nil {
		t.Fatal(err)
	}
	if f, err := datadir.FindJoin(path, pki.Fingerprint{1}); err != nil || f.Key != nil {
		t.Errorf("an abandoned join is in the way: %+v, %v", f, err)
	}
	half := filepath.Join(t.TempDir(), "half")
	if err := errors.Join(os.Mkdir(half, 0o700), os.WriteFile(filepath.Join(half, "identity.secret"), []byte(identity(t, 1).SecretString()), 0o600)); err != nil {
		t.Fatal(err)
	}
	if _, err := datadir.BeginJoin(half, c.ca.Fingerprint(), time.Now()); !errors.Is(err, datadir.ErrForeign) {
		t.Errorf("into a half-made root: %v", err)
	}
}
