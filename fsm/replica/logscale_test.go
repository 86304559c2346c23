package replica_test

import (
	"flag"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strconv"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/rootd/rootd/fsm"
)

// TestLogThroughput measures what a cluster of three commits, turn about with a cluster that keeps its log in memory: make
// bench-log.
func TestLogThroughput(t *testing.T) {
	rounds, _ := strconv.Atoi(os.Getenv("ROOTD_LOG_ROUNDS"))
	if rounds < 1 {
		t.Skip("set ROOTD_LOG_ROUNDS to measure")
	}
	disk, memory := newLogLab(t, labOptions{peers: *labPeers}), newLogLab(t, labOptions{peers: *labPeers, memory: true})
	only := regexp.MustCompile(*labLoads)
	w := tabwriter.NewWriter(t.Output(), 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "CHANGES AN ENTRY\tWRITERS\tON DISK entries/s, changes/s\tIN MEMORY changes/s\tRATIO\tRANGE\tp50 ms\tp99 ms\tHEARTBEAT trip, gap ms")
	for _, load := range []struct{ size, writers int }{{1, 1}, {1, 512}, {100, 64}, {1000, 1}, {1000, 16}} {
		if !only.MatchString(fmt.Sprintf("%dx%d", load.size, load.writers)) {
			continue
		}
		var ratios, entries, changes, mem []float64
		var p50, p99, trip, gap time.Duration
		for range rounds {
			disk.beats.take()
			a := disk.run(t, load.size, load.writers, *labLength)
			tr, g := disk.beats.take()
			b := memory.run(t, load.size, load.writers, *labLength)
			ratios = append(ratios, a.perSecond()/b.perSecond())
			changes, mem = append(changes, a.perSecond()), append(mem, b.perSecond())
			entries = append(entries, a.perSecond()/float64(a.size))
			p50, p99, trip, gap = max(p50, a.quantile(0.5)), max(p99, a.quantile(0.99)), max(trip, tr), max(gap, g)
		}
		fmt.Fprintf(w, "%d\t%d\t%.0f, %.0f\t%.0f\t%.2f\t%.2f-%.2f\t%.1f\t%.1f\t%.0f, %.0f\n", load.size, load.writers, middle(entries), middle(changes), middle(mem),
			middle(ratios), slices.Min(ratios), slices.Max(ratios), ms(p50), ms(p99), ms(trip), ms(gap))
	}
	if err := w.Flush(); err != nil {
		t.Error(err)
	}
	disk.same(t)
	memory.same(t)
}

// TestLogAfar measures the same between members far apart: entries of 1,000 changes, one after the other and many at a time.
func TestLogAfar(t *testing.T) {
	if os.Getenv("ROOTD_LOG_ROUNDS") == "" {
		t.Skip("set ROOTD_LOG_ROUNDS to measure")
	}
	w := tabwriter.NewWriter(t.Output(), 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "ROUND TRIP\tUPLINK Mbit/s\tWRITERS\tentries/s\tchanges/s\tp50 ms\tp99 ms\tHEARTBEAT trip, gap ms")
	for _, l := range []line{{rtt: 80 * time.Millisecond}, {rtt: 160 * time.Millisecond}, {rtt: 80 * time.Millisecond, rate: 20e6 / 8, queue: 100 * time.Millisecond}} {
		lab := newLogLab(t, labOptions{peers: min(*labPeers, 100_000), line: &l})
		for _, writers := range []int{1, 8, 64} {
			lab.beats.take()
			b := lab.run(t, fsm.MaxChanges, writers, *labLength)
			trip, gap := lab.beats.take()
			fmt.Fprintf(w, "%v\t%.0f\t%d\t%.0f\t%.0f\t%.1f\t%.1f\t%.0f, %.0f\n", l.rtt, l.rate*8/1e6, writers, b.perSecond()/fsm.MaxChanges, b.perSecond(),
				ms(b.quantile(0.5)), ms(b.quantile(0.99)), ms(trip), ms(gap))
		}
		lab.same(t)
	}
	if err := w.Flush(); err != nil {
		t.Error(err)
	}
}

// A member that missed 400 full entries of new peers catches up over an uplink of 20 Mbit/s.
func TestLaggardOnASlowLine(t *testing.T) {
	if os.Getenv("ROOTD_LOG_ROUNDS") == "" {
		t.Skip("set ROOTD_LOG_ROUNDS to measure")
	}
	lab := newLogLab(t, labOptions{late: true, line: &line{rtt: 80 * time.Millisecond, rate: 20e6 / 8, queue: 100 * time.Millisecond}})
	began := time.Now()
	lab.know(t, 400*fsm.MaxChanges)
	last := lab.nodes[len(lab.nodes)-1]
	t.Logf("400 entries committed after %v", time.Since(began))
	lab.beats.take()
	began = time.Now()
	last.run(t)
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for end := time.Now().Add(2 * time.Minute); last.fsm.Hash() != lab.leader.fsm.Hash(); <-tick.C {
		if time.Now().After(end) {
			t.Fatalf("it is at entry %d of %d", last.fsm.View().State().Index, lab.leader.fsm.View().State().Index)
		}
	}
	trip, gap := lab.beats.take()
	t.Logf("caught up after %v; heartbeats took %v at most, and came every %v", time.Since(began), trip, gap)
}

func middle(v []float64) float64 {
	s := slices.Sorted(slices.Values(v))
	return (s[(len(s)-1)/2] + s[len(s)/2]) / 2
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

var (
	labLength = flag.Duration("log.length", 2*time.Second, "of one measurement")
	labLoads  = flag.String("log.loads", "", "regular expression of loads, as in 1000x16")
	labPeers  = flag.Int("log.peers", 1_000_000, "peers that the log knows")
)
