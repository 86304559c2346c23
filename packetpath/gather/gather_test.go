package gather_test

import (
	"fmt"
	"runtime"
	"slices"
	"sync"
	"testing"

	"github.com/rootd/rootd/packetpath/gather"
	"github.com/rootd/rootd/packetpath/vl1"
	"pgregory.net/rapid"
)

// bcast is the group of ARP requests for an IPv4 address.
func bcast(network uint64, ip uint32) gather.Group {
	return gather.Group{Network: network, MAC: [6]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, ADI: ip}
}

func TestGather(t *testing.T) {
	tab := gather.New(gather.Options{})
	g := bcast(1, 0)
	for p := vl1.Address(1); p <= 10; p++ {
		if !tab.Like(p, g, 0) {
			t.Fatalf("peer %v refused", p)
		}
	}
	tab.Like(11, bcast(1, 7), 0)
	tab.Like(12, bcast(2, 0), 0)
	for _, c := range []struct {
		what         string
		group        gather.Group
		asker        vl1.Address
		limit        int
		now          int64
		total, count int
	}{
		{"some", g, 99, 4, 0, 10, 4},
		{"all, asker outside", g, 99, 33, 0, 10, 10},
		{"all, asker inside", g, 3, 33, 0, 10, 9},
		{"exactly all others", g, 3, 9, 0, 10, 9},
		{"none wanted", g, 3, 0, 0, 10, 0},
		{"nonsense wanted", g, 3, -5, 0, 10, 0},
		{"other ADI", bcast(1, 7), 99, 33, 0, 1, 1},
		{"only the asker", bcast(1, 7), 11, 33, 0, 1, 0},
		{"other network", bcast(2, 0), 99, 33, 0, 1, 1},
		{"unknown group", bcast(3, 0), 99, 33, 0, 0, 0},
		{"last moment", g, 99, 33, gather.Lifetime - 1, 10, 10},
		{"expired", g, 99, 33, gather.Lifetime, 0, 0},
	} {
		out := make([]vl1.Address, 7, 64)
		total, members := tab.Gather(c.group, c.asker, c.limit, c.now, 42, out)
		if total != c.total || len(members) != c.count {
			t.Errorf("%s: %d of %d, want %d of %d", c.what, len(members), total, c.count, c.total)
		}
		slices.Sort(members)
		if slices.Contains(members, c.asker) || len(slices.Compact(members)) != c.count {
			t.Errorf("%s: the asker or a double in %v", c.what, members)
		}
	}
}

// Every set of the wanted size is equally likely, whether or not the asker is a member.
func TestChoiceIsUniform(t *testing.T) {
	const peers, limit, rounds = 6, 2, 30_000
	for _, asker := range []vl1.Address{99, 1, 3, peers} {
		tab := gather.New(gather.Options{})
		for p := vl1.Address(1); p <= peers; p++ {
			tab.Like(p, bcast(1, 0), 0)
		}
		seen := make(map[[limit]vl1.Address]int)
		for i := range uint64(rounds) {
			_, m := tab.Gather(bcast(1, 0), asker, limit, 0, i*0x2545f4914f6cdd1d, nil)
			slices.Sort(m)
			seen[[limit]vl1.Address(m)]++
		}
		n := peers
		if asker <= peers {
			n--
		}
		sets := n * (n - 1) / 2
		if len(seen) != sets {
			t.Fatalf("asker %v: %d different pairs, want %d", asker, len(seen), sets)
		}
		for set, times := range seen {
			if want := rounds / sets; times < want*8/10 || times > want*12/10 {
				t.Errorf("asker %v: %v chosen %d times, want about %d", asker, set, times, want)
			}
		}
	}
}

func TestAnswerIsBounded(t *testing.T) {
	tab := gather.New(gather.Options{})
	for p := vl1.Address(1); p <= 1000; p++ {
		tab.Like(p, bcast(1, 0), 0)
	}
	total, m := tab.Gather(bcast(1, 0), 5, 1<<30, 0, 1, nil)
	if total != 1000 || len(m) != gather.MaxAnswer {
		t.Errorf("%d of %d, want %d of 1000", len(m), total, gather.MaxAnswer)
	}
}

