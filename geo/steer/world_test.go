package steer_test

import (
	"bytes"
	"cmp"
	"encoding/csv"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"testing"

	"github.com/rootd/rootd/geo"
	"github.com/rootd/rootd/geo/steer"
)

// city is a row of testdata/cities.csv.
type city struct {
	name string
	at   geo.Unit
	role string
	rtt  [12]float64 // ms to the columns; NaN: no sample
}

// world is the cities of the world, and at which columns the members of the two clusters stand.
type world struct {
	cities     []city
	alice, bob []int
}

func theWorld(t testing.TB) *world {
	t.Helper()
	raw, err := os.ReadFile("testdata/cities.csv")
	if err != nil {
		t.Fatal(err)
	}
	r := csv.NewReader(bytes.NewReader(raw))
	r.Comment = '#'
	rows, err := r.ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	number := func(s string) float64 {
		v, err := strconv.ParseFloat(s, 64)
		if err != nil {
			return math.NaN()
		}
		return v
	}
	w := new(world)
	for i, row := range rows {
		c := city{name: row[0], at: geo.Point{Lat: number(row[1]), Lon: number(row[2])}.Unit(), role: row[3]}
		for j := range c.rtt {
			c.rtt[j] = number(row[4+j]) / 10
		}
		switch c.role { // the first twelve are the columns
		case "a":
			w.alice = append(w.alice, i)
		case "b":
			w.bob = append(w.bob, i)
		}
		w.cities = append(w.cities, c)
	}
	if len(w.cities) != 246 || len(w.alice) != 6 || len(w.bob) != 6 {
		t.Fatalf("%d cities, %d and %d members", len(w.cities), len(w.alice), len(w.bob))
	}
	return w
}

// best returns the column with the least round trip of a city, and false if one of the columns has no sample.
func (c *city) best(columns []int) (int, bool) {
	if slices.ContainsFunc(columns, func(i int) bool { return math.IsNaN(c.rtt[i]) }) {
		return 0, false
	}
	return slices.MinFunc(columns, func(a, b int) int { return cmp.Compare(c.rtt[a], c.rtt[b]) }), true
}

// result is how well the clients of all cities are placed.
type result struct {
	clients, atBest, within10 int
	excess                    []float64 // ms beyond the best member, ascending
	moves, most, back         int       // in all, of one client, to where it was before
	probes                    int       // measurements by another member
	final                     []float64 // ms to its member, client by client; the same clients in each run
}

func (r *result) add(c *city, columns []int, at int) {
	best, ok := c.best(columns)
	if !ok {
		return
	}
	r.clients++
	e := c.rtt[at] - c.rtt[best]
	if e == 0 {
		r.atBest++
	}
	if e < 10 {
		r.within10++
	}
	r.excess = append(r.excess, e)
}

func (r *result) percentile(p float64) float64 {
	slices.Sort(r.excess)
	return r.excess[min(len(r.excess)-1, int(p*float64(len(r.excess))))]
}

func (r *result) share() float64 { return 100 * float64(r.atBest) / float64(r.clients) }

func (r *result) String() string {
	return fmt.Sprintf("%5.1f %% | %5.1f %% | %5.1f | %5.1f | %5.1f | %5.1f | %.2f, %d, %d | %d", r.share(), 100*float64(r.within10)/float64(r.clients),
		r.percentile(0.5), r.percentile(0.9), r.percentile(0.99), r.percentile(1), float64(r.moves)/float64(r.clients), r.most, r.back, r.probes)
}

// nearest is what choosing by distance alone gives.
func (w *world) nearest(columns []int) *result {
	r := new(result)
	for i := range w.cities {
		c := &w.cities[i]
		r.add(c, columns, slices.MinFunc(columns, func(a, b int) int {
			return cmp.Compare(geo.Km(w.cities[a].at, c.at), geo.Km(w.cities[b].at, c.at))
		}))
	}
	return r
}

// client is one client of a city.
type client struct {
	peer   steer.Peer
	city   *city
	access float64 // ms: last mile
	before uint16  // member that it was at before the present one
	moves  int
}

const (
	areasPerCity   = 3 // neighbourhoods: /24
	clientsPerArea = 4
	minute         = 60
	runMinutes     = 6 * 60
)

