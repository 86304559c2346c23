package snapshot_test

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rootd/rootd/fsm"
	"github.com/rootd/rootd/fsm/table"
	"github.com/rootd/rootd/snapshot"
)

// refused complains about an archive that was taken, or refused for no reason of ours.
func refused(b []byte) error {
	err := check(b)
	e, ours := errors.AsType[*snapshot.Error](err)
	switch {
	case err == nil:
		return errors.New("it was taken")
	case !ours || e.Hint() == "":
		return fmt.Errorf("refused without a way out: %w", err)
	case !errors.Is(err, snapshot.ErrDamaged) && !errors.Is(err, snapshot.ErrForeign) && !errors.Is(err, snapshot.ErrTooNew):
		return fmt.Errorf("refused for another reason: %w", err)
	}
	return nil
}

// Every byte of an archive is guarded: with a bit flipped, another one at each byte, or all eight, it is refused.
func TestEveryFlipIsDetected(t *testing.T) {
	c := newCluster(t, 3)
	b, _ := c.sealed()
	if err := check(b); err != nil {
		t.Fatal(err)
	}
	for i := range b {
		for _, bits := range []byte{1 << (i % 8), 255} {
			b[i] ^= bits
			if err := refused(b); err != nil {
				t.Fatalf("byte %d of %d ^ %#02x: %v", i, len(b), bits, err)
			}
			b[i] ^= bits
		}
	}
	t.Logf("%d flips in %d bytes", 2*len(b), len(b))
}

// No beginning of an archive is an archive, nor is one with anything added, or with a byte missing.
func TestCutAndLonger(t *testing.T) {
	c := newCluster(t, 20)
	b, _ := c.sealed()
	for i := 0; i < len(b); i += 7 {
		if err := refused(b[:i]); err != nil {
			t.Fatalf("cut after %d of %d bytes: %v", i, len(b), err)
		}
	}
	for _, more := range [][]byte{{0}, {1}, make([]byte, 512), make([]byte, 10240), b} {
		if err := refused(append(bytes.Clone(b), more...)); err != nil {
			t.Errorf("%d bytes more: %v", len(more), err)
		}
	}
	for i := 0; i < len(b); i += 97 {
		if err := refused(append(bytes.Clone(b[:i]), b[i+1:]...)); err != nil {
			t.Fatalf("without byte %d: %v", i, err)
		}
	}
}

type entry struct {
	name    string
	content []byte
}

func entries(t testing.TB, archive []byte) (es []entry, h *tar.Header) {
	t.Helper()
	r := tar.NewReader(bytes.NewReader(archive))
	for {
		next, err := r.Next()
		if errors.Is(err, io.EOF) {
			return es, h
		}
		if err != nil {
			t.Fatal(err)
		}
		h = next
		b, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		es = append(es, entry{h.Name, b})
	}
}

