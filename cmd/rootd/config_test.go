package main

import (
	"errors"
	"flag"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var compareConfig = cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b })

func parse(t *testing.T, file string, args ...string) (*Invocation, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "rootd.toml")
	if err := os.WriteFile(path, []byte(file), 0o600); err != nil {
		t.Fatal(err)
	}
	return ParseArgs(append([]string{"-config", path}, args...), io.Discard)
}

func TestDefaultsAreValid(t *testing.T) {
	inv, err := ParseArgs(nil, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(DefaultConfig(), inv.Config, compareConfig); diff != "" {
		t.Errorf("no arguments change the defaults (-default +got):\n%s", diff)
	}
	if ws := inv.Config.Warnings(); len(ws) > 0 {
		t.Errorf("defaults warn: %q", ws)
	}
}

func TestFileThenFlags(t *testing.T) {
	inv, err := parse(t, `
data_dir = "/srv/root"
listen = ["192.0.2.1:9993", "192.0.2.1:443"]
limits.hello_rate = 3          # dotted keys are fine
[peers]
keep_warm = "0s"
max_sessions = 5000
[relay]
source_rate = "3MiB"
destination_rate = 1048576
[planet]
world_id = "00000000deadbeef"
[crypto]
aes = true
`, "-listen", "[2001:db8::1]:9993", "-log-level", "debug", "-peers-huge-pages=false", "-relay-introduction-interval", "2m")
	if err != nil {
		t.Fatal(err)
	}
	want := DefaultConfig()
	want.DataDir = "/srv/root"
	want.Listen = []netip.AddrPort{netip.MustParseAddrPort("[2001:db8::1]:9993")}
	want.Limits.HelloRate = 3
	want.Peers.KeepWarm, want.Peers.MaxSessions = 0, 5000
	want.Relay.SourceRate, want.Relay.DestinationRate = 3<<20, 1<<20
	want.Planet.WorldID = 0xdeadbeef
	want.Crypto.AES = true
	want.Log.Level = -4
	want.Peers.HugePages = false
	want.Relay.IntroductionInterval = 2 * time.Minute
	if diff := cmp.Diff(want, inv.Config, compareConfig); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if got := inv.Config.AdminSocket(); got != "/srv/root/admin.sock" {
		t.Errorf("admin socket %s", got)
	}
}

func TestMistakes(t *testing.T) {
	for _, c := range []struct {
		name, file string
		args       []string
		want       []string // parts of the lines, in order
	}{
		{"unknown key", "\nlisen = 1", nil, []string{"rootd.toml:2: lisen: unknown setting: did you mean listen?"}},
		{"key outside its section", "keep_warm = \"5s\"", nil, []string{"rootd.toml:1: keep_warm: unknown setting: did you mean peers.keep_warm?"}},
		{"unknown section", "[unheard]\nof = 1", nil, []string{"rootd.toml:1: unheard: unknown setting"}},
		{"section given a value", "log = 3", nil, []string{"rootd.toml:1: log: is a section"}},
		{"section below a section", "[log.deeper]\nx=1", nil, []string{":1: log.deeper: unknown setting"}},
		{"syntax", "name = \"a\"\nlisten = [", nil, []string{"rootd.toml:2: "}},
		{"key twice", "name = \"a\"\nname = \"b\"", nil, []string{"rootd.toml:2: "}},
		{"text for a list", `listen = "0.0.0.0:1"`, nil, []string{`listen: needs a list: ["0.0.0.0:1"]`}},
		{"two bad endpoints at once", `endpoints = ["203.0.113.5", "host:1"]`, nil, []string{`"203.0.113.5" has no port: write 203.0.113.5:9993; "host:1" is not an IP`}},
		{"unspecified endpoint", `endpoints = ["0.0.0.0:9993"]`, nil, []string{"0.0.0.0:9993 cannot be reached"}},
		{"endpoint twice", `endpoints = ["192.0.2.1:1", "192.0.2.1:1"]`, nil, []string{"192.0.2.1:1 is there twice"}},
		{"zone", `endpoints = ["[fe80::1%eth0]:1"]`, nil, []string{"names an interface"}},
		{"empty listen", `listen = []`, nil, []string{"needs at least one address"}},
		{"number without unit", "[peers]\nkeep_warm = 25", nil, []string{`rootd.toml:2: peers.keep_warm: needs a unit: "25s"`}},
		{"duration out of range", "[peers]\nkeep_warm = \"1s\"", nil, []string{"1s is not between 5s and 10m, nor 0s"}},
		{"not a duration", "[peers]\nkeep_warm = \"soon\"", nil, []string{`"soon" is not a duration, such as`}},
		{"negative", "[peers]\nkeep_warm = \"-5s\"", nil, []string{`"-5s" is not a duration`}},
		{"number in quotes", "[limits]\nhello_rate = \"3\"", nil, []string{"needs a number, without quotes"}},
		{"rate 0", "[limits]\nwhois_rate = 0", nil, []string{"0 is not between 0.1 and 1e+06"}},
		{"built-in world", "[planet]\nworld_id = \"08eac90a\"", nil, []string{"is the ID of a planet that clients are built with"}},
		{"member name", `name = "my root!"`, nil, []string{`"my root!" is not a member name`}},
		{"log format", "[log]\nformat = \"xml\"", nil, []string{`"xml" is none of text, json`}},
		{"log level", "[log]\nlevel = \"loud\"", nil, []string{`"loud" is not a level`}},
		{"socket path", "data_dir = \"/" + strings.Repeat("d", 120) + "\"", nil, []string{"admin.socket: "}},
		{"flags", "", []string{"-udp-workers", "many", "-udp-send-buffer", "1KiB"}, []string{`-udp-workers: "many" is not a whole number`, "-udp-send-buffer: 1KiB is not between 64KiB and 1GiB"}},
		{
			"several in the order of the file, flags last", "lisen = 1\n[peers]\nmax_sessions = 0\n[limits]\necho_rate = true\n",
			[]string{"-log-level", "x"},
			[]string{":1: lisen", ":3: peers.max_sessions", ":5: limits.echo_rate", "-log-level"},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := parse(t, c.file, c.args...)
			if err == nil {
				t.Fatal("accepted")
			}
			lines := strings.Split(err.Error(), "\n")
			if len(lines) != len(c.want) {
				t.Fatalf("%d mistakes, want %d:\n%v", len(lines), len(c.want), err)
			}
			for i, want := range c.want {
				if !strings.Contains(lines[i], want) {
					t.Errorf("line %d = %q\nlacks %q", i+1, lines[i], want)
				}
			}
		})
	}
}

