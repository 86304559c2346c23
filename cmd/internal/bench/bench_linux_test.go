package main

import (
	"bytes"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

func TestMedian(t *testing.T) {
	for _, tc := range []struct {
		v    []float64
		want float64
	}{{nil, 0}, {[]float64{3}, 3}, {[]float64{3, 1, 2}, 2}, {[]float64{4, 1, 3, 2}, 2.5}} {
		if got := median(tc.v); got != tc.want {
			t.Errorf("median of %v: %v, want %v", tc.v, got, tc.want)
		}
	}
}

func TestBadFlags(t *testing.T) {
	for _, tc := range []struct{ args, want string }{
		{"x", "unexpected argument"},
		{"-rounds 0", "one round at least"},
		{"-clients 5", "100 clients at least"},
		{"-clients 500 -peers 100", "no fewer peers"},
		{"-server-core 1", "a core each"},
		{"-only (", "invalid value"},
		{"-other true", "no {port}"},
		{"-saves -other {port}", "leave -other away"},
		{"-fill -other {port}", "leave -other away"},
		{"-fill -saves", "choose one"},
		{"-saves-to x", "add it"},
		{"-other {port}", "put exec before it"},
		{"-other {port} -than x", "leave -than or -other away"},
		{"-members 9", "1 to 5"},
	} {
		var out bytes.Buffer
		if err := command(t.Context(), strings.Fields(tc.args), &out, &out); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("bench %s: %v, want %q", tc.args, err, tc.want)
		}
	}
}

// TestReflectorCompiles, without warnings.
func TestReflectorCompiles(t *testing.T) {
	cc, err := exec.LookPath("cc")
	if err != nil {
		t.Skip("no C compiler here")
	}
	out, err := exec.CommandContext(t.Context(), cc, "-O2", "-Wall", "-Werror", "-o", filepath.Join(t.TempDir(), "reflector"), "reflector/reflector.c").CombinedOutput()
	if err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

// TestCollections adds up the cycles of a trace that comes in pieces.
func TestCollections(t *testing.T) {
	var c collections
	for _, s := range []string{"gc 1 @0.012s 2%: 0.026+0.49+0.10 ms clock, 0.20+0.", "5/1.0/2+0.3 ms cpu, 4->4->0 MB\n{\"msg\":\"x\"}\ngc 2 @0.2s", " 2%: 0+0+0 ms clock, 0+0/1/0+0 ms cpu, 4 MB\n"} {
		if n, err := c.Write([]byte(s)); n != len(s) || err != nil {
			t.Fatal(n, err)
		}
	}
	if c.ms < 4.99 || c.ms > 5.01 {
		t.Errorf("%v ms, want 5", c.ms)
	}
}
