package snapshot_test

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"filippo.io/age"
	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/rootd/rootd/fsm"
	"github.com/rootd/rootd/snapshot"
)

func newIdentity(t testing.TB) *age.X25519Identity {
	t.Helper()
	id, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// What was written comes back: the state to the byte, what is said of it, the secrets. Also in the format of the version before.
func TestRoundTrip(t *testing.T) {
	defer goleak.VerifyNone(t)
	for peers, level := range map[int]string{0: "1", 1: "2", 35_000: "2", 35_001: "1"} { // the last ones take several chunks
		c := newClusterAt(t, level, peers)
		b, key := c.sealed()
		if got, want := restored(t, b).Hash(), c.Hash(); got != want {
			t.Errorf("%d peers: state hash %s, want %s", peers, got, want)
		}
		a := open(t, b)
		if err := a.Verify(); err != nil {
			t.Fatal(err)
		}
		f := c.freeze()
		want := c.meta(f)
		f.Release()
		got := *a.Meta()
		if got.Secrets.Seal != snapshot.SealRecipients || got.Secrets.Identity != c.secrets.Identity.Address.String() {
			t.Errorf("secrets %+v", got.Secrets)
		}
		if !got.HoldsPlanetKey() {
			t.Error("the planet's key is not found")
		}
		got.Secrets, want.Created = want.Secrets, got.Created
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("metadata (-want +got):\n%s", d)
		}
		s, err := a.OpenSecrets(key)
		if err != nil {
			t.Fatal(err)
		}
		if s.Identity.SecretString() != c.secrets.Identity.SecretString() || s.PlanetKey.SecretString() != c.secrets.PlanetKey.SecretString() {
			t.Error("other secrets came back")
		}
		if !bytes.Equal(pemOf(t, s), pemOf(t, &c.secrets)) {
			t.Error("another authority came back")
		}
		if n := len(a.Sections()); n != 4 {
			t.Errorf("%d sections", n)
		}
	}
}

func pemOf(t testing.TB, s *snapshot.Secrets) []byte {
	t.Helper()
	b, err := s.Authority.PEM()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// Without a seal a file holds no secret, and says so.
func TestNoSecrets(t *testing.T) {
	c := newCluster(t, 10)
	b := c.archive(c.secrets, snapshot.Seal{})
	a := open(t, b)
	if err := a.Verify(); err != nil {
		t.Fatal(err)
	}
	if a.Meta().Secrets.Any() || a.Meta().HoldsPlanetKey() {
		t.Errorf("it says it has secrets: %+v", a.Meta().Secrets)
	}
	if _, err := a.OpenSecrets(snapshot.Key{}); !errors.Is(err, snapshot.ErrNoSecret) {
		t.Errorf("open secrets: %v", err)
	}
	for _, secret := range []string{c.secrets.Identity.SecretString()[150:], c.secrets.PlanetKey.SecretString()[130:], "PRIVATE"} {
		if bytes.Contains(b, []byte(secret)) {
			t.Error("a secret is in it")
		}
	}
}

func TestSeals(t *testing.T) {
	c := newCluster(t, 3)
	b, key := c.sealed()
	other, err := snapshot.ParseKey(newIdentity(t).String())
	if err != nil {
		t.Fatal(err)
	}
	phrase, err := snapshot.SealWith("correct horse battery")
	if err != nil {
		t.Fatal(err)
	}
	right, err := snapshot.Passphrase("correct horse battery")
	if err != nil {
		t.Fatal(err)
	}
	wrong, err := snapshot.Passphrase("correct horse batterx")
	if err != nil {
		t.Fatal(err)
	}
	p := c.archive(c.secrets, snapshot.Quick(phrase))
	tests := []struct {
		name string
		b    []byte
		key  snapshot.Key
		want error
		why  string
	}{
		{"its key", b, key, nil, ""},
		{"another key", b, other, snapshot.ErrSealed, "none of the keys"},
		{"no key", b, snapshot.Key{}, snapshot.ErrSealed, "no key was given"},
		{"passphrase for a key", b, right, snapshot.ErrSealed, "none of the keys"},
		{"its passphrase", p, right, nil, ""},
		{"another passphrase", p, wrong, snapshot.ErrSealed, "passphrase is wrong"},
		{"key for a passphrase", p, key, snapshot.ErrSealed, "passphrase"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			a := open(t, tt.b)
			if _, err := a.OpenSecrets(tt.key); err == nil {
				t.Error("secrets opened before the archive was read")
			}
			if err := a.Verify(); err != nil {
				t.Fatal(err)
			}
			s, err := a.OpenSecrets(tt.key)
			if !errors.Is(err, tt.want) || err != nil && !strings.Contains(err.Error(), tt.why) {
				t.Errorf("error %v, want %v", err, tt.want)
			}
			if err == nil && s.Identity.SecretString() != c.secrets.Identity.SecretString() {
				t.Error("other secrets")
			}
		})
	}
}