func TestCommandLine(t *testing.T) {
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"start"}, `unexpected argument "start"`},
		{[]string{"-nope"}, "-nope"},
		{[]string{"-config", "/nowhere/rootd.toml"}, "/nowhere/rootd.toml: no such file"},
	} {
		if _, err := ParseArgs(c.args, io.Discard); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q: error %v lacks %q", c.args, err, c.want)
		}
	}
	var usage strings.Builder
	if _, err := ParseArgs([]string{"-help"}, &usage); !errors.Is(err, flag.ErrHelp) {
		t.Errorf("-help: %v", err)
	}
	for _, s := range settings() {
		if !strings.Contains(usage.String(), "\n  -"+s.flag()+" ") {
			t.Errorf("-help does not explain -%s", s.flag())
		}
	}
	inv, err := ParseArgs([]string{"-check", "-version"}, io.Discard)
	if err != nil || !inv.Check || !inv.Version {
		t.Errorf("-check -version: %+v, %v", inv, err)
	}
}

// TestTextRoundTrip: what is printed as a default can be given back, as a flag and in the file.
func TestTextRoundTrip(t *testing.T) {
	c := DefaultConfig()
	var file strings.Builder
	if err := writeExample(&file); err != nil {
		t.Fatal(err)
	}
	inv, err := parse(t, uncomment(file.String()))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(c, inv.Config, compareConfig); diff != "" {
		t.Errorf("the example, uncommented, is not the defaults (-default +got):\n%s", diff)
	}
	for _, s := range settings() {
		p := s.field(&c)
		before := text(p)
		if err := setText(p, before); err != nil {
			t.Errorf("-%s %q: %v", s.flag(), before, err)
		} else if after := text(p); after != before {
			t.Errorf("-%s %q became %q", s.flag(), before, after)
		}
	}
}

// uncomment removes the # before each setting.
func uncomment(example string) string {
	lines := strings.Split(example, "\n")
	for i, l := range lines {
		if len(l) > 1 && l[0] == '#' && l[1] != ' ' {
			lines[i] = l[1:]
		}
	}
	return strings.Join(lines, "\n")
}

// TestDocuments compares the generated documents with the checked-in ones; UPDATE_DOCS=1 rewrites them.
func TestDocuments(t *testing.T) {
	var example, reference strings.Builder
	if err := errors.Join(writeExample(&example), writeReference(&reference)); err != nil {
		t.Fatal(err)
	}
	compareFile(t, "../../scripts/rootd.toml", "", example.String())
	compareFile(t, "../../docs/configuration.md", "<!-- generated from cmd/rootd/settings.go -->\n", reference.String())
}

// compareFile compares what follows the marker in the file.
func compareFile(t *testing.T, path, marker, want string) {
	t.Helper()
	old, err := os.ReadFile(path)
	if err != nil && os.Getenv("UPDATE_DOCS") == "" {
		t.Fatal(err)
	}
	head, _, _ := strings.Cut(string(old), marker)
	if marker == "" {
		head = ""
	}
	want = head + marker + want
	if string(old) == want {
		return
	}
	if os.Getenv("UPDATE_DOCS") != "" {
		if err := os.WriteFile(path, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	t.Errorf("%s is not what the settings say: run UPDATE_DOCS=1 go test ./cmd/rootd (-file +settings)\n%s", path, cmp.Diff(string(old), want))
}

func TestWarnings(t *testing.T) {
	c := DefaultConfig()
	c.Endpoints = []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:9993"), netip.MustParseAddrPort("10.0.0.1:9993"), netip.MustParseAddrPort("203.0.113.1:9993")}
	c.HTTP.Listen = netip.MustParseAddrPort("0.0.0.0:9994")
	ws := strings.Join(c.Warnings(), "\n")
	for _, want := range []string{"127.0.0.1:9993 is a loopback", "10.0.0.1:9993 is a private", "without a password"} {
		if !strings.Contains(ws, want) {
			t.Errorf("warnings lack %q:\n%s", want, ws)
		}
	}
	if strings.Contains(ws, "203.0.113.1") {
		t.Errorf("warns of a public endpoint:\n%s", ws)
	}
}

func FuzzConfig(f *testing.F) {
	var example strings.Builder
	if err := writeExample(&example); err != nil {
		f.Fatal(err)
	}
	f.Add(uncomment(example.String()))
	f.Add("listen = [[1]]\n[[peers]]\n[limits]\nhello_rate = nan")
	f.Add("\"\" = 1\n[a.b.c]\n'x.y' = {z = [1979-05-27]}")
	f.Fuzz(func(t *testing.T, data string) {
		l := loader{settings: settings(), where: map[string]string{}}
		c := DefaultConfig()
		l.parse("f", data, &c)
		l.check(&c)
		if len(l.mistakes) > 0 && l.mistakes.Error() == "" {
			t.Error("mistakes without words")
		}
	})
}