// join makes an archive of entries, with checksums that fit unless it is told otherwise.
func join(t testing.TB, es []entry, like *tar.Header, sums bool) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	var text strings.Builder
	for _, e := range es {
		if e.name == "SHA256SUMS" && sums {
			e.content = []byte(text.String())
		}
		fmt.Fprintf(&text, "%x  %s\n", sha256.Sum256(e.content), e.name)
		h := &tar.Header{Typeflag: tar.TypeReg, Name: e.name, Size: int64(len(e.content)), Mode: 0o600, ModTime: like.ModTime, Format: tar.FormatUSTAR}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(e.content); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// transplant puts the secrets of one archive into another, with all checksums right.
func transplant(t testing.TB, from, into []byte) []byte {
	t.Helper()
	fs, _ := entries(t, from)
	es, h := entries(t, into)
	for i := range es {
		for _, f := range fs {
			if es[i].name == "secrets.age" && f.name == es[i].name {
				es[i].content = f.content
			}
		}
	}
	return join(t, es, h, true)
}

// Archives whose checksums are right and that are wrong all the same.
func TestRefuses(t *testing.T) {
	c := newCluster(t, 20)
	b, _ := c.sealed()
	es, h := entries(t, b)
	if got := join(t, es, h, true); !bytes.Equal(got, b) {
		t.Fatal("an archive taken apart and put together is another")
	}
	with := func(change func([]entry) []entry) []byte {
		clone := make([]entry, len(es))
		copy(clone, es)
		return join(t, change(clone), h, true)
	}
	meta := func(old, now string) []byte {
		return with(func(es []entry) []entry {
			if !bytes.Contains(es[0].content, []byte(old)) {
				t.Fatalf("%q is not in %s", old, es[0].content)
			}
			es[0].content = bytes.Replace(es[0].content, []byte(old), []byte(now), 1)
			return es
		})
	}
	tests := []struct {
		name string
		b    []byte
		err  error
		why  string
	}{
		{"empty", nil, snapshot.ErrForeign, "empty"},
		{"foreign", []byte("PK\x03\x04" + strings.Repeat("x", 5000)), snapshot.ErrForeign, "does not begin"},
		{"foreign and short", []byte("hello"), snapshot.ErrForeign, "does not begin"},
		{"another tar", with(func(es []entry) []entry { es[0].name = "meta.json"; return es }), snapshot.ErrForeign, "does not begin"},
		{"a state", []byte("rootdfsm" + strings.Repeat("x", 5000)), snapshot.ErrForeign, "does not begin"},
		{"newer", meta(`"format": 1`, `"format": 2`), snapshot.ErrTooNew, "format 2"},
		{"newer with new fields", meta(`"format": 1`, `"future": {}, "format": 7`), snapshot.ErrTooNew, "format 7"},
		{"no format", meta(`"format": 1`, `"format": 0`), snapshot.ErrDamaged, "cannot be read"},
		{"unknown field", meta(`"format": 1`, `"format": 1, "x": 1`), snapshot.ErrDamaged, "unknown field"},
		{"unknown seal", meta(`"seal": "recipients"`, `"seal": "wax"`), snapshot.ErrDamaged, "which secrets"},
		{"says it has none", meta(`"seal": "recipients"`, `"seal": "none"`), snapshot.ErrDamaged, "which secrets"},
		{"other index", meta(fmt.Sprintf(`"index": %d`, c.index), `"index": 999`), snapshot.ErrDamaged, "not the one"},
		{"other count", meta(`"peers": 20`, `"peers": 21`), snapshot.ErrDamaged, "not the one"},
		{"other hash", meta(`"state_hash": "`+c.Hash().String(), `"state_hash": "`+fsm.Hash{}.String()), snapshot.ErrDamaged, "not the one"},
		{"other time", meta(`"created": "2023-11-14T22:13:20Z"`, `"created": "2023-11-14T22:13:21Z"`), snapshot.ErrDamaged, "another time"},
		{"unknown entry", with(func(es []entry) []entry {
			return append(es[:len(es)-1:len(es)-1], entry{"extra", nil}, es[len(es)-1])
		}), snapshot.ErrDamaged, "next"},
		{"entry after the last", with(func(es []entry) []entry { return append(es, entry{"extra", nil}) }), snapshot.ErrDamaged, "follows"},
		{"no state", with(func(es []entry) []entry { return append(es[:1:1], es[2:]...) }), snapshot.ErrDamaged, "no state"},
		{"no secrets", with(func(es []entry) []entry { return append(es[:2:2], es[3:]...) }), snapshot.ErrDamaged, "next"},
		{"no checksums", with(func(es []entry) []entry { return es[:3] }), snapshot.ErrDamaged, ""},
		{"state twice", with(func(es []entry) []entry { return append(es[:2:2], es[1:]...) }), snapshot.ErrDamaged, "next"},
		{"state after a short chunk", with(func(es []entry) []entry {
			return append(es[:2:2], append([]entry{{"state/000001.zst", es[1].content}}, es[2:]...)...)
		}), snapshot.ErrDamaged, "next"},
		{"metadata twice", with(func(es []entry) []entry { return append(es[:1:1], es...) }), snapshot.ErrDamaged, ""},
		{"state that is none", with(func(es []entry) []entry { es[1].content = []byte("nonsense"); return es }), snapshot.ErrDamaged, "decompress"},
		{"empty state", with(func(es []entry) []entry { es[1].content = nil; return es }), snapshot.ErrDamaged, "decompress"},
		{"wrong checksums", join(t, append(es[:len(es)-1:len(es)-1], entry{"SHA256SUMS", bytes.ToUpper(es[len(es)-1].content)}), h, false), snapshot.ErrDamaged, "SHA256SUMS"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			err := check(tt.b)
			if !errors.Is(err, tt.err) || !strings.Contains(err.Error(), tt.why) {
				t.Errorf("error %v, want %v with %q", err, tt.err, tt.why)
			}
			if err := refused(tt.b); err != nil {
				t.Error(err)
			}
		})
	}
}

// The format's promise: whoever has tar, zstd and sha256sum can check an archive without us.
func TestOtherToolsReadIt(t *testing.T) {
	for _, tool := range []string{"tar", "zstd", "sha256sum", "sh"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("no %s on this machine", tool)
		}
	}
	c := newCluster(t, 35_000)
	b, _ := c.sealed()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "a.rootd"), b, 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "sh", "-ec", "tar xf a.rootd && sha256sum --strict -c SHA256SUMS >&2 && cat state/* | zstd -dc")
	cmd.Dir = dir
	state, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	r, err := fsm.NewReader(bytes.NewReader(state))
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Peers(func(*table.Record) error { return nil }); err != nil {
		t.Error(err)
	}
	if r.Hash() != c.Hash() {
		t.Error("another state came out")
	}
}
