package main

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rootd/rootd/cmd/internal/procs"
)

// screen is what a demo has printed so far; any goroutine may ask.
type screen struct {
	mu   sync.Mutex // guards text
	text strings.Builder
}

func (s *screen) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.Write(b)
}

func (s *screen) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}

// TestDemo runs the real thing, and looks for what it may have left behind.
func TestDemo(t *testing.T) {
	if testing.Short() {
		t.Skip("builds and starts processes")
	}
	bin := t.TempDir()
	if err := procs.Build(t.Context(), bin, "../../rootd", "../../rootctl", "../../rootswarm"); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name string
		args []string
		stop bool // by what Ctrl-C does
		want []string
	}{
		{"ends by itself", []string{"-duration", "15s"}, false, []string{"3 members", "metrics http://127.0.0.1:", "where chance put them: ", ": 10 of 10 clients are at the member nearest to them", "m3: 10 peers known"}},
		{"is stopped", []string{"-members", "1"}, true, []string{"stopping", "m1: "}},
		{"kills rootd", []string{"-members", "1", "-duration", "8s", "-kill-every", "3s"}, false, []string{"killed rootd, 1: serves again", "m1: "}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			temp := t.TempDir()
			t.Setenv("TMPDIR", temp)
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			table, talk := &screen{}, &screen{}
			ended := make(chan error, 1)
			go func() {
				ended <- command(ctx, append([]string{"-bin", bin, "-clients", "10"}, tt.args...), table, talk)
			}()
			if tt.stop {
				waitFor(t, table, "online") // the head of the table
				cancel()
			}
			if err := <-ended; err != nil {
				t.Error(err)
			}
			for _, want := range tt.want {
				if !strings.Contains(talk.String(), want) {
					t.Errorf("does not say %q", want)
				}
			}
			if !strings.Contains(table.String(), "online") {
				t.Error("no table")
			}
			if left, err := os.ReadDir(temp); err != nil || len(left) > 0 {
				t.Errorf("left behind: %v, %v", left, err)
			}
			if t.Failed() {
				t.Logf("%s\n%s", talk, table)
			}
		})
	}
}

func waitFor(t *testing.T, s *screen, text string) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for timeout := time.After(30 * time.Second); !strings.Contains(s.String(), text); {
		select {
		case <-tick.C:
		case <-timeout:
			t.Fatalf("waited in vain for %q", text)
		}
	}
}

func TestArguments(t *testing.T) {
	for _, tt := range []struct{ args, want string }{
		{"-clients 1", "at least 2"},
		{"-duration 1s", "at least 5s"},
		{"-duration -1s", "at least 5s"},
		{"now", `unexpected argument "now"`},
		{"-bin " + filepath.Join(t.TempDir(), "empty"), "rootd: no such file"},
	} {
		err := command(t.Context(), strings.Fields(tt.args), io.Discard, io.Discard)
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: error %v, want one with %q", tt.args, err, tt.want)
		}
	}
}

// A demo that cannot start says why, and leaves nothing behind.
func TestRootThatDoesNotStart(t *testing.T) {
	bin, temp := t.TempDir(), t.TempDir()
	t.Setenv("TMPDIR", temp)
	script := "#!/bin/sh\necho rootd: port 9993 is cursed\nexit 1\n"
	if err := os.WriteFile(filepath.Join(bin, "rootd"), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	err := command(t.Context(), []string{"-bin", bin}, io.Discard, io.Discard)
	if err == nil || !strings.Contains(err.Error(), "port 9993 is cursed") {
		t.Errorf("error %v, want what rootd said", err)
	}
	if left, err := os.ReadDir(temp); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}
