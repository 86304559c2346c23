package table

import (
	"errors"
	"net/netip"
	"runtime"
	"testing"
	"time"
	"weak"

	"github.com/rootd/rootd/packetpath/vl1"
)

// A writer that loses its processor in the middle of a change does not hold up readers: they get what was before.
func TestStalledWriter(t *testing.T) {
	tab, err := New(Options{})
	if err != nil {
		t.Fatal(err)
	}
	was := Record{Address: 0x1234567890, LastSeen: 5, V4Member: 3, Key: vl1.PublicKey{7}, V4: netip.MustParseAddrPort("192.0.2.1:5")}
	if err := tab.Put(&was); err != nil {
		t.Fatal(err)
	}
	h := Hash(was.Address)
	s := tab.dir.Load().segment(h)
	i, ok := s.find(h, was.Address)
	if !ok {
		t.Fatal("not found")
	}
	sl := s.slot(i)

	tab.begin(sl, 1<<1|1<<2)
	sl[1].Store(0xdeadbeef)
	sl[2].Store(0xdeadbeef)
	var got Record
	if !tab.Lookup(was.Address, &got) || got != was {
		t.Errorf("Lookup during a change: %+v, want %+v", got, was)
	}
	var words, before Words
	was.Words(&before)
	if !tab.LookupSteered(was.Address, &words) || words != before {
		t.Errorf("LookupSteered during a change: %x, want %x", words, before)
	}

	store(&sl[0], sl[0].Load()+1)
	if !tab.Lookup(was.Address, &got) || got.V4 != netip.MustParseAddrPort("0.0.0.0:57005") {
		t.Errorf("Lookup after the change: %+v", got)
	}
}

// Nor does one that loses its processor while it replaces a segment: lookups go past the lane.
func TestStalledReplacement(t *testing.T) {
	tab, err := New(Options{})
	if err != nil {
		t.Fatal(err)
	}
	r := Record{Address: 0x1234567890, LastSeen: 5}
	if err := tab.Put(&r); err != nil {
		t.Fatal(err)
	}
	l := tab.dir.Load().lane(Hash(r.Address))
	shape := l.shape.Load()
	for name, now := range map[string]uint64{"changing": (shape + laneChange) &^ (laneChange - 1), "changing, late": shape + laneChange} {
		l.shape.Store(now)
		var got Words
		if !tab.LookupHot(r.Address, &got) || got.LastSeen() != 5 {
			t.Errorf("%s: LookupHot found %x", name, got)
		}
		if tab.LookupHot(r.Address+1, &got) {
			t.Errorf("%s: LookupHot found a peer that was never put", name)
		}
	}
	if _, v := l.read(Hash(r.Address), r.Address, &words{}); v != torn {
		t.Errorf("a lane that is being changed says %v", v)
	}
	l.shape.Store(shape)
	if _, v := l.read(Hash(r.Address), r.Address, &words{}); v != found {
		t.Errorf("a lane says %v", v)
	}
}

// Sequences of 16 bits start again at zero and leave the address alone.
func TestSequenceWraps(t *testing.T) {
	tab, err := New(Options{})
	if err != nil {
		t.Fatal(err)
	}
	r := Record{Address: 0x1234567890, LastSeen: 5}
	if err := tab.Put(&r); err != nil {
		t.Fatal(err)
	}
	h := Hash(r.Address)
	s := tab.dir.Load().segment(h)
	i, _ := s.find(h, r.Address)
	s.slot(i)[0].Store(word0(r.Address) | seqMask - 1)
	r.LastSeen, r.Planet, r.Flags = 6, 7, 8
	if err := tab.Put(&r); err != nil {
		t.Fatal(err)
	}
	var got Record
	if !tab.Lookup(r.Address, &got) || got != r {
		t.Errorf("Lookup: %+v, want %+v", got, r)
	}
	if seq := s.slot(i)[0].Load() & seqMask; seq != 0 {
		t.Errorf("sequence %#x after the last, want 0", seq)
	}
}

// Any change of a slot gives it another sequence, by which a reader notices that it copied words of two states.
func TestSequenceChanges(t *testing.T) {
	tab, err := New(Options{})
	if err != nil {
		t.Fatal(err)
	}
	r := Record{Address: 0x1234567890}
	var last uint64
	for _, change := range []func(){
		func() {},
		func() { r.LastSeen++ }, // one word
		func() { r.Position[0]++ },
		func() { r.LastSeen++; r.Planet++ }, // two words
		func() { r.Key[5]++ },               // the place of the key
	} {
		change()
		if err := tab.Put(&r); err != nil {
			t.Fatal(err)
		}
		s := tab.dir.Load().segment(Hash(r.Address))
		i, _ := s.find(Hash(r.Address), r.Address)
		w0 := s.slot(i)[0].Load()
		if w0 == last || w0&1 != 0 {
			t.Errorf("word 0 is %#x after %#x, with %+v", w0, last, r)
		}
		last = w0
	}
}

