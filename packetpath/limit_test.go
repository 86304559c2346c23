package packetpath_test

import (
	"fmt"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/rootd/rootd/packetpath"
	"github.com/rootd/rootd/packetpath/vl1"
	"pgregory.net/rapid"
)

// limitStart is a time of day like those that callers use: milliseconds since 1970.
const limitStart = int64(1_790_000_000_000)

func TestBucket(t *testing.T) {
	type take struct {
		after int64 // ms since the start
		n     int
		want  bool
	}
	for _, c := range []struct {
		what  string
		rate  float64
		burst int
		takes []take
	}{
		{"a burst, then the rate", 10, 3, []take{
			{0, 1, true}, {0, 1, true}, {0, 1, true}, {0, 1, false}, {99, 1, false}, {100, 1, true}, {100, 1, false}, {200, 1, true},
		}},
		{"rests fill it to the burst, no further", 1, 2, []take{
			{0, 2, true}, {3_600_000, 1, true}, {3_600_000, 1, true}, {3_600_000, 1, false},
		}},
		{"several at once, all or none", 10, 10, []take{{0, 8, true}, {0, 3, false}, {0, 2, true}, {500, 6, false}, {500, 5, true}}},
		{"more than the burst never passes", 10, 3, []take{{0, 4, false}, {1 << 40, 4, false}, {0, 3, true}}},
		{"slower than one a minute", 1.0 / 120, 1, []take{{0, 1, true}, {119_000, 1, false}, {121_000, 1, true}}},
		{"hardly ever", 1e-300, 1, []take{{0, 1, true}, {1 << 38, 1, false}}},
		{"bytes of a fast link", 1e9, 1_000_000, []take{{0, 1_000_000, true}, {0, 200, false}, {1, 1_000_000, true}, {1, 1, false}}},
		{"nothing", 0, 10, []take{{0, 1, false}}},
		{"less than nothing", -1, 10, []take{{0, 1, false}}},
		{"a clock that is behind", 10, 1, []take{{1000, 1, true}, {500, 1, false}, {1099, 1, false}, {1100, 1, true}}},
	} {
		var b packetpath.Bucket
		for i, k := range c.takes {
			if got := b.Take(limitStart+k.after, k.n, c.rate, c.burst); got != k.want {
				t.Errorf("%s: take %d of %d after %d ms: %v, want %v", c.what, i, k.n, k.after, got, k.want)
			}
		}
	}
}

// A bucket does what one with a count of tokens and a time of refill would do.
func TestBucketAgainstModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var b packetpath.Bucket
		rate := rapid.SampledFrom([]int64{1, 2, 5, 10, 100, 1000}).Draw(t, "rate") // divide 1000 ms: exact in both
		burst := rapid.Int64Range(1, 50).Draw(t, "burst")
		now, milli := limitStart, burst*1000 // thousandths of tokens
		for range rapid.IntRange(1, 200).Draw(t, "takes") {
			wait := rapid.Int64Range(0, 2000).Draw(t, "wait")
			n := rapid.Int64Range(1, burst).Draw(t, "n")
			now += wait
			milli = min(burst*1000, milli+wait*rate)
			want := milli >= n*1000
			if want {
				milli -= n * 1000
			}
			if got := b.Take(now, int(n), float64(rate), int(burst)); got != want {
				t.Fatalf("%d at %d: %v, want %v (%d thousandths left)", n, now-limitStart, got, want, milli)
			}
		}
	})
}

// However many take at once, no more than the burst gets through, and hardly less.
func TestBucketConcurrent(t *testing.T) {
	const workers, each, burst = 4, 5000, 10_000
	var b packetpath.Bucket
	var passed atomic.Int64
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for range each {
				if b.Take(limitStart, 1, 1, burst) {
					passed.Add(1)
				}
			}
		})
	}
	wg.Wait()
	if n := passed.Load(); n > burst || n < burst-workers {
		t.Errorf("%d passed, burst %d", n, burst)
	}
}

