package pki_test

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rootd/rootd/transport/pki"
)

func TestFiles(t *testing.T) {
	t.Parallel()
	f := pki.Files{Dir: filepath.Join(t.TempDir(), "pki")}
	if _, err := f.LoadKeys(); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("nothing there: %v", err)
	}
	if _, err := f.LoadAuthority(); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("nothing there: %v", err)
	}
	ca := authority(t, alice, start)
	key, err := f.MemberKey()
	if err != nil {
		t.Fatal(err)
	}
	c := reissue(t, ca, key, 3, start, 0)
	again, err := f.MemberKey() // a join that was interrupted
	if err != nil {
		t.Fatal(err)
	}
	if reissue(t, ca, again, 3, start, 0).Self().KeyHash != c.Self().KeyHash {
		t.Error("another key at the second try")
	}
	if err := f.SaveKeys(pki.Keys{Credential: c, Bundle: bundle(t, ca)}); err != nil {
		t.Fatal(err)
	}
	if err := f.SaveAuthority(ca); err != nil {
		t.Fatal(err)
	}
	k, err := f.LoadKeys()
	if err != nil || k.Credential.Self() != c.Self() || !k.Bundle.Has(ca.Fingerprint()) {
		t.Errorf("%v, %v", k.Credential, err)
	}
	a, err := f.LoadAuthority()
	if err != nil || a.Fingerprint() != ca.Fingerprint() {
		t.Errorf("%v, %v", a, err)
	}
	if again, err = f.MemberKey(); err != nil || reissue(t, a, again, 3, start, 0).Self().KeyHash != c.Self().KeyHash {
		t.Errorf("key of the certificate: %v", err)
	}
	for name, mode := range map[string]fs.FileMode{pki.BundleFile: 0o644, pki.AuthorityFile: 0o600, pki.CredentialFile: 0o600} {
		fi, err := os.Stat(filepath.Join(f.Dir, name))
		if err != nil || fi.Mode().Perm() != mode {
			t.Errorf("%s: %v, %v", name, fi.Mode(), err)
		}
	}
	if files, err := os.ReadDir(f.Dir); err != nil || len(files) != 3 { // no temporary ones, no second copy of the key
		t.Errorf("%v, %v", files, err)
	}

	path := filepath.Join(f.Dir, pki.CredentialFile)
	if err := os.Chmod(path, 0o640); err != nil {
		t.Fatal(err)
	}
	_, err = f.LoadKeys()
	if e, ok := errors.AsType[*pki.Error](err); !ok || !strings.Contains(e.Hint, "chmod 600") {
		t.Errorf("others may read the key: %v", err)
	}
	if err := os.WriteFile(path, []byte("-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n-----END PRIVATE KEY-----\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := f.LoadKeys(); !errors.Is(err, pki.ErrBroken) || !strings.Contains(err.Error(), path) || strings.Contains(err.Error(), "secret") {
		t.Errorf("damaged: %v", err)
	}
}

// TestSecretsStayHidden: no verb, logger or encoder shows a private key.
func TestSecretsStayHidden(t *testing.T) {
	t.Parallel()
	ca := authority(t, alice, start)
	key, err := pki.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	c := reissue(t, ca, key, 3, start, 0)
	var seeds []string
	for _, f := range []func() ([]byte, error){ca.PEM, key.PEM} {
		b, err := f()
		if err != nil {
			t.Fatal(err)
		}
		for block, rest := pem.Decode(b); block != nil; block, rest = pem.Decode(rest) {
			if block.Type == "PRIVATE KEY" {
				seed := block.Bytes[len(block.Bytes)-32:]
				seeds = append(seeds, string(seed), hex.EncodeToString(seed), strings.Trim(fmt.Sprint(seed), "[]"), strings.Trim(fmt.Sprintf("%#v", seed), "[]byte{}"))
			}
		}
	}
	if len(seeds) != 8 {
		t.Fatalf("%d forms of two seeds", len(seeds))
	}
	var out bytes.Buffer
	log := slog.New(slog.NewJSONHandler(&out, nil))
	text := slog.New(slog.NewTextHandler(&out, nil))
	for _, v := range []any{ca, *ca, key, *key, c, *c, pki.Keys{Credential: c}, []any{key, c, ca}, map[string]any{"k": *key}} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%d", "%q"} {
			fmt.Fprintf(&out, verb, v)
		}
		log.Info("x", "v", v)
		text.Info("x", "v", v)
		if b, err := json.Marshal(v); err == nil {
			out.Write(b)
		}
	}
	for _, s := range seeds {
		if strings.Contains(strings.ToLower(out.String()), strings.ToLower(s)) {
			t.Errorf("a private key was printed as %q", s)
		}
	}
}
