package mmdb_test

import (
	"bytes"
	"context"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/maxmind/mmdbwriter"
	"github.com/maxmind/mmdbwriter/mmdbtype"
	"go.uber.org/goleak"

	"github.com/rootd/rootd/geo"
	"github.com/rootd/rootd/geo/mmdb"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// city is one network of a database that a test makes.
type city struct {
	network  string
	lat, lon float64
	radius   uint16
	name     string
}

// make returns the bytes of a database.
func makeDB(t testing.TB, built int64, cities ...city) []byte {
	t.Helper()
	w, err := mmdbwriter.New(mmdbwriter.Options{
		DatabaseType: "Test-City", BuildEpoch: built, RecordSize: 24, IncludeReservedNetworks: true,
		Description: map[string]string{"en": "made by a test"}, Languages: []string{"en"},
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range cities {
		_, network, err := net.ParseCIDR(c.network)
		if err != nil {
			t.Fatal(err)
		}
		location := mmdbtype.Map{"latitude": mmdbtype.Float64(c.lat), "longitude": mmdbtype.Float64(c.lon)}
		if c.radius > 0 {
			location["accuracy_radius"] = mmdbtype.Uint16(c.radius)
		}
		record := mmdbtype.Map{
			"city":     mmdbtype.Map{"names": mmdbtype.Map{"en": mmdbtype.String(c.name)}},
			"country":  mmdbtype.Map{"iso_code": mmdbtype.String("NL")},
			"location": location,
		}
		if c.name == "" {
			record = mmdbtype.Map{"asn": mmdbtype.Uint32(1)}
		}
		if err := w.Insert(network, record); err != nil {
			t.Fatal(err)
		}
	}
	var b bytes.Buffer
	if _, err := w.WriteTo(&b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func parse(t testing.TB, b []byte) *mmdb.DB {
	t.Helper()
	db, err := mmdb.Parse(b)
	if err != nil {
		t.Fatal(err)
	}
	return db
}

func TestLocate(t *testing.T) {
	db := parse(t, makeDB(t, 1_700_000_000,
		city{"192.0.2.0/24", 52.37, 4.89, 20, "Amsterdam"}, city{"2001:db8::/32", -33.87, 151.21, 0, "Sydney"},
		city{"198.51.100.0/24", 0, 0, 5, "Null Island"}, city{"203.0.113.0/24", 91, 0, 5, "Nowhere"}, city{"203.0.112.0/24", 0, 0, 0, ""},
	))
	if db.Type != "Test-City" || db.Built.Unix() != 1_700_000_000 || len(db.Short()) != 16 {
		t.Errorf("it is %+v", db.Info)
	}
	for _, c := range []struct {
		addr, at string
		radius   int
	}{
		{"192.0.2.7", "52.37,4.89", 20},
		{"::ffff:192.0.2.7", "52.37,4.89", 20},
		{"2001:db8::1%eth0", "-33.87,151.21", 0},
		{"198.51.100.1", "0,0", 5},
		{"203.0.113.1", "", 0},
		{"203.0.112.1", "", 0},
		{"10.0.0.1", "", 0},
		{"::1", "", 0},
	} {
		p, ok := db.Locate(netip.MustParseAddr(c.addr))
		if ok != (c.at != "") || p.Unit.String() != c.at || p.RadiusKm != c.radius {
			t.Errorf("%s is at %q within %d km", c.addr, p.Unit, p.RadiusKm)
		}
	}
	if _, ok := db.Locate(netip.Addr{}); ok {
		t.Error("no address is somewhere")
	}
	p, network, ok := db.City(netip.MustParseAddr("192.0.2.7"))
	if !ok || p.City != "Amsterdam" || p.Country != "NL" || network.String() != "192.0.2.0/24" {
		t.Errorf("%+v in %s", p, network)
	}
}

func TestLocateAllocatesNothing(t *testing.T) {
	db := parse(t, makeDB(t, 1, city{"192.0.2.0/24", 52.37, 4.89, 20, "Amsterdam"}))
	in, out := netip.MustParseAddr("192.0.2.7"), netip.MustParseAddr("192.0.3.7")
	if n := testing.AllocsPerRun(1000, func() { db.Locate(in); db.Locate(out) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkLocate(b *testing.B) {
	db, err := mmdb.Open("testdata/GeoIP2-City-Test.mmdb")
	if err != nil {
		b.Fatal(err)
	}
	a := netip.MustParseAddr("81.2.69.142")
	b.ReportAllocs()
	for b.Loop() {
		db.Locate(a)
	}
}

func TestPublishedDatabases(t *testing.T) {
	for _, name := range []string{"GeoIP2-City-Test.mmdb", "GeoLite2-City-Test.mmdb"} {
		db, err := mmdb.Open(filepath.Join("testdata", name))
		if err != nil {
			t.Fatal(err)
		}
		p, network, ok := db.City(netip.MustParseAddr("81.2.69.142"))
		if !ok || p.City != "London" || p.Country != "GB" || p.RadiusKm != 10 || network.String() != "81.2.69.142/31" {
			t.Errorf("%s: %+v in %s", name, p, network)
		}
		if p, ok := db.Locate(netip.MustParseAddr("81.2.69.142")); !ok || geo.Km(p.Unit, geo.Point{Lat: 51.51, Lon: -0.09}.Unit()) > 2 {
			t.Errorf("%s: %+v", name, p)
		}
	}
}

// broken are the names of all files in testdata that a reader must refuse.
func broken(t testing.TB) []string {
	t.Helper()
	all, err := filepath.Glob("testdata/*.mmdb")
	if err != nil || len(all) < 8 {
		t.Fatalf("%d files: %v", len(all), err)
	}
	var bad []string
	for _, path := range all {
		if !strings.HasSuffix(path, "-City-Test.mmdb") {
			bad = append(bad, path)
		}
	}
	return bad
}

func TestBrokenDatabasesAreRefused(t *testing.T) {
	for _, path := range broken(t) {
		db, err := mmdb.Open(path)
		if err == nil {
			t.Errorf("%s was taken: %+v", path, db.Info)
			continue
		}
		t.Log(err)
	}
	good := makeDB(t, 1, city{"192.0.2.0/24", 52.37, 4.89, 20, "Amsterdam"})
	for name, b := range map[string][]byte{
		"empty": nil, "text": []byte("Not Found"), "cut": good[:len(good)-10], "half": good[:len(good)/2], "without positions": makeDB(t, 1, city{"192.0.2.0/24", 0, 0, 0, ""}),
		"without networks": makeDB(t, 1),
	} {
		if _, err := mmdb.Parse(b); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
}

func write(t *testing.T, path string, b []byte) {
	t.Helper()
	if err := os.WriteFile(path+".new", b, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}

// eventually waits until something holds.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	deadline := time.NewTimer(10 * time.Second)
	defer deadline.Stop()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !holds() {
		select {
		case <-deadline.C:
			t.Fatalf("not in time: %s", what)
		case <-tick.C:
		}
	}
}

func TestAFileIsFollowed(t *testing.T) {
	path := filepath.Join(t.TempDir(), "city.mmdb")
	changed := make(chan struct{}, 10)
	f := mmdb.NewFile(mmdb.Options{Path: path, Interval: time.Millisecond, Changed: func() { changed <- struct{}{} }})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- f.Run(ctx) }()
	addr := netip.MustParseAddr("192.0.2.7")
	at := func() string { p, _ := f.Locate(addr); return p.Unit.String() }

	eventually(t, "it is noticed that there is no file", f.Missing)
	if f.DB() != nil || at() != "" {
		t.Error("a database of nothing")
	}
	write(t, path, makeDB(t, 1, city{"192.0.2.0/24", 52.37, 4.89, 20, "Amsterdam"}))
	eventually(t, "the first database", func() bool { return at() == "52.37,4.89" })
	<-changed
	for _, bad := range broken(t) {
		b, err := os.ReadFile(bad)
		if err != nil {
			t.Fatal(err)
		}
		write(t, path, b)
		eventually(t, bad+" is refused", func() bool { return f.Refused() != nil })
		if at() != "52.37,4.89" {
			t.Fatalf("%s: the old database is gone", bad)
		}
		write(t, path, makeDB(t, 1, city{"192.0.2.0/24", 52.37, 4.89, 20, "Amsterdam"}))
		eventually(t, "the good one is back", func() bool { return f.Refused() == nil })
	}
	write(t, path, makeDB(t, 2, city{"192.0.2.0/24", 35.68, 139.69, 20, "Tokyo"}))
	eventually(t, "the next database", func() bool { return at() == "35.68,139.69" })
	<-changed
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it is noticed that the file is gone", f.Missing)
	if at() != "35.68,139.69" {
		t.Error("the database went with the file")
	}
	if len(changed) != 0 {
		t.Error("more changes than databases")
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestReloadReadsAgain(t *testing.T) {
	path := filepath.Join(t.TempDir(), "city.mmdb")
	write(t, path, makeDB(t, 1, city{"192.0.2.0/24", 52.37, 4.89, 20, "Amsterdam"}))
	f := mmdb.NewFile(mmdb.Options{Path: path, Interval: time.Hour})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- f.Run(ctx) }()
	eventually(t, "the first database", func() bool { return f.DB() != nil })
	write(t, path, makeDB(t, 2, city{"192.0.2.0/24", 35.68, 139.69, 20, "Tokyo"}))
	f.Reload()
	eventually(t, "the next database", func() bool { return f.DB().Built.Unix() == 2 })
	cancel()
	<-done
}

func FuzzParse(f *testing.F) {
	f.Add(makeDB(f, 1, city{"192.0.2.0/24", 52.37, 4.89, 20, "Amsterdam"}, city{"2001:db8::/32", -33.87, 151.21, 0, "Sydney"}))
	for _, path := range broken(f) {
		b, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		if len(b) < 4000 {
			f.Add(b)
		}
	}
	addrs := []netip.Addr{netip.MustParseAddr("192.0.2.7"), netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("255.255.255.255"), {}}
	f.Fuzz(func(t *testing.T, b []byte) {
		db, err := mmdb.Parse(b)
		if err != nil {
			if db != nil {
				t.Error("a database and an error")
			}
			return
		}
		for _, a := range addrs { // what was taken never panics
			if p, ok := db.Locate(a); ok && (!p.Unit.Known() || !p.Unit.Valid()) {
				t.Errorf("%s is at %v", a, p)
			}
			db.City(a)
		}
	})
}
