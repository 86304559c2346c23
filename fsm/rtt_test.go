package fsm_test

import (
	"bytes"
	"errors"
	"maps"
	"net/netip"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/rootd/rootd/fsm"
	"github.com/rootd/rootd/fsm/table"
	"github.com/rootd/rootd/geo"
)

// area is the n-th of many areas, an IPv4 /24 or an IPv6 /48.
func area(n int, v6 bool) geo.Area {
	a := netip.AddrFrom4([4]byte{10, byte(n >> 8), byte(n), 1})
	if v6 {
		a = netip.AddrFrom16([16]byte{0x20, 1, byte(n >> 8), byte(n)})
	}
	near, _ := geo.Areas(a)
	return near
}

func roundTrips() *rapid.Generator[*fsm.RoundTrips] {
	return rapid.Custom(func(t *rapid.T) *fsm.RoundTrips {
		c := &fsm.RoundTrips{Member: memberIDs().Draw(t, "member"), Epoch: rapid.Uint16Range(1, 2).Draw(t, "epoch")}
		rows := map[geo.Area]fsm.RoundTrip{}
		for range rapid.IntRange(1, 6).Draw(t, "rows") {
			r := fsm.RoundTrip{Area: area(rapid.IntRange(1, 5).Draw(t, "area"), rapid.Bool().Draw(t, "v6")), N: rapid.Uint16Min(1).Draw(t, "n"), Micros: rapid.Uint32().Draw(t, "rtt"), Dev: rapid.Uint32().Draw(t, "dev")}
			rows[r.Area] = r
		}
		for _, a := range slices.Sorted(maps.Keys(rows)) {
			c.Rows = append(c.Rows, rows[a])
		}
		return c
	})
}

// rttKey is what the model knows a row by.
type rttKey struct {
	area   geo.Area
	member uint16
}

func (m *model) roundTrips(c *fsm.RoundTrips) {
	if x := m.members[c.Member]; x.status != fsm.StatusUp || x.epoch != c.Epoch {
		return
	}
	for _, r := range c.Rows {
		m.rtts[rttKey{r.Area, uint16(c.Member)}] = geo.RTT{Member: uint16(c.Member), N: r.N, Micros: r.Micros, Dev: r.Dev, At: uint32(m.time/1000 - table.Epoch.Unix())}
	}
}

func (m *model) compareRTTs(t *rapid.T, st *fsm.State) {
	maps.DeleteFunc(m.rtts, func(k rttKey, _ geo.RTT) bool {
		_, ok := m.members[table.MemberID(k.member)]
		return !ok
	})
	got := map[rttKey]geo.RTT{}
	for a, rows := range st.RTTs.All() {
		for _, r := range rows {
			got[rttKey{a, r.Member}] = r
		}
		if !slices.Equal(rows, st.RTTs.Of(a)) {
			t.Fatalf("%s: %v, and %v", a, rows, st.RTTs.Of(a))
		}
	}
	if d := cmp.Diff(m.rtts, got); d != "" || st.RTTs.Len() != len(got) {
		t.Fatalf("%d round trips (-model +machine):\n%s", st.RTTs.Len(), d)
	}
}

// TestRoundTripsAreBounded fills the table far beyond its end: it stays bounded, what is new is there, and what a reader
// holds does not change.
func TestRoundTripsAreBounded(t *testing.T) {
	m := newMachine(t)
	put := func(from, n int) {
		c := &fsm.RoundTrips{Member: 1, Epoch: 1}
		for i := range n {
			c.Rows = append(c.Rows, fsm.RoundTrip{Area: area(from+i, true), N: 1, Micros: uint32(from + i)})
		}
		m.must(c)
		m.now += 1000
	}
	// IPv6 areas have 16 bits here: 65,536 of them cannot fill 262,144 rows, but three members can.
	m.must(token(2, m.now))
	m.must(join(2))
	put(0, 1000)
	held := m.View().State()
	before := map[geo.Area][]geo.RTT{}
	for a, rows := range held.RTTs.All() {
		before[a] = slices.Clone(rows)
	}
	for from := 1000; from+1000 < 65_536; from += 1000 {
		put(from, 1000)
	}
	for a, rows := range before {
		if !slices.Equal(rows, held.RTTs.Of(a)) {
			t.Fatalf("%s changed under a reader", a)
		}
	}
	st := m.View().State()
	if n := st.RTTs.Len(); n > 4096*64 || n < 60_000 {
		t.Errorf("%d rows", n)
	}
	if rows := st.RTTs.Of(area(64_999, true)); len(rows) != 1 || rows[0].Micros != 64_999 {
		t.Errorf("the newest is %v", rows)
	}
	b := snapshotOf(t, m.FSM)
	other := newFSM(t)
	if err := restore(other, b); err != nil {
		t.Fatal(err)
	}
	if other.Hash() != m.Hash() || !bytes.Equal(snapshotOf(t, other), b) {
		t.Error("restored, it differs")
	}
	if r := m.do(&fsm.RoundTrips{Member: 1, Epoch: 2, Rows: []fsm.RoundTrip{{Area: area(1, false), N: 1}}}); !errors.Is(r.Err, fsm.ErrEpoch) {
		t.Errorf("of another life: %v", r.Err)
	}
	if n := testing.AllocsPerRun(100, func() { st.RTTs.Of(area(64_999, true)) }); n != 0 {
		t.Errorf("%v allocations to look one up", n)
	}
}

// TestShardOfRoundTrips: a shard that is full forgets what was measured longest ago.
func TestShardOfRoundTrips(t *testing.T) {
	m := newMachine(t)
	a := area(7, false)
	for id := table.MemberID(2); id <= 80; id++ {
		m.must(token(id, m.now))
		m.must(join(id))
		m.must(&fsm.MemberUp{ID: id, Name: join(id).Name})
		m.must(&fsm.RoundTrips{Member: id, Epoch: 1, Rows: []fsm.RoundTrip{{Area: a, N: 1, Micros: uint32(id)}}})
		m.now += 1000
	}
	st := m.View().State()
	rows := st.RTTs.Of(a)
	if len(rows) != 64 || rows[0].Member != 17 || rows[63].Member != 80 {
		t.Errorf("%d rows, from %d to %d", len(rows), rows[0].Member, rows[len(rows)-1].Member)
	}
	m.must(&fsm.MemberRemove{ID: 80, Force: true})
	after := m.View().State()
	if n := after.RTTs.Len(); n != 63 || len(st.RTTs.Of(a)) != 64 {
		t.Errorf("%d rows after one member was removed, and %d in the state before", n, len(st.RTTs.Of(a)))
	}
}

func BenchmarkRTTsOf(b *testing.B) {
	m := newMachine(b)
	for from := 0; from < 60_000; from += 1000 {
		c := &fsm.RoundTrips{Member: 1, Epoch: 1}
		for i := range 1000 {
			c.Rows = append(c.Rows, fsm.RoundTrip{Area: area(from+i, true), N: 1, Micros: uint32(from + i)})
		}
		m.must(c)
	}
	st := m.View().State()
	a := area(31_234, true)
	b.ReportAllocs()
	for b.Loop() {
		st.RTTs.Of(a)
	}
}
