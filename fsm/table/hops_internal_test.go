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
			got, found := s.find(Hash(a), a)
			switch {
			case !found:
				t.Errorf("peer %d is not there", i)
			case i <= neighbours && got != neighbour(at, uint32(i)):
				t.Errorf("peer %d is in slot %d, not %d", i, got, neighbour(at, uint32(i)))
			case i > neighbours && hopTo(at, got) != farHop:
				t.Errorf("peer %d is in slot %d, a neighbour", i, got)
			}
		}
		if h := hopsOf(s.slot(at)[0].Load()); h != 1<<neighbours-1|farHop {
			t.Errorf("hops %08b", h)
		}
		if !tab.Delete(known[3]) || !tab.Delete(known[0]) {
			t.Error("nothing to delete")
		}
		for i, a := range known {
			var hot Words
			var all Record
			if want := i != 0 && i != 3; tab.LookupHot(a, &hot) != want || tab.Lookup(a, &all) != want {
				t.Errorf("peer %d found: %v", i, !want)
			} else if want && (hot.LastSeen() != uint32(i) || all.LastSeen != uint32(i)) {
				t.Errorf("peer %d: %x, %+v", i, hot, all)
			}
		}
		for _, a := range strangers {
			if tab.LookupHot(a, &Words{}) || tab.Lookup(a, &Record{}) {
				t.Errorf("%v was never put, and found", a)
			}
		}
		if err := tab.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestNeighbours: they are others than the home and each other, in its page, and each has a bit of its own.
func TestNeighbours(t *testing.T) {
	for home := range uint32(3 * vicinity) {
		seen := map[uint32]bool{home: true}
		if neighbour(home, 0) != home {
			t.Fatalf("neighbour 0 of %d is %d", home, neighbour(home, 0))
		}
		for k := uint32(1); k <= neighbours; k++ {
			i := neighbour(home, k)
			if seen[i] || i/vicinity != home/vicinity || hopTo(home, i) != 1<<(k-1) {
				t.Fatalf("neighbour %d of %d is %d, its hop %08b", k, home, i, hopTo(home, i))
			}
			seen[i] = true
		}
		for i := range uint32(3 * vicinity) {
			if far := hopTo(home, i) == farHop; far == seen[i] && i != home {
				t.Fatalf("%d is far from %d: %v", i, home, far)
			}
		}
	}
}

// TestHopsLeadToAll: each peer is at home or where a hop of its home says, most are at home, and nearly all in a slot that is asked for with it:
// in a table that grew as well as in one that was loaded in the order of the hash.
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
	checkHops(t, grown, as, 0.58, 0.93)

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
	checkHops(t, loaded, as, 0.6, 0.985)
}

func checkHops(t *testing.T, tab *Table, as []vl1.Address, leastHome, leastNear float64) {
	t.Helper()
	atHome, near := 0, 0
	for _, a := range as {
		h := Hash(a)
		s := tab.dir.Load().segment(h)
		at, found := s.find(h, a)
		home := s.home(h)
		switch {
		case !found:
			t.Fatalf("peer %v is not there", a)
		case at == home:
			atHome++
		default:
			if hopTo(home, at) < 1<<nearest {
				near++
			}
			if h := hopsOf(s.slot(home)[0].Load()); h&hopTo(home, at) == 0 {
				t.Fatalf("peer %v is in slot %d, its home is %d, of which the hops are %08b", a, at, home, h)
			}
		}
	}
	for _, a := range as { // and no hop leads to somebody else's peer
		s := tab.dir.Load().segment(Hash(a))
		home := s.home(Hash(a))
		for h := hopsOf(s.slot(home)[0].Load()); h.near(); {
			var k uint32
			k, h = h.first()
			if other := addressOf(s.slot(neighbour(home, k))[0].Load()); other == 0 || s.home(Hash(other)) != home {
				t.Fatalf("the hop of slot %d to neighbour %d leads to %v", home, k, other)
			}
		}
	}
	all := float64(len(as))
	if home := float64(atHome) / all; home < leastHome || home > 0.95 {
		t.Errorf("%.3f of the peers are at home, want %.2f", home, leastHome)
	}
	if near := float64(atHome+near) / all; near < leastNear {
		t.Errorf("%.3f of the peers are at home or near it, want %.3f", near, leastNear)
	}
	t.Logf("%.3f of the peers are at home, %.3f there or near it, %.2f of the slots are taken", float64(atHome)/all, float64(atHome+near)/all, tab.Stats().Load)
}