func TestBounds(t *testing.T) {
	tab := gather.New(gather.Options{MaxGroupsPerPeer: 3, MaxPerNetwork: 5, MaxTotal: 8})
	like := func(peer vl1.Address, network uint64, ip uint32, want bool) {
		t.Helper()
		if got := tab.Like(peer, bcast(network, ip), 0); got != want {
			t.Errorf("peer %v, network %d, group %d: accepted %v, want %v", peer, network, ip, got, want)
		}
	}
	like(1, 1, 1, true)
	like(1, 1, 2, true)
	like(1, 2, 1, true)
	like(1, 3, 1, false) // a peer's fourth, networks do not matter
	like(2, 1, 1, true)
	like(2, 1, 2, true)
	like(2, 1, 3, true)
	like(3, 1, 1, false) // the network's sixth
	like(3, 2, 1, true)
	like(3, 2, 2, true)
	like(3, 2, 3, false) // the table's ninth
	like(1, 1, 1, true)  // refreshed
	want := gather.Stats{Networks: 2, Groups: 5, Peers: 3, Pairs: 8, RefusedPeer: 1, RefusedNetwork: 1, RefusedTotal: 1}
	if got := tab.Stats(); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if got := tab.Expire(gather.Lifetime); got != 8 {
		t.Errorf("%d expired, want 8", got)
	}
	like(3, 1, 1, true) // there is room again everywhere
	like(1, 3, 1, true)
}

// A clock that is behind neither shortens nor extends a life.
func TestClocksDiffer(t *testing.T) {
	tab := gather.New(gather.Options{})
	tab.Like(1, bcast(1, 0), 1000)
	tab.Like(2, bcast(1, 0), 400)
	tab.Like(1, bcast(1, 0), 300)
	if got := tab.Expire(gather.Lifetime + 999); got != 0 {
		t.Errorf("%d expired early", got)
	}
	if got := tab.Expire(gather.Lifetime + 1000); got != 2 {
		t.Errorf("%d expired, want 2", got)
	}
}

// TestAgainstModel plays random commands against a map of all pairs.
func TestAgainstModel(t *testing.T) {
	type pair struct {
		peer  vl1.Address
		group gather.Group
	}
	rapid.Check(t, func(t *rapid.T) {
		o := gather.Options{
			MaxGroupsPerPeer: rapid.IntRange(1, 5).Draw(t, "groups per peer"),
			MaxPerNetwork:    rapid.IntRange(1, 15).Draw(t, "per network"),
			MaxTotal:         rapid.IntRange(1, 25).Draw(t, "total"),
		}
		tab, model := gather.New(o), make(map[pair]int64)
		now := int64(1_700_000_000_000)
		peers := rapid.Uint64Range(1, 8)
		groups := rapid.Custom(func(t *rapid.T) gather.Group {
			return bcast(rapid.Uint64Range(1, 3).Draw(t, "network"), rapid.Uint32Range(0, 2).Draw(t, "ip"))
		})
		// expire removes from the model what is too old, in one group or in all.
		expire := func(in func(gather.Group) bool) (n int) {
			for p, seen := range model {
				if in(p.group) && seen <= now-gather.Lifetime {
					delete(model, p)
					n++
				}
			}
			return n
		}
		t.Repeat(map[string]func(*rapid.T){
			"like": func(t *rapid.T) {
				p := pair{vl1.Address(peers.Draw(t, "peer")), groups.Draw(t, "group")}
				perPeer, perNetwork := 0, 0
				for q := range model {
					if q.peer == p.peer {
						perPeer++
					}
					if q.group.Network == p.group.Network {
						perNetwork++
					}
				}
				_, known := model[p]
				want := known || perPeer < o.MaxGroupsPerPeer && perNetwork < o.MaxPerNetwork && len(model) < o.MaxTotal
				if got := tab.Like(p.peer, p.group, now); got != want {
					t.Fatalf("accepted %v, want %v", got, want)
				}
				if want {
					model[p] = now
				}
			},
			"gather": func(t *rapid.T) {
				g, asker := groups.Draw(t, "group"), vl1.Address(peers.Draw(t, "asker"))
				limit := rapid.IntRange(0, 9).Draw(t, "limit")
				expire(func(h gather.Group) bool { return g == h })
				all, others := 0, 0
				for p := range model {
					if p.group == g {
						all++
						if p.peer != asker {
							others++
						}
					}
				}
				total, members := tab.Gather(g, asker, limit, now, rapid.Uint64().Draw(t, "rnd"), nil)
				if total != all || len(members) != min(limit, others) {
					t.Fatalf("%d of %d, want %d of %d", len(members), total, min(limit, others), all)
				}
				for i, m := range members {
					if _, ok := model[pair{m, g}]; !ok || m == asker || slices.Contains(members[:i], m) {
						t.Fatalf("member %d of %v should not be there (asker %v)", i, members, asker)
					}
				}
			},
			"expire": func(t *rapid.T) {
				want := expire(func(gather.Group) bool { return true })
				if got := tab.Expire(now); got != want {
					t.Fatalf("%d expired, want %d", got, want)
				}
			},
			"wait": func(t *rapid.T) { now += rapid.Int64Range(0, gather.Lifetime/2).Draw(t, "ms") },
			"": func(t *rapid.T) {
				networks, groups, peers := map[uint64]bool{}, map[gather.Group]bool{}, map[vl1.Address]bool{}
				for p := range model {
					networks[p.group.Network], groups[p.group], peers[p.peer] = true, true, true
				}
				st := tab.Stats()
				got := [4]int{st.Networks, st.Groups, st.Peers, st.Pairs}
				if want := [4]int{len(networks), len(groups), len(peers), len(model)}; got != want {
					t.Fatalf("networks, groups, peers, pairs: got %v, want %v", got, want)
				}
			},
		})
	})
}

