package table

import (
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

// TestHopsLeadToAll: in a table that grew, each peer is at home or where a hop of its home says.
func TestHopsLeadToAll(t *testing.T) {
	tab, err := New(Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tab.Close() }()
	const n = 50_000
	for i := range n {
		if err := tab.Put(&Record{Address: vl1.Address(1000 + i)}); err != nil {
			t.Fatal(err)
		}
	}
	displaced := 0
	for i := range n {
		h := Hash(vl1.Address(1000 + i))
		s := tab.dir.Load().segment(h)
		at, found := s.find(h, vl1.Address(1000+i))
		home := s.home(h)
		switch distance := (at + s.slots - home) % s.slots; {
		case !found:
			t.Fatalf("peer %d is not there", i)
		case distance != 0:
			displaced++
			if h := hopsOf(s.slot(home)[0].Load()); h&hopTo(distance) == 0 {
				t.Fatalf("peer %d is %d after its home, of which the hops are %08b", i, distance, h)
			}
		}
	}
	if displaced < n/5 {
		t.Errorf("only %d displaced", displaced)
	}
}
