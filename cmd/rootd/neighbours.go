package main

import (
	"cmp"
	"context"
	"net/netip"
	"slices"
	"sync/atomic"
	"time"

	"github.com/rootd/rootd/transport/join"
)

// neighbourEvery is how often the endpoints of the planet's other roots are greeted.
const neighbourEvery = 15 * time.Second

// neighbours are the other roots of the planet. Nothing is shared with them: like any client, this member knows their
// public endpoints, greets them now and then, and may have them relay a packet to a peer.
type neighbours struct {
	m    *member
	seen atomic.Pointer[[]join.Probe] // what their endpoints answered when they were last greeted
}

func (n *neighbours) run(ctx context.Context) error {
	for {
		n.look(ctx)
		if !sleep(ctx, neighbourEvery) {
			return nil
		}
	}
}

func (n *neighbours) look(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, neighbourEvery)
	defer cancel()
	var all []join.Probe
	for _, r := range n.greet(ctx) {
		all = append(all, r.probes...)
	}
	n.seen.Store(&all)
}

// via returns the endpoints that answered, the nearest first.
func (n *neighbours) via() []netip.AddrPort {
	all := n.seen.Load()
	if all == nil {
		return nil
	}
	var found []join.Probe
	for _, p := range *all {
		if p.OK {
			found = append(found, p)
		}
	}
	slices.SortStableFunc(found, func(a, b join.Probe) int { return cmp.Compare(a.RTTMillis, b.RTTMillis) })
	via := make([]netip.AddrPort, len(found))
	for i := range found {
		via[i] = found[i].Endpoint
	}
	return via
}
