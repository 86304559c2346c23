package main

import (
	"context"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"
)

// call runs one command line in this process.
func call(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs strings.Builder
	e := &env{stdin: strings.NewReader(""), stdout: &out, stderr: &errs, getenv: func(string) string { return "" }, now: time.Now}
	code = run(t.Context(), e, append(args, "--data-dir", t.TempDir()))
	return code, out.String(), errs.String()
}

func TestExitCodes(t *testing.T) {
	for _, c := range []struct {
		args string
		want int
	}{
		{"version", exitOK},
		{"--help", exitOK},
		{"planet", exitOK},
		{"status", exitFailed},
		{"planet inspect nowhere", exitFailed},
		{"identity validate 0123456789:0:00", exitFailed},
		{"stauts", exitUsage},
		{"peer lits", exitUsage},
		{"peer show", exitUsage},
		{"peer show nonsense", exitUsage},
		{"peer list --limit x", exitUsage},
		{"status -o xml", exitUsage},
		{"planet make", exitUsage},
		{"planet export nowhere --nope", exitUsage},
		{"join", exitUsage},
		{"join nonsense", exitUsage},
		{"join a b", exitUsage},
		{"member list", exitFailed},
		{"member show", exitUsage},
		{"token create --expires 1ns", exitUsage},
		{"config set voters", exitUsage},
		{"leader transfer a b", exitUsage},
	} {
		code, stdout, stderr := call(t, strings.Fields(c.args)...)
		if code != c.want {
			t.Errorf("rootctl %s ends with %d, want %d\n%s%s", c.args, code, c.want, stdout, stderr)
		}
		if failed := code != exitOK; failed != strings.HasPrefix(stderr, "rootctl: ") {
			t.Errorf("rootctl %s ends with %d and says %q", c.args, code, stderr)
		}
	}
}

// TestEveryCommandIsExplained: in its help, with an example, and in docs/cli.md.
func TestEveryCommandIsExplained(t *testing.T) {
	doc, err := os.ReadFile("../../docs/cli.md")
	if err != nil {
		t.Fatal(err)
	}
	var walk func(c *cobra.Command)
	walk = func(c *cobra.Command) {
		for _, child := range c.Commands() {
			walk(child)
		}
		if c.HasSubCommands() || c.Name() == "help" || c.Hidden {
			return
		}
		if c.Short == "" || c.Example == "" {
			t.Errorf("%s has no example or no sentence", c.CommandPath())
		}
		for line := range strings.SplitSeq(c.Example, "\n") {
			if !strings.HasPrefix(line, "  ") || !strings.Contains(line, c.CommandPath()) && !strings.Contains(c.Example, c.CommandPath()) {
				t.Errorf("%s: example %q", c.CommandPath(), line)
			}
		}
		if !strings.Contains(string(doc), "`"+c.CommandPath()) {
			t.Errorf("docs/cli.md does not mention %s", c.CommandPath())
		}
	}
	walk(newRoot(&env{getenv: func(string) string { return "" }}))
}

// TestSecretOnTheCommandLine: a secret given as an argument is not echoed, whatever is wrong with it.
func TestSecretOnTheCommandLine(t *testing.T) {
	ids, err := identities()
	if err != nil {
		t.Fatal(err)
	}
	whole := ids[0].SecretString()
	secret := whole[len(whole)-128:]
	for _, args := range [][]string{
		{"identity", "show", whole},
		{"identity", "validate", whole, "-o", "json"},
		{"identity", "show", whole + "00"},
		{"identity", "show", whole[:len(whole)-2]},
		{"identity", "validate", "0000000001" + whole[10:]},
		{"identity", "show", strings.Replace(whole, ":0:", ":1:", 1)},
		{"planet", "make", "--root", whole},
		{"planet", "make", "--root", whole + "00=1.1.1.1:1"},
		{"peer", "show", whole},
		{"planet", "inspect", whole},
		{"planet", whole},
		{"init", "--endpoint", whole},
		{"init", "--identity", whole},
		{"status", "-o", whole},
	} {
		_, stdout, stderr := call(t, args...)
		for i := 0; i+16 <= len(secret); i += 16 {
			if strings.Contains(stdout+stderr, secret[i:i+16]) {
				t.Errorf("rootctl %s %s prints the secret:\n%s%s", args[0], args[1], stdout, stderr)
				break
			}
		}
	}
}

func TestWords(t *testing.T) {
	for got, want := range map[string]string{
		span(59 * time.Second):           "59s",
		span(-time.Second):               "0s",
		span(3599 * time.Second):         "59m 59s",
		span(25 * time.Hour):             "1d 1h",
		count(7):                         "7",
		count(1234567):                   "1,234,567",
		count(uint64(100000)):            "100,000",
		bytesText(int64(1023)):           "1023 B",
		bytesText(uint64(3 << 29)):       "1.5 GiB",
		rate(0.25):                       "0.2/s",
		rate(0):                          "0/s",
		rate(12345.6):                    "12,346/s",
		bitRate(125e6):                   "1.0 Gbit/s",
		ago(time.Now(), time.Time{}):     "never",
		plural(1, "root", "roots"):       "1 root",
		plural(0, "root", "roots"):       "0 roots",
		source("0123456789:0:aa:secret"): "0123456789",
	} {
		if got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func TestConfirm(t *testing.T) {
	for answer, yes := range map[string]bool{"y\n": true, "YES\n": true, "n\n": false, "\n": false, "": false, "y": false, "yellow\n": false} {
		e := &env{stdin: strings.NewReader(answer), stderr: new(strings.Builder)}
		if err := e.confirm("Sure?"); (err == nil) != yes {
			t.Errorf("%q: %v", answer, err)
		}
		if e.terminal() {
			t.Error("a string is no terminal")
		}
	}
}

// TestStatusLine: written once per change where there is no terminal, rewritten in place on one.
func TestStatusLine(t *testing.T) {
	for live, want := range map[bool]string{false: "a\nb\n", true: "\r\x1b[Ka\r\x1b[Kb\r\x1b[K"} {
		var b strings.Builder
		l := &statusLine{w: &b, live: live}
		l.set("a")
		l.set("a")
		l.set("b")
		l.done()
		l.done()
		if b.String() != want {
			t.Errorf("live %v: %q, want %q", live, b.String(), want)
		}
	}
}

func TestStoppedByContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var out strings.Builder
	e := &env{stdin: strings.NewReader(""), stdout: &out, stderr: &out, getenv: func(string) string { return "" }, now: time.Now}
	if code := run(ctx, e, []string{"status", "--data-dir", t.TempDir()}); code != exitFailed {
		t.Errorf("ended with %d: %s", code, out.String())
	}
}
