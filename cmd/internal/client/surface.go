package client

import (
	"net/netip"
	"slices"

	"github.com/rootd/rootd/packetpath/vl1"
)

// surface is what one reporter, at one endpoint and over one of our sockets, said our external endpoint is.
type surface struct {
	reporter vl1.Address
	at       int64
	sock     Socket
	scope    vl1.Scope
	from     netip.AddrPort
	mine     netip.AddrPort
}

// seen takes a report of our external endpoint. If a root reports another IP than it did from the same endpoint
// within ten minutes, all paths of that scope and family are reset: they are asked with ECHO and not used before they
// answer.
func (c *Client) seen(e *Env, r *peer, p *path, mine netip.AddrPort) {
	scope := vl1.ScopeOf(mine.Addr())
	if scope != p.scope || scope == vl1.ScopeNone || scope == vl1.ScopeLoopback && !c.loopback || scope == vl1.ScopeMulticast {
		return
	}
	for i := range c.surfaces {
		s := &c.surfaces[i]
		if s.reporter != r.id.Address || s.sock != p.sock || s.scope != scope || s.from != p.addr {
			continue
		}
		changed := r.root && e.Now-s.at < surfaceMemory && !sameIP(s.mine, mine)
		s.mine, s.at = mine, e.Now
		if changed {
			c.resetScope(e, r, scope, mine)
		}
		return
	}
	c.surfaces = append(c.surfaces, surface{
		reporter: r.id.Address, at: e.Now, sock: p.sock, scope: scope, from: p.addr, mine: mine,
	})
}

func (c *Client) resetScope(e *Env, r *peer, scope vl1.Scope, mine netip.AddrPort) {
	c.stats.Resets++
	e.notice(c, Notice{Kind: Reset, Peer: r.id.Address, At: mine})
	kept := c.surfaces[:0]
	var reporter netip.AddrPort
	for _, s := range c.surfaces {
		if s.mine == mine && s.at == e.Now && s.reporter == r.id.Address {
			reporter = s.from
		}
	}
	for _, s := range c.surfaces {
		if s.from == reporter || s.scope != scope {
			kept = append(kept, s)
		}
	}
	c.surfaces = kept
	for _, q := range c.peers {
		for i := range q.slots {
			s := &q.slots[i]
			if familyOf(s.p.addr) != familyOf(mine) || s.p.scope != scope {
				continue
			}
			c.contact(e, q.peer, s.p.sock, s.p.addr, false)
			s.p.lastOut = e.Now
			s.learned = 0 // not used unless it speaks again
		}
	}
}

// pushPaths tells a trusted peer our own endpoints, more often if we only reach each other through a root.
func (c *Client) pushPaths(e *Env, p *path, r *peer, hops uint8) {
	every := int64(pushWithout)
	if hops == 0 {
		every = pushWithPath
	}
	if e.Now-r.lastPushOut < every {
		return
	}
	r.lastPushOut = e.Now
	list := e.pushed[:0]
	add := func(ap netip.AddrPort) {
		d := vl1.DirectPath{Endpoint: ap}
		if !slices.Contains(list, d) && len(list) < maxPushed {
			list = append(list, d)
		}
	}
	for _, ap := range c.direct {
		add(ap)
	}
	if c.fam.OwnSurfaces {
		for _, s := range c.surfaces {
			add(s.mine)
		}
	}
	e.pushed = list
	if len(list) == 0 {
		return
	}
	out := vl1.AppendPushDirectPaths(c.begin(e, r.id.Address, vl1.VerbPushDirectPaths), list...)
	c.reply(e, p, r, vl1.Compress(out, e.unpack[:]))
}

const maxPushed = 40
