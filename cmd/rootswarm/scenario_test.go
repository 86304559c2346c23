package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestScenarios plays every scenario but the one that measures speed.
func TestScenarios(t *testing.T) {
	files, err := filepath.Glob("scenarios/*.txt")
	if err != nil || len(files) < 5 {
		t.Fatalf("scenarios: %v, %v", files, err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			t.Parallel()
			if filepath.Base(file) == "fifty-thousand.txt" {
				f, err := os.Open(file)
				if err != nil {
					t.Fatal(err)
				}
				defer f.Close()
				if _, err := parseScenario(f); err != nil {
					t.Error(err)
				}
				return
			}
			if testing.Short() && filepath.Base(file) != "ping-pong.txt" {
				t.Skip("takes seconds")
			}
			var stdout, stderr bytes.Buffer
			if code := command(t.Context(), []string{"run", file}, &stdout, &stderr); code != 0 {
				t.Errorf("exit code %d; stderr:\n%s\nstdout:\n%s", code, &stderr, &stdout)
			}
		})
	}
}

func TestScenarioLimit(t *testing.T) {
	file := filepath.Join(t.TempDir(), "s.txt")
	text := "title nobody answers\nclients 5\nroots alice=1\nduration 1m\nat 0s kill alice.1\nlimit online >= 0.5\nlimit attached <= 0\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	var stdout, stderr bytes.Buffer
	code := command(t.Context(), []string{"run", file}, &stdout, &stderr)
	if want := "s.txt:6: limit exceeded: online is 0.0000, not >= 0.5"; code != exitLimit || !strings.Contains(stderr.String(), want) {
		t.Errorf("exit code %d, stderr %q; want %d and %q", code, &stderr, exitLimit, want)
	}
}

// TestScenarioIsRepeatable: a seed decides everything.
func TestScenarioIsRepeatable(t *testing.T) {
	if testing.Short() {
		t.Skip("takes seconds")
	}
	run := func(seed string) string {
		var stdout, stderr bytes.Buffer
		if code := command(t.Context(), []string{"run", "-seed", seed, "scenarios/drain.txt"}, &stdout, &stderr); code != 0 {
			t.Fatalf("exit code %d: %s", code, &stderr)
		}
		lines := strings.Split(stdout.String(), "\n")
		return strings.Join(lines[:len(lines)-2], "\n") // the last has wall time and memory
	}
	if a, b := run("5"), run("5"); a != b {
		t.Errorf("two runs with one seed differ:\n%s\n%s", a, b)
	}
	if a, b := run("5"), run("6"); a == b {
		t.Error("two seeds give the same run")
	}
}

func TestScenarioMistakes(t *testing.T) {
	for _, tc := range []struct{ text, want string }{
		{"clients none", `line 1: clients: "none" is no positive number`},
		{"title", "line 1: title: wrong number of words"},
		{"colour red", "line 1: colour: unknown statement"},
		{"\nnat cone", `line 2: nat: NAT "cone": unknown; one of none, full-cone`},
		{"clients 3 9.9=1", `client family "9.9": unknown`},
		{"roots alice=40", "root alice has 40 members, at most 32 fit a planet"},
		{"roots a=1 b=1 c=1 d=1 e=1", "5 roots, at most 4 fit a planet"},
		{"at 1m kill carol.1", `line 1: no member "carol.1"`},
		{"at 1m explode", `line 1: at: unknown action "explode"`},
		{"at 1m kill", "line 1: at: action kill: wrong number of words"},
		{"at noon kill alice.1", "line 1: at: time: invalid duration"},
		{"at 1m roam 1.5", `line 1: share "1.5" is not between 0 and 1`},
		{"at 1m sleep 1 long", `line 1: time: invalid duration "long"`},
		{"limit beauty >= 1", `line 1: unknown metric "beauty": one of online`},
		{"limit online > 1", `">" is no comparison`},
		{"clients 1\nduration 1\nrtt 3", "line 3: rtt:"},
	} {
		_, err := parseScenario(strings.NewReader(tc.text))
		if err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%q: error %v, want %q", tc.text, err, tc.want)
		}
	}
}

func FuzzScenario(f *testing.F) {
	files, err := filepath.Glob("scenarios/*.txt")
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(b))
	}
	f.Fuzz(func(t *testing.T, text string) {
		s, err := parseScenario(strings.NewReader(text))
		if err == nil && (s.clients <= 0 || len(s.mix) == 0) {
			t.Errorf("accepted: %+v", s)
		}
	})
}
