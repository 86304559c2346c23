package table_test

import (
	"errors"
	"math/rand/v2"
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/rootd/rootd/fsm/table"
	"github.com/rootd/rootd/packetpath/vl1"
)

// compareAddrs lets cmp compare records.
var compareAddrs = cmpopts.EquateComparable(netip.AddrPort{})

// full is a record in which every field has a value of its own.
var full = table.Record{
	Address:  0x89abcdef01,
	Key:      key(1),
	V4:       netip.MustParseAddrPort("203.0.113.7:9993"),
	V6:       netip.MustParseAddrPort("[2001:db8:1:2:3:4:5:6]:29994"),
	V4Member: 0x0102, V6Member: 0xfffe, V4Epoch: 0x8001, V6Epoch: 0x7ffe,
	LastSeen: 0xfedcba98, Planet: table.MaxPlanet - 1,
	Protocol: 11, Major: 1, Minor: 254, Revision: 0xabcd,
	Position: [3]int16{-32768, 32767, -1}, Flags: 0x81,
	Handoff: table.Handoff{
		Target: 0x0203, From: 0xfdfc, V6: true, At: 0x12345678, Pushes: 7, Prio4: 3, Prio6: 5, Fails: 2, Failed: 0x0405, Moves: 9,
		Since4: 0x23456789, Since6: 0x3456789a,
	},
}

func key(seed uint64) (k vl1.PublicKey) {
	rnd := rand.New(rand.NewPCG(seed, 1))
	for i := range k {
		k[i] = byte(rnd.Uint32())
	}
	return k
}

// address returns the i-th of a sequence of different addresses, none of them reserved.
func address(i int) vl1.Address { return vl1.Address(uint64(i)*0x9e3779b1%0xfe00000000 + 1) }

func newTable(t testing.TB, o table.Options) *table.Table {
	t.Helper()
	tab, err := table.New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = tab.Close() })
	return tab
}

func put(t testing.TB, tab *table.Table, r table.Record) {
	t.Helper()
	if err := tab.Put(&r); err != nil {
		t.Fatal(err)
	}
}

func TestRoundTrip(t *testing.T) {
	tests := []struct {
		name   string
		change func(*table.Record)
	}{
		{"every field", func(*table.Record) {}},
		{"no endpoints", func(r *table.Record) { r.V4, r.V6 = netip.AddrPort{}, netip.AddrPort{} }},
		{"IPv4 only", func(r *table.Record) { r.V6 = netip.AddrPort{} }},
		{"IPv6 only", func(r *table.Record) { r.V4 = netip.AddrPort{} }},
		{"port 0", func(r *table.Record) { r.V4 = netip.MustParseAddrPort("192.0.2.1:0") }},
		{"any address with a port", func(r *table.Record) { r.V4 = netip.MustParseAddrPort("0.0.0.0:1") }},
		{"IPv6 unspecified with a port", func(r *table.Record) { r.V6 = netip.MustParseAddrPort("[::]:1") }},
		{"only an identity", func(r *table.Record) { *r = table.Record{Address: r.Address, Key: r.Key} }},
		{"lowest address", func(r *table.Record) { r.Address = 1 }},
		{"highest address", func(r *table.Record) { r.Address = 0xfeffffffff }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tab := newTable(t, table.Options{})
			want := full
			tt.change(&want)
			put(t, tab, want)
			var got table.Record
			if !tab.Lookup(want.Address, &got) {
				t.Fatal("not found")
			}
			if diff := cmp.Diff(want, got, compareAddrs); diff != "" {
				t.Errorf("Lookup (-put +got):\n%s", diff)
			}
			var words, all table.Words
			want.Words(&all)
			if !tab.LookupSteered(want.Address, &words) || words != all {
				t.Errorf("LookupSteered found %x, want %x", words, all)
			}
			all.SetHandoff(&table.Handoff{})
			if !tab.LookupHot(want.Address, &words) || words != all {
				t.Errorf("LookupHot found %x, want %x", words, all)
			}
		})
	}
}

