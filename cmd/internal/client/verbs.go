package client

import (
	"net/netip"

	"github.com/rootd/rootd/packetpath/vl1"
)

// onHello answers a HELLO of another node. Its identity is learned without the memory-hard check.
func (c *Client) onHello(e *Env, p *path, pkt vl1.Packet) {
	proto, id, err := vl1.PeekHello(pkt)
	if err != nil || proto < 4 || id.Address != pkt.Source() {
		c.stats.Dropped++
		return
	}
	r := c.peer(id.Address)
	if r != nil && r.id != id {
		c.stats.Dropped++ // a real client reports the collision to the sender
		return
	}
	fresh := r == nil
	if fresh {
		if r = c.addPeer(id); r == nil {
			return
		}
	}
	var h vl1.Hello
	if vl1.Dearmor(pkt, &r.key) != nil || vl1.DecodeHello(pkt, &r.key, &h) != nil {
		c.stats.BadMAC++
		if fresh {
			c.peers = c.peers[:len(c.peers)-1]
		}
		return
	}
	if r.root {
		c.silence.answered(e.Now, &c.stats.LongestSilence)
	}
	if h.SentTo.IsValid() && pkt.Hops() == 0 {
		c.seen(e, r, p, h.SentTo)
	}
	ok := vl1.OKHello{
		Clock: h.Clock, Protocol: c.fam.Protocol, Major: c.fam.Major, Minor: c.fam.Minor, Revision: c.fam.Revision, SeenAt: p.addr,
	}
	c.reply(e, p, r, vl1.AppendOKHello(c.begin(e, id.Address, vl1.VerbOK), pkt.ID(), &ok))
	r.proto, r.major, r.minor, r.revision = h.Protocol, h.Major, h.Minor, h.Revision
	c.heard(e, p, r, pkt.Hops(), vl1.VerbHello)
	if fresh {
		c.resolved(e, r)
	}
}

// onOK handles the answer to a request of ours. An OK that we did not ask for has no effect at all.
func (c *Client) onOK(e *Env, p *path, r *peer, pkt vl1.Packet) {
	verb, re, body, err := vl1.DecodeOK(pkt)
	if err != nil || !c.expected(re) {
		c.stats.Dropped++
		return
	}
	c.stats.OKs++
	switch verb {
	case vl1.VerbHello:
		var ok vl1.OKHello
		if vl1.DecodeOKHello(body, &ok) != nil || ok.Protocol < 4 || c.takeWorlds(e, r, ok.Worlds) != nil {
			return
		}
		if pkt.Hops() == 0 {
			ms := uint32(min(max(e.Now-int64(ok.Clock), 0), unknownLatency))
			p.updateLatency(ms)
			e.notice(c, Notice{Kind: Answered, Peer: r.id.Address, At: p.addr, Value: int64(ms)})
		}
		r.proto, r.major, r.minor, r.revision = ok.Protocol, ok.Major, ok.Minor, ok.Revision
		if ok.SeenAt.IsValid() && pkt.Hops() == 0 {
			c.seen(e, r, p, ok.SeenAt)
		}
	case vl1.VerbWhois:
		if r.root {
			id, err := vl1.DecodeOKWhois(body)
			if err != nil {
				return
			}
			if known := c.addPeer(id); known != nil {
				c.resolved(e, known)
			}
		}
	case vl1.VerbMulticastGather:
		c.onGathered(e, r, body)
	}
	c.heard(e, p, r, pkt.Hops(), vl1.VerbOK)
}

func (c *Client) onError(e *Env, p *path, r *peer, pkt vl1.Packet) {
	m, err := vl1.DecodeError(pkt)
	if err != nil {
		return
	}
	if m.Code == vl1.ErrorIdentityCollision && r.root {
		e.notice(c, Notice{Kind: Collision, Peer: r.id.Address})
	}
	c.heard(e, p, r, pkt.Hops(), vl1.VerbError)
}

