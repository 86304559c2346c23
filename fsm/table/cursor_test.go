package table_test

import (
	"errors"
	"testing"

	"github.com/rootd/rootd/fsm/table"
	"github.com/rootd/rootd/packetpath/vl1"
)

// Each peer has its turn, in order, also if the table grows meanwhile, and is found when it comes again.
func TestCursor(t *testing.T) {
	tab := newTable(t, table.Options{})
	for _, n := range []int{0, 1, 5, 100, 9000} {
		as := make([]vl1.Address, 2*n)
		for i := range as {
			as[i] = address(n + i%max(n, 1))
		}
		splits := tab.Stats().Splits
		var c table.Cursor
		var r table.Record
		tab.Visit(&c, as)
		for i, a := range as {
			want := table.Record{Address: a}
			if again := i >= n; again {
				want.LastSeen = uint32(i - n)
			}
			known := c.Next()
			if c.Record(&r); known != (i >= n) || r != want {
				t.Fatalf("peer %d of %d: %v, %+v, want %+v", i, len(as), known, r, want)
			}
			if r.LastSeen = uint32(i); i < n {
				if err := set(&c, known, &r); err != nil {
					t.Fatal(err)
				}
			} else {
				c.Delete()
			}
		}
		if tab.Len() != 0 || n > 8000 && tab.Stats().Splits == splits {
			t.Errorf("%d peers left, %d splits", tab.Len(), tab.Stats().Splits-splits)
		}
	}
}

// What cannot be stored is refused as by Put.
func TestCursorRefuses(t *testing.T) {
	tab := newTable(t, table.Options{MaxPeers: 1})
	put(t, tab, full)
	as := []vl1.Address{0, address(5), full.Address}
	next := func() (r table.Record, err error) {
		var c table.Cursor
		tab.Visit(&c, as)
		known := c.Next()
		c.Record(&r)
		as = as[1:]
		return r, set(&c, known, &r)
	}
	if _, err := next(); !errors.Is(err, table.ErrRecord) {
		t.Error("a reserved address was stored")
	}
	if _, err := next(); !errors.Is(err, table.ErrFull) {
		t.Error("a full table took another peer")
	}
	if r, err := next(); err != nil || r != full {
		t.Errorf("a full table did not take a change, or lost %+v", r)
	}
	if err := tab.Close(); err != nil {
		t.Fatal(err)
	}
	as = []vl1.Address{address(5)}
	if _, err := next(); !errors.Is(err, table.ErrClosed) {
		t.Error("a closed table took a peer")
	}
}