func TestStoredDifferently(t *testing.T) {
	tab := newTable(t, table.Options{})
	r := full
	r.Planet = 1 << 60
	r.V4 = netip.MustParseAddrPort("0.0.0.0:0")
	r.V6 = netip.MustParseAddrPort("[fe80::1%eth0]:7")
	put(t, tab, r)
	want := r
	want.Planet = table.MaxPlanet
	want.V4 = netip.AddrPort{}
	want.V6 = netip.MustParseAddrPort("[fe80::1]:7")
	var got table.Record
	if !tab.Lookup(r.Address, &got) {
		t.Fatal("not found")
	}
	if diff := cmp.Diff(want, got, compareAddrs); diff != "" {
		t.Errorf("Lookup (-want +got):\n%s", diff)
	}
}

func TestRefused(t *testing.T) {
	tests := []struct {
		name   string
		change func(*table.Record)
	}{
		{"address zero", func(r *table.Record) { r.Address = 0 }},
		{"reserved address", func(r *table.Record) { r.Address = 0xff00000001 }},
		{"tombstone", func(r *table.Record) { r.Address = 0xffffffffff }},
		{"address of 41 bits", func(r *table.Record) { r.Address = 1<<40 | 5 }},
		{"V4 is IPv6", func(r *table.Record) { r.V4 = r.V6 }},
		{"V4 is IPv4 in IPv6", func(r *table.Record) { r.V4 = netip.MustParseAddrPort("[::ffff:1.2.3.4]:5") }},
		{"V6 is IPv4", func(r *table.Record) { r.V6 = r.V4 }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tab := newTable(t, table.Options{})
			r := full
			tt.change(&r)
			if err := tab.Put(&r); !errors.Is(err, table.ErrRecord) {
				t.Errorf("Put: %v, want ErrRecord", err)
			}
			if tab.Len() != 0 || tab.Lookup(r.Address, &r) || tab.Delete(r.Address) {
				t.Error("a refused record is in the table")
			}
		})
	}
}

func TestFull(t *testing.T) {
	tab := newTable(t, table.Options{MaxPeers: 100})
	r := full
	for i := range 100 {
		r.Address = address(i)
		put(t, tab, r)
	}
	r.Address = address(100)
	if err := tab.Put(&r); !errors.Is(err, table.ErrFull) {
		t.Fatalf("Put of peer 101: %v, want ErrFull", err)
	}
	r.Address = address(5)
	r.LastSeen++
	r.Key = key(9)
	put(t, tab, r)
	if !tab.Delete(address(7)) {
		t.Fatal("Delete of a known peer found nothing")
	}
	r.Address = address(100)
	put(t, tab, r)
	if tab.Len() != 100 {
		t.Errorf("Len is %d, want 100", tab.Len())
	}
}

// set makes r of the peer at hand: all but the key of a known one is replaced, and an unknown one is inserted.
func set(c *table.Cursor, known bool, r *table.Record) error {
	r.Words(c.Words())
	if known {
		_, err := c.Store()
		return err
	}
	return c.Insert(&r.Key)
}

// update changes all but the key of a known peer.
func update(t testing.TB, tab *table.Table, r *table.Record) bool {
	var c table.Cursor
	tab.Visit(&c, []vl1.Address{r.Address})
	if !c.Next() {
		return false
	}
	if err := set(&c, true, r); err != nil {
		t.Fatal(err)
	}
	return true
}

func TestUpdate(t *testing.T) {
	tab := newTable(t, table.Options{})
	r := full
	if update(t, tab, &r) {
		t.Fatal("an unknown peer was found")
	}
	put(t, tab, r)
	r.Key = key(5)
	r.V4 = netip.MustParseAddrPort("198.51.100.1:1")
	r.LastSeen, r.V6Member = 1, 2
	if !update(t, tab, &r) {
		t.Fatal("a known peer was not found")
	}
	r.Key = full.Key
	var got table.Record
	tab.Lookup(r.Address, &got)
	if diff := cmp.Diff(r, got, compareAddrs); diff != "" {
		t.Errorf("Lookup (-want +got):\n%s", diff)
	}
}

