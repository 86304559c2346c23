package main

import (
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/rootd/rootd/cmd/internal/client"
)

// act does one action. The parser has checked its words.
func (g *stage) act(a action) {
	member := func(i int) string { return a.args[i] }
	switch a.verb {
	case "kill":
		g.members[member(0)].Silent = true
	case "revive":
		g.members[member(0)].Silent = false
	case "redirect":
		hops := uint8(1)
		if len(a.args) == 3 {
			n, _ := strconv.ParseUint(strings.TrimPrefix(a.args[2], "hops="), 10, 3)
			hops = uint8(n)
		}
		g.redirect(member(0), member(1), hops)
	case "rescue":
		g.rescue(member(0), member(1), member(3))
	case "publish":
		g.publish()
	case "sleep":
		d, _ := time.ParseDuration(a.args[1])
		g.some(a.args[0], func(x *actor) {
			x.node.Asleep = true
			g.net.At(d.Milliseconds(), func() { g.net.Restart(x.node) })
		})
	case "rebind":
		g.some(a.args[0], func(x *actor) { g.move(x, false) })
	case "roam":
		g.some(a.args[0], func(x *actor) { g.move(x, true) })
	case "storm":
		g.some(a.args[0], g.restart)
	}
}

// some calls f for a random share of the clients.
func (g *stage) some(share string, f func(*actor)) {
	p, _ := strconv.ParseFloat(share, 64)
	for _, a := range g.actors {
		if g.rng.Float64() < p {
			f(a)
		}
	}
}

// redirect sends every client that uses a member to another, from where it last spoke to it.
func (g *stage) redirect(from, to string, hops uint8) {
	m, t := g.members[from], g.members[to]
	for _, a := range g.actors {
		if g.uses(a, from) {
			if s := m.Session(a.opts.Identity.Address); s != nil {
				m.Redirect(s, hops, t.Endpoints[0])
			}
		}
	}
}

// rescue does the same for a dead member: the redirect travels through another root's member.
func (g *stage) rescue(dead, to, via string) {
	t, v := g.members[to], g.members[via]
	for _, a := range g.actors {
		if !g.uses(a, dead) {
			continue
		}
		if s := v.Session(a.opts.Identity.Address); s != nil {
			if _, err := t.Root.Know(a.opts.Identity.Identity); err == nil {
				t.RedirectVia(v, s, t.Endpoints[0])
			}
		}
	}
}

func (g *stage) uses(a *actor, name string) bool {
	m := g.members[name]
	ap, ok := a.node.C.Endpoint(m.Root.ID.Address, g.net.Now)
	return ok && ap.Addr() == m.Endpoints[0].Addr()
}

// move gives a client new external ports, and with roam a new address too.
func (g *stage) move(a *actor, roam bool) {
	if a.nat != nil {
		if roam {
			old := a.nat.External[0]
			a.nat.External[0] = g.address(63)
			g.where[a.nat.External[0]] = a.place
			delete(g.where, old)
		}
		g.net.Move(a.node, a.node.Sockets...)
		return
	}
	addr := a.node.Sockets[0].Addr()
	if roam {
		addr = g.address(63)
		g.where[addr] = a.place
	}
	a.seq++
	local := make([]netip.AddrPort, len(a.node.Sockets))
	for k := range local {
		local[k] = netip.AddrPortFrom(addr, uint16(9993+k+10*a.seq))
	}
	g.net.Move(a.node, local...)
}

// restart replaces a client by one with the same identity that remembers nothing but its planet.
func (g *stage) restart(a *actor) {
	g.retired = append(g.retired, a.node.C.Stats(g.net.Now))
	o := a.opts
	o.Planet = a.node.C.Planet()
	o.Seed += uint64(len(g.retired))
	c, err := client.New(o)
	if err != nil {
		return // it was possible before with the same options
	}
	g.net.Replace(a.node, c)
	g.move(a, false)
}
