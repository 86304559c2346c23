package table

import (
	"cmp"
	"slices"
	"testing"

	"github.com/rootd/rootd/packetpath/vl1"
)

// homes returns n addresses whose home in a table of one segment of one block is the given slot.
func homes(n int, slot uint32) (as []vl1.Address) {
	for a := vl1.Address(1); len(as) < n; a++ {
		if home(Hash(a), 0, blockSlots) == slot {
			as = append(as, a)
		}
	}
	return as
}

// TestHops: peers that share a home are all found, those near it by its hops, the others by the walk, round the end of the segment too; and
// those that are not there are not, also next to deleted ones.
func TestHops(t *testing.T) {
	for _, at := range []uint32{100, blockSlots - 3, blockSlots - 1} {
		tab, err := New(Options{})
		if err != nil {
			t.Fatal(err)
		}
		as := homes(16, at)
		known, strangers := as[:12], as[12:]
		for i, a := range known {
			if err := tab.Put(&Record{Address: a, LastSeen: uint32(i)}); err != nil {
				t.Fatal(err)
			}
		}
		s := tab.dir.Load().segment(0)
		for i, a := range known {
			if got, found := s.find(Hash(a), a); !found || got != after(at, uint32(i), s.slots) {
				t.Errorf("peer %d is in slot %d", i, got)
			}
		}
		if h := hopsOf(s.slot(at)[0].Load()); h != 1<<nearHops-1|farHop {
			t.Errorf("hops %08b", h)
		}
		if !tab.Delete(known[3]) || !tab.Delete(known[0]) {
			t.Error("nothing to delete")
		}
		for i, a := range known {
			var hot, all Record
			if want := i != 0 && i != 3; tab.LookupHot(a, &hot) != want || tab.Lookup(a, &all) != want {
				t.Errorf("peer %d found: %v", i, !want)
			} else if want && (hot.LastSeen != uint32(i) || all != hot) {
				t.Errorf("peer %d: %+v, %+v", i, hot, all)
			}
		}
		for _, a := range strangers {
			if tab.LookupHot(a, &Record{}) || tab.Lookup(a, &Record{}) {
				t.Errorf("%v was never put, and found", a)
			}
		}
		if err := tab.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestHopsLeadToAll: each peer is at home or where a hop of its home says, and most are at home: in a table that grew as well as in one that was
// loaded in the order of the hash.
func TestHopsLeadToAll(t *testing.T) {
	const n = 50_000
	as := make([]vl1.Address, n)
	for i := range as {
		as[i] = vl1.Address(1000 + i)
	}
	grown, err := New(Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = grown.Close() }()
	for _, a := range as {
		if err := grown.Put(&Record{Address: a}); err != nil {
			t.Fatal(err)
		}
	}
	checkHops(t, grown, as, 0.6)

	slices.SortFunc(as, func(a, b vl1.Address) int { return cmp.Compare(Hash(a), Hash(b)) })
	loaded, err := New(Options{Capacity: n})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = loaded.Close() }()
	l := loaded.Loader()
	for _, a := range as {
		if err := l.Put(&Record{Address: a}); err != nil {
			t.Fatal(err)
		}
	}
	l.Rest()
	checkHops(t, loaded, as, 0.7)
}

func checkHops(t *testing.T, tab *Table, as []vl1.Address, least float64) {
	t.Helper()
	atHome := 0
	for _, a := range as {
		h := Hash(a)
		s := tab.dir.Load().segment(h)
		at, found := s.find(h, a)
		home := s.home(h)
		switch distance := (at + s.slots - home) % s.slots; {
		case !found:
			t.Fatalf("peer %v is not there", a)
		case distance == 0:
			atHome++
		default:
			if h := hopsOf(s.slot(home)[0].Load()); h&hopTo(distance) == 0 {
				t.Fatalf("peer %v is %d after its home, of which the hops are %08b", a, distance, h)
			}
		}
	}
	if share := float64(atHome) / float64(len(as)); share < least || share > 0.95 {
		t.Errorf("%.2f of the peers are at home, want %.2f", share, least)
	}
}
