package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/rootd/rootd/fsm"
	"github.com/rootd/rootd/fsm/table"
	"github.com/rootd/rootd/geo"
	"github.com/rootd/rootd/geo/steer"
	"github.com/rootd/rootd/packetpath"
	"github.com/rootd/rootd/packetpath/vl1"
	"github.com/rootd/rootd/transport/admin"
	"github.com/rootd/rootd/transport/pki"
)

var _ admin.Steering = source{}

const (
	callSteering    = "steering/1" // nothing; answer: admin.SteeringDecisions of the member
	steeringTimeout = 5 * time.Second
	rttLimit        = 1000
)

// Explain implements [admin.Steering].
func (s source) Explain(_ context.Context, who, member string) (*admin.Explanations, error) {
	what := "explain " + who
	var q packetpath.Question
	if member != "" {
		_, m, err := s.find(what, member)
		if err != nil {
			return nil, err
		}
		q.Member = m.ID
	}
	out := &admin.Explanations{Who: who}
	if ip, err := netip.ParseAddr(who); err == nil {
		q.IP = ip.Unmap()
		if place, ok := s.m.atlas.Locate(q.IP); ok {
			q.Unit, q.RadiusKm = place.Unit, place.RadiusKm
		}
		s.explain(out, q, ip.Is6() && !ip.Is4In6())
		return out, nil
	}
	text, _, _ := strings.Cut(who, ":") // an identity names its peer, too
	var err error
	if q.Peer, err = vl1.ParseAddress(text); err != nil {
		return nil, refused(what, "it is neither an address of a peer nor an IP address", "give the 10 hexadecimal digits that rootctl peer list shows, or an IP address")
	}
	state := s.m.fsm.View().State()
	var rec table.Record
	if !state.Peer(q.Peer, &rec) {
		return nil, fmt.Errorf("%w: nobody knows peer %s", admin.ErrNotFound, q.Peer)
	}
	for _, v6 := range []bool{false, true} {
		if q.V6 = v6; !v6 && rec.V4.IsValid() || v6 && rec.V6.IsValid() {
			s.explain(out, q, v6)
		}
	}
	if len(out.Families) == 0 {
		return nil, refused(what, "the log does not know an endpoint of it", "it is known by its identity only; explain an IP address instead")
	}
	return out, nil
}

// explain adds one family's explanation.
func (s source) explain(out *admin.Explanations, q packetpath.Question, v6 bool) {
	a, ok := s.m.root.Explain(q)
	if !ok {
		return
	}
	out.Index, out.Steering = a.Index, a.Mode.String()
	out.Families = append(out.Families, s.m.explanation(&a, v6))
}

func (m *member) explanation(a *packetpath.Answer, v6 bool) admin.Explanation {
	name := func(id uint16) string { return m.nameOf(table.MemberID(id)) }
	x := admin.Explanation{
		Family: "v4", Address: a.Endpoint, RadiusKm: a.Peer.RadiusKm, Software: a.Peer.Family.String(),
		Member: name(a.Peer.Current), Best: name(a.Decision.Best), Target: name(a.Decision.Target), Reason: a.Decision.Reason.String(),
		Gain: inMillis(a.Gain), Need: admin.Need{
			Margin: inMillis(a.Need.Margin), Percent: inMillis(a.Need.Percent), Deviation: inMillis(a.Need.Deviation),
			Radius: inMillis(a.Need.Radius), Back: inMillis(a.Need.Back), Spread: inMillis(a.Need.Spread), Total: inMillis(a.Need.Total),
		},
		Rest: a.Rest.Seconds(), MovesLeft: a.MovesLeft, Failed: name(a.Barred), FailedRest: a.BarredFor.Seconds(),
		Handoff: admin.HandoffHistory{
			UnderWay: name(uint16(a.Handoff.Target)), From: name(uint16(a.Handoff.From)), At: logTime(a.Handoff.At), Since: logTime(a.Handoff.Since(v6)),
			Moves: int(a.Peer.Moves), Fails: int(a.Handoff.Fails),
		},
	}
	if v6 {
		x.Family = "v6"
	}
	if a.Peer.Unit.Known() {
		x.Position = a.Peer.Unit.Point().String()
	}
	for i := range a.Members {
		x.Costs = append(x.Costs, cost(&a.Members[i], name))
	}
	if a.Shadow != nil {
		x.Shadow = &admin.ShadowResult{Target: name(a.Shadow.Decision.Target), Reason: a.Shadow.Decision.Reason.String()}
	}
	return x
}

