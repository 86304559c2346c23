package main

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/rootd/rootd/packetpath/vl1"
	"github.com/rootd/rootd/transport/join"
)

// A planet has other roots so that one can be changed while another carries the clients. What takes something away from this
// cluster (a drain, a removal, a restore) asks first whether another one could: with a HELLO, as their clients do.

// neighbour is another root of the planet, and what its endpoints answered.
type neighbour struct {
	who    vl1.Identity
	probes []join.Probe // of the endpoints that this host has a way to
}

// greet greets the endpoints of the planet's other roots.
func (n *neighbours) greet(ctx context.Context) (all []neighbour) {
	p := n.m.fsm.View().State().Planet
	if p == nil {
		return nil
	}
	for _, r := range p.World.Roots {
		if r.Identity == n.m.dir.Identity.Identity {
			continue
		}
		reachable := slices.DeleteFunc(slices.Clone(r.Endpoints), func(e netip.AddrPort) bool { return !n.m.has(e) })
		all = append(all, neighbour{r.Identity, n.m.prober.probe(ctx, r.Identity, reachable)})
	}
	return all
}

// weak says why the root could not carry this one's clients: it answers at no more than half of its endpoints. "": it could, or
// nobody can tell from here.
func (n *neighbour) weak() string {
	var silent []string
	for _, p := range n.probes {
		if !p.OK {
			silent = append(silent, p.Endpoint.String())
		}
	}
	if 2*len(silent) < len(n.probes) || len(n.probes) == 0 {
		return ""
	}
	return fmt.Sprintf("root %v answers at %d of %d endpoints, not at %s", n.who.Address, len(n.probes)-len(silent), len(n.probes), strings.Join(silent, ", "))
}

// carried says why no other root could carry the clients, nil if one could, or if the planet has no other.
func carried(what string, all []neighbour) error {
	var weak []string
	for i := range all {
		why := all[i].weak()
		if why == "" {
			return nil
		}
		weak = append(weak, why)
	}
	if len(weak) == 0 {
		return nil
	}
	return refused(what, "no other root of the planet could carry the clients: "+strings.Join(weak, "; "), "wait until that is well; --alone does it all the same")
}

// carried asks the other roots, unless the operator knows better.
func (s source) carried(ctx context.Context, what string, alone bool) error {
	if alone || s.m.cluster == nil {
		return nil
	}
	return carried(what, s.m.cluster.neighbours.greet(ctx))
}