// Secrets of one archive do not open in another, though each is whole by itself.
func TestSecretsBelongToTheirArchive(t *testing.T) {
	c := newCluster(t, 3)
	id := newIdentity(t)
	seal, err := snapshot.SealTo(id.Recipient().String())
	if err != nil {
		t.Fatal(err)
	}
	key, err := snapshot.ParseKey(id.String())
	if err != nil {
		t.Fatal(err)
	}
	old := c.archive(c.secrets, seal)
	c.addPeers(100, 1)
	forged := transplant(t, old, c.archive(c.secrets, seal))
	a := open(t, forged)
	if err := a.Verify(); err != nil {
		t.Fatalf("the forgery is not as good as it should be: %v", err)
	}
	if _, err := a.OpenSecrets(key); !errors.Is(err, snapshot.ErrDamaged) || !strings.Contains(err.Error(), "another archive") {
		t.Errorf("open secrets: %v", err)
	}
}

func TestSealRefuses(t *testing.T) {
	id := newIdentity(t)
	for name, recipient := range map[string]string{"nothing": "", "nonsense": "age1xyz", "a secret": id.String(), "two": id.Recipient().String() + "\n" + id.Recipient().String()} {
		_, err := snapshot.SealTo(recipient)
		if err == nil {
			t.Errorf("%s is taken for a recipient", name)
		} else if strings.Contains(err.Error(), "SECRET") {
			t.Errorf("the error repeats a secret: %v", err)
		}
	}
	if _, err := snapshot.SealTo(); err == nil {
		t.Error("no recipients are enough")
	}
	if _, err := snapshot.SealWith("short"); err == nil {
		t.Error("a short passphrase is taken")
	}
	if _, err := snapshot.ParseKey("# a comment\nAGE-SECRET-KEY-1XYZ\n"); err == nil || strings.Contains(err.Error(), "XYZ") {
		t.Errorf("bad key file: %v", err)
	}
}

// Reading does not depend on how the bytes arrive.
func TestSmallReads(t *testing.T) {
	c := newCluster(t, 50)
	b, _ := c.sealed()
	a, err := snapshot.Open(iotest.OneByteReader(bytes.NewReader(b)))
	if err != nil {
		t.Fatal(err)
	}
	var state bytes.Buffer
	if _, err := io.CopyBuffer(struct{ io.Writer }{&state}, iotest.HalfReader(a.State()), make([]byte, 7)); err != nil {
		t.Fatal(err)
	}
	f, err := c.Freeze()
	if err != nil {
		t.Fatal(err)
	}
	defer f.Release()
	var want bytes.Buffer
	if err := f.Write(&want); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(state.Bytes(), want.Bytes()) {
		t.Error("the state changed on its way")
	}
}

// A disk that is full, or a state that breaks off, at any moment: an error, the right one, and nothing goes on running.
func TestWriteFails(t *testing.T) {
	defer goleak.VerifyNone(t)
	c := newCluster(t, 35_000)
	f, err := c.Freeze()
	if err != nil {
		t.Fatal(err)
	}
	defer f.Release()
	errFull, errBroken := errors.New("disk full"), errors.New("state broke off")
	whole := int64(len(c.archive(c.secrets, snapshot.Seal{})))
	for left := int64(0); left < whole; left += whole/4 + 1 {
		var out bytes.Buffer
		_, err := snapshot.Write(&limited{w: &out, left: left, err: errFull}, c.meta(f), f.Write, c.secrets, snapshot.Seal{})
		if !errors.Is(err, errFull) {
			t.Fatalf("full after %d bytes: %v", left, err)
		}
		if err := check(out.Bytes()); err == nil {
			t.Fatalf("the first %d bytes pass for an archive", left)
		}
		state := func(w io.Writer) error { return f.Write(&limited{w: w, left: left, err: errBroken}) }
		out.Reset()
		if _, err = snapshot.Write(&out, c.meta(f), state, c.secrets, snapshot.Seal{}); !errors.Is(err, errBroken) {
			t.Fatalf("state breaks off after %d bytes: %v", left, err)
		}
		if err := check(out.Bytes()); err == nil {
			t.Fatalf("an archive of a state of %d bytes passes", left)
		}
	}
	nothing := func(io.Writer) error { return nil }
	if _, err := snapshot.Write(io.Discard, c.meta(f), nothing, c.secrets, snapshot.Seal{}); err == nil {
		t.Error("an archive without a state was made")
	}
}

type limited struct {
	w    io.Writer
	left int64
	err  error
}

func (l *limited) Write(b []byte) (int, error) {
	if int64(len(b)) > l.left {
		n, _ := l.w.Write(b[:l.left])
		l.left = 0
		return n, l.err
	}
	l.left -= int64(len(b))
	return l.w.Write(b)
}

// The state is frozen: what is applied while the archive is written is not in it.
func TestWritesWhatWasFrozen(t *testing.T) {
	c := newCluster(t, 30_000)
	want := c.Hash()
	f, err := c.Freeze()
	if err != nil {
		t.Fatal(err)
	}
	defer f.Release()
	var b bytes.Buffer
	added := false
	state := func(w io.Writer) error {
		return f.Write(writerFunc(func(p []byte) (int, error) {
			if !added {
				c.addPeers(1_000_000, 3000)
				c.do(fsm.Changes{{Address: 1, Key: change(1).Key, Planet: 5}})
				added = true
			}
			return w.Write(p)
		}))
	}
	if _, err := snapshot.Write(&b, c.meta(f), state, c.secrets, snapshot.Seal{}); err != nil {
		t.Fatal(err)
	}
	if got := restored(t, b.Bytes()).Hash(); got != want || c.Hash() == want {
		t.Errorf("archive has state %s, want %s; now it is %s", got, want, c.Hash())
	}
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(b []byte) (int, error) { return f(b) }
