package main

import (
	"context"
	"net/netip"
	"time"

	"github.com/rootd/rootd/transport/admin"
)

var _ admin.Geo = (*fakeMember)(nil)

// GeoLookup implements [admin.Geo]: 203.0.113.0/24 is in Amsterdam.
func (s *fakeMember) GeoLookup(_ context.Context, ip netip.Addr, member string) (*admin.GeoPlace, error) {
	p := &admin.GeoPlace{IP: ip, Member: "m1"}
	if member != "" {
		if _, err := s.find(member); err != nil {
			return nil, err
		}
		p.Member = member
	}
	if netip.MustParsePrefix("203.0.113.0/24").Contains(ip) {
		p.Known, p.Position, p.RadiusKm, p.City, p.Country, p.Source, p.Network = true, "52.37,4.89", 1000, "Amsterdam", "NL", "database", "203.0.113.0/25"
	}
	return p, nil
}

// GeoStatus implements [admin.Geo]: m2 has an older database than the others.
func (*fakeMember) GeoStatus(context.Context) (*admin.GeoStatus, error) {
	built := time.Now().Add(-50 * time.Hour)
	return &admin.GeoStatus{
		Path: "/var/lib/GeoLite2-City.mmdb", Overrides: 2, Settings: 1000, Located: 4000, Peers: 5000, Differ: true,
		Members: []admin.GeoMember{
			{Name: "m1", Position: "52.37,4.89", Hash: "0123456789abcdef", Built: built, Type: "GeoLite2-City"},
			{Name: "m2", Hash: "fedcba9876543210", Built: built.Add(-240 * time.Hour), Differs: true},
			{Name: "m3"},
		},
	}, nil
}
