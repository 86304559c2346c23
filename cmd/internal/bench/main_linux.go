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
	members int    // of rootd's cluster
	file    string // of clients' identities; "": synthetic ones
	other   string // command of another root server; "": none
	than    string // directory of another build of rootd; "": none
	only    *regexp.Regexp
	saves   bool
	fill    bool
	saveTo  string
	json    bool
	cores   [2]int // of the servers, -1: any, and of the load
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
	flags.IntVar(&c.members, "members", 1, "members of rootd's cluster; with more than one, the one that is measured looks into the table for every packet.\nNeeds rootctl beside rootd")
	flags.StringVar(&c.file, "identities", "", "`file` of secret identities for the clients, one a line, for servers that check them")
	flags.StringVar(&c.other, "other", "", "shell `command` of another root server to compare with, as in -other 'exec rival -p {port} {identity}'; {port} becomes\nits UDP port, {dir} a directory of its own, {identity} the file of the root's secret identity in it")
	flags.StringVar(&c.than, "than", "", "`directory` of another build of rootd to compare with")
	flags.Func("only", "scenarios whose names match the `regexp`", func(s string) (err error) { c.only, err = regexp.Compile(s); return err })
	flags.BoolVar(&c.saves, "saves", false, "measure instead how long rootd's packets take alone, and while its state is saved (to nowhere) again and again")
	flags.BoolVar(&c.fill, "fill", false, "measure instead rootd's answers to HELLOs while all peers but the clients come into its log, and its memory,\nits collector, and how long it takes to start again")
	flags.StringVar(&c.saveTo, "saves-to", "", "`file` that -saves writes to, and brings to the disk each time, instead of to nowhere")
	flags.BoolVar(&c.json, "json", false, "print JSON")
	flags.IntVar(&c.cores[0], "server-core", 0, "core of the servers; -1: all that there are")
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
	case c.members < 1 || c.members > 5:
		return fmt.Errorf("-members %d: 1 to 5", c.members)
	case c.cores[0] == c.cores[1]:
		return errors.New("the servers and the load need a core each")
	}
	switch {
	case c.saves && c.fill:
		return errors.New("-saves and -fill are two measurements: choose one")
	case c.fill && (c.than != "" || c.members > 1):
		return errors.New("-fill measures one member of one build: leave -than and -members away")
	case c.saveTo != "" && !c.saves:
		return errors.New("-saves-to says where -saves writes to: add it")
	case c.other == "":
	case c.saves || c.fill:
		return errors.New("-saves and -fill measure rootd alone: leave -other away")
	case c.than != "":
		return errors.New("compare with another build or with another root: leave -than or -other away")
	case !strings.Contains(c.other, "{port}"):
		return errors.New("-other: the command has no {port}: on which one does it serve?")
	case !strings.Contains(c.other, "exec "):
		return errors.New("-other: the shell must become the server, to be measured and ended: put exec before it")
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

	Other       []float64          `json:"other_ns,omitempty"`
	OtherRatios []float64          `json:"other_ratios,omitempty"` // rootd's time divided by the other root's, by round
	OtherRatio  float64            `json:"other_ratio,omitempty"`  // median
	OtherLost   int                `json:"other_lost,omitempty"`
	P50         [servers][]float64 `json:"p50_us"` // median time from sending to receiving, µs, by server and round; only where it is measured
	P99         [servers][]float64 `json:"p99_us"` // 99th percentile
}

// The servers, in the order in which they take their turns.
const (
	reflector = iota
	rootd
	another
	servers
)

func (c *config) run(ctx context.Context, stdout, stderr io.Writer) error {
	if c.fill {
		if err := os.Setenv("GODEBUG", "gctrace=1"); err != nil { // for rootd
			return err
		}
	}
	l, err := newLab(ctx, c, stderr)
	if err != nil {
		return err
	}
	defer l.close()
	if c.saves {
		return l.saves(ctx, stdout, stderr)
	}
	if c.fill {
		return l.fill(ctx, stdout, stderr)
	}
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
			if err := l.round(r); err != nil {
				return fmt.Errorf("round %d, %s: %w", round+1, r.Name, err)
			}
		}
		fmt.Fprintf(stderr, "round %d of %d done\n", round+1, c.rounds)
	}
	for _, r := range results {
		r.Ratio, r.OtherRatio = median(r.Ratios), median(r.OtherRatios)
	}
	if c.json {
		e := json.NewEncoder(stdout)
		e.SetIndent("", "  ")
		return e.Encode(results)
	}
	return c.print(stdout, l, results)
}

// print prints tables for people.
func (c *config) print(stdout io.Writer, l *lab, results []*result) error {
	w := tabwriter.NewWriter(stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "SCENARIO\tREFLECTOR ns\tROOTD ns\tRATIO\tRANGE\tASKED\tLOST\tREFLECTOR p50, p99\tROOTD p50, p99")
	for _, r := range results {
		fmt.Fprintf(w, "%s\t%.0f\t%.0f\t%.2f\t%.2f-%.2f\t%.2f\t%d\t%s\t%s\n", r.Name, median(r.Reflector), median(r.Root), r.Ratio,
			slices.Min(r.Ratios), slices.Max(r.Ratios), r.Asked, r.Lost, r.latency(reflector), r.latency(rootd))
	}
	m := l.servers[rootd].memory
	fmt.Fprintf(w, "\nrootd holds %.1f MB for 100,000 peers in its log, and %.0f bytes for a client that is here; %.1f MB without any\n",
		float64(m[0]-l.empty)/float64(c.peers)/10, float64(m[1]-m[0])/float64(len(l.load.clients)), float64(l.empty)/1e6)
	if err := w.Flush(); err != nil || len(l.servers) <= another {
		return err
	}
	fmt.Fprintln(w, "\nSCENARIO\tOTHER ns\tROOTD ns\tROOTD/OTHER\tRANGE\tLOST BY THE OTHER\tOTHER p50, p99\tROOTD p50, p99")
	for _, r := range results {
		fmt.Fprintf(w, "%s\t%.0f\t%.0f\t%.2f\t%.2f-%.2f\t%d\t%s\t%s\n", r.Name, median(r.Other), median(r.Root), r.OtherRatio,
			slices.Min(r.OtherRatios), slices.Max(r.OtherRatios), r.OtherLost, r.latency(another), r.latency(rootd))
	}
	fmt.Fprintln(w, "\nMEMORY\tBEFORE THE CLIENTS\tWITH THEM\tA CLIENT\tAT THE END")
	for _, k := range []int{another, rootd} {
		m := l.servers[k].memory
		end, _ := resident(l.servers[k].pid)
		fmt.Fprintf(w, "%s\t%.1f MB\t%.1f MB\t%.0f bytes\t%.1f MB\n", l.servers[k].name, float64(m[0])/1e6, float64(m[1])/1e6,
			float64(m[1]-m[0])/float64(len(l.load.clients)), float64(end)/1e6)
	}
	return w.Flush()
}

// latency is how long packets took, median of all rounds, as far as it was measured.
func (r *result) latency(server int) string {
	if len(r.P50[server]) == 0 {
		return ""
	}
	return fmt.Sprintf("%.0f µs, %.0f µs", median(r.P50[server]), median(r.P99[server]))
}

func median(v []float64) float64 {
	if len(v) == 0 {
		return 0
	}
	s := slices.Sorted(slices.Values(v))
	return (s[(len(s)-1)/2] + s[len(s)/2]) / 2
}
