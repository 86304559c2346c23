package geo

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// Override is the place that an operator gives to a prefix.
type Override struct {
	Prefix netip.Prefix // masked
	Place  Place
}

// ParsePrefix reads the prefix of an override: "10.0.0.0/8", or an address, which stands for itself alone.
func ParsePrefix(s string) (netip.Prefix, error) {
	p, err := netip.ParsePrefix(s)
	if err != nil {
		a, aerr := netip.ParseAddr(s)
		if aerr != nil || a.Zone() != "" {
			return netip.Prefix{}, fmt.Errorf("%q: not a prefix such as 10.0.0.0/8 or 2001:db8::/32", s)
		}
		a = a.Unmap()
		p = netip.PrefixFrom(a, a.BitLen())
	}
	switch {
	case p.Addr().Is4In6():
		return netip.Prefix{}, fmt.Errorf("%q: write an IPv4 prefix as such", s)
	case p != p.Masked():
		return netip.Prefix{}, fmt.Errorf("%q: has bits beyond its length, %s has not", s, p.Masked())
	}
	return p, nil
}

// ParseOverride reads "PREFIX PLACE", the place as in [ParsePlace].
func ParseOverride(s string) (Override, error) {
	prefix, place, ok := strings.Cut(strings.TrimSpace(s), " ")
	if !ok {
		return Override{}, fmt.Errorf("%q: not an override such as \"10.0.0.0/8 52.37,4.89 Amsterdam, NL\"", s)
	}
	o := Override{}
	var err error
	if o.Prefix, err = ParsePrefix(prefix); err != nil {
		return Override{}, err
	}
	o.Place, err = ParsePlace(place)
	return o, err
}

// String returns the override as [ParseOverride] reads it.
func (o Override) String() string { return o.Prefix.String() + " " + o.Place.Text() }

// Overrides are places by prefix: of those that hold an address the longest wins. Immutable.
type Overrides struct {
	lengths [2][]int // of IPv4 and IPv6 prefixes, longest first
	places  map[netip.Prefix]Place
}

var _ Locator = (*Overrides)(nil)

// NewOverrides returns the overrides of a list; of two for the same prefix the first counts. What they locate has the
// source.
func NewOverrides(list []Override, source string) *Overrides {
	o := &Overrides{places: make(map[netip.Prefix]Place, len(list))}
	for _, v := range list {
		if _, taken := o.places[v.Prefix]; taken {
			continue
		}
		v.Place.Source = source
		o.places[v.Prefix] = v.Place
		if l := &o.lengths[family(v.Prefix.Addr())]; !slices.Contains(*l, v.Prefix.Bits()) {
			*l = append(*l, v.Prefix.Bits())
		}
	}
	for i := range o.lengths {
		slices.SortFunc(o.lengths[i], func(a, b int) int { return b - a })
	}
	return o
}

func family(a netip.Addr) int {
	if a.Is4() {
		return 0
	}
	return 1
}

// Len returns how many prefixes have a place.
func (o *Overrides) Len() int { return len(o.places) }

// Locate implements [Locator]. It looks once for each length of prefix that there is, and allocates nothing.
func (o *Overrides) Locate(a netip.Addr) (Place, bool) {
	a = a.Unmap().WithZone("")
	for _, bits := range o.lengths[family(a)] {
		if p, err := a.Prefix(bits); err == nil {
			if place, ok := o.places[p]; ok {
				return place, true
			}
		}
	}
	return Place{}, false
}
