package fsm

import (
	"fmt"
	"strings"

	"github.com/rootd/rootd/geo"
)

// GeoPrefix begins the keys of the settings that say where a prefix of addresses is, such as "geo/10.0.0.0/8". The value is a
// place as [geo.ParsePlace] reads it. There is one such setting for each prefix, and none by default.
const GeoPrefix = "geo/"

// MaxGeoOverrides is how many of them there may be.
const MaxGeoOverrides = 1000

// GeoOverrides returns the places of prefixes that were set, ascending by the text of the prefix.
func (s *Settings) GeoOverrides() []geo.Override {
	var list []geo.Override
	for _, kv := range s.geo() {
		prefix, perr := geo.ParsePrefix(strings.TrimPrefix(kv.Key, GeoPrefix))
		place, err := geo.ParsePlace(kv.Value)
		if perr == nil && err == nil { // always: they were checked
			list = append(list, geo.Override{Prefix: prefix, Place: place})
		}
	}
	return list
}

// geo returns the explicit settings that say where prefixes are.
func (s *Settings) geo() []KeyValue {
	from, _ := s.find(GeoPrefix)
	to := from
	for to < len(s.explicit) && strings.HasPrefix(s.explicit[to].Key, GeoPrefix) {
		to++
	}
	return s.explicit[from:to]
}

// GeoSame reports whether two settings say the same about where prefixes are. Usually they share their memory.
func (s *Settings) GeoSame(o *Settings) bool {
	a, b := s.geo(), o.geo()
	if len(a) != len(b) || len(a) > 0 && &a[0] == &b[0] {
		return len(a) == len(b)
	}
	for i := range a {
		if a[i] != b[i] {
			return false
		}
	}
	return true
}

// assignGeo checks one of them and returns its canonical text.
func (s *Settings) assignGeo(key, value string) (string, error) {
	prefix, err := geo.ParsePrefix(strings.TrimPrefix(key, GeoPrefix))
	if err != nil {
		return "", fmt.Errorf("%w: %s: %w", ErrSetting, key, err)
	}
	if canonical := GeoPrefix + prefix.String(); canonical != key {
		return "", fmt.Errorf("%w: %s: write %s", ErrSetting, key, canonical)
	}
	if value == "" {
		return "", nil
	}
	if _, held := s.find(key); !held && len(s.geo()) >= MaxGeoOverrides {
		return "", fmt.Errorf("%w: %s: there are %d places of prefixes already, no more are kept", ErrSetting, key, MaxGeoOverrides)
	}
	place, err := geo.ParsePlace(value)
	if err != nil {
		return "", fmt.Errorf("%w: %s: %w", ErrSetting, key, err)
	}
	return place.Text(), nil
}
