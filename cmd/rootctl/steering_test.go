package main

import (
	"context"
	"fmt"
	"net/netip"
	"time"

	"github.com/rootd/rootd/transport/admin"
)

var _ admin.Steering = (*fakeMember)(nil)

// Explain implements [admin.Steering]: peer 1 and any IP are in Paris and belong to m1.
func (*fakeMember) Explain(_ context.Context, who, member string) (*admin.Explanations, error) {
	if member == "m9" {
		return nil, fmt.Errorf("%w: there is no member m9", admin.ErrNotFound)
	}
	measured, distance := 12.5, 97.25
	x := admin.Explanation{
		Family: "v4", Address: netip.MustParseAddr("203.0.113.7"), Position: "48.86,2.35", RadiusKm: 16, Software: "F6", Member: "m2", Best: "m1", Target: "m1", Reason: "lower cost",
		Gain: 84.75, Need: admin.Need{Margin: 10, Percent: 32.1, Deviation: 3.6, Radius: 0.5, Spread: 1.2, Total: 33.3}, MovesLeft: 4,
		Costs: []admin.Cost{
			{Member: "m1", Km: 430, Measured: &measured, Dev: 1.2, Samples: 40, Weight: 100, Cost: 12.5},
			{Member: "m2", Km: 5837, Distance: &distance, Weight: 100, Cost: 97.25},
			{Member: "m3", Km: -1, Weight: 100, Cost: 300, Out: "down"},
		},
		Handoff: admin.HandoffHistory{At: time.Now().Add(-time.Hour), Since: time.Now().Add(-time.Hour), Moves: 0},
		Shadow:  &admin.ShadowResult{Reason: "gain too small"},
	}
	if member != "" {
		x.Member, x.Target, x.Reason, x.Rest, x.Failed, x.FailedRest = member, "", "best", 90, "m3", 200
	}
	return &admin.Explanations{Who: who, Index: 12345, Steering: "on", Families: []admin.Explanation{x}}, nil
}

// RoundTrips implements [admin.Steering].
func (*fakeMember) RoundTrips(_ context.Context, f admin.RTTFilter) (*admin.RoundTrips, error) {
	r := &admin.RoundTrips{Total: 2, Rows: []admin.RoundTrip{}}
	for i, text := range []string{"203.0.113.0/24", "2001:db8:7::/48"} {
		p := netip.MustParsePrefix(text)
		if member := fmt.Sprintf("m%d", i+1); (!f.Within.IsValid() || f.Within.Overlaps(p)) && (f.Member == "" || f.Member == member) {
			r.Rows = append(r.Rows, admin.RoundTrip{Area: p, Member: member, RTT: 12.5, Dev: 1.25, Samples: 40, At: time.Now().Add(-time.Minute)})
		}
	}
	if f.Limit == 1 && len(r.Rows) > 1 {
		r.Rows, r.More = r.Rows[:1], true
	}
	return r, nil
}

// SteeringStats implements [admin.Steering].
func (*fakeMember) SteeringStats(context.Context) (*admin.SteeringStats, error) {
	s := &admin.SteeringStats{Steering: "on", Rules: "margin=20ms", Members: []admin.SteeringDecisions{
		{Member: "m1", Decisions: 12_000, Moves: 30, Same: 11_990, Fewer: 10}, {Member: "m2", Decisions: 8_000, Same: 8_000}, {Member: "m3", Error: "it is down"},
	}}
	for _, m := range s.Members {
		s.Total.Add(m)
	}
	return s, nil
}