func TestGrowth(t *testing.T) {
	for _, o := range []struct {
		name string
		table.Options
		handoff table.Handoff
		most    int64 // bytes a peer
	}{
		{"from nothing", table.Options{}, table.Handoff{}, 184},
		{"from a hint", table.Options{Capacity: 20_000}, table.Handoff{}, 184},
		{"on the heap", table.Options{OnHeap: true}, table.Handoff{}, 184},
		{"with handoffs", table.Options{}, full.Handoff, 216},
	} {
		t.Run(o.name, func(t *testing.T) {
			tab := newTable(t, o.Options)
			r := full
			r.Handoff = o.handoff
			const n = 20_000
			for i := range n {
				r.Address, r.LastSeen = address(i), uint32(i)
				put(t, tab, r)
			}
			var got table.Record
			for i := range n {
				if !tab.Lookup(address(i), &got) || got.LastSeen != uint32(i) || got.Key != full.Key {
					t.Fatalf("peer %d of %d: not found, or another", i, n)
				}
				if tab.Lookup(address(n+i), &got) {
					t.Fatalf("peer %d was never put", n+i)
				}
			}
			st := tab.Stats()
			if st.Peers != n || tab.Len() != n {
				t.Errorf("%d peers, Len %d, want %d", st.Peers, tab.Len(), n)
			}
			if perPeer := st.Bytes / n; perPeer > o.most || perPeer < 128 {
				t.Errorf("%d bytes a peer, want 128 to %d", perPeer, o.most)
			}
			if o.Capacity >= n && st.Splits+st.Rebuilds != 0 {
				t.Errorf("%d splits and %d rebuilds with room for all", st.Splits, st.Rebuilds)
			}
		})
	}
}

// Peers that come and go must not make the table grow.
func TestChurn(t *testing.T) {
	tab := newTable(t, table.Options{})
	r := full
	const alive = 5_000
	for i := range 100_000 {
		r.Address = address(i)
		put(t, tab, r)
		if i >= alive && !tab.Delete(address(i-alive)) {
			t.Fatalf("peer %d: not there to delete", i-alive)
		}
	}
	st := tab.Stats()
	if tab.Len() != alive || st.Bytes > 300*alive || st.Bytes+st.Unused > 10<<20 {
		t.Errorf("%+v after churn, want %d peers in little memory", st, alive)
	}
}

func TestScan(t *testing.T) {
	tab := newTable(t, table.Options{})
	r := full
	const n = 20_000
	for i := range n {
		r.Address = address(i)
		put(t, tab, r)
	}
	seen := make(map[vl1.Address]int)
	calls := 0
	for cursor, done := uint64(0), false; !done; calls++ {
		cursor, done = tab.Scan(cursor, 1000, func(r *table.Record) {
			seen[r.Address]++
			if r.Address%3 == 0 {
				tab.Delete(r.Address)
			}
		})
	}
	if len(seen) != n || calls < 3 {
		t.Errorf("%d of %d peers seen in %d calls", len(seen), n, calls)
	}
	for a, times := range seen {
		if times != 1 {
			t.Errorf("peer %v seen %d times in a table that did not grow", a, times)
		}
		if got := tab.Lookup(a, &r); got != (a%3 != 0) {
			t.Errorf("peer %v: found is %v after deletions while scanning", a, got)
		}
	}
}

func TestClosed(t *testing.T) {
	tab := newTable(t, table.Options{})
	r := full
	put(t, tab, r)
	f := tab.Freeze()
	if err := tab.Close(); err != nil {
		t.Fatal(err)
	}
	if tab.Lookup(r.Address, &r) || tab.Len() != 0 || tab.Delete(r.Address) {
		t.Error("a closed table has a peer")
	}
	tab.Prefetch([]vl1.Address{r.Address})
	if _, done := tab.Scan(0, 1, func(*table.Record) { t.Error("Scan found a peer") }); !done {
		t.Error("Scan of a closed table does not end")
	}
	if err := tab.Put(&r); !errors.Is(err, table.ErrClosed) {
		t.Errorf("Put: %v, want ErrClosed", err)
	}
	n := 0
	f.Range(func(r *table.Record) bool { n++; return *r == full })
	if n != 1 || f.Len() != 1 {
		t.Errorf("%d records in a freeze of a table closed since, Len %d, want 1", n, f.Len())
	}
	f.Release()
}

