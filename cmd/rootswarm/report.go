package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"runtime/pprof"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// meter measures the CPU time of the swarm and of the root between reset and read.
type meter struct {
	pid       int
	own, root float64
}

func newMeter(pid int) *meter {
	m := &meter{pid: pid}
	m.reset()
	return m
}

func (m *meter) reset() {
	m.own = ownCPU()
	m.root, _ = processCPU(m.pid)
}

// read returns the seconds since reset; the root's are 0 if its process cannot be seen.
func (m *meter) read() (own, root float64) {
	own = ownCPU() - m.own
	if now, ok := processCPU(m.pid); ok && m.pid > 0 {
		root = now - m.root
	}
	return own, root
}

// startProfile begins a CPU profile, if a file is named, and returns what ends it.
func startProfile(file string) (stop func(), err error) {
	if file == "" {
		return func() {}, nil
	}
	f, err := os.Create(file)
	if err != nil {
		return nil, fmt.Errorf("-cpuprofile: %w", err)
	}
	if err := pprof.StartCPUProfile(f); err != nil {
		f.Close()
		return nil, fmt.Errorf("-cpuprofile: %w", err)
	}
	return func() {
		pprof.StopCPUProfile()
		f.Close()
	}, nil
}

// table prints a line each second, with the rates of that second.
type table struct {
	w     io.Writer
	lines int
	last  counters
}

func (t *table) line(now time.Duration, c *counters) {
	if t.lines%20 == 0 {
		fmt.Fprintf(t.w, "%6s %8s %9s %9s %9s %9s %8s %8s %8s\n",
			"time", "online", "tx/s", "rx/s", "frames/s", "direct/s", "p50", "p99", "max")
	}
	t.lines++
	second := c.latency
	second.n -= t.last.latency.n
	for i, n := range t.last.latency.buckets {
		second.buckets[i] -= n
	}
	fmt.Fprintf(t.w, "%6s %8d %9d %9d %9d %9d %8s %8s %8s\n", now.Round(time.Second), c.online,
		c.sent-t.last.sent, c.received-t.last.received, c.framesReceived-t.last.framesReceived,
		c.framesDirect-t.last.framesDirect, short(second.quantile(0.5)), short(second.quantile(0.99)), short(second.quantile(1)))
	t.last = *c
}

func short(d time.Duration) string {
	switch {
	case d == 0:
		return "-"
	case d < time.Millisecond:
		return fmt.Sprintf("%dµs", d.Microseconds())
	case d < time.Second:
		return fmt.Sprintf("%.1fms", float64(d)/float64(time.Millisecond))
	}
	return fmt.Sprintf("%.2fs", d.Seconds())
}

// print writes the summary for people.
func (r *Report) print(w io.Writer) {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	row := func(name, format string, a ...any) { fmt.Fprintf(tw, "%s\t%s\n", name, fmt.Sprintf(format, a...)) }
	names := make([]string, 0, len(r.Families))
	for n := range r.Families {
		names = append(names, n)
	}
	slices.Sort(names)
	for i, n := range names {
		names[i] = fmt.Sprintf("%d of %s", r.Families[n], n)
	}
	us := func(v int64) string { return short(time.Duration(v) * time.Microsecond) }
	row("clients", "%d online of %d (%s), measured for %.1f s", r.Online, r.Clients, strings.Join(names, ", "), r.Seconds)
	row("frames", "%d sent, %d received (%d directly), %.4f %% lost", r.FramesSent, r.FramesGot, r.FramesDirect, 100*r.FramesLost)
	row("latency", "p50 %s, p90 %s, p99 %s, p99.9 %s, max %s", us(r.P50), us(r.P90), us(r.P99), us(r.P999), us(r.Max))
	row("outage", "longest %d ms, of clients p50 %d ms, p99 %d ms", r.Outage, r.OutageP50, r.OutageP99)
	row("requests", "%d HELLO, %d ECHO, %d WHOIS; %d OK", r.Hellos, r.Echoes, r.Whoises, r.OKs)
	row("from roots", "%d RENDEZVOUS, %d redirects, %d resets, %d planets", r.Rendezvous, r.Redirects, r.Resets, r.Planets)
	if len(r.NATs) > 0 {
		var kinds []string
		for n, k := range r.NATs {
			kinds = append(kinds, fmt.Sprintf("%d %s", k, n))
		}
		slices.Sort(kinds)
		row("NATs", "%s; %d datagrams filtered", strings.Join(kinds, ", "), r.Filtered)
	}
	row("datagrams", "%d sent, %d received, %d refused by the kernel, %d with a bad MAC", r.Sent, r.Received, r.Unsent, r.BadMAC)
	if r.Seconds > 0 {
		root := ""
		if r.RootCPU > 0 {
			root = fmt.Sprintf(", root %.1f %%", 100*r.RootCPU/r.Seconds)
		}
		row("CPU", "swarm %.1f %%%s of a core", 100*r.SwarmCPU/r.Seconds, root)
	}
	tw.Flush()
}

func (r *Report) printJSON(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(r)
}

// verdict returns one line per limit that was exceeded.
func (r *Report) verdict(c *config) []string {
	var bad []string
	fail := func(format string, a ...any) { bad = append(bad, fmt.Sprintf(format, a...)) }
	if c.maxLoss >= 0 && r.FramesLost > c.maxLoss {
		fail("lost %.6f of all frames, limit %.6f", r.FramesLost, c.maxLoss)
	}
	if c.maxLoss >= 0 && c.frameEvery > 0 && r.FramesSent == 0 {
		fail("no frame was sent, so nothing is known about loss")
	}
	if p := time.Duration(r.P99) * time.Microsecond; c.maxP99 > 0 && (p > c.maxP99 || r.FramesGot == 0) {
		fail("p99 of the latency is %s over %d frames, limit %s", short(p), r.FramesGot, c.maxP99)
	}
	if o := time.Duration(r.Outage) * time.Millisecond; c.maxOutage > 0 && o > c.maxOutage {
		fail("a client waited %s for an answer of a root, limit %s", o, c.maxOutage)
	}
	if share := float64(r.Online) / float64(max(r.Clients, 1)); share < c.minOnline {
		fail("%.4f of all clients found a path to a root, limit %.4f", share, c.minOnline)
	}
	return bad
}
