package geo_test

import (
	"math"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/rootd/rootd/geo"
)

func anywhere(t *rapid.T, label string) geo.Point {
	return geo.Point{Lat: rapid.Float64Range(-90, 90).Draw(t, label+" lat"), Lon: rapid.Float64Range(-180, 180).Draw(t, label+" lon")}
}

// haversine is the textbook's distance.
func haversine(a, b geo.Point) float64 {
	const rad = math.Pi / 180
	s := math.Pow(math.Sin((b.Lat-a.Lat)*rad/2), 2) + math.Cos(a.Lat*rad)*math.Cos(b.Lat*rad)*math.Pow(math.Sin((b.Lon-a.Lon)*rad/2), 2)
	return 2 * geo.EarthKm * math.Asin(min(1, math.Sqrt(s)))
}

func TestKmIsTheGreatCircle(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b := anywhere(t, "a"), anywhere(t, "b")
		want := haversine(a, b)
		// Rounding moves each end by at most 170 m; the nearer the antipode, the less the chord says where one is.
		tolerance := min(0.4/max(1e-3, math.Cos(want/2/geo.EarthKm)), 120)
		if got := geo.Km(a.Unit(), b.Unit()); math.Abs(got-want) > tolerance {
			t.Fatalf("%v to %v is %.2f km, expected %.2f", a, b, got, want)
		}
		if ab, ba := geo.Km(a.Unit(), b.Unit()), geo.Km(b.Unit(), a.Unit()); ab != ba {
			t.Fatalf("%v there, %v back", ab, ba)
		}
		if !a.Unit().Valid() || !a.Unit().Known() {
			t.Fatalf("%v is %v", a, a.Unit())
		}
		if d := haversine(a, a.Unit().Point()); d > 0.2 {
			t.Fatalf("%v comes back as %v, %.3f km away", a, a.Unit().Point(), d)
		}
	})
}

func TestKnownDistances(t *testing.T) {
	amsterdam, tokyo := geo.Point{Lat: 52.37, Lon: 4.89}.Unit(), geo.Point{Lat: 35.68, Lon: 139.69}.Unit()
	for _, c := range []struct {
		a, b geo.Unit
		want float64
	}{
		{amsterdam, amsterdam, 0},
		{amsterdam, tokyo, 9288},
		{geo.Point{Lat: 90}.Unit(), geo.Point{Lat: -90}.Unit(), 20015},
		{geo.Point{}.Unit(), geo.Point{Lon: 180}.Unit(), 20015},
		{geo.Point{}.Unit(), geo.Point{Lon: 90}.Unit(), 10008},
	} {
		if got := geo.Km(c.a, c.b); math.Abs(got-c.want) > 5 {
			t.Errorf("%v to %v is %.1f km, expected %.1f", c.a, c.b, got, c.want)
		}
	}
}