func TestPrefixLimiter(t *testing.T) {
	for _, c := range []struct {
		a, b string
		same bool
	}{
		{"192.0.2.1", "192.0.2.255", true},
		{"192.0.2.1", "::ffff:192.0.2.9", true},
		{"192.0.2.1", "192.0.3.1", false},
		{"192.0.2.1", "192.1.2.1", false},
		{"2001:db8:1::1", "2001:db8:1:ffff::2", true},
		{"2001:db8:1::1", "2001:db8:2::1", false},
		{"::1", "0.0.0.1", false},
	} {
		// Different prefixes may meet in one bucket; with fresh seeds not again and again.
		shared := 0
		for range 5 {
			l := packetpath.NewPrefixLimiter(1<<12, 1, 1)
			if !l.Take(netip.MustParseAddr(c.a), limitStart, 1) {
				t.Fatalf("%s: refused at once", c.a)
			}
			if !l.Take(netip.MustParseAddr(c.b), limitStart, 1) {
				shared++
			}
		}
		if c.same != (shared == 5) {
			t.Errorf("%s and %s: shared a bucket %d of 5 times, want always: %v", c.a, c.b, shared, c.same)
		}
	}
	for _, slots := range []int{0, 1, 3} {
		l := packetpath.NewPrefixLimiter(slots, 1, 1)
		l.Take(netip.Addr{}, limitStart, 1)
	}
}

func TestEndpointLimiter(t *testing.T) {
	l := packetpath.NewEndpointLimiter(1<<16, 1, 1)
	refused := 0
	for i := range uint16(100) {
		for _, a := range []string{"192.0.2.1", "192.0.2.2", "2001:db8::1", "2001:db8::2"} {
			if !l.Take(netip.AddrPortFrom(netip.MustParseAddr(a), i), limitStart, 1) {
				refused++
			}
		}
	}
	if refused > 20 { // 400 keys in 65,536 buckets: about one meeting
		t.Errorf("%d of 400 endpoints refused", refused)
	}
	if l.Take(netip.MustParseAddrPort("[2001:db8::2]:5"), limitStart, 1) {
		t.Error("the same endpoint twice")
	}
}

func TestPairTable(t *testing.T) {
	const interval = 30_000
	tab := packetpath.NewPairTable(1 << 12)
	due := func(a, b vl1.Address, after int64, want bool) {
		t.Helper()
		if got := tab.Stale(a, b, limitStart+after, interval); got != want {
			t.Errorf("Stale %v, %v after %d ms: %v, want %v", a, b, after, got, want)
		}
		if got := tab.Due(a, b, limitStart+after, interval); got != want {
			t.Errorf("Due %v, %v after %d ms: %v, want %v", a, b, after, got, want)
		}
	}
	due(1, 2, 0, true)
	due(1, 2, 0, false)
	due(2, 1, 1, false)
	due(1, 3, 1, true)
	due(3, 2, 1, true)
	due(1, 2, -10, false) // another worker's clock
	due(2, 1, interval-1, false)
	due(2, 1, interval, true)
	due(1, 2, 2*interval-1, false)
	due(1, 2, 2*interval, true)
	due(1, 3, 1+interval*1000, true)
	due(7, 7, 0, true)
	due(7, 7, 1, false)
}

// With few pairs for its size nothing is forgotten; with many, only towards more introductions; a pair that was due
// just now is never due again unless eight others came to its set.
func TestPairTableUnderPressure(t *testing.T) {
	const slots, interval = 1 << 10, 30_000
	for _, c := range []struct{ pairs, mayForget int }{{slots / 4, 3}, {slots * 4, slots * 4}} {
		tab := packetpath.NewPairTable(slots)
		missed, again := 0, 0
		for i := range c.pairs {
			a, b := vl1.Address(i+1), vl1.Address(1<<39+i)
			if !tab.Due(a, b, limitStart+int64(i), interval) {
				missed++
			}
			if tab.Due(b, a, limitStart+int64(i), interval) {
				t.Fatalf("%d pairs: pair %d due twice in a row", c.pairs, i)
			}
		}
		for i := range c.pairs {
			if tab.Stale(vl1.Address(i+1), vl1.Address(1<<39+i), limitStart+int64(c.pairs), interval) {
				again++
			}
		}
		if missed > 0 || again > c.mayForget {
			t.Errorf("%d pairs: %d were not due at first, %d forgotten", c.pairs, missed, again)
		}
		if c.pairs > slots && again < c.pairs-slots {
			t.Errorf("%d pairs: only %d forgotten with %d slots", c.pairs, again, slots)
		}
	}
}

func TestPairTableConcurrent(t *testing.T) {
	const pairs, rounds, interval = 200, 20, 1000
	tab := packetpath.NewPairTable(1 << 14)
	var due atomic.Int64
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Go(func() {
			for r := range int64(rounds) {
				for i := range vl1.Address(pairs) {
					a, b := i+1, i+1000
					if w%2 == 1 {
						a, b = b, a
					}
					// All rounds at one time but the last: each pair is due once, then once more.
					if tab.Due(a, b, limitStart+r/(rounds-1)*interval, interval) {
						due.Add(1)
					}
				}
			}
		})
	}
	wg.Wait()
	// A worker may be in its last round before another one has finished: its earlier time counts as now.
	if n := due.Load(); n != 2*pairs {
		t.Errorf("due %d times, want %d", n, 2*pairs)
	}
}

