package geo

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"unicode/utf8"
)

// ErrPlace is wrapped when a text is not a place or an override.
var ErrPlace = errors.New("not a place such as \"52.37,4.89,25 Amsterdam, NL\"")

// maxLabel is the most bytes of city and country in the text of a place.
const maxLabel = 36

// Place is where something is, and who says so.
type Place struct {
	Unit     Unit
	RadiusKm int    // how far from there it may be; 0: unknown
	City     string // for people; may be empty
	Country  string // two letters; may be empty
	Source   string // what knew it
}

// Locator knows where addresses are. For any goroutine.
type Locator interface {
	// Locate returns the place of an address, and false if it is not known.
	Locate(a netip.Addr) (Place, bool)
}

// Order asks one locator after the other: the first that knows wins. Nil ones are left out.
type Order []Locator

var _ Locator = Order(nil)

// Locate implements [Locator].
func (o Order) Locate(a netip.Addr) (Place, bool) {
	for _, l := range o {
		if l == nil {
			continue
		}
		if p, ok := l.Locate(a); ok {
			return p, true
		}
	}
	return Place{}, false
}

// ParsePlace reads "LAT,LON[,RADIUS_KM][ CITY[, CC]]". A radius that is not given is 1 km: who writes it knows it.
func ParsePlace(s string) (Place, error) {
	position, label, _ := strings.Cut(strings.TrimSpace(s), " ")
	p := Place{RadiusKm: 1, City: strings.TrimSpace(label)}
	if parts := strings.Split(position, ","); len(parts) == 3 {
		km, err := strconv.Atoi(parts[2])
		if err != nil || km < 1 || km > 20_000 {
			return Place{}, fmt.Errorf("%q: %w: the radius is 1 to 20000 km", s, ErrPlace)
		}
		p.RadiusKm, position = km, parts[0]+","+parts[1]
	}
	at, err := ParsePoint(position)
	if err != nil {
		return Place{}, fmt.Errorf("%q: %w: %w", s, ErrPlace, err)
	}
	if len(p.City) > maxLabel || !utf8.ValidString(p.City) || strings.ContainsFunc(p.City, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		return Place{}, fmt.Errorf("%q: %w: the city has at most %d bytes of plain text", s, ErrPlace, maxLabel)
	}
	if i := strings.LastIndex(p.City, ", "); i >= 0 && len(p.City) == i+4 {
		p.City, p.Country = p.City[:i], p.City[i+2:]
	}
	p.Unit = at.Unit()
	return p, nil
}

// Text returns the place as [ParsePlace] reads it; [Place.Source] is not part of it.
func (p Place) Text() string {
	s := p.Unit.String()
	if p.RadiusKm > 1 {
		s += "," + strconv.Itoa(p.RadiusKm)
	}
	if p.City != "" || p.Country != "" {
		s += " " + p.City
	}
	if p.Country != "" {
		s += ", " + p.Country
	}
	return s
}