func TestKmAllocatesNothing(t *testing.T) {
	a, b := geo.Point{Lat: 52.37, Lon: 4.89}.Unit(), geo.Point{Lat: 35.68, Lon: 139.69}.Unit()
	sum := 0.0
	if n := testing.AllocsPerRun(1000, func() { sum += geo.Km(a, b) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
	o := overrides(t, "10.0.0.0/8 1,1", "10.1.0.0/16 2,2")
	at := netip.MustParseAddr("10.1.2.3")
	if n := testing.AllocsPerRun(1000, func() { o.Locate(at) }); n != 0 {
		t.Errorf("%v allocations of an override", n)
	}
}

func BenchmarkKm(b *testing.B) {
	var us [64]geo.Unit
	for i := range us {
		us[i] = geo.Point{Lat: float64(i*5%180 - 90), Lon: float64(i*37%360 - 180)}.Unit()
	}
	sum, i := 0.0, 0
	for b.Loop() {
		sum += geo.Km(us[i&63], us[(i*7+3)&63])
		i++
	}
	_ = sum
}

func TestRadiusClass(t *testing.T) {
	for _, c := range []struct {
		km    int
		class uint8
	}{{-1, 0}, {0, 0}, {1, 1}, {2, 1}, {3, 2}, {4, 2}, {5, 3}, {50, 6}, {64, 6}, {65, 7}, {1000, 10}, {20_000, 15}, {1 << 20, 15}} {
		if got := geo.RadiusClass(c.km); got != c.class {
			t.Errorf("%d km is class %d, expected %d", c.km, got, c.class)
		}
		if c.km > 0 && c.km <= 1<<15 && geo.RadiusKm(c.class) < c.km {
			t.Errorf("class %d is %d km, less than %d", c.class, geo.RadiusKm(c.class), c.km)
		}
	}
}

func TestMoved(t *testing.T) {
	amsterdam, utrecht := geo.Point{Lat: 52.37, Lon: 4.89}.Unit(), geo.Point{Lat: 52.09, Lon: 5.12}.Unit() // 35 km
	for _, c := range []struct {
		from, to geo.Unit
		radius   int
		want     bool
	}{
		{geo.Unit{}, geo.Unit{}, 0, false},
		{geo.Unit{}, utrecht, 1000, true},
		{amsterdam, geo.Unit{}, 0, true},
		{amsterdam, amsterdam, 1, false},
		{amsterdam, utrecht, 20, true},
		{amsterdam, utrecht, 100, false},
		{amsterdam, utrecht, 0, false},
	} {
		if got := geo.Moved(c.from, c.to, c.radius); got != c.want {
			t.Errorf("%q to %q within %d km: %v", c.from, c.to, c.radius, got)
		}
	}
}

func TestParsePlace(t *testing.T) {
	at := geo.Point{Lat: 52.37, Lon: 4.89}.Unit()
	for _, c := range []struct {
		text string
		want geo.Place
	}{
		{"52.37,4.89", geo.Place{Unit: at, RadiusKm: 1}},
		{"52.37,4.89,25", geo.Place{Unit: at, RadiusKm: 25}},
		{"52.37,4.89 Amsterdam", geo.Place{Unit: at, RadiusKm: 1, City: "Amsterdam"}},
		{"52.37,4.89,25 Den Haag, NL", geo.Place{Unit: at, RadiusKm: 25, City: "Den Haag", Country: "NL"}},
	} {
		got, err := geo.ParsePlace(c.text)
		if err != nil {
			t.Errorf("%q: %v", c.text, err)
			continue
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%q: %s", c.text, diff)
		}
		if got.Text() != c.text {
			t.Errorf("%q comes back as %q", c.text, got.Text())
		}
	}
	for _, text := range []string{"", "52.37", "91,0", "0,181", "NaN,0", "1,2,0", "1,2,x", "1,2,3,4", "1,2 a\x00b", "1,2 " + strings.Repeat("x", 40), "x,y"} {
		if p, err := geo.ParsePlace(text); err == nil {
			t.Errorf("%q is %+v", text, p)
		}
	}
}

func overrides(t *testing.T, lines ...string) *geo.Overrides {
	t.Helper()
	var list []geo.Override
	for _, line := range lines {
		o, err := geo.ParseOverride(line)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, o)
	}
	return geo.NewOverrides(list, "test")
}

func TestTheLongestPrefixWins(t *testing.T) {
	o := overrides(t, "10.0.0.0/8 1,1", "10.1.0.0/16 2,2", "10.1.2.3 3,3", "10.1.0.0/16 9,9", "2001:db8::/32 4,4", "::/0 5,5")
	for addr, want := range map[string]string{
		"10.9.9.9": "1,1", "10.1.9.9": "2,2", "10.1.2.3": "3,3", "::ffff:10.1.2.3": "3,3", "11.0.0.1": "",
		"2001:db8::1": "4,4", "fe80::1%eth0": "5,5", "2002::1": "5,5",
	} {
		p, ok := o.Locate(netip.MustParseAddr(addr))
		if ok != (want != "") || p.Unit.String() != want || ok && p.Source != "test" {
			t.Errorf("%s is at %q from %q, expected %q", addr, p.Unit, p.Source, want)
		}
	}
	if _, ok := o.Locate(netip.Addr{}); ok {
		t.Error("no address is somewhere")
	}
	if o.Len() != 5 {
		t.Errorf("%d prefixes", o.Len())
	}
	first := overrides(t, "10.1.0.0/16 7,7")
	if p, _ := (geo.Order{nil, first, o}).Locate(netip.MustParseAddr("10.1.2.3")); p.Unit.String() != "7,7" {
		t.Errorf("the second locator won: %+v", p)
	}
}

func TestParseOverrideRefuses(t *testing.T) {
	for _, text := range []string{"", "10.0.0.0/8", "10.0.0.1/8 1,1", "10.0.0.0/33 1,1", "::ffff:10.0.0.0/104 1,1", "fe80::1%eth0 1,1", "x 1,1"} {
		if o, err := geo.ParseOverride(text); err == nil {
			t.Errorf("%q is %v", text, o)
		}
	}
}

func FuzzParseOverride(f *testing.F) {
	for _, s := range []string{"10.0.0.0/8 52.37,4.89,25 Amsterdam, NL", "2001:db8::/32 -0,-180", "1.2.3.4 1,2 , NL"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		o, err := geo.ParseOverride(s)
		if err != nil {
			return
		}
		again, err := geo.ParseOverride(o.String())
		if err != nil || again.String() != o.String() {
			t.Fatalf("%q is %q, and that %q: %v", s, o, again, err)
		}
		if !o.Place.Unit.Valid() || !o.Place.Unit.Known() {
			t.Fatalf("%q is at %v", s, o.Place.Unit)
		}
	})
}
