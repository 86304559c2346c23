package geo_test

import (
	"net/netip"
	"testing"

	"github.com/rootd/rootd/geo"
)

func TestAreas(t *testing.T) {
	for _, c := range []struct{ addr, near, wide string }{
		{"192.0.2.77", "192.0.2.0/24", "192.0.0.0/16"},
		{"::ffff:192.0.2.77", "192.0.2.0/24", "192.0.0.0/16"},
		{"255.255.255.255", "255.255.255.0/24", "255.255.0.0/16"},
		{"2001:db8:1:2::3", "2001:db8:1::/48", "2001:db8::/32"},
		{"::1", "::/48", "::/32"},
	} {
		near, wide := geo.Areas(netip.MustParseAddr(c.addr))
		if near.String() != c.near || wide.String() != c.wide || near.Wide() || !wide.Wide() || !near.Valid() || !wide.Valid() {
			t.Errorf("%s is in %s and %s, expected %s and %s", c.addr, near, wide, c.near, c.wide)
		}
	}
	if near, wide := geo.Areas(netip.Addr{}); near != 0 || wide != 0 {
		t.Error("no address has no areas")
	}
}

func FuzzArea(f *testing.F) {
	near, wide := geo.Areas(netip.MustParseAddr("2001:db8:1:2::3"))
	f.Add(uint64(near))
	f.Add(uint64(wide))
	f.Add(uint64(7))
	f.Fuzz(func(t *testing.T, v uint64) {
		a := geo.Area(v)
		if !a.Valid() {
			return
		}
		if p := a.Prefix(); p != p.Masked() {
			t.Fatalf("%x is %s", v, p)
		}
		near, wide := geo.Areas(a.Prefix().Addr())
		if a != near && a != wide {
			t.Fatalf("%x is neither %x nor %x", v, near, wide)
		}
	})
}
