package table_test

import (
	"errors"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"github.com/rootd/rootd/fsm/table"
)

// Loaders at work side by side leave the table that one Put after the other leaves, whatever the order of the records and
// however little room there was.
func TestLoaders(t *testing.T) {
	const peers, loaders = 8_000, 4
	want := newTable(t, table.Options{OnHeap: true})
	records := make([]table.Record, peers)
	for i := range records {
		records[i] = full
		records[i].Address, records[i].Key, records[i].LastSeen = address(i), key(uint64(i)), uint32(i)
		put(t, want, records[i])
	}
	sorted := slices.SortedFunc(slices.Values(records), func(a, b table.Record) int {
		if table.Hash(a.Address) < table.Hash(b.Address) {
			return -1
		}
		return 1
	})
	rand.New(rand.NewPCG(1, 2)).Shuffle(peers, func(i, j int) { records[i], records[j] = records[j], records[i] })
	for _, tc := range []struct {
		name     string
		records  []table.Record
		capacity int
	}{{"in order", sorted, peers}, {"in order, no room", sorted, 0}, {"shuffled", records, peers}, {"shuffled, no room", records, 0}} {
		t.Run(tc.name, func(t *testing.T) {
			tab := newTable(t, table.Options{OnHeap: true, Capacity: tc.capacity})
			blocks := make(chan []table.Record)
			var wg sync.WaitGroup
			for range loaders {
				wg.Go(func() {
					l := tab.Loader()
					defer l.Rest()
					for b := range blocks {
						for i := range b {
							if err := l.Put(&b[i]); err != nil {
								t.Error(err)
							}
						}
					}
				})
			}
			for b := range slices.Chunk(tc.records, 777) {
				blocks <- b
			}
			blocks <- tc.records[:9] // again
			close(blocks)
			wg.Wait()
			if tab.Len() != peers {
				t.Fatalf("%d peers", tab.Len())
			}
			next := 0
			tab.Freeze().Range(func(r *table.Record) bool {
				if *r != sorted[next] {
					t.Errorf("record %d: %+v, want %+v", next, *r, sorted[next])
				}
				next++
				return !t.Failed()
			})
			put(t, tab, full) // and it goes on as any other
		})
	}
}

func TestLoaderRefuses(t *testing.T) {
	tab := newTable(t, table.Options{OnHeap: true, MaxPeers: 1000})
	l := tab.Loader()
	defer l.Rest()
	r := full
	if r.Address = 0; !errors.Is(l.Put(&r), table.ErrRecord) {
		t.Error("stored a record without an address")
	}
	for i := range 100_000 {
		r.Address = address(i)
		switch err := l.Put(&r); {
		case errors.Is(err, table.ErrFull):
			return
		case err != nil:
			t.Fatal(err)
		}
	}
	t.Error("stored more than the table may hold")
}
