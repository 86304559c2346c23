package steer_test

import (
	"math"

	"pgregory.net/rapid"

	"github.com/rootd/rootd/geo"
	"github.com/rootd/rootd/geo/steer"
)

// unit returns the unit vector in a direction.
func unit(x, y, z float64) geo.Unit {
	n := 32767 / math.Sqrt(x*x+y*y+z*z)
	return geo.Unit{int16(math.Round(x * n)), int16(math.Round(y * n)), int16(math.Round(z * n))}
}

// place returns the unit vector of a latitude and longitude in degrees.
func place(lat, lon float64) geo.Unit {
	la, lo := lat*math.Pi/180, lon*math.Pi/180
	return unit(math.Cos(la)*math.Cos(lo), math.Cos(la)*math.Sin(lo), math.Sin(la))
}

// Generators: few places and numbers, so that they meet.

func units() *rapid.Generator[geo.Unit] {
	return rapid.Custom(func(t *rapid.T) geo.Unit {
		if rapid.IntRange(0, 7).Draw(t, "unknown") == 0 {
			return geo.Unit{}
		}
		return place(float64(rapid.IntRange(-9, 9).Draw(t, "lat")*10), float64(rapid.IntRange(-17, 18).Draw(t, "lon")*10))
	})
}

func params() *rapid.Generator[steer.Params] {
	return rapid.Custom(func(t *rapid.T) steer.Params {
		p := steer.DefaultParams()
		p.Measured = rapid.Bool().Draw(t, "measured")
		p.MarginPercent = rapid.IntRange(0, 50).Draw(t, "percent")
		p.LoadFrom = rapid.IntRange(500, 900).Draw(t, "load from")
		p.Inflation = rapid.IntRange(100, 300).Draw(t, "inflation")
		return p
	})
}

func members() *rapid.Generator[[]steer.Member] {
	return rapid.Custom(func(t *rapid.T) []steer.Member {
		n := rapid.IntRange(1, 8).Draw(t, "members")
		plain := rapid.Bool().Draw(t, "plain")
		ms := make([]steer.Member, n)
		for i := range ms {
			ms[i] = steer.Member{ID: uint16(i + 1), Unit: units().Draw(t, "unit"), Up: true, Planet4: 1, Planet6: 2}
			if plain {
				continue
			}
			ms[i].Up = rapid.IntRange(0, 5).Draw(t, "down") > 0
			ms[i].Closed4, ms[i].Closed6 = rapid.IntRange(0, 7).Draw(t, "closed") == 0, rapid.IntRange(0, 7).Draw(t, "closed 6") == 0
			ms[i].Settling = rapid.IntRange(0, 7).Draw(t, "settling") == 0
			ms[i].Draining = rapid.IntRange(0, 5).Draw(t, "draining") == 0
			ms[i].Load = rapid.IntRange(0, 1100).Draw(t, "load")
			ms[i].Weight = rapid.SampledFrom([]int{0, 100, 50, 200}).Draw(t, "weight")
			ms[i].Planet4 = rapid.Uint64Range(0, 2).Draw(t, "planet 4")
			ms[i].Planet6 = rapid.Uint64Range(0, 2).Draw(t, "planet 6")
		}
		return ms
	})
}

func rtts(now uint32) *rapid.Generator[[]geo.RTT] {
	return rapid.Custom(func(t *rapid.T) (out []geo.RTT) {
		for id := uint16(1); id <= 9; id++ {
			if rapid.Bool().Draw(t, "has") {
				out = append(out, geo.RTT{
					Member: id, N: rapid.Uint16Range(1, 5).Draw(t, "n"), Micros: rapid.Uint32Range(0, 400_000).Draw(t, "rtt"),
					Dev: rapid.Uint32Range(0, 20_000).Draw(t, "dev"), At: now - rapid.Uint32Range(0, 1_000_000).Draw(t, "age"),
				})
			}
		}
		return out
	})
}

func peers() *rapid.Generator[steer.Peer] {
	return rapid.Custom(func(t *rapid.T) steer.Peer {
		p := steer.Peer{
			Unit: units().Draw(t, "at"), RadiusKm: rapid.SampledFrom([]int{0, 10, 1000}).Draw(t, "radius"),
			V6: rapid.Bool().Draw(t, "v6"), Spread: rapid.Byte().Draw(t, "spread"), Family: steer.Family(rapid.IntRange(0, 7).Draw(t, "family")),
			Current: rapid.Uint16Range(0, 9).Draw(t, "current"), Planet: rapid.Uint64Range(0, 3).Draw(t, "planet"), Now: 2_000_000,
		}
		if rapid.Bool().Draw(t, "touched") {
			p.At = p.Now - rapid.Uint32Range(0, 5_000).Draw(t, "ago")
			p.Pushed = p.Now - rapid.Uint32Range(0, p.Now-p.At).Draw(t, "pushed")
			p.From = rapid.Uint16Range(0, 9).Draw(t, "from")
			p.Moves = rapid.Uint8Range(0, 6).Draw(t, "moves")
			p.Target = rapid.Uint16Range(0, 2).Draw(t, "under way")
			if p.Fails = rapid.Uint8Range(0, 3).Draw(t, "fails"); p.Fails > 0 {
				p.Failed = rapid.Uint16Range(1, 9).Draw(t, "failed")
			}
		}
		if rapid.Bool().Draw(t, "measured") {
			p.RTT, p.Wide = rtts(p.Now).Draw(t, "near"), rtts(p.Now).Draw(t, "wide")
		}
		return p
	})
}