// When the system gives no more memory, new peers are refused at some point, everything else goes on.
func TestOutOfMemory(t *testing.T) {
	tab, err := New(Options{})
	if err != nil {
		t.Fatal(err)
	}
	errNone := errors.New("no memory")
	take := tab.mem.take
	refuse := false
	tab.mem.take = func(size int, huge bool) ([]block, error) {
		if refuse {
			return nil, errNone
		}
		return take(size, huge)
	}
	n := 0
	insert := func() error {
		r := Record{Address: vl1.Address(n + 1), LastSeen: uint32(n)}
		err := tab.Put(&r)
		if err == nil {
			n++
		}
		return err
	}
	for n < 20_000 {
		if err := insert(); err != nil {
			t.Fatal(err)
		}
	}
	check := func() {
		t.Helper()
		var r Record
		for i := range n {
			if !tab.Lookup(vl1.Address(i+1), &r) || r.LastSeen != uint32(i) {
				t.Fatalf("peer %d of %d is not as it was", i, n)
			}
		}
		if tab.Len() != n {
			t.Fatalf("Len is %d, want %d", tab.Len(), n)
		}
	}
	refuse = true
	for err = nil; err == nil; {
		err = insert()
	}
	if !errors.Is(err, errNone) {
		t.Fatalf("Put: %v", err)
	}
	check()
	for i := range n {
		if err := tab.Put(&Record{Address: vl1.Address(i + 1), LastSeen: uint32(i), Planet: 9, Flags: 1}); err != nil {
			t.Fatalf("change of peer %d: %v", i, err)
		}
	}
	refuse = false
	for n < 40_000 {
		if err := insert(); err != nil {
			t.Fatal(err)
		}
	}
	check()
}

// Memory goes back to the system when neither the table, nor a reader, nor a Frozen leads to it; not before.
func TestMemoryReturns(t *testing.T) {
	tab, err := New(Options{})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 5000 {
		if err := tab.Put(&Record{Address: vl1.Address(i + 1)}); err != nil {
			t.Fatal(err)
		}
	}
	mem := weak.Make(tab.mem)
	f := tab.Freeze()
	if err := tab.Close(); err != nil {
		t.Fatal(err)
	}
	runtime.GC()
	runtime.GC()
	n := 0
	f.Range(func(*Record) bool { n++; return true })
	if n != 5000 || mem.Value() == nil {
		t.Fatalf("%d records in a freeze of a closed table, want 5000", n)
	}
	f.Release()
	for deadline := time.Now().Add(5 * time.Second); mem.Value() != nil; runtime.GC() {
		if time.Now().After(deadline) {
			t.Fatal("the memory of a closed table is still held")
		}
	}
	runtime.KeepAlive(tab)
}

// After the last Release, neither saved pages nor replaced segments are kept.
func TestReleaseFrees(t *testing.T) {
	tab, err := New(Options{})
	if err != nil {
		t.Fatal(err)
	}
	var r Record
	change := func(n int) {
		t.Helper()
		for i := range n {
			r.Address = vl1.Address(i + 1)
			r.LastSeen++
			if err := tab.Put(&r); err != nil {
				t.Fatal(err)
			}
		}
	}
	first, second := tab.Freeze(), tab.Freeze()
	change(20_000)
	third := tab.Freeze()
	first.Release()
	change(30_000)
	second.Release()
	if len(tab.saved) == 0 || len(tab.limbo) == 0 {
		t.Fatalf("%d sets saved and %d segments kept: the test tests nothing", len(tab.saved), len(tab.limbo))
	}
	third.Release()
	for i := range tab.dir.Load().segs {
		if tab.dir.Load().segs[i].Load().saves.Load() != nil {
			t.Error("a segment still has saved pages")
		}
	}
	for range 50 {
		tab.Delete(1)
	}
	if len(tab.limbo) != 0 || len(tab.saved) != 0 {
		t.Errorf("%d segments and %d sets kept after the last Release", len(tab.limbo), len(tab.saved))
	}
	if got, want := tab.Stats().Unused, unusedIn(&tab.mem.slots)+unusedIn(&tab.mem.entries); got != want {
		t.Errorf("%d bytes unused by the counter, %d by the lists", got, want)
	}
}

func unusedIn[B block | entryBlock](p *pool[B]) int64 {
	return int64(len(p.fresh)+len(p.free)) * p.size()
}

// However many segments are about to be full, a thousand new peers wait for a few of them only.
func TestGrowthIsSpread(t *testing.T) {
	tab, err := New(Options{})
	if err != nil {
		t.Fatal(err)
	}
	var r Record
	replaced := func() int64 { return tab.stats.rebuilds.Load() + tab.stats.splits.Load() }
	most, before, brimming := int64(0), int64(0), false
	for i := range 300_000 {
		r.Address = vl1.Address(i + 1)
		if s := tab.dir.Load().segment(Hash(r.Address)); s.brimming() {
			brimming = true
		}
		if err := tab.Put(&r); err != nil {
			t.Fatal(err)
		}
		if i%1000 == 999 {
			most, before = max(most, replaced()-before), replaced()
		}
	}
	if most > 1000/restBetween+1 || brimming {
		t.Errorf("up to %d segments replaced within a thousand new peers; one could not wait: %v", most, brimming)
	}
	if n := replaced(); n < 100 {
		t.Errorf("%d segments replaced: the test tests nothing", n)
	}
}