// run lets the clients of all cities start at a random member and obeys each decision at once, for hours in steps of a minute.
// Once in ten minutes the present member measures each client, and with probes one other is asked to if that is worth it.
func (w *world) run(columns []int, p steer.Params, probes bool) *result {
	rnd := rand.New(rand.NewPCG(1, 1))
	var members []steer.Member
	for _, col := range columns {
		members = append(members, steer.Member{ID: uint16(col + 1), Unit: w.cities[col].at, Up: true, Load: 300, Planet4: 1, Planet6: 1})
	}
	table := steer.Compile(p, members)
	areas := make([]map[uint16]*geo.RTT, len(w.cities)*areasPerCity)
	var clients []client
	const began = 1_000_000
	for i := range areas {
		areas[i] = map[uint16]*geo.RTT{}
		lastMile := 5 + 75*rnd.Float64()
		for range clientsPerArea {
			c := &w.cities[i/areasPerCity]
			clients = append(clients, client{
				city: c, access: lastMile + 5*rnd.Float64(),
				peer: steer.Peer{
					Unit: c.at, RadiusKm: 8, Spread: uint8(rnd.Uint32()), Family: steer.FamilyF6, Planet: 9,
					Current: uint16(columns[rnd.IntN(len(columns))] + 1),
				},
			})
		}
	}
	r := new(result)
	measure := func(area map[uint16]*geo.RTT, c *client, member uint16, now uint32) {
		base := c.city.rtt[member-1]
		if math.IsNaN(base) {
			return
		}
		micros := (base + c.access + rnd.ExpFloat64()*3) * 1000
		x := area[member]
		if x == nil {
			area[member] = &geo.RTT{Member: member, N: 1, Micros: uint32(micros), Dev: 500, At: now}
			return
		}
		diff := micros - float64(x.Micros)
		x.Micros = uint32(float64(x.Micros) + diff/8)
		x.Dev = uint32(float64(x.Dev) + (math.Abs(diff)-float64(x.Dev))/8)
		x.N, x.At = min(x.N+1, 1000), now
	}
	for m := range runMinutes {
		now := uint32(began + m*minute)
		for i := range clients {
			c := &clients[i]
			pe := &c.peer
			pe.Now = now
			area := areas[i/clientsPerArea]
			if (m+i)%10 == 0 && p.Measured {
				measure(area, c, pe.Current, now)
				if other := table.Probe(pe); other != 0 && probes {
					r.probes++
					measure(area, c, other, now)
				}
			}
			pe.RTT = pe.RTT[:0]
			for _, col := range columns {
				if x := area[uint16(col+1)]; x != nil {
					pe.RTT = append(pe.RTT, *x)
				}
			}
			if m%60 == 59 && pe.Moves > 0 {
				pe.Moves--
			}
			if d := table.Decide(pe); d.Target != 0 {
				if d.Target == c.before {
					r.back++
				}
				c.before, pe.From, pe.Current, pe.At, pe.Pushed = pe.Current, pe.Current, d.Target, now, now
				pe.Moves++
				c.moves++
				r.moves++
				r.most = max(r.most, c.moves)
			}
		}
	}
	for i := range clients {
		c := &clients[i]
		r.add(c.city, columns, int(c.peer.Current)-1)
		r.final = append(r.final, c.city.rtt[c.peer.Current-1])
	}
	return r
}

// header names the columns of [result.String].
const header = "at best | within 10 ms | excess p50 | p90 | p99 | max, ms | moves a client, most, back | probes"

func TestTheWorld(t *testing.T) {
	w := theWorld(t)
	byDistance := steer.DefaultParams()
	byDistance.Measured = false
	t.Logf("%-15s %s", "", header)
	var placed, learned [2]*result
	for i, cluster := range []struct {
		name    string
		columns []int
	}{{"Alice", w.alice}, {"Bob", w.bob}} {
		nearest := w.nearest(cluster.columns)
		placed[i] = w.run(cluster.columns, byDistance, false)
		learned[i] = w.run(cluster.columns, steer.DefaultParams(), true)
		t.Logf("%-5s nearest   %v", cluster.name, nearest)
		t.Logf("%-5s positions %v", cluster.name, placed[i])
		t.Logf("%-5s attached  %v", cluster.name, w.run(cluster.columns, steer.DefaultParams(), false))
		t.Logf("%-5s measured  %v", cluster.name, learned[i])

		for _, p := range []float64{0.5, 0.9, 0.99, 1} {
			if a, b := placed[i].percentile(p), nearest.percentile(p); a > b+0.05 {
				t.Errorf("%s: with positions p%g of the excess is %.1f ms, that of the nearest member %.1f", cluster.name, 100*p, a, b)
			}
		}
		if placed[i].share() < nearest.share()-0.05 {
			t.Errorf("%s: %.2f %% are at the best member, by distance alone %.2f %%", cluster.name, placed[i].share(), nearest.share())
		}
		if p99 := learned[i].percentile(0.99); p99 >= 20 {
			t.Errorf("%s: once measured p99 of the excess is %.1f ms", cluster.name, p99)
		}
		if learned[i].most > 3 {
			t.Errorf("%s: a client moved %d times", cluster.name, learned[i].most)
		}
		if n := len(learned[i].final); learned[i].probes > 3*n {
			t.Errorf("%s: %d probes for %d clients", cluster.name, learned[i].probes, n)
		}
	}
	t.Logf("better of both, with positions: %s", w.better(placed))
	all := w.better(learned)
	t.Logf("better of both, measured: %s", all)
	if len(all.over) != 0 {
		t.Errorf("clients of %d cities are 100 ms or more from both, though a member is nearer", len(all.over))
	}
}

// both is how near the better of two clusters is.
type both struct {
	cities, allowed int
	over            []string
}

func (b both) String() string {
	return fmt.Sprintf("%d of %d cities have a member within 100 ms; of these %d have a client farther from its two: %v", b.allowed, b.cities, len(b.over), b.over)
}

// better looks at which clients have one of their two members, one of each cluster, within 100 ms.
func (w *world) better(r [2]*result) (b both) {
	const near = 100
	per := areasPerCity * clientsPerArea
	for i := range w.cities {
		c := &w.cities[i]
		b.cities++
		if !slices.ContainsFunc(c.rtt[:], func(ms float64) bool { return ms < near }) {
			continue
		}
		b.allowed++
		for k := i * per; k < (i+1)*per; k++ {
			if !(min(r[0].final[k], r[1].final[k]) < near) {
				b.over = append(b.over, fmt.Sprintf("%s %.1f %.1f", c.name, r[0].final[k], r[1].final[k]))
				break
			}
		}
	}
	return b
}
