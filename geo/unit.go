// Package geo is where things are, on the Earth and on the network: positions as unit vectors, neighbourhoods as
// prefixes of addresses, and places that an operator gave to prefixes. Plain values in and out; what has state
// ([Overrides]) is immutable: any goroutine may call anything. The zero value of each type always means that nothing is known.
//
// Where the position of a peer comes from, the first that knows wins: overrides in this member's configuration,
// overrides in the cluster's settings, a database (package geo/mmdb). See [Order].
package geo

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
)

// EarthKm is the mean radius of the Earth.
const EarthKm = 6371.0088

// unitLength is the length of the vectors of [Unit].
const unitLength = math.MaxInt16

// ErrPoint is wrapped when a text is not a position.
var ErrPoint = errors.New("not a position such as 52.37,4.89")

// Point is a position in degrees, north and east positive.
type Point struct{ Lat, Lon float64 }

// ParsePoint reads "LAT,LON" in degrees.
func ParsePoint(s string) (Point, error) {
	lat, lon, ok := strings.Cut(s, ",")
	if !ok {
		return Point{}, fmt.Errorf("%q: %w", s, ErrPoint)
	}
	p := Point{}
	for _, part := range []struct {
		text  string
		value *float64
		most  float64
	}{{lat, &p.Lat, 90}, {lon, &p.Lon, 180}} {
		v, err := strconv.ParseFloat(strings.TrimSpace(part.text), 64)
		if err != nil || !(math.Abs(v) <= part.most) { // so that NaN is refused too
			return Point{}, fmt.Errorf("%q: %w: latitudes are within 90 degrees, longitudes within 180", s, ErrPoint)
		}
		*part.value = v
	}
	return p, nil
}

// String returns the position as [ParsePoint] reads it, to a hundredth of a degree: about a kilometre.
func (p Point) String() string { return degrees(p.Lat) + "," + degrees(p.Lon) }

func degrees(v float64) string {
	return strconv.FormatFloat(math.Round(v*100)/100+0, 'f', -1, 64) // + 0: no -0
}

// Unit returns the position as a unit vector. It is never zero.
func (p Point) Unit() Unit {
	sinLat, cosLat := math.Sincos(p.Lat * math.Pi / 180)
	sinLon, cosLon := math.Sincos(p.Lon * math.Pi / 180)
	return Unit{
		int16(math.Round(unitLength * cosLat * cosLon)),
		int16(math.Round(unitLength * cosLat * sinLon)),
		int16(math.Round(unitLength * sinLat)),
	}
}

// Unit is a place on the Earth: the unit vector from its centre, times 32767, to about 100 m. The zero value: unknown.
type Unit [3]int16

// Known reports whether u is a place.
func (u Unit) Known() bool { return u != Unit{} }

// Point returns the position in degrees, the zero Point if it is unknown.
func (u Unit) Point() Point {
	x, y, z := float64(u[0]), float64(u[1]), float64(u[2])
	if u == (Unit{}) {
		return Point{}
	}
	return Point{Lat: math.Atan2(z, math.Hypot(x, y)) * 180 / math.Pi, Lon: math.Atan2(y, x) * 180 / math.Pi}
}

// String returns the position as [ParsePoint] reads it, "" if it is unknown.
func (u Unit) String() string {
	if !u.Known() {
		return ""
	}
	return u.Point().String()
}

// Valid reports whether u is unknown, or as long as a unit vector.
func (u Unit) Valid() bool {
	x, y, z := int64(u[0]), int64(u[1]), int64(u[2])
	const least, most = (unitLength - 2) * (unitLength - 2), (unitLength + 2) * (unitLength + 2)
	square := x*x + y*y + z*z
	return square == 0 || square >= least && square <= most
}

// Km returns the length of the great circle between two known places, in km.
//
// It comes from the chord and not from the dot product: the vectors are rounded, and the dot product of near ones is wrong by as
// much as 60 km.
func Km(a, b Unit) float64 {
	x, y, z := int64(a[0])-int64(b[0]), int64(a[1])-int64(b[1]), int64(a[2])-int64(b[2])
	quarter := float64(x*x+y*y+z*z) * (0.25 / (unitLength * unitLength)) // square of half the chord
	if quarter <= 0.25 {
		return 2 * EarthKm * arcsine(math.Sqrt(quarter), quarter)
	}
	rest := max(0, 1-quarter) // beyond 60 degrees: the arc that is missing to the antipode
	if rest <= 0.25 {
		return EarthKm * (math.Pi - 2*arcsine(math.Sqrt(rest), rest))
	}
	half := (1 - math.Sqrt(quarter)) / 2
	return EarthKm * (math.Pi - 4*arcsine(math.Sqrt(half), half))
}

// arcsine is the arc sine of s, which is at most one half; s2 is its square. The error is below 2e-7.
func arcsine(s, s2 float64) float64 {
	const c3, c5, c7, c9, c11, c13 = 1.0 / 6, 3.0 / 40, 15.0 / 336, 105.0 / 3456, 945.0 / 42240, 0.0236
	return s * (1 + s2*(c3+s2*(c5+s2*(c7+s2*(c9+s2*(c11+s2*c13))))))
}
