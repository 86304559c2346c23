package steer_test

import (
	"fmt"
	"testing"

	"github.com/rootd/rootd/geo"
	"github.com/rootd/rootd/geo/steer"
)

// fleet returns n members spread over the Earth.
func fleet(n, load int) []steer.Member {
	ms := make([]steer.Member, n)
	for i := range ms {
		ms[i] = steer.Member{ID: uint16(i + 1), Unit: spot(i), Up: true, Load: load, Planet4: 1, Planet6: 1}
	}
	return ms
}

// spot is the i-th of many places, no two near each other by rule.
func spot(i int) geo.Unit {
	x, y, z := float64(i*7919%2003)-1001, float64(i*104729%1999)-999, float64(i*1299709%1997)-998
	return unit(x, y, z)
}

func BenchmarkDecide(b *testing.B) {
	for _, n := range []int{6, 12, 100} {
		t := steer.Compile(steer.DefaultParams(), fleet(n, 300))
		p := steer.Peer{Unit: spot(500), Family: steer.FamilyF6, Current: 3, Planet: 9, Now: 1e6, Spread: 77}
		b.Run(fmt.Sprintf("%d", n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				t.Decide(&p)
			}
		})
		home := p
		home.Current = t.Decide(&p).Best
		b.Run(fmt.Sprintf("%d/home", n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				t.Decide(&home)
			}
		})
		m := p
		for i := range n {
			m.RTT = append(m.RTT, geo.RTT{Member: uint16(i + 1), N: 9, Micros: uint32(20_000 + i*7919%200_000), Dev: 500, At: 1e6})
		}
		b.Run(fmt.Sprintf("%d/measured", n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				t.Decide(&m)
			}
		})
	}
}

// BenchmarkFloor is the least that a choice among six members can cost: their dot products with the peer's position.
func BenchmarkFloor(b *testing.B) {
	type row struct {
		at [3]int32
		up bool
	}
	var rows [6]row
	for i := range rows {
		u := spot(i)
		rows[i] = row{[3]int32{int32(u[0]), int32(u[1]), int32(u[2])}, true}
	}
	p := spot(500)
	best, who := 0, 0
	for b.Loop() {
		best, who = -1<<40, 0
		x, y, z := int(p[0]), int(p[1]), int(p[2])
		for i := range rows {
			r := &rows[i]
			if d := x*int(r.at[0]) + y*int(r.at[1]) + z*int(r.at[2]); d > best && r.up {
				best, who = d, i
			}
		}
	}
	if who > 6 {
		b.Fatal(best)
	}
}