// onEcho answers an ECHO unless the gate of the family is closed.
func (c *Client) onEcho(e *Env, p *path, r *peer, pkt vl1.Packet) {
	switch c.fam.Echo {
	case EchoPerPeer:
		if e.Now-r.lastEcho < 1000 {
			return
		}
		r.lastEcho = e.Now
	case EchoPerPath:
		if e.Now-p.lastEcho < 1000/6 {
			return
		}
		p.lastEcho = e.Now
	}
	c.reply(e, p, r, vl1.AppendOKEcho(c.begin(e, r.id.Address, vl1.VerbOK), pkt.ID(), pkt.Payload()))
	c.heard(e, p, r, pkt.Hops(), vl1.VerbEcho)
}

// onRendezvous makes contact at an endpoint that a root named for a peer we know. The peer may be the root itself.
func (c *Client) onRendezvous(e *Env, p *path, r *peer, pkt vl1.Packet) {
	c.stats.Rendezvous++
	m, err := vl1.DecodeRendezvous(pkt)
	if with := c.peer(m.Peer); err == nil && r.root && with != nil {
		if c.allowed(with, m.Endpoint) {
			var junk [4]byte
			x := c.rand64()
			junk = [4]byte{byte(x), byte(x >> 8), byte(x >> 16), byte(x >> 24)}
			c.emit(e, p.sock, m.Endpoint, 2, junk[:]) // opens our own NAT and dies on the way
			c.contact(e, with, p.sock, m.Endpoint, false)
		} else {
			e.notice(c, Notice{Kind: EndpointRefused, Peer: m.Peer, At: m.Endpoint})
		}
	}
	c.heard(e, p, r, pkt.Hops(), vl1.VerbRendezvous)
}

// onPush handles PUSH_DIRECT_PATHS. Anything that the peer wrote counts, whatever way it came.
func (c *Client) onPush(e *Env, p *path, r *peer, pkt vl1.Packet) {
	c.stats.Pushes++
	if r.admitPush(c.fam, e.Now) {
		var perScope [maxScope + 1][2]int
		list, _ := vl1.DecodePushDirectPaths(pkt, e.pushed[:0]) // what came before a mistake counts
		e.pushed = list
		for _, rec := range list {
			ap := rec.Endpoint
			redirect := rec.Flags&vl1.PathRedirect != 0 && c.fam.Redirect != RedirectIgnored
			if rec.Flags&vl1.PathForget != 0 || !redirect && r.has(e.Now, ap) {
				continue
			}
			if !c.allowed(r, ap) {
				e.notice(c, Notice{Kind: EndpointRefused, Peer: r.id.Address, At: ap})
				continue
			}
			if redirect {
				c.redirect(e, p, r, ap)
				continue
			}
			if n := &perScope[vl1.ScopeOf(ap.Addr())][familyOf(ap)]; *n < pushesPerScope {
				*n++
				c.contact(e, r, anySocket, ap, false)
			}
		}
	} else {
		e.notice(c, Notice{Kind: PushRefused, Peer: r.id.Address})
	}
	c.heard(e, p, r, pkt.Hops(), vl1.VerbPushDirectPaths)
}

const pushesPerScope = 8

func (c *Client) redirect(e *Env, from *path, r *peer, ap netip.AddrPort) {
	to := c.path(from.sock, ap)
	if c.fam.Redirect == RedirectPrefer {
		c.contact(e, r, anySocket, ap, false)
	} else {
		c.contact(e, r, from.sock, ap, true)
	}
	r.redirect(c.fam, from, to, e.Now)
	c.stats.Redirects++
	prio := int64(0)
	if n := len(r.slots); n > 0 {
		prio = int64(r.slots[n-1].priority)
	}
	e.notice(c, Notice{Kind: Redirected, Peer: r.id.Address, At: ap, Value: prio})
}

// onWhois: a client that is no root answers at most ten times a second and peer, for identities it knows.
func (c *Client) onWhois(e *Env, p *path, r *peer, pkt vl1.Packet) {
	if e.Now-r.lastWhoisAsk >= 100 {
		r.lastWhoisAsk = e.Now
		if list, err := vl1.DecodeWhois(pkt); err == nil {
			a := list.At(0)
			id, known := c.id.Identity, a == c.addr
			if q := c.peer(a); q != nil {
				id, known = q.id, true
			}
			if known {
				c.reply(e, p, r, vl1.AppendOKWhois(c.begin(e, r.id.Address, vl1.VerbOK), pkt.ID(), &id))
			}
		}
	}
	c.heard(e, p, r, pkt.Hops(), vl1.VerbWhois)
}