func TestHashIsStable(t *testing.T) {
	for _, tt := range []struct {
		a    vl1.Address
		want uint64
	}{{0, 0xe220a8397b1dcdaf}, {0x0000000001, 0x910a2dec89025cc1}} {
		if got := table.Hash(tt.a); got != tt.want {
			t.Errorf("Hash(%v) = %#x, want %#x", tt.a, got, tt.want)
		}
	}
}

func TestNoAllocs(t *testing.T) {
	tab := newTable(t, table.Options{Capacity: 10_000})
	r := full
	var w table.Words
	batch := make([]vl1.Address, 64)
	for i := range 10_000 {
		r.Address = address(i)
		batch[i%64] = r.Address
		put(t, tab, r)
	}
	for _, tt := range []struct {
		name string
		call func(i int)
	}{
		{"Lookup", func(i int) { tab.Lookup(address(i), &r) }},
		{"Lookup of an unknown", func(i int) { tab.Lookup(address(i+10_000), &r) }},
		{"LookupHot", func(i int) { tab.LookupHot(address(i), &w) }},
		{"LookupSteered", func(i int) { tab.LookupSteered(address(i), &w) }},
		{"Prefetch", func(int) { tab.Prefetch(batch) }},
		{"Put", func(i int) { r.Address, r.LastSeen = address(i), r.LastSeen+1; _ = tab.Put(&r) }},
		{"Set", func(int) {
			var c table.Cursor
			tab.Visit(&c, batch)
			for range batch {
				known := c.Next()
				c.Record(&r)
				r.LastSeen++
				_ = set(&c, known, &r)
			}
		}},
	} {
		i := 0
		if n := testing.AllocsPerRun(5000, func() { tt.call(i); i++ }); n != 0 {
			t.Errorf("%s: %v allocations", tt.name, n)
		}
	}
}

// A peer's handoff changes many times without the table growing, and a freeze keeps what it was.
func TestHandoffChanges(t *testing.T) {
	tab := newTable(t, table.Options{})
	const n = 1000
	for i := range n {
		put(t, tab, table.Record{Address: address(i), Key: key(uint64(i))})
	}
	before := tab.Stats().Bytes
	f := tab.Freeze()
	var r table.Record
	for round := range 20 {
		for i := range n {
			if !tab.Lookup(address(i), &r) {
				t.Fatalf("peer %d is lost in round %d", i, round)
			}
			r.Handoff = table.Handoff{Target: table.MemberID(i), At: uint32(round)}
			if !update(t, tab, &r) {
				t.Fatal("not found")
			}
		}
	}
	f.Range(func(r *table.Record) bool {
		if r.Handoff != (table.Handoff{}) {
			t.Errorf("the freeze has a later handoff: %+v", r.Handoff)
		}
		return true
	})
	f.Release()
	for i := range n {
		if !tab.Lookup(address(i), &r) || r.Key != key(uint64(i)) || r.Handoff != (table.Handoff{Target: table.MemberID(i), At: 19}) {
			t.Fatalf("peer %d: %+v", i, r)
		}
	}
	tab.Delete(address(0)) // any change gives back what the freeze held
	if after := tab.Stats().Bytes; after > 2*before {
		t.Errorf("%d bytes in use, %d before", after, before)
	}
}

func TestMovesDecay(t *testing.T) {
	h := table.Handoff{Moves: 3, At: 1000}
	for after, want := range map[uint32]uint8{0: 3, table.MoveDecay - 1: 3, table.MoveDecay: 2, 3 * table.MoveDecay: 0, 1 << 31: 0} {
		if got := h.MovesAt(1000 + after); got != want {
			t.Errorf("%d moves after %d s, want %d", got, after, want)
		}
	}
	if got := h.MovesAt(5); got != 3 {
		t.Errorf("%d moves before the last one, want 3", got)
	}
}
