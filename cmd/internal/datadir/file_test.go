package datadir_test

import (
	"encoding/hex"
	"errors"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/rootd/rootd/cmd/internal/datadir"
	"github.com/rootd/rootd/packetpath/vl1"
)

func TestWriteFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "f")
	for _, content := range []string{"one", "two, longer"} {
		if err := datadir.WriteFile(path, []byte(content), 0o640); err != nil {
			t.Fatal(err)
		}
		b, err := os.ReadFile(path)
		if err != nil || string(b) != content {
			t.Errorf("read %q, %v", b, err)
		}
	}
	if err := datadir.CreateFile(path, []byte("three"), 0o600); !errors.Is(err, fs.ErrExist) {
		t.Errorf("CreateFile over a file: %v", err)
	}
	if b, _ := os.ReadFile(path); string(b) != "two, longer" {
		t.Errorf("CreateFile replaced the content by %q", b)
	}
	if err := datadir.CreateFile(filepath.Join(dir, "g"), []byte("x"), 0o600); err != nil {
		t.Error(err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 2 {
		t.Errorf("left over: %v, %v", entries, err)
	}
	if err := datadir.WriteFile(filepath.Join(dir, "no", "f"), nil, 0o600); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("into no directory: %v", err)
	}
}

// TestKeyFormats: the same key in all the forms that operators have.
func TestKeyFormats(t *testing.T) {
	key, err := vl1.GenerateSigningKey()
	if err != nil {
		t.Fatal(err)
	}
	public, secret, _ := strings.Cut(key.SecretString(), ":")
	raw, err := hex.DecodeString(public + secret)
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string]string{
		"text":         key.SecretString() + "\n",
		"mkworld":      string(raw),
		"definition":   `{"objtype":"world","signingKey":"` + public + `","signingKey_SECRET":"` + secret + `"}`,
		"bad: public":  public,
		"bad: no key":  `{"objtype":"world","signingKey":"` + public + `"}`,
		"bad: json":    `{"signingKey_SECRET":"` + secret,
		"bad: bytes":   string(raw[1:]) + "x",
		"bad: nothing": "",
	} {
		path := filepath.Join(t.TempDir(), "k")
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		got, err := datadir.ReadKey(path)
		if strings.HasPrefix(name, "bad") {
			if !errors.Is(err, datadir.ErrBroken) {
				t.Errorf("%s: %v", name, err)
			}
			if err != nil && strings.Contains(err.Error(), secret[:32]) {
				t.Errorf("%s: the error shows the secret", name)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", name, err)
		} else if got.Public() != key.Public() {
			t.Errorf("%s: another key", name)
		}
	}
}

func TestGuessEndpoints(t *testing.T) {
	addrs := func(s string) (out []netip.Addr) {
		for f := range strings.FieldsSeq(s) {
			out = append(out, netip.MustParseAddr(f))
		}
		return out
	}
	for _, c := range []struct {
		name, listen, addrs, want, warning string
	}{
		{"public, both families", "0.0.0.0:9993 [::]:9993", "127.0.0.1 ::1 fe80::1 10.0.0.5 203.0.113.7 2001:db8::7 fd00::7", "203.0.113.7:9993 [2001:db8::7]:9993", ""},
		{"private only", "0.0.0.0:9993", "127.0.0.1 192.168.1.5", "192.168.1.5:9993", "private"},
		{"behind a provider's NAT", "0.0.0.0:9993", "100.64.3.4", "100.64.3.4:9993", "private"},
		{"several ports", "0.0.0.0:9993 0.0.0.0:443", "203.0.113.7", "203.0.113.7:9993 203.0.113.7:443", ""},
		{"interleaved", "0.0.0.0:1 [::]:1", "203.0.113.7 203.0.113.8 2001:db8::7", "203.0.113.7:1 [2001:db8::7]:1 203.0.113.8:1", ""},
		{"named addresses are taken as they are", "192.0.2.1:9993", "203.0.113.7", "192.0.2.1:9993", ""},
		{"loopback only when told", "127.0.0.1:9993", "127.0.0.1", "127.0.0.1:9993", "loopback"},
		{"never loopback by itself", "0.0.0.0:9993 [::]:9993", "127.0.0.1 ::1 fe80::1", "", "no address found"},
		{"any port", "0.0.0.0:0", "203.0.113.7", "", "no address found"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var listen []netip.AddrPort
			for f := range strings.FieldsSeq(c.listen) {
				listen = append(listen, netip.MustParseAddrPort(f))
			}
			got, warnings := datadir.GuessEndpoints(listen, addrs(c.addrs))
			var texts []string
			for _, ap := range got {
				texts = append(texts, ap.String())
			}
			if diff := cmp.Diff(strings.Fields(c.want), texts); diff != "" && c.want+strings.Join(texts, "") != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
			if w := strings.Join(warnings, "\n"); !strings.Contains(w, c.warning) || (c.warning == "") != (w == "") {
				t.Errorf("warnings %q, want %q", w, c.warning)
			}
		})
	}
	var many []netip.Addr
	for i := range 40 {
		many = append(many, netip.AddrFrom4([4]byte{203, 0, 113, byte(i)}))
	}
	if got, warnings := datadir.GuessEndpoints([]netip.AddrPort{netip.MustParseAddrPort("0.0.0.0:1")}, many); len(got) != vl1.MaxEndpoints || len(warnings) != 1 {
		t.Errorf("%d endpoints, warnings %q", len(got), warnings)
	}
}

func TestInterfaceAddrs(t *testing.T) {
	addrs, err := datadir.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range addrs {
		if a.Is4In6() {
			t.Errorf("%s is an IPv4 address in IPv6 clothes", a)
		}
	}
}
