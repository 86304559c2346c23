package main

import "math"

// place is a city that clients and members of a scenario sit in.
type place struct {
	name     string
	lat, lon float64 // degrees
}

var places = [...]place{
	{"Amsterdam", 52.4, 4.9},
	{"New York", 40.7, -74.0},
	{"Singapore", 1.35, 103.8},
	{"Sao Paulo", -23.5, -46.6},
	{"Tokyo", 35.7, 139.7},
	{"Johannesburg", -26.2, 28.0},
	{"Sydney", -33.9, 151.2},
	{"San Francisco", 37.8, -122.4},
	{"London", 51.5, -0.1},
	{"Frankfurt", 50.1, 8.7},
	{"Mumbai", 19.1, 72.9},
	{"Toronto", 43.7, -79.4},
	{"Lagos", 6.5, 3.4},
	{"Moscow", 55.8, 37.6},
	{"Dubai", 25.2, 55.3},
	{"Mexico City", 19.4, -99.1},
	{"Santiago", -33.4, -70.7},
	{"Seoul", 37.6, 127.0},
	{"Madrid", 40.4, -3.7},
	{"Chicago", 41.9, -87.6},
}

// rttTable has the round trips between all places, ms.
type rttTable [len(places)][len(places)]int64

func newRTTTable() *rttTable {
	var t rttTable
	for i, a := range places {
		for j, b := range places {
			t[i][j] = rttMillis(a, b)
		}
	}
	return &t
}

// rttMillis is the round trip between two places: light in fibre over a path half as long again as the great circle,
// and 5 ms at the least.
func rttMillis(a, b place) int64 {
	const earthKm, kmPerMs = 6371, 200
	rad := math.Pi / 180
	h := math.Pow(math.Sin((b.lat-a.lat)*rad/2), 2) +
		math.Cos(a.lat*rad)*math.Cos(b.lat*rad)*math.Pow(math.Sin((b.lon-a.lon)*rad/2), 2)
	km := 2 * earthKm * math.Asin(math.Sqrt(h))
	return 5 + int64(2*1.5*km/kmPerMs)
}
