package propose

import (
	"net/netip"
	"time"

	"github.com/rootd/rootd/fsm"
	"github.com/rootd/rootd/fsm/table"
	"github.com/rootd/rootd/packetpath/vl1"
)

// EndpointInterval is the least time between two log entries that say only that a peer's endpoint changed. Meanwhile
// other members relay through the attached member, which knows the true endpoint.
const EndpointInterval = 10 * time.Minute

// peersPerSecond is how many keep-alives a second the log of a whole cluster may take.
const peersPerSecond = 20_000

// fact is what is known about one peer and not known to be in the log: the sum of its latest sightings.
type fact struct {
	key                    vl1.PublicKey
	v4, v6                 netip.AddrPort
	planet                 uint64
	member                 table.MemberID
	epoch                  uint16
	revision               uint16
	protocol, major, minor uint8
	validated              bool
	relocate               bool // a walk found it elsewhere
}

func factOf(s *fsm.Sighting) fact {
	f := fact{
		key: s.Identity.Key, planet: s.Planet & table.MaxPlanet, member: s.Member, epoch: s.Epoch,
		protocol: s.Protocol, validated: s.Validated,
	}
	if f.member == 0 || f.epoch == 0 {
		f.member, f.epoch = 0, 0
	}
	if s.Protocol != 0 {
		f.major, f.minor, f.revision = s.Major, s.Minor, s.Revision
	}
	if s.Endpoint.IsValid() && s.Endpoint.Port() != 0 && f.member != 0 {
		ip := s.Endpoint.Addr().Unmap().WithZone("")
		if ap := netip.AddrPortFrom(ip, s.Endpoint.Port()); ip.Is4() {
			f.v4 = ap
		} else {
			f.v6 = ap
		}
	}
	return f
}

// merge adds what the newer fact n says to f. A different identity replaces f only if it is validated and f is not.
func (f *fact) merge(n *fact) {
	if n.key != f.key {
		if n.validated && !f.validated {
			*f = *n
		}
		return
	}
	if n.member != f.member || n.epoch != f.epoch { // an older life of this member says nothing any more
		f.member, f.epoch, f.v4, f.v6 = n.member, n.epoch, netip.AddrPort{}, netip.AddrPort{}
	}
	if n.v4.IsValid() {
		f.v4 = n.v4
	}
	if n.v6.IsValid() {
		f.v6 = n.v6
	}
	if n.protocol != 0 {
		f.protocol, f.major, f.minor, f.revision = n.protocol, n.major, n.minor, n.revision
	}
	if n.planet != 0 {
		f.planet = n.planet
	}
	f.validated = f.validated || n.validated
	f.relocate = f.relocate || n.relocate
}

// verdict is what to do about a fact.
type verdict uint8

const (
	known       verdict = iota // the log says it already
	change                     // it belongs into the log
	keepAlive                  // only that the peer is still there
	deferred                   // only its endpoint changed, too soon after the last entry about it
	collision                  // another identity holds the address
	unvalidated                // the log does not know the peer, and nobody has validated its identity
	full                       // the log does not know the peer and takes no more
	verdicts                   // how many there are
)

// judge compares a fact with the record of its peer in the log, at a time in ms since 1970, and fills c with
// what belongs into the log. It is a pure function.
func judge(st *fsm.State, rec *table.Record, found bool, a vl1.Address, f *fact, now int64, c *fsm.Change) verdict {
	switch {
	case !found && !f.validated:
		return unvalidated
	case !found && st.Peers >= st.Settings.MaxPeers:
		return full
	case found && rec.Key != f.key:
		return collision
	case !found:
		rec = new(table.Record)
	}
	*c = fsm.Change{Address: a, Key: f.key, HasKey: !found, Member: f.member, Epoch: f.epoch}
	urgent, late := !found, false
	if m, ok := st.Member(f.member); ok && m.Epoch == f.epoch {
		if f.v4.IsValid() && (rec.V4 != f.v4 || rec.V4Member != f.member || rec.V4Epoch != f.epoch) {
			moved := !rec.V4.IsValid() || rec.V4Member != f.member || rec.V4Epoch != f.epoch
			c.V4, urgent, late = f.v4, urgent || moved, true
		}
		if f.v6.IsValid() && (rec.V6 != f.v6 || rec.V6Member != f.member || rec.V6Epoch != f.epoch) {
			moved := !rec.V6.IsValid() || rec.V6Member != f.member || rec.V6Epoch != f.epoch
			c.V6, urgent, late = f.v6, urgent || moved, true
		}
	}
	if f.protocol != 0 && (rec.Protocol != f.protocol || rec.Major != f.major || rec.Minor != f.minor || rec.Revision != f.revision) {
		c.Protocol, c.Major, c.Minor, c.Revision, urgent = f.protocol, f.major, f.minor, f.revision, true
	}
	if f.planet != 0 && rec.Planet != f.planet {
		c.Planet, urgent = f.planet, true
	}
	age := now/1000 - table.Epoch.Unix() - int64(rec.LastSeen)
	switch {
	case urgent, late && age >= int64(EndpointInterval/time.Second):
		return change
	case age >= int64(keepAliveInterval(st)/time.Second):
		return keepAlive
	case late:
		return deferred
	}
	return known
}

// keepAliveInterval is how old a peer's last entry must be before the log hears that the peer is still there.
func keepAliveInterval(st *fsm.State) time.Duration {
	return max(st.Settings.KeepAlive, time.Duration(st.Peers/peersPerSecond)*time.Second)
}
