package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"text/tabwriter"
	"time"

	"github.com/rootd/rootd/packetpath/vl1"
	"github.com/rootd/rootd/transport/admin"
)

// filled is what a member with many peers is like.
type filled struct {
	Peers  int       `json:"peers"`
	Phases []*waited `json:"phases"`
	// Memory is what is resident of rootd before the peers come, with all of them, and after a start.
	Memory  [3]int64 `json:"memory"`
	GC      float64  `json:"gc_percent"`       // of the CPU time until then: the collector's
	Fill    float64  `json:"fill_s"`           // until all peers are applied
	Saved   bool     `json:"saved"`            // there was a snapshot to start from
	Restart float64  `json:"start_s"`          // after kill -9, until it is ready
	Again   float64  `json:"start_gc_percent"` // as GC, of the process that was started
}

// waited is how long HELLOs waited for their answer, ms, and how long their sender itself was kept from its core.
type waited struct {
	Name  string  `json:"name"`
	Sent  int     `json:"sent"`
	Lost  int     `json:"lost"`
	P50   float64 `json:"p50_ms"`
	P99   float64 `json:"p99_ms"`
	P999  float64 `json:"p999_ms"`
	Worst float64 `json:"worst_ms"`
	Away  float64 `json:"away_ms"`
	late  []int64
}

// fill measures rootd's answers to HELLOs before peers come, while they do, with them, and after a start.
func (l *lab) fill(ctx context.Context, stdout, stderr io.Writer) error {
	r := &filled{Peers: l.c.peers}
	r.Memory[0] = l.servers[rootd].memory[1]
	var err error
	r.Phases = append(r.Phases, l.probe("before", func() bool { return false }))
	done, begun := make(chan error, 1), time.Now()
	a := admin.NewClient(l.root.Socket())
	defer a.Close()
	go func() { done <- importNoise(ctx, a, l.c.peers-l.c.clients) }()
	var ended bool
	r.Phases = append(r.Phases, l.probe("while peers come", func() bool {
		select {
		case err = <-done:
			ended = true
		default:
		}
		return !ended
	}))
	if !ended {
		err = <-done
	}
	if err != nil {
		return err
	}
	r.Fill = time.Since(begun).Seconds()
	fmt.Fprintf(stderr, "%d peers are in the log\n", l.c.peers)
	late := time.Now().Add(snapshotWait)
	r.Phases = append(r.Phases, l.probe("until they are in a snapshot", func() bool {
		r.Saved = l.snapshots() > 0
		return !r.Saved && time.Now().Before(late) && ctx.Err() == nil
	}), l.probe("with all of them", func() bool { return false }))
	if r.Memory[1], err = resident(l.servers[rootd].pid); err != nil {
		return err
	}
	if r.GC, err = l.gc.share(l.servers[rootd].pid); err != nil {
		return err
	}
	l.root.Kill()
	begun = time.Now()
	if err := l.root.Start(); err != nil {
		return err
	}
	if err := l.root.WaitReady(ctx); err != nil {
		return fmt.Errorf("%w%s", err, l.said(rootd))
	}
	r.Restart = time.Since(begun).Seconds()
	if err := l.load.introduce(ctx, l.servers[rootd].at, false); err != nil {
		return err
	}
	r.Phases = append(r.Phases, l.probe("after a start", func() bool { return false }))
	if r.Memory[2], err = resident(l.root.Process().PID()); err != nil {
		return err
	}
	if r.Again, err = l.gc.share(l.root.Process().PID()); err != nil {
		return err
	}
	if l.c.json {
		return json.NewEncoder(stdout).Encode(r)
	}
	return r.print(stdout)
}

func (r *filled) print(stdout io.Writer) error {
	w := tabwriter.NewWriter(stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "HELLOS, %d/s\tSENT\tLOST\tp50\tp99\tp99.9\tWORST\tSENDER ITSELF AWAY\n", fillRate)
	for _, p := range r.Phases {
		fmt.Fprintf(w, "%s\t%d\t%d\t%.2f ms\t%.2f ms\t%.2f ms\t%.1f ms\t%.1f ms\n", p.Name, p.Sent, p.Lost, p.P50, p.P99, p.P999, p.Worst, p.Away)
	}
	fmt.Fprintf(w, "\n%d peers in %.1f s; resident memory %.0f MB before, %.0f MB with them: %.1f MB for 100,000; collector %.2f %% of CPU\n", r.Peers, r.Fill,
		float64(r.Memory[0])/1e6, float64(r.Memory[1])/1e6, float64(r.Memory[1]-r.Memory[0])/float64(r.Peers)/10, r.GC)
	from := "a snapshot and what came after it"
	if !r.Saved {
		from = "the log alone"
	}
	fmt.Fprintf(w, "started from %s in %.1f s after kill -9; resident memory %.0f MB; collector %.2f %%\n", from, r.Restart, float64(r.Memory[2])/1e6, r.Again)
	return w.Flush()
}

