package admin

import (
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/rootd/rootd/packetpath/vl1"
)

// Next makes the planet that members' endpoints call for: the held one with, for the root, the endpoints of all members that
// have been up, in the order they have there, new ones behind, families interleaved. A pure function: a member that signs by
// itself and an operator who signs offline come to the same. Its timestamp is now, but newer than the held one's.
//
// Where they are more than a planet holds, each member keeps its first endpoints before any gets more.
func Next(held *vl1.World, root vl1.Identity, members []Member, now time.Time) (*NextPlanet, error) {
	at := slices.IndexFunc(held.Roots, func(r vl1.Root) bool { return r.Identity == root })
	if at < 0 {
		return nil, fmt.Errorf("next planet: the held one does not name the root %s", root.Address)
	}
	old := held.Roots[at].Endpoints
	wanted, left := choose(old, members)
	if len(wanted) == 0 {
		return nil, fmt.Errorf("next planet: no member has an endpoint: clients would reach nobody")
	}
	n := &NextPlanet{LeftOut: left}
	var kept []netip.AddrPort
	for _, ap := range old {
		if slices.Contains(wanted, ap) {
			kept = append(kept, ap)
		} else {
			n.Removed = append(n.Removed, ap)
		}
	}
	for _, ap := range wanted {
		if !slices.Contains(old, ap) {
			n.Added = append(n.Added, ap)
		}
	}
	for i := range members {
		m := &members[i]
		if !slices.ContainsFunc(m.Endpoints, func(ap netip.AddrPort) bool { return slices.Contains(wanted, ap) }) {
			n.Unserved = append(n.Unserved, m.Name)
		}
	}
	w := *held
	w.Roots = slices.Clone(held.Roots)
	w.Roots[at].Endpoints = old
	if n.Changed() {
		w.Roots[at].Endpoints = vl1.Interleave(slices.Concat(kept, n.Added))
	}
	w.Timestamp = max(uint64(now.UnixMilli()), held.Timestamp+1)
	w.Signature = vl1.Signature{}
	n.World = &w
	return n, w.Check()
}

// choose returns the endpoints that the planet gets, and those for which there is no room. Members take turns, one endpoint
// each; within a member, those that are in the planet already come first.
func choose(old []netip.AddrPort, members []Member) (wanted, left []netip.AddrPort) {
	var queues [][]netip.AddrPort
	for i := range members {
		m := &members[i]
		if m.Epoch == 0 { // has never been up: clients would knock in vain
			continue
		}
		q := slices.Clone(m.Endpoints)
		slices.SortStableFunc(q, func(a, b netip.AddrPort) int { return rank(old, a) - rank(old, b) })
		queues = append(queues, q)
	}
	for turn := 0; ; turn++ {
		some := false
		for _, q := range queues {
			if turn >= len(q) {
				continue
			}
			some = true
			switch {
			case slices.Contains(wanted, q[turn]):
			case len(wanted) < vl1.MaxEndpoints:
				wanted = append(wanted, q[turn])
			default:
				left = append(left, q[turn])
			}
		}
		if !some {
			return wanted, left
		}
	}
}

func rank(old []netip.AddrPort, ap netip.AddrPort) int {
	if slices.Contains(old, ap) {
		return 0
	}
	return 1
}
