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
