package packetpath

import (
	"net/netip"

	"github.com/rootd/rootd/fsm"
	"github.com/rootd/rootd/fsm/table"
	"github.com/rootd/rootd/geo"
	"github.com/rootd/rootd/geo/steer"
	"github.com/rootd/rootd/packetpath/vl1"
)

// Question is what [Root.Explain] is asked: about a peer, or about an IP address as if a new client were there.
type Question struct {
	Peer vl1.Address // 0: the IP
	V6   bool        // the family, of a peer

	IP       netip.Addr
	Unit     geo.Unit // where the IP is
	RadiusKm int

	Member table.MemberID // as if it were attached there; 0: where it is
}

// Answer is why a peer stays or moves: the calculation of the packet path, at one index of the log.
type Answer struct {
	steer.Explanation
	Index    uint64
	Mode     fsm.SteeringMode
	Peer     steer.Peer
	Endpoint netip.Addr
	Handoff  table.Handoff // what the cluster did to the peer
	Shadow   *steer.Explanation
}

// Explain answers a question from the current view; false if there is no such peer. Any goroutine.
func (r *Root) Explain(q Question) (Answer, bool) {
	state := r.view.State()
	a := Answer{Index: state.Index, Endpoint: q.IP.Unmap()}
	if q.Peer != 0 {
		var rec table.Record
		if !state.Peer(q.Peer, &rec) {
			return a, false
		}
		steerRecord(&a.Peer, state, &rec, q.V6)
		a.Handoff, a.Endpoint = rec.Handoff, rec.V4.Addr()
		if q.V6 {
			a.Endpoint = rec.V6.Addr()
		}
	} else {
		a.Peer = stranger(state, &q)
	}
	if q.Member != 0 {
		a.Peer.Current = uint16(q.Member)
	}
	c := r.rulesOf(state)
	a.Mode, a.Explanation = c.mode, c.table.Explain(&a.Peer)
	if c.shadow != nil {
		x := c.shadow.Explain(&a.Peer)
		a.Shadow = &x
	}
	return a, true
}

// stranger is a new client of a current version, with the newest planet, at an address.
func stranger(state *fsm.State, q *Question) steer.Peer {
	p := steer.Peer{Unit: q.Unit, RadiusKm: q.RadiusKm, V6: q.IP.Is6() && !q.IP.Is4In6(), Family: steer.FamilyF6, Now: state.Seconds()}
	if state.Planet != nil {
		p.Planet = state.Planet.World.Timestamp
	}
	near, wide := geo.Areas(q.IP)
	p.RTT, p.Wide = state.RTTs.Of(near), state.RTTs.Of(wide)
	return p
}
