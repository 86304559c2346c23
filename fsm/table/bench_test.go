package table_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/rootd/rootd/fsm/table"
	"github.com/rootd/rootd/packetpath/vl1"
)

// peersEnv sets how many peers the benchmarks have.
const peersEnv = "ROOTD_TABLE_PEERS"

func benchPeers(b *testing.B) int {
	b.Helper()
	s := os.Getenv(peersEnv)
	if s == "" {
		return 1_000_000
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < 1 {
		b.Fatalf("%s is %q: want a number of peers", peersEnv, s)
	}
	return n
}

// grown returns a table that grew to n peers, and the longest times that a Put took.
func grown(b *testing.B, n int, o table.Options) (*table.Table, []time.Duration) {
	b.Helper()
	tab := newTable(b, o)
	slow := make([]time.Duration, 0, n)
	r := full
	for i := range n {
		r.Address = address(i)
		start := time.Now()
		if err := tab.Put(&r); err != nil {
			b.Fatal(err)
		}
		slow = append(slow, time.Since(start))
	}
	slices.Sort(slow)
	return tab, slow
}

// changing changes random peers 10,000 times a second until the benchmark ends.
func changing(b *testing.B, tab *table.Table, n int) {
	b.Helper()
	ctx, stop := context.WithCancel(b.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		tick := time.NewTicker(time.Millisecond)
		defer tick.Stop()
		rnd := rand.New(rand.NewPCG(1, 2))
		r := full
		for start, done := time.Now(), 0; ; {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			for due := int(time.Since(start) / (100 * time.Microsecond)); done < due; done++ {
				a := address(rnd.IntN(n))
				if tab.Lookup(a, &r) {
					r.LastSeen++
					r.V4Member++
					r.V4Epoch++
					_ = tab.Put(&r)
				}
			}
		}
	})
	b.Cleanup(func() { stop(); wg.Wait() })
}

func BenchmarkLookup(b *testing.B) {
	n := benchPeers(b)
	for _, huge := range []bool{false, true} {
		tab, _ := grown(b, n, table.Options{HugePages: huge})
		name := fmt.Sprintf("peers=%d/huge=%v/", n, huge)
		perPeer := float64(tab.Stats().Bytes) / float64(n)
		rnd := rand.New(rand.NewPCG(3, 4))
		var r table.Record
		var w table.Words
		b.Run(name+"alone", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if !tab.Lookup(address(rnd.IntN(n)), &r) {
					b.Fatal("not found")
				}
			}
			b.ReportMetric(perPeer, "B/peer")
		})
		b.Run(name+"changing", func(b *testing.B) {
			changing(b, tab, n)
			b.ReportAllocs()
			for b.Loop() {
				if !tab.Lookup(address(rnd.IntN(n)), &r) {
					b.Fatal("not found")
				}
			}
		})
		b.Run(name+"changing/hot", func(b *testing.B) {
			changing(b, tab, n)
			b.ReportAllocs()
			for b.Loop() {
				if !tab.LookupHot(address(rnd.IntN(n)), &w) {
					b.Fatal("not found")
				}
			}
		})
		b.Run(name+"unknown", func(b *testing.B) {
			for b.Loop() {
				if tab.LookupHot(address(n+rnd.IntN(n)), &w) {
					b.Fatal("found")
				}
			}
		})
		b.Run(name+"changing/hot/batch=32", func(b *testing.B) {
			changing(b, tab, n)
			b.ReportAllocs()
			batch := make([]vl1.Address, 32)
			for b.Loop() {
				for i := range batch {
					batch[i] = address(rnd.IntN(n))
				}
				tab.Prefetch(batch)
				for _, a := range batch {
					if !tab.LookupHot(a, &w) {
						b.Fatal("not found")
					}
				}
			}
			b.ReportMetric(float64(b.Elapsed())/float64(b.N*len(batch)), "ns/peer")
		})
		_ = tab.Close()
	}
	b.Run(fmt.Sprintf("floor/peers=%d", n), func(b *testing.B) { // a read of one random cache line of as many as there are peers
		lines := make([][8]uint64, n)
		for i := range lines {
			lines[i][0] = 1
		}
		rnd := rand.New(rand.NewPCG(3, 4))
		sum := uint64(0)
		for b.Loop() {
			sum += lines[rnd.IntN(n)+int(sum>>62)][0]
		}
		if sum == 0 {
			b.Fatal("read nothing")
		}
	})
	b.Run("cached", func(b *testing.B) {
		tab, _ := grown(b, 256, table.Options{})
		var w table.Words
		i := 0
		for b.Loop() {
			tab.LookupHot(address(i&255), &w)
			i++
		}
	})
}

// BenchmarkGrow is a table that grows from nothing, or into the room that it asked for.
func BenchmarkGrow(b *testing.B) {
	n := benchPeers(b)
	for _, capacity := range []int{0, n} {
		b.Run(fmt.Sprintf("peers=%d/capacity=%d", n, capacity), func(b *testing.B) {
			for b.Loop() {
				start := time.Now()
				tab, slow := grown(b, n, table.Options{Capacity: capacity})
				st := tab.Stats()
				b.ReportMetric(float64(time.Since(start))/float64(n), "ns/put")
				b.ReportMetric(float64(slow[n-1])/1e3, "max-µs")
				b.ReportMetric(float64(slow[n-1-n/10_000])/1e3, "p99.99-µs")
				b.ReportMetric(float64(st.Bytes)/float64(n), "B/peer")
				b.ReportMetric(float64(st.Unused)/float64(n), "unused-B/peer")
				b.ReportMetric(st.Load, "load")
				_ = tab.Close()
			}
		})
	}
}

func BenchmarkChange(b *testing.B) {
	n := benchPeers(b)
	tab, _ := grown(b, n, table.Options{Capacity: n})
	rnd := rand.New(rand.NewPCG(5, 6))
	for _, frozen := range []bool{false, true} {
		b.Run(fmt.Sprintf("peers=%d/frozen=%v/put", n, frozen), func(b *testing.B) {
			if frozen {
				defer tab.Freeze().Release()
			}
			b.ReportAllocs()
			r := full
			for b.Loop() {
				r.Address = address(rnd.IntN(n))
				r.LastSeen++
				r.V4Member++
				if err := tab.Put(&r); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	b.Run(fmt.Sprintf("peers=%d/cursor", n), func(b *testing.B) {
		seen := full.LastSeen
		batch := make([]vl1.Address, 64)
		for b.Loop() {
			for i := range batch {
				batch[i] = address(rnd.IntN(n))
			}
			var c table.Cursor
			tab.Visit(&c, batch)
			for range batch {
				if !c.Next() {
					b.Fatal("not found")
				}
				seen++
				w := c.Words()
				w.SetLastSeen(seen)
				w.Attach4(full.V4, table.MemberID(seen), 1)
				if _, err := c.Store(); err != nil {
					b.Fatal(err)
				}
			}
		}
		b.ReportMetric(float64(b.Elapsed())/float64(b.N*len(batch)), "ns/change")
	})
}

func BenchmarkFreeze(b *testing.B) {
	n := benchPeers(b)
	tab, _ := grown(b, n, table.Options{Capacity: n})
	b.Run(fmt.Sprintf("peers=%d/freeze", n), func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			tab.Freeze().Release()
		}
	})
	b.Run(fmt.Sprintf("peers=%d/range", n), func(b *testing.B) {
		for b.Loop() {
			f := tab.Freeze()
			f.Range(func(*table.Record) bool { return true })
			f.Release()
		}
		b.ReportMetric(float64(b.Elapsed())/float64(b.N*n), "ns/peer")
	})
}