func cost(t *steer.Terms, name func(uint16) string) admin.Cost {
	c := admin.Cost{
		Member: name(t.Member), Out: t.Out.String(), Km: t.Km, Access: inMillis(t.Access), Dev: inMillis(t.Dev), Samples: t.Samples, Wide: t.Wide,
		Weight: t.Weight, Load: inMillis(t.Load), Cost: inMillis(t.Cost),
	}
	if v := inMillis(t.Distance); t.Distance >= 0 {
		c.Distance = &v
	}
	if v := inMillis(t.Measured); t.Measured >= 0 {
		c.Measured = &v
	}
	return c
}

func inMillis(us int64) float64 { return float64(us) / 1000 }

// logTime turns seconds of the log into a time; 0 is none.
func logTime(s uint32) time.Time {
	if s == 0 {
		return time.Time{}
	}
	return table.Epoch.Add(time.Duration(s) * time.Second)
}

// nameOf returns a member's name, or its number if it is gone; "" for 0.
func (m *member) nameOf(id table.MemberID) string {
	if id == 0 {
		return ""
	}
	if x, ok := m.fsm.View().State().Member(id); ok {
		return x.Name
	}
	return fmt.Sprint(id)
}

// RoundTrips implements [admin.Steering].
func (s source) RoundTrips(_ context.Context, f admin.RTTFilter) (*admin.RoundTrips, error) {
	var only table.MemberID
	state := s.m.fsm.View().State()
	if f.Member != "" {
		_, m, err := s.find("list round trips", f.Member)
		if err != nil {
			return nil, err
		}
		only = m.ID
	}
	out := &admin.RoundTrips{Total: state.RTTs.Len(), Rows: []admin.RoundTrip{}}
	for area, rows := range state.RTTs.All() {
		p := area.Prefix()
		if f.Within.IsValid() && !f.Within.Overlaps(p) {
			continue
		}
		out.Rows = s.m.appendRTTs(out.Rows, p, rows, only)
	}
	slices.SortStableFunc(out.Rows, func(a, b admin.RoundTrip) int {
		return cmp.Or(a.Area.Addr().Compare(b.Area.Addr()), cmp.Compare(a.Area.Bits(), b.Area.Bits()))
	})
	if limit := cmp.Or(f.Limit, rttLimit); len(out.Rows) > limit {
		out.Rows, out.More = out.Rows[:limit], true
	}
	return out, nil
}

func (m *member) appendRTTs(out []admin.RoundTrip, p netip.Prefix, rows []geo.RTT, only table.MemberID) []admin.RoundTrip {
	for _, r := range rows {
		if only == 0 || uint16(only) == r.Member {
			out = append(out, admin.RoundTrip{
				Area: p, Member: m.nameOf(table.MemberID(r.Member)), RTT: inMillis(int64(r.Micros)), Dev: inMillis(int64(r.Dev)), Samples: int(r.N), At: logTime(r.At),
			})
		}
	}
	return out
}

// SteeringStats implements [admin.Steering]: each member counts, and all that answer are summed.
func (s source) SteeringStats(ctx context.Context) (*admin.SteeringStats, error) {
	ctx, cancel := context.WithTimeout(ctx, steeringTimeout)
	defer cancel()
	state := s.m.fsm.View().State()
	st := &state.Settings.Steering
	out := &admin.SteeringStats{Steering: st.Mode.String(), Rules: st.Shadow, Members: make([]admin.SteeringDecisions, len(state.Members))}
	var asking sync.WaitGroup
	for i := range state.Members {
		asking.Go(func() { out.Members[i] = s.m.decisionsOf(ctx, &state.Members[i]) })
	}
	asking.Wait()
	for i := range out.Members {
		out.Total.Add(out.Members[i])
	}
	return out, nil
}

// decisionsOf asks a member, maybe this one, what it decided.
func (m *member) decisionsOf(ctx context.Context, of *fsm.Member) (d admin.SteeringDecisions) {
	err := error(nil)
	switch {
	case of.ID == m.id:
		d = m.decisions()
	case of.Status != fsm.StatusUp || m.cluster == nil:
		err = errors.New("it is " + of.Status.String())
	default:
		var b []byte
		if b, err = m.cluster.call(ctx, of.ID, callSteering, nil); err == nil {
			err = json.Unmarshal(b, &d)
		}
	}
	if err != nil {
		d = admin.SteeringDecisions{Error: err.Error()}
	}
	d.Member = of.Name
	return d
}

func (m *member) decisions() admin.SteeringDecisions {
	c := m.root.Stats().Counters
	return admin.SteeringDecisions{
		Decisions: c[packetpath.Decisions], Moves: c[packetpath.DecisionsToMove], Held: c[packetpath.DecisionsHeld],
		Same: c[packetpath.ShadowSame], More: c[packetpath.ShadowMoves], Fewer: c[packetpath.ShadowStays], Elsewhere: c[packetpath.ShadowElsewhere],
	}
}

func (c *cluster) handleSteering(context.Context, pki.Peer, []byte) ([]byte, error) {
	return json.Marshal(c.m.decisions())
}
