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

const (
	neighbourEvery = 15 * time.Second // the endpoints of the planet's other roots are greeted this often
	neighbourRetry = 2 * time.Second  // while none of them is known to answer
)

// neighbours are the other roots of the planet. Nothing is shared with them: like any client, this member knows their
// public endpoints, greets them now and then, and may have them relay a packet to a peer.
type neighbours struct {
	m    *member
	seen atomic.Pointer[[]join.Probe] // what their endpoints answered when they were last greeted
}

func (n *neighbours) run(ctx context.Context) error {
	for {
		n.look(ctx)
		pause := neighbourEvery
		if len(n.via()) == 0 {
			pause = neighbourRetry
		}
		if !sleep(ctx, pause) {
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
