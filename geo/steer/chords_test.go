package steer

import (
	"math/rand/v2"
	"testing"

	"github.com/rootd/rootd/geo"
)

// The member at the end of the shortest chord is found, the first of several, and its square is right: one number after the other, and eight at
// once where this processor can.
func TestLeastChord(t *testing.T) {
	rnd := rand.New(rand.NewPCG(5, 6))
	const far = 32767
	edges := []geo.Unit{
		{far}, {-far}, {0, far}, {0, -far}, {0, 0, far}, {0, 0, -far}, {-32768}, {0, -32768}, {18918, 18918, 18918}, {-18918, -18918, -18918}, {1},
	}
	place := func(n int) geo.Unit {
		if i := rnd.IntN(2 * len(edges)); i < len(edges) {
			return edges[i]
		}
		if n%3 == 0 { // near each other
			return geo.Unit{far, int16(rnd.IntN(5)), int16(rnd.IntN(5))}
		}
		return geo.Point{Lat: rnd.Float64()*180 - 90, Lon: rnd.Float64()*360 - 180}.Unit()
	}
	for n := range 3000 {
		var l list
		var units []geo.Unit
		for i := range 1 + rnd.IntN(20)*rnd.IntN(3) {
			u := place(n)
			units = append(units, u)
			l.add(candidate{at: vector(&u), id: uint16(i + 1), placed: true, weight: 1 << weightBits, planet: 1}, &u)
		}
		if !l.plain {
			t.Fatalf("%v are not plain", units)
		}
		for range 20 {
			from := place(n)
			want, square := 0, int64(1)<<62
			for i, u := range units {
				x, y, z := int64(u[0])-int64(from[0]), int64(u[1])-int64(from[1]), int64(u[2])-int64(from[2])
				if s := x*x + y*y + z*z; s < square {
					want, square = i, s
				}
			}
			for how, got := range map[string]uint64{"generic": l.leastGeneric(&from), "as used": l.least(&from)} {
				if got != uint64(square)<<32|uint64(want) {
					t.Fatalf("%s: from %v to %v: number %d, square %d, want %d, %d", how, from, units, uint32(got), got>>32, want, square)
				}
			}
		}
	}
}

// Vectors that are longer than those that positions are turned into, but for which the log has room, are decided for too, if in more steps.
func TestLongVectors(t *testing.T) {
	long, opposite, near := geo.Unit{32700, 2100, 250}, geo.Unit{-32700, -2100, -250}, geo.Unit{32500, 4200, 400}
	if !long.Valid() || squareOf(&long) <= longest {
		t.Fatalf("%v is not what this is about", long)
	}
	for _, m := range []geo.Unit{opposite, near} { // in both orders
		other := near
		if m == near {
			other = opposite
		}
		tab := Compile(DefaultParams(), []Member{{ID: 1, Unit: m, Up: true, Planet4: 1}, {ID: 2, Unit: other, Up: true, Planet4: 1}})
		want := uint16(1)
		if m != near {
			want = 2
		}
		for _, from := range []geo.Unit{long, {32767}} {
			p := Peer{Unit: from, Family: FamilyF6, Current: 3 - want, Planet: 1, Now: 1e6}
			if d := tab.Decide(&p); d.Best != want {
				t.Errorf("from %v: %+v, want %d", from, d, want)
			}
		}
	}
}
