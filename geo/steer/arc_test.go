package steer

import (
	"math"
	"testing"

	"github.com/rootd/rootd/geo"
)

// TestArcs compares the table with the formula, also between its steps.
func TestArcs(t *testing.T) {
	const radius = 6_371_008.8
	last := int64(-1)
	for square := uint64(0); square < 1<<32; square += 1 + square/1000 {
		got := metres(square)
		if got < last {
			t.Fatalf("square %d: %d m, but a smaller one is %d m", square, got, last)
		}
		last = got
		want := 2 * radius * math.Asin(min(1, math.Sqrt(float64(square))/2/32767))
		if limit := 2 + want/2000; want < 15e6 && math.Abs(float64(got)-want) > limit {
			t.Fatalf("square %d: %d m, expected %.0f", square, got, want)
		}
	}
}

// TestArcIndex: whatever two vectors are, the index stays in the table.
func TestArcIndex(t *testing.T) {
	var table arcTable
	table.fill(17_000)
	u := func(v int16) [3]int32 { return vector(&geo.Unit{v, v, v}) }
	far, at := candidate{at: u(32767)}, u(-32768)
	if d := table.at(far.square(&at)); d < 0 {
		t.Error(d)
	}
	if i, _, _ := arcIndex(1 << 32); i != 464 && i > arcLast {
		t.Error(i)
	}
}