// Everything at once: for the race detector, and for counts that do not drift.
func TestConcurrent(t *testing.T) {
	tab := gather.New(gather.Options{MaxTotal: 500})
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Go(func() {
			out := make([]vl1.Address, 0, 64)
			for i := range 20_000 {
				g, now := bcast(uint64(i%5), uint32(i%7)), int64(i)*100
				tab.Like(vl1.Address(i%211+w+1), g, now)
				_, out = tab.Gather(g, 1, 64, now, uint64(i), out)
				if i%1000 == 0 {
					tab.Expire(now)
					tab.Stats()
				}
			}
		})
	}
	wg.Wait()
	if got := tab.Stats().Pairs; got > 500 {
		t.Errorf("%d pairs, bound 500", got)
	}
	left := tab.Stats().Pairs
	if got := tab.Expire(1 << 60); got != left {
		t.Errorf("%d expired of %d", got, left)
	}
	if got := tab.Stats(); got.Networks+got.Groups+got.Peers+got.Pairs != 0 {
		t.Errorf("not empty: %+v", got)
	}
}

func TestNoAllocs(t *testing.T) {
	tab := gather.New(gather.Options{})
	g := bcast(1, 0)
	for p := vl1.Address(1); p <= 1000; p++ {
		tab.Like(p, g, 0)
	}
	out, now := make([]vl1.Address, 64), int64(0)
	if n := testing.AllocsPerRun(1000, func() {
		now++
		if !tab.Like(vl1.Address(now%1000+1), g, now) {
			t.Fatal("refused")
		}
	}); n != 0 {
		t.Errorf("a refreshed LIKE allocates %v times", n)
	}
	if n := testing.AllocsPerRun(1000, func() {
		now++
		if total, m := tab.Gather(g, 3, 64, now, uint64(now), out); total != 1000 || len(m) != 64 {
			t.Fatal(total, len(m))
		}
	}); n != 0 {
		t.Errorf("a GATHER allocates %v times", n)
	}
}

func BenchmarkLikeRefresh(b *testing.B) {
	tab := filled(100_000)
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		i++
		p := i%100_000 + 1
		tab.Like(vl1.Address(p), bcast(uint64(p%1000), 0), int64(i))
	}
}

func BenchmarkGather(b *testing.B) {
	for _, members := range []int{1, 33, 1000, 100_000} {
		b.Run(fmt.Sprintf("members=%d", members), func(b *testing.B) {
			tab := gather.New(gather.Options{})
			for p := range members {
				tab.Like(vl1.Address(p+1), bcast(1, 0), 0)
			}
			out := make([]vl1.Address, 0, 64)
			b.ReportAllocs()
			rnd := uint64(0)
			for b.Loop() {
				rnd++
				_, out = tab.Gather(bcast(1, 0), 1, 33, 0, rnd, out)
			}
		})
	}
}

func BenchmarkExpire(b *testing.B) {
	tab := filled(100_000)
	for b.Loop() {
		tab.Expire(0)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(tab.Stats().Groups), "ns/group")
}

// BenchmarkMemory reports what a pair costs: networks of 100 peers, each with two groups for all and two of its own.
func BenchmarkMemory(b *testing.B) {
	for b.Loop() {
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		tab := filled(100_000)
		runtime.GC()
		runtime.ReadMemStats(&after)
		b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/float64(tab.Stats().Pairs), "B/pair")
	}
}

func filled(peers int) *gather.Table {
	tab := gather.New(gather.Options{})
	for p := range peers {
		network := uint64((p + 1) % 1000)
		for _, ip := range []uint32{0, 1, uint32(p) + 10, uint32(p) + 1<<30} {
			tab.Like(vl1.Address(p+1), bcast(network, ip), 0)
		}
	}
	return tab
}
