package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"slices"
	"time"
)

const runUsage = `usage: rootswarm run [-seed N] FILE...

Plays scenarios in virtual time, with naive roots: what clients of each release do, without a network. The format is
described in scenarios/README.md. The exit code is 1 if a limit of a scenario was exceeded.

example:

	rootswarm run cmd/rootswarm/scenarios/*.txt
`

// runCommand is "rootswarm run".
func runCommand(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	fs := flag.NewFlagSet("rootswarm run", flag.ContinueOnError)
	fs.SetOutput(stderr)
	fs.Usage = func() { fmt.Fprint(stderr, runUsage); fs.PrintDefaults() }
	seed := fs.Uint64("seed", 1, "seed of everything random")
	if err := fs.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return 0
		}
		return exitError
	}
	if fs.NArg() == 0 {
		fmt.Fprint(stderr, runUsage)
		return exitError
	}
	code := 0
	for _, file := range fs.Args() {
		ok, err := runFile(ctx, file, *seed, stdout, stderr)
		if err != nil {
			fmt.Fprintln(stderr, "rootswarm:", err)
			return exitError
		}
		if !ok {
			code = exitLimit
		}
	}
	return code
}

// runFile plays one scenario and reports whether its limits were kept.
func runFile(ctx context.Context, file string, seed uint64, stdout, stderr io.Writer) (bool, error) {
	f, err := os.Open(file)
	if err != nil {
		return false, err
	}
	defer f.Close()
	s, err := parseScenario(f)
	if err != nil {
		return false, fmt.Errorf("scenario %s:\n%w", file, err)
	}
	began, before := time.Now(), memory()
	fmt.Fprintf(stdout, "%s: %s\n", file, s.title)
	g, err := newStage(s, seed)
	if err != nil {
		return false, fmt.Errorf("scenario %s: %w", file, err)
	}
	ready := time.Since(began)
	if err := g.play(ctx, stdout); err != nil {
		return false, fmt.Errorf("scenario %s: stopped after %s of virtual time: %w", file, g.passed(), err)
	}
	wall := time.Since(began) - ready
	used := memory() - before
	m := g.metrics()
	names := make([]string, 0, len(m))
	for name := range m {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		fmt.Fprintf(stdout, "          %-14s %.4f\n", name, m[name])
	}
	fmt.Fprintf(stdout, "          %d clients, %s virtual in %.1f s (and %.1f s to make them), %d datagrams, %.1f MB, %.1f KB a client\n",
		s.clients, g.passed(), wall.Seconds(), ready.Seconds(), g.net.Sent,
		float64(used)/1e6, float64(used)/1e3/float64(s.clients))
	ok := true
	for _, l := range s.limits {
		v := m[l.metric]
		kept := l.op == "<=" && v <= l.value || l.op == ">=" && v >= l.value || l.op == "==" && v == l.value
		if !kept {
			ok = false
			fmt.Fprintf(stderr, "rootswarm: %s:%d: limit exceeded: %s is %.4f, not %s %v\n", file, l.line, l.metric, v, l.op, l.value)
		}
	}
	return ok, nil
}
