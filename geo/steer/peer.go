package steer

import "github.com/rootd/rootd/geo"

// Peer is what the log says about a peer in one address family, at one index.
type Peer struct {
	Unit     geo.Unit // where it is; zero: unknown
	RadiusKm int      // how far it may be from there; 0: unknown
	V6       bool     // the family
	Spread   uint8    // a hash of its address: tells peers apart that are otherwise alike
	Family   Family
	Current  uint16 // member that it is attached to; 0: none
	Planet   uint64 // timestamp, in ms, of the planet that it carries; 0: unknown
	Now      uint32 // s, by the log

	// What the cluster did to it.
	Pushed uint32 // s: last push after which it needs a pause; 0: none
	At     uint32 // s: when it was last handed off in this family, or that failed; 0: never
	From   uint16 // the member that it was handed off by, At; 0: none
	Target uint16 // a handoff to this member is under way; 0: none
	Moves  uint8  // how many times it was moved, less what time took off
	Fails  uint8  // handoffs that failed in a row
	Failed uint16 // the last target that failed

	// RTT and Wide are what members measured of its neighbourhood and of the wider one, ascending by member.
	RTT, Wide []geo.RTT
}

// Family is how a client treats its roots: what differs between versions is how it learns paths and what a redirect
// does. The zero value: unknown.
type Family uint8

// The families, F1 for FamilyF1 and so on, with the versions of the client.
const (
	FamilyUnknown Family = iota
	FamilyF0             // 1.1.x, 1.2.0-1.2.4: a redirect only names a preferred endpoint
	FamilyF1             // 1.2.5-1.4.6
	FamilyF2             // 1.5.0-1.6.2
	FamilyF3             // 1.6.3-1.8.4: finds the nearest member by itself
	FamilyF4             // 1.8.5-1.10.2: likewise
	FamilyF5             // 1.10.3-1.10.6
	FamilyF6             // 1.12.0 and later
)

// FamilyOf returns the family of a software version. Protocol 0: unknown.
func FamilyOf(protocol, major, minor uint8, revision uint16) Family {
	v := uint64(major)<<32 | uint64(minor)<<16 | uint64(revision)
	const major1 = 1 << 32
	switch { // the newest first, as most are
	case protocol == 0:
		return FamilyUnknown
	case v >= major1|12<<16:
		return FamilyF6
	case v >= major1|10<<16|3:
		return FamilyF5
	case v >= major1|8<<16|5:
		return FamilyF4
	case v >= major1|6<<16|3:
		return FamilyF3
	case v >= major1|5<<16:
		return FamilyF2
	case v >= major1|2<<16|5:
		return FamilyF1
	}
	return FamilyF0
}

// String returns F0 to F6, or "unknown".
func (f Family) String() string {
	if f == FamilyUnknown || f > FamilyF6 {
		return "unknown"
	}
	return "F" + string('0'+rune(f-FamilyF0))
}

// placesItself reports whether clients of the family find the nearest member without help.
func (f Family) placesItself() bool { return f == FamilyF3 || f == FamilyF4 }

// pushGate is how long no push may have been sent to a peer before the next one: a client that gets several within 30 s
// stops listening.
const pushGate = 35

// A peer goes back to the member that it came from within returning seconds only for returnMargin times the margin: what
// sent it away was more than noise, and so must be what brings it back.
const (
	returning    = 3600
	returnMargin = 6
)

// underWay is how long a handoff may take before it is void by itself, in s.
const underWay = 30

// since returns the seconds since the last handoff.
func (p *Peer) since() int64 { return max(0, int64(p.Now)-int64(p.At)) }

// moved reports whether there was a handoff within the last seconds.
func (p *Peer) moved(seconds int64) bool { return p.At != 0 && p.since() < seconds }

// gated reports whether the peer would not listen to a push.
func (p *Peer) gated() bool { return p.Pushed != 0 && int64(p.Now)-int64(p.Pushed) < pushGate }

// underWay reports whether a handoff is under way.
func (p *Peer) underWay() bool {
	return p.Target != 0 && p.Pushed != 0 && int64(p.Now)-int64(p.Pushed) < underWay
}

// rest returns for how long the peer must not be moved again after its last move or failure: the dwell time, doubled
// for each further one.
func (t *Table) rest(p *Peer) int64 {
	again := int64(max(p.Moves, 1)-1) + int64(p.Fails)
	return t.dwell << min(again, 6)
}

// bars reports whether a member is left out because the last handoff to it failed.
func (t *Table) bars(p *Peer, id uint16) bool {
	return p.Fails != 0 && p.Failed == id && p.moved(t.bar(p))
}

// bar is for how long the target of the last failed handoff is left out: longer with each failure in a row.
func (t *Table) bar(p *Peer) int64 { return t.barred << min(max(p.Fails, 1)-1, 7) }