// fillRate is how many HELLOs a second the probe sends.
const fillRate = 5_000

// importNoise puts so many peers into the log. Nobody speaks for them, so their keys may be noise.
func importNoise(ctx context.Context, a *admin.Client, n int) error {
	src := rand.NewPCG(3, 4)
	batch := make([]vl1.Identity, 0, admin.MaxImport)
	for n > 0 {
		for batch = batch[:0]; len(batch) < min(n, admin.MaxImport); {
			id := vl1.Identity{Address: vl1.Address(src.Uint64() >> 24)}
			for k := 0; k < len(id.Key); k += 8 {
				binary.LittleEndian.PutUint64(id.Key[k:], src.Uint64())
			}
			if !id.Address.Reserved() {
				batch = append(batch, id)
			}
		}
		if _, err := a.ImportPeers(ctx, batch); err != nil {
			return err
		}
		n -= len(batch)
	}
	return nil
}

// snapshotWait is how long rootd may take to make a snapshot: it looks every two to four minutes whether one is due.
const snapshotWait = 5 * time.Minute

// snapshots is how many snapshots rootd has on disk.
func (l *lab) snapshots() (n int) {
	dirs, _ := filepath.Glob(filepath.Join(l.root.DataDir, "*", "snapshots", "*"))
	for _, d := range dirs {
		if !strings.HasSuffix(d, ".tmp") {
			n++
		}
	}
	return n
}

// probe sends HELLOs for as long as a run lasts, and on while more says so.
func (l *lab) probe(name string, more func() bool) *waited {
	p, at := &waited{Name: name}, l.servers[rootd].at
	for again := true; again; again = more() {
		l.load.at(at)
		l.load.nap = nap
		sent, back := l.load.open(at, l.c.length, fillRate, (*load).timedHello)
		p.Sent += sent
		p.Lost += sent - back
		p.late = append(p.late, l.load.late...)
		p.Away = max(p.Away, float64(l.load.away)/1e6)
	}
	slices.Sort(p.late)
	quantile := func(perMille int) float64 { return float64(p.late[(len(p.late)-1)*perMille/1000]) / 1e6 }
	if len(p.late) > 0 {
		p.P50, p.P99, p.P999, p.Worst = quantile(500), quantile(990), quantile(999), quantile(1000)
	}
	return p
}

// timedHello is a HELLO, with a look at the clock.
func (l *load) timedHello(p *peer, buf []byte) []byte {
	l.timed, p.sent = true, time.Now().UnixNano()
	return l.hello(p, buf)
}

// collections adds up what GODEBUG=gctrace=1 makes a server say about its collector. For the goroutine that copies the server's output, and
// for whoever asks.
type collections struct {
	mu   sync.Mutex // guards line and ms
	line []byte     // that has not ended yet
	ms   float64    // CPU time of all cycles
}

var cycle = regexp.MustCompile(`^gc \d+ @.* ms clock, ([0-9.]+)\+([0-9.]+)/([0-9.]+)/([0-9.]+)\+([0-9.]+) ms cpu`)

func (c *collections) Write(b []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.line = append(c.line, b...)
	for {
		line, rest, ok := bytes.Cut(c.line, []byte{'\n'})
		if !ok {
			return len(b), nil
		}
		if m := cycle.FindSubmatch(line); m != nil {
			for _, s := range m[1:] {
				ms, _ := strconv.ParseFloat(string(s), 64)
				c.ms += ms
			}
		}
		c.line = rest
	}
}

// share is the collector's percentage of the CPU time that a process has used, and begins to count anew.
func (c *collections) share(pid int) (float64, error) {
	all, err := cpu(pid)
	if err != nil {
		return 0, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	ms := c.ms
	c.ms = 0
	return ms / (float64(all) / 1e6) * 100, nil
}
