package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := command(ctx, os.Args[1:], os.Stdout, os.Stderr); err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "bench:", err)
		stop()
		os.Exit(1)
	}
}

// config is a run as given by flags.
type config struct {
	bin     string
	cc      string
	args    []string // more flags for rootd
	rounds  int
	length  time.Duration
	clients int
	peers   int
	only    *regexp.Regexp
	json    bool
	cores   [2]int // of the servers and of the load
}

func command(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find rootd beside bench: %w", err)
	}
	c := config{only: regexp.MustCompile("")}
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.StringVar(&c.bin, "bin", filepath.Dir(self), "`directory` of rootd")
	flags.StringVar(&c.cc, "cc", "cc", "C compiler")
	flags.Func("rootd", "more `flags` for rootd, as in -rootd '-udp-offload=false'", func(s string) error { c.args = strings.Fields(s); return nil })
	flags.IntVar(&c.rounds, "rounds", 5, "rounds")
	flags.DurationVar(&c.length, "length", time.Second, "of one run")
	flags.IntVar(&c.clients, "clients", 20_000, "clients that speak to the servers")
	flags.IntVar(&c.peers, "peers", 100_000, "peers that rootd knows, the clients included")
	flags.Func("only", "scenarios whose names match the `regexp`", func(s string) (err error) { c.only, err = regexp.Compile(s); return err })
	flags.BoolVar(&c.json, "json", false, "print JSON")
	flags.IntVar(&c.cores[0], "server-core", 0, "core of the servers")
	flags.IntVar(&c.cores[1], "load-core", 1, "core of the load")
	if err := flags.Parse(args); err != nil {
		return err
	}
	switch {
	case flags.NArg() > 0:
		return fmt.Errorf("unexpected argument %q", flags.Arg(0))
	case c.rounds < 1 || c.length < 100*time.Millisecond:
		return errors.New("need one round at least, of 100ms at least")
	case c.clients < 100 || c.clients > 1<<20 || c.peers < c.clients:
		return fmt.Errorf("-clients %d, -peers %d: need 100 clients at least, and no fewer peers than clients", c.clients, c.peers)
	case c.cores[0] == c.cores[1]:
		return errors.New("the servers and the load need a core each")
	}
	return c.run(ctx, stdout, stderr)
}

// result is what all rounds of a scenario gave.
type result struct {
	Name      string    `json:"name"`
	Reflector []float64 `json:"reflector_ns"` // CPU time per packet that came back, by round
	Root      []float64 `json:"rootd_ns"`
	Ratios    []float64 `json:"ratios"`
	Ratio     float64   `json:"ratio"` // median
	Lost      int       `json:"lost"`  // of rootd
	Asked     float64   `json:"asked"` // the greatest ratio that is good enough
}

func (c *config) run(ctx context.Context, stdout, stderr io.Writer) error {
	l, err := newLab(ctx, c, stderr)
	if err != nil {
		return err
	}
	defer l.close()
	var results []*result
	for _, s := range scenarios() {
		if c.only.MatchString(s.name) {
			results = append(results, &result{Name: s.name, Asked: s.asked})
		}
	}
	for round := range c.rounds {
		for _, r := range results {
			if err := ctx.Err(); err != nil {
				return err
			}
			if err := l.pair(r); err != nil {
				return fmt.Errorf("round %d, %s: %w", round+1, r.Name, err)
			}
		}
		fmt.Fprintf(stderr, "round %d of %d done\n", round+1, c.rounds)
	}
	for _, r := range results {
		r.Ratio = median(r.Ratios)
	}
	if c.json {
		e := json.NewEncoder(stdout)
		e.SetIndent("", "  ")
		return e.Encode(results)
	}
	w := tabwriter.NewWriter(stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "SCENARIO\tREFLECTOR ns\tROOTD ns\tRATIO\tRANGE\tASKED\tLOST")
	for _, r := range results {
		fmt.Fprintf(w, "%s\t%.0f\t%.0f\t%.2f\t%.2f-%.2f\t%.2f\t%d\n", r.Name, median(r.Reflector), median(r.Root), r.Ratio,
			slices.Min(r.Ratios), slices.Max(r.Ratios), r.Asked, r.Lost)
	}
	return w.Flush()
}

func median(v []float64) float64 {
	if len(v) == 0 {
		return 0
	}
	s := slices.Sorted(slices.Values(v))
	return (s[(len(s)-1)/2] + s[len(s)/2]) / 2
}
