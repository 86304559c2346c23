package fsm

import (
	"fmt"
	"net/netip"

	"github.com/rootd/rootd/fsm/table"
	"github.com/rootd/rootd/geo"
)

// MemberSet changes what operators decide about a member, and where it finds itself. Unknown: [ErrMemberUnknown].
type MemberSet struct {
	ID       table.MemberID
	SetDrain bool // Drain is set
	Drain    Drain
	Weight   uint16 // ‰ of a usual member that it can carry; 0: stays as it is

	SetVote     bool // Vote is set
	Vote        Vote
	SetPriority bool // Priority is set
	Priority    uint8

	Position geo.Unit // where it is; unknown: stays as it is
}

// Vote is whether a member shall vote. The numbers are part of the log format.
type Vote uint8

// The wishes of an operator.
const (
	VoteAuto    Vote = 0 // as the cluster sees fit
	VoteAlways  Vote = 1 // before others for which it is left to the cluster
	VoteStandby Vote = 2 // never
)

// String returns the wish as people read it.
func (v Vote) String() string {
	switch v {
	case VoteAlways:
		return "voter"
	case VoteStandby:
		return "standby"
	}
	return "auto"
}

// Drain is whether a member hands off its peers and takes no new ones. The numbers are part of the log format.
type Drain uint8

// The drains.
const (
	DrainNone     Drain = 0
	DrainOperator Drain = 1 // until an operator ends it, over restarts
	DrainStopping Drain = 2 // it is about to stop: until it is up again
)

// UsualWeight is the weight of a member for which none was set.
const UsualWeight = 1000

// Draining reports whether the member takes no new peers.
func (m *Member) Draining() bool { return m.Drain != DrainNone }

// PlanetOf returns since which planet, by its timestamp in ms, clients find the member in it, in a family. 0: never.
func (m *Member) PlanetOf(v6 bool) uint64 {
	if v6 {
		return m.Planet6
	}
	return m.Planet4
}

// PublishedEndpoint returns the endpoint of m in a family that the planet has, as clients compare it: by its IP address.
func (s *State) PublishedEndpoint(m *Member, v6 bool) (netip.AddrPort, bool) {
	return s.publishedIn(s.Planet, m, v6)
}

func (s *State) publishedIn(p *Planet, m *Member, v6 bool) (netip.AddrPort, bool) {
	if p == nil {
		return netip.AddrPort{}, false
	}
	for i := range p.World.Roots {
		root := &p.World.Roots[i]
		if root.Identity.Address != s.Cluster.Root.Address {
			continue
		}
		for _, ep := range m.Endpoints {
			if ep.Addr().Is4() == v6 {
				continue
			}
			for _, listed := range root.Endpoints {
				if listed.Addr() == ep.Addr() {
					return ep, true
				}
			}
		}
	}
	return netip.AddrPort{}, false
}

// published brings up to date since when the planet has m, whose endpoints were these in the planet of before.
func (s *State) published(m *Member, before4, before6 netip.AddrPort) {
	for _, f := range []struct {
		v6     bool
		before netip.AddrPort
		since  *uint64
	}{{false, before4, &m.Planet4}, {true, before6, &m.Planet6}} {
		ep, ok := s.PublishedEndpoint(m, f.v6)
		switch {
		case !ok:
			*f.since = 0
		case ep != f.before || *f.since == 0:
			*f.since = s.Planet.World.Timestamp
		}
	}
}

func (f *FSM) memberSet(c *MemberSet) error {
	held, ok := f.st.Member(c.ID)
	if !ok {
		return fmt.Errorf("%w: %d", ErrMemberUnknown, c.ID)
	}
	m := *held
	if c.SetDrain && c.Drain != m.Drain {
		if m.Drain, m.DrainSince = c.Drain, f.st.Time; c.Drain == DrainNone {
			m.DrainSince = 0
		}
	}
	if c.Weight != 0 {
		m.Weight = c.Weight
	}
	if c.SetVote {
		m.Vote = c.Vote
	}
	if c.SetPriority {
		m.Priority = c.Priority
	}
	if c.Position.Known() {
		m.Position = c.Position
	}
	f.setMember(&m)
	return nil
}
