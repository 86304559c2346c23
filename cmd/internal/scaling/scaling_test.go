package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const (
	begin = "<!-- Written by UPDATE_DOCS=1 go test ./cmd/internal/scaling -->\n"
	end   = "<!-- End of the tables -->\n"
)

// The page has the tables of the model. UPDATE_DOCS=1 writes them.
func TestPage(t *testing.T) {
	page := filepath.Join("..", "..", "..", "docs", "scaling.md")
	b, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(b), begin)
	old, after, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		t.Fatalf("%s has no place for the tables: between %q and %q", page, begin, end)
	}
	want := "\n" + tables() + "\n"
	if old == want {
		return
	}
	if os.Getenv("UPDATE_DOCS") == "" {
		t.Fatalf("%s is not what the model says: run UPDATE_DOCS=1 go test ./cmd/internal/scaling\n%s", page, cmp.Diff(old, want))
	}
	if err := os.WriteFile(page, []byte(before+begin+want+end+after), 0o644); err != nil {
		t.Fatal(err)
	}
}

// A cluster that carries just what it can is at its limit, and not over it.
func TestLimitsAgreeWithTheState(t *testing.T) {
	for _, m := range machines() {
		for _, d := range families() {
			c := Cluster{Members: 6, Machine: m}
			for _, l := range c.limits(d, measured()) {
				s := c.state(l.Peers, d, measured())
				used := map[string]float64{
					"packets":                  (s.Cores + s.Changes*measured().Change/1e6) / (m.Cores * packetShare),
					"memory":                   s.Memory / (m.Memory * memoryShare),
					"snapshot to a new member": float64(s.Ship) / float64(shipTime),
					"changes in the log":       s.Changes / (measured().Commits * logShare),
					"log to the followers":     s.LogBytes * 5 * 8 / (m.Network / 2),
					"a member's peers return":  l.Peers / 6 / returnTime.Seconds() / measured().Commits,
				}[l.Resource]
				if used < 0.999 || used > 1.001 {
					t.Errorf("%v, %s: %s at the limit of %.3g peers is used by %.3f", m, d.Name, l.Resource, l.Peers, used)
				}
			}
		}
	}
}

// The command prints another cluster, and refuses what makes no sense.
func TestFlags(t *testing.T) {
	var out bytes.Buffer
	if err := command([]string{"-members", "3", "-cores", "8", "-peers", "1e6"}, &out, &out); err != nil || !strings.Contains(out.String(), "8 cores") {
		t.Errorf("%v\n%s", err, out.String())
	}
	for _, bad := range []string{"x", "-members 1", "-cores 0", "-peers 0", "-memory x"} {
		if err := command(strings.Fields(bad), &out, &out); err == nil {
			t.Errorf("scaling %s: no error", bad)
		}
	}
}
