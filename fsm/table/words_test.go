package table_test

import (
	"net/netip"
	"testing"

	"pgregory.net/rapid"

	"github.com/rootd/rootd/fsm/table"
	"github.com/rootd/rootd/packetpath/vl1"
)

// Setting something in words changes that in the record and nothing else; and what is read from words is what the record has.
func TestWordsAreTheRecord(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r, o := drawWhole(t), drawWhole(t)
		var w table.Words
		r.Words(&w)
		for _, step := range []struct {
			name string
			w    func()
			r    func()
		}{
			{"nothing", func() {}, func() {}},
			{"last seen", func() { w.SetLastSeen(o.LastSeen) }, func() { r.LastSeen = o.LastSeen }},
			{"IPv4", func() { w.Attach4(o.V4, o.V4Member, o.V4Epoch) }, func() { r.V4, r.V4Member, r.V4Epoch = o.V4, o.V4Member, o.V4Epoch }},
			{"IPv6", func() { w.Attach6(o.V6, o.V6Member, o.V6Epoch) }, func() { r.V6, r.V6Member, r.V6Epoch = o.V6, o.V6Member, o.V6Epoch }},
			{"software", func() { w.SetSoftware(o.Protocol, o.Major, o.Minor, o.Revision) }, func() {
				r.Protocol, r.Major, r.Minor, r.Revision = o.Protocol, o.Major, o.Minor, o.Revision
			}},
			{"planet", func() { w.SetPlanet(o.Planet) }, func() { r.Planet = min(o.Planet, table.MaxPlanet) }},
			{"position", func() { w.SetPosition(o.Position, o.Flags) }, func() { r.Position, r.Flags = o.Position, o.Flags }},
			{"handoff", func() { w.SetHandoff(&o.Handoff) }, func() { r.Handoff = o.Handoff }},
		} {
			step.w()
			step.r()
			got, want := table.Record{Address: r.Address, Key: r.Key}, r
			want.Planet = min(want.Planet, table.MaxPlanet)
			if w.Record(&got); got != want {
				t.Fatalf("%s:\n got %+v\nwant %+v", step.name, got, want)
			}
			var same table.Words
			if want.Words(&same); same != w {
				t.Fatalf("%s: words %x, want %x", step.name, w, same)
			}
			m4, e4 := w.Attached(false)
			m6, e6 := w.Attached(true)
			if m4 != r.V4Member || e4 != r.V4Epoch || m6 != r.V6Member || e6 != r.V6Epoch ||
				w.Endpoint(false) != want.V4 || w.Endpoint(true) != want.V6 || w.Located(false) != want.V4.IsValid() || w.Located(true) != want.V6.IsValid() ||
				w.LastSeen() != r.LastSeen || w.Planet() != want.Planet || w.Flags() != r.Flags || w.HandedOff() != (r.Handoff != table.Handoff{}) {
				t.Fatalf("%s: %x read otherwise than %+v", step.name, w, r)
			}
			var at [3]int16
			at[0], at[1], at[2] = w.Position()
			if p, major, minor, revision := w.Software(); at != r.Position || p != r.Protocol || major != r.Major || minor != r.Minor || revision != r.Revision {
				t.Fatalf("%s: %x read otherwise than %+v", step.name, w, r)
			}
		}
	})
}

// drawWhole draws a record with both endpoints, and noise for everything else.
func drawWhole(t *rapid.T) table.Record {
	u64 := func(name string) uint64 { return rapid.Uint64().Draw(t, name) }
	a, b, c, d, e, f, g := u64("a"), u64("b"), u64("c"), u64("d"), u64("e"), u64("f"), u64("g")
	r := table.Record{
		Address: 0x1234567890, Key: key(a),
		V4:       netip.AddrPortFrom(netip.AddrFrom4([4]byte{1, byte(a), byte(a >> 8), byte(a >> 16)}), uint16(a>>24)),
		V6:       netip.AddrPortFrom(netip.AddrFrom16([16]byte{0x20, byte(b), byte(b >> 8), 12: byte(b >> 16), 15: byte(b >> 24)}), uint16(b>>32)),
		V4Member: table.MemberID(a >> 40), V6Member: table.MemberID(b >> 48), V4Epoch: uint16(c), V6Epoch: uint16(c >> 16), LastSeen: uint32(c >> 32),
		Planet: d, Protocol: uint8(e), Major: uint8(e >> 8), Minor: uint8(e >> 16), Revision: uint16(e >> 24), Flags: uint8(e >> 40),
		Position: [3]int16{int16(f), int16(f >> 16), int16(f >> 32)},
	}
	if g&1 != 0 {
		r.Handoff = table.Handoff{
			Target: table.MemberID(g >> 1), From: table.MemberID(g >> 8), V6: g&2 != 0, At: uint32(g >> 16), Pushes: uint8(g >> 24), Prio4: uint8(g >> 32),
			Prio6: uint8(g >> 40), Fails: uint8(g >> 48), Failed: table.MemberID(f >> 48), Moves: uint8(e >> 48), Since4: uint32(d >> 7), Since6: uint32(d >> 9),
		}
	}
	return r
}

// A key begins with any part of its beginning, and with nothing else.
func TestCursorKeyBegins(t *testing.T) {
	tab := newTable(t, table.Options{})
	r := full
	for i := range r.Key {
		r.Key[i] = byte(i + 1)
	}
	put(t, tab, r)
	var c table.Cursor
	tab.Visit(&c, []vl1.Address{r.Address})
	if !c.Next() {
		t.Fatal("not found")
	}
	for n := range len(r.Key) + 1 {
		with := r.Key
		if !c.KeyBegins(with[:n]) {
			t.Errorf("it does not begin with its first %d bytes", n)
		}
		for i := range n {
			with[i] ^= 0x40
			if c.KeyBegins(with[:n]) {
				t.Errorf("byte %d of %d is another, and it begins so", i, n)
			}
			with[i] ^= 0x40
		}
	}
}
