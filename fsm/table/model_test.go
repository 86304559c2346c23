package table_test

import (
	"maps"
	"net/netip"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/rootd/rootd/fsm/table"
	"github.com/rootd/rootd/packetpath/vl1"
)

// model is what a table must be: a map, and copies of it for freezes.
type model struct {
	tab    *table.Table
	want   map[vl1.Address]table.Record
	frozen []frozenModel
	next   int // addresses used so far
}

type frozenModel struct {
	f    *table.Frozen
	want map[vl1.Address]table.Record
}

func (m *model) known(t *rapid.T) vl1.Address {
	return address(rapid.IntRange(0, max(m.next-1, 0)).Draw(t, "peer"))
}

func (m *model) put(t *rapid.T, r table.Record) {
	if err := m.tab.Put(&r); err != nil {
		t.Fatal(err)
	}
	m.want[r.Address] = r
}

func drawRecord(t *rapid.T, a vl1.Address) table.Record {
	r := table.Record{Address: a, Key: key(uint64(a) + rapid.Uint64Range(0, 9).Draw(t, "key")/9)}
	x := rapid.Uint64().Draw(t, "fields")
	r.LastSeen, r.V4Member, r.V6Epoch, r.Planet = uint32(x), table.MemberID(x>>3), uint16(x>>7), x>>16
	r.Position[1], r.Flags = int16(x>>5), uint8(x>>40)
	if x&4 != 0 {
		r.Handoff = table.Handoff{Target: table.MemberID(x >> 9), At: uint32(x >> 11), V6: x&8 != 0, Pushes: uint8(x >> 13), Since6: uint32(x >> 17)}
	}
	if x&1 != 0 {
		r.V4 = netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, byte(x >> 8), byte(x >> 16), 1}), uint16(x>>24))
	}
	if x&2 != 0 {
		r.V6 = netip.AddrPortFrom(netip.AddrFrom16([16]byte{0x20, 1, byte(x), byte(x >> 8), 15: 1}), uint16(x>>32))
	}
	return r
}

// same fails unless the frozen table has exactly these records, in the order of the hash.
func same(t interface {
	Helper()
	Errorf(string, ...any)
}, f *table.Frozen, want map[vl1.Address]table.Record,
) {
	t.Helper()
	order := slices.SortedFunc(maps.Keys(want), func(a, b vl1.Address) int {
		if table.Hash(a) < table.Hash(b) {
			return -1
		}
		return 1
	})
	if f.Len() != len(want) {
		t.Errorf("Frozen.Len is %d, want %d", f.Len(), len(want))
	}
	i := 0
	f.Range(func(r *table.Record) bool {
		if i == len(order) {
			t.Errorf("record %d of %d: %+v", i, len(order), *r)
			return false
		}
		if w := want[order[i]]; *r != w {
			t.Errorf("record %d:\n got %+v\nwant %+v", i, *r, w)
			return false
		}
		i++
		return true
	})
	if i != len(order) {
		t.Errorf("%d records, want %d", i, len(order))
	}
}