func TestReplayWindow(t *testing.T) {
	for _, step := range []uint64{1, 1 << 32, 0x9e3779b97f4a7c15} {
		var r packetpath.ReplayWindow
		for i := range uint64(1000) {
			if r.Seen(i * step) {
				t.Fatalf("step %x: ID %d is new", step, i)
			}
			for back := range min(i, 63) + 1 {
				if !r.Seen((i - back) * step) {
					t.Fatalf("step %x: ID %d, %d before, is forgotten", step, i-back, back)
				}
			}
		}
		if r.Seen(900 * step) {
			t.Errorf("step %x: remembers the hundredth before", step)
		}
	}
}

func TestLimitsDoNotAllocate(t *testing.T) {
	var (
		bucket   packetpath.Bucket
		window   packetpath.ReplayWindow
		prefix   = packetpath.NewPrefixLimiter(1<<10, 10, 10)
		endpoint = packetpath.NewEndpointLimiter(1<<10, 10, 10)
		pair     = packetpath.NewPairTable(1 << 10)
		v4, v6   = netip.MustParseAddrPort("192.0.2.1:9"), netip.MustParseAddrPort("[2001:db8::1]:9")
		now, id  = limitStart, uint64(0)
	)
	for range 64 {
		id++
		window.Seen(id)
	}
	for what, f := range map[string]func(){
		"Bucket":          func() { bucket.Take(now, 1, 10, 10) },
		"PrefixLimiter":   func() { prefix.Take(v4.Addr(), now, 1); prefix.Take(v6.Addr(), now, 1) },
		"EndpointLimiter": func() { endpoint.Take(v4, now, 1); endpoint.Take(v6, now, 1) },
		"PairTable":       func() { pair.Due(vl1.Address(now), 2, now, 100); pair.Stale(1, 2, now, 100) },
		"ReplayWindow":    func() { id++; window.Seen(id) },
	} {
		if n := testing.AllocsPerRun(100, func() { now++; f() }); n != 0 {
			t.Errorf("%s allocates %v times", what, n)
		}
	}
}

func BenchmarkBucket(b *testing.B) {
	var k packetpath.Bucket
	now := limitStart
	b.ReportAllocs()
	for b.Loop() {
		now++
		k.Take(now, 1, 1000, 10)
	}
}

func BenchmarkBucketShared(b *testing.B) {
	var k packetpath.Bucket
	b.RunParallel(func(pb *testing.PB) {
		for now := limitStart; pb.Next(); now++ {
			k.Take(now, 1, 1e6, 1e6)
		}
	})
}

func BenchmarkPrefixLimiter(b *testing.B) {
	for _, a := range []string{"192.0.2.1", "2001:db8::1"} {
		b.Run(a, func(b *testing.B) {
			l, addr, now := packetpath.NewPrefixLimiter(1<<16, 1000, 10), netip.MustParseAddr(a), limitStart
			b.ReportAllocs()
			for b.Loop() {
				now++
				l.Take(addr, now, 1)
			}
		})
	}
}

func BenchmarkEndpointLimiter(b *testing.B) {
	l, a, now := packetpath.NewEndpointLimiter(1<<16, 1000, 10), netip.MustParseAddrPort("[2001:db8::1]:9993"), limitStart
	b.ReportAllocs()
	for b.Loop() {
		now++
		l.Take(a, now, 1)
	}
}

func BenchmarkPairTable(b *testing.B) {
	for _, pairs := range []uint64{1, 100_000} {
		b.Run(fmt.Sprintf("pairs=%d", pairs), func(b *testing.B) {
			tab := packetpath.NewPairTable(1 << 18)
			b.ReportAllocs()
			i := uint64(0)
			for b.Loop() {
				i++
				tab.Due(vl1.Address(i%pairs), 1<<39, limitStart+int64(i>>10), 30_000)
			}
		})
	}
}

func BenchmarkReplayWindow(b *testing.B) {
	var r packetpath.ReplayWindow
	b.ReportAllocs()
	id := uint64(0)
	for b.Loop() {
		id++
		r.Seen(id)
	}
}
