package pki_test

import (
	"net/url"
	"strings"
	"testing"

	"github.com/rootd/rootd/transport/pki"
)

const digits = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

func TestFingerprint(t *testing.T) {
	t.Parallel()
	want, err := pki.ParseFingerprint("sha256:" + digits)
	if err != nil || want.String() != "sha256:"+digits || want.Short() != digits[:16] {
		t.Fatalf("%v, %v", want, err)
	}
	var pairs []string
	for i := 0; i < len(digits); i += 2 {
		pairs = append(pairs, strings.ToUpper(digits[i:i+2]))
	}
	for _, s := range []string{"SHA256:" + strings.ToUpper(digits), "sha256:" + strings.Join(pairs, ":")} {
		if f, err := pki.ParseFingerprint(s); err != nil || !f.Equal(want) {
			t.Errorf("%s: %v", s, err)
		}
	}
	for _, s := range []string{
		"", digits, "sha256:", "sha1:" + digits, "sha256:" + digits + "0", "sha256:" + digits[1:], "sha256:" + digits[:63] + "g",
		"sha256:" + digits[:62] + ":" + digits[62:], "sha256::" + digits,
	} {
		if f, err := pki.ParseFingerprint(s); err == nil {
			t.Errorf("%q is %v", s, f)
		}
	}
}

func FuzzFingerprint(f *testing.F) {
	f.Add("sha256:" + digits)
	f.Add("sha256:01:23")
	f.Fuzz(func(t *testing.T, s string) {
		v, err := pki.ParseFingerprint(s)
		if err != nil {
			return
		}
		if again, err := pki.ParseFingerprint(v.String()); err != nil || again != v {
			t.Errorf("%q became %v, %v", s, again, err)
		}
	})
}

func TestMemberURI(t *testing.T) {
	t.Parallel()
	m := pki.Member{Cluster: alice, ID: 12}
	if got, err := pki.ParseMemberURI(m.URI()); err != nil || got != m {
		t.Fatalf("%v, %v", got, err)
	}
}

func FuzzMemberURI(f *testing.F) {
	good := pki.Member{Cluster: alice, ID: 12}.URI().String()
	f.Add(pki.Member{Cluster: alice, Epoch: pki.Epoch{Number: 2, ID: [8]byte{1}}, ID: 12}.URI().String())
	for _, s := range []string{
		good, good + "0000", good + "/x", good + "?q", good + "?", good + "#f", strings.ToUpper(good), "https" + good[5:], strings.Replace(good, "//", "//u@", 1),
		strings.Replace(good, "/member", ":1/member", 1), strings.Replace(good, "/member", "/%6dember", 1), strings.Replace(good, "/12", "/012", 1), strings.Replace(good, "/12", "/0", 1),
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		u, err := url.Parse(s)
		if err != nil {
			return
		}
		m, err := pki.ParseMemberURI(u)
		if err != nil {
			return
		}
		if m.ID == 0 || m.URI().String() != u.String() {
			t.Errorf("%q is %+v", s, m)
		}
	})
}

func FuzzPEM(f *testing.F) {
	ca := authority(f, alice, start)
	secret, err := ca.PEM()
	if err != nil {
		f.Fatal(err)
	}
	c := credential(f, ca, 3, start, 0)
	own, err := c.PEM()
	if err != nil {
		f.Fatal(err)
	}
	public := bundle(f, ca).PEM()
	for _, b := range [][]byte{secret, own, public, append(public, public...), append([]byte("text\n"), public...), append(public, "text"...), public[:len(public)-20]} {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if a, err := pki.ParseAuthority(b); err == nil && a.Cluster() == (pki.ClusterID{}) {
			t.Error("CA of no cluster")
		}
		if c, err := pki.ParseCredential(b); err == nil && c.Self().ID == 0 {
			t.Error("certificate of nobody")
		}
		if got, err := pki.ParseBundle(b); err == nil && len(got.Fingerprints()) == 0 {
			t.Error("empty bundle")
		}
		_, _ = pki.ParseKey(b)
	})
}
