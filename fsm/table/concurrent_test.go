package table_test

import (
	"cmp"
	"maps"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/rootd/rootd/fsm/table"
	"github.com/rootd/rootd/packetpath/vl1"
)

// version is a record of which every field follows from the address and v, so that a mixture of two is recognised.
// The key changes with every 16th.
func version(a vl1.Address, v uint32) table.Record {
	x := uint64(v) * 0x9e3779b97f4a7c15
	r := table.Record{
		Address: a, LastSeen: v, Planet: x >> 16, Revision: uint16(x), Major: uint8(x >> 8), Minor: uint8(x >> 16),
		V4:       netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, byte(x >> 32), byte(x >> 24), byte(v)}), uint16(v)),
		V6:       netip.AddrPortFrom(netip.AddrFrom16([16]byte{0x20, 1, byte(x), 14: byte(v), 15: byte(x >> 40)}), uint16(x>>24)),
		V4Member: table.MemberID(v), V6Member: table.MemberID(x), V4Epoch: uint16(x >> 48), V6Epoch: uint16(v),
		Position: [3]int16{int16(v), int16(x), int16(x >> 32)}, Protocol: uint8(v), Flags: uint8(x >> 4),
	}
	for i := range r.Key {
		r.Key[i] = byte(uint64(a)>>(i%5*8)) ^ byte(v>>4) ^ byte(i)
	}
	return r
}

// Readers, scanners and freezes while the writer changes, adds and deletes peers and the table grows: everything that
// they see must be whole, in the table at the time, and never older than before.
func TestConcurrent(t *testing.T) {
	for _, tt := range []struct {
		name string
		table.Options
	}{{"mapped", table.Options{}}, {"heap", table.Options{OnHeap: true}}} {
		t.Run(tt.name, func(t *testing.T) { testConcurrent(t, newTable(t, tt.Options)) })
	}
}

func testConcurrent(t *testing.T, tab *table.Table) {
	const (
		hot    = 24   // peers that change all the time, and always exist
		guests = 8    // peers that come and go
		there  = 4000 // peers at the beginning, so that the table has to split
		rounds = 300
	)
	var (
		stop    atomic.Bool
		wg      sync.WaitGroup
		readers sync.WaitGroup
	)
	for i := range hot {
		put(t, tab, version(address(i), 0))
	}
	for i := hot + guests; i < hot+guests+there; i++ {
		put(t, tab, version(address(i), 1))
	}
	for reader := range 2 {
		readers.Go(func() {
			var last [hot]uint32
			for i := reader; !stop.Load(); i++ {
				n := i % (hot + guests)
				var r table.Record
				if !tab.Lookup(address(n), &r) {
					if n < hot {
						t.Errorf("peer %d, which is always there, was not found", n)
						return
					}
					continue
				}
				if want := version(address(n), r.LastSeen); r != want {
					t.Errorf("torn:\n got %+v\nwant %+v", r, want)
					return
				}
				if n < hot {
					if r.LastSeen < last[n] {
						t.Errorf("peer %d went from version %d back to %d", n, last[n], r.LastSeen)
						return
					}
					last[n] = r.LastSeen
				}
			}
		})
	}
	readers.Go(func() {
		for !stop.Load() {
			var seen [hot]bool
			for cursor, done := uint64(0), false; !done && !stop.Load(); {
				cursor, done = tab.Scan(cursor, 100, func(r *table.Record) {
					for i := range seen {
						seen[i] = seen[i] || r.Address == address(i)
					}
					if want := version(r.Address, r.LastSeen); *r != want {
						t.Errorf("torn in a scan:\n got %+v\nwant %+v", *r, want)
						stop.Store(true)
					}
				})
			}
			for i := range seen {
				if !seen[i] && !stop.Load() {
					t.Errorf("peer %d, which is always there, was not seen by a scan", i)
					return
				}
			}
		}
	})

	want := make(map[vl1.Address]table.Record)
	apply := func(r table.Record) {
		put(t, tab, r)
		want[r.Address] = r
	}
	for i := range hot {
		want[address(i)] = version(address(i), 0)
	}
	for i := hot + guests; i < hot+guests+there; i++ {
		want[address(i)] = version(address(i), 1)
	}
	v, next := uint32(0), hot+guests+there
	for round := range rounds {
		for i := range hot {
			v++
			apply(version(address(i), v))
		}
		for range 12 {
			apply(version(address(next), 1))
			next++
		}
		guest := address(hot + round%guests)
		if round/guests%2 == 0 {
			apply(version(guest, v))
		} else {
			tab.Delete(guest)
			delete(want, guest)
		}
		if round%40 == 0 {
			fm := frozenModel{tab.Freeze(), maps.Clone(want)}
			wg.Go(func() {
				defer fm.f.Release()
				same(t, fm.f, fm.want)
			})
		}
	}
	stop.Store(true)
	readers.Wait()
	wg.Wait()
	if st := tab.Stats(); st.Splits == 0 || st.Rebuilds < 5 {
		t.Errorf("%d splits, %d rebuilds: the test does not test growth", st.Splits, st.Rebuilds)
	}
}

// A freeze that is read while the writer goes through the same pages in the same order.
func TestFrozenWhileChanging(t *testing.T) {
	tab := newTable(t, table.Options{})
	const peers, step = 1400, 6
	as := make([]vl1.Address, peers)
	for i := range as {
		as[i] = address(i)
		put(t, tab, version(as[i], 0))
	}
	slices.SortFunc(as, func(a, b vl1.Address) int { return cmp.Compare(table.Hash(a), table.Hash(b)) })
	for v := uint32(1); v < 1000 && !t.Failed(); v++ {
		f := tab.Freeze()
		var wg sync.WaitGroup
		begun := make(chan struct{})
		wg.Go(func() {
			close(begun)
			i := 0
			f.Range(func(r *table.Record) bool {
				want := version(as[i], 0)
				if i%step == 0 {
					want = version(as[i], v-1)
				}
				if *r != want {
					t.Errorf("record %d of a freeze:\n got %+v\nwant %+v", i, *r, want)
				}
				i++
				return !t.Failed()
			})
		})
		<-begun
		for i := 0; i < peers; i += step {
			r := version(as[i], v)
			put(t, tab, r)
		}
		wg.Wait()
		f.Release()
	}
}