// Random changes, growth and freezes against a map.
func TestModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		tab, err := table.New(table.Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer tab.Close()
		m := &model{tab: tab, want: make(map[vl1.Address]table.Record)}
		t.Repeat(map[string]func(*rapid.T){
			"insert": func(t *rapid.T) {
				m.next++
				m.put(t, drawRecord(t, address(m.next-1)))
			},
			"insert many": func(t *rapid.T) { // so that segments fill and split
				for range rapid.IntRange(1, 1500).Draw(t, "count") {
					a := address(m.next)
					m.put(t, table.Record{Address: a, Key: key(uint64(a)), LastSeen: uint32(m.next)})
					m.next++
				}
			},
			"change": func(t *rapid.T) { m.put(t, drawRecord(t, m.known(t))) },
			"visit": func(t *rapid.T) { // known peers, forgotten ones, new ones, and some twice
				var as []vl1.Address
				for range rapid.IntRange(1, 60).Draw(t, "known") {
					as = append(as, m.known(t))
				}
				for range rapid.IntRange(0, 300).Draw(t, "new") {
					as = append(as, address(m.next), as[len(as)/2])
					m.next++
				}
				m.visit(t, as)
			},
			"delete": func(t *rapid.T) {
				a := m.known(t)
				_, known := m.want[a]
				if tab.Delete(a) != known {
					t.Fatalf("Delete of %v is not %v", a, known)
				}
				delete(m.want, a)
			},
			"delete many": func(t *rapid.T) {
				first := rapid.IntRange(0, max(m.next-1, 0)).Draw(t, "first")
				for i := range rapid.IntRange(1, 1000).Draw(t, "count") {
					a := address(first + i)
					_, known := m.want[a]
					if tab.Delete(a) != known {
						t.Fatalf("Delete of %v is not %v", a, known)
					}
					delete(m.want, a)
				}
			},
			"freeze": func(t *rapid.T) {
				if len(m.frozen) == 3 {
					t.Skip("enough")
				}
				m.frozen = append(m.frozen, frozenModel{tab.Freeze(), maps.Clone(m.want)})
			},
			"release": func(t *rapid.T) {
				if len(m.frozen) == 0 {
					t.Skip("none")
				}
				i := rapid.IntRange(0, len(m.frozen)-1).Draw(t, "which")
				same(t, m.frozen[i].f, m.frozen[i].want)
				m.frozen[i].f.Release()
				m.frozen[i].f.Release()
				m.frozen = slices.Delete(m.frozen, i, i+1)
			},
			"": func(t *rapid.T) {
				if tab.Len() != len(m.want) {
					t.Fatalf("Len is %d, want %d", tab.Len(), len(m.want))
				}
				a := m.known(t)
				var got table.Record
				want, known := m.want[a]
				if tab.Lookup(a, &got) != known || known && got != want {
					t.Fatalf("Lookup of %v:\n got %+v\nwant %+v (%v)", a, got, want, known)
				}
			},
		})
		for _, fm := range m.frozen {
			same(t, fm.f, fm.want)
			fm.f.Release()
		}
		f := tab.Freeze()
		same(t, f, m.want)
		f.Release()
	})
}

// Tables with the same records give the same sequence, however they came to them.
func TestRangeOrder(t *testing.T) {
	const n = 10_000
	sequence := func(o table.Options, order func(i int) int, detours bool) (as []vl1.Address) {
		tab := newTable(t, o)
		for i := range n {
			r := full
			r.Address = address(order(i))
			put(t, tab, r)
			if detours {
				r.Address = address(n + i)
				put(t, tab, r)
			}
		}
		if detours {
			for i := range n {
				tab.Delete(address(n + i))
			}
		}
		f := tab.Freeze()
		defer f.Release()
		f.Range(func(r *table.Record) bool { as = append(as, r.Address); return true })
		return as
	}
	one := sequence(table.Options{}, func(i int) int { return i }, false)
	other := sequence(table.Options{Capacity: 3 * n}, func(i int) int { return n - 1 - i }, true)
	if len(one) != n || !slices.Equal(one, other) {
		t.Errorf("%d and %d records, or in another order", len(one), len(other))
	}
}

// visit goes through peers with a cursor, and changes most of them.
func (m *model) visit(t *rapid.T, as []vl1.Address) {
	t.Helper()
	var c table.Cursor
	m.tab.Visit(&c, as)
	changed := drawRecord(t, as[0])
	for i, a := range as {
		var got table.Record
		want, known := m.want[a]
		if !known {
			want = table.Record{Address: a}
		}
		if is := c.Next(); is != known {
			t.Fatalf("peer %v, %d of %d: known: %v", a, i, len(as), is)
		}
		if c.Record(&got); got != want {
			t.Fatalf("peer %v, %d of %d: %+v, want %+v", a, i, len(as), got, want)
		}
		switch i % 7 {
		case 0:
		case 1:
			c.Delete()
			delete(m.want, a)
		default:
			r := changed
			r.Address, r.Key, r.LastSeen = a, key(uint64(a)), uint32(i)
			if i%7 > 3 {
				r.Handoff = want.Handoff
			}
			if err := set(&c, known, &r); err != nil {
				t.Fatal(err)
			}
			if known {
				r.Key = want.Key
			}
			m.want[a] = r
		}
	}
}
