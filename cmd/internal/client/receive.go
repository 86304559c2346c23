package client

import (
	"net/netip"

	"github.com/rootd/rootd/packetpath/vl1"
)

// Receive handles one datagram that arrived on a socket. It may change b.
func (c *Client) Receive(e *Env, s Socket, from netip.AddrPort, b []byte) {
	c.stats.RecvPackets++
	c.stats.RecvBytes += uint64(len(b))
	p := c.path(s, from)
	p.lastIn = e.Now // any datagram at all is a sign of life
	if len(b) < vl1.MinDatagram {
		return
	}
	if vl1.IsFragment(b) {
		if f := vl1.Fragment(b); f.Dest() == c.addr {
			c.processWhole(e, p, c.assembler().Fragment(f, from.Addr(), e.Now))
		}
		return
	}
	pkt, err := vl1.ParsePacket(b)
	if err != nil || pkt.Dest() != c.addr || pkt.Source() == c.addr {
		c.stats.Dropped++
		return
	}
	if pkt.Fragmented() {
		c.processWhole(e, p, c.assembler().Head(pkt, from.Addr(), e.Now))
		return
	}
	c.process(e, p, pkt)
}

func (c *Client) processWhole(e *Env, p *path, pkt vl1.Packet) {
	if pkt != nil {
		c.process(e, p, pkt)
	}
}

func (c *Client) assembler() *vl1.Assembler {
	if c.frags == nil {
		c.frags = vl1.NewAssembler(8, 8)
	}
	return c.frags
}

// process handles one whole packet for us.
func (c *Client) process(e *Env, p *path, pkt vl1.Packet) {
	suite := pkt.Suite()
	if suite == vl1.SuiteNone {
		c.stats.Dropped++
		return
	}
	if suite == vl1.SuitePoly1305 && pkt.Verb() == vl1.VerbHello {
		c.onHello(e, p, pkt)
		return
	}
	r := c.peer(pkt.Source())
	if r == nil {
		c.waitFor(e, p, pkt)
		return
	}
	pkt, err := c.decrypt(e, r, pkt)
	if err != nil {
		c.stats.BadMAC++
		return
	}
	pkt, err = vl1.Decompress(pkt, e.unpack[:])
	if err != nil {
		c.stats.Dropped++
		return
	}
	if r.root {
		c.silence.answered(e.Now, &c.stats.LongestSilence)
	}
	switch v := pkt.Verb(); v {
	case vl1.VerbOK:
		c.onOK(e, p, r, pkt)
	case vl1.VerbError:
		c.onError(e, p, r, pkt)
	case vl1.VerbEcho:
		if c.fam.Ancient {
			c.heard(e, p, r, pkt.Hops(), v)
		} else {
			c.onEcho(e, p, r, pkt)
		}
	case vl1.VerbRendezvous:
		c.onRendezvous(e, p, r, pkt)
	case vl1.VerbPushDirectPaths:
		c.onPush(e, p, r, pkt)
	case vl1.VerbFrame:
		c.onFrame(e, p, r, pkt)
	case vl1.VerbWhois:
		c.onWhois(e, p, r, pkt)
	case vl1.VerbHello: // a HELLO inside an encrypted packet
		c.onHello(e, p, pkt)
	default:
		c.heard(e, p, r, pkt.Hops(), v)
	}
}

// waitFor keeps a datagram of an unknown peer and asks who that is.
func (c *Client) waitFor(e *Env, p *path, b []byte) {
	if len(c.rxQueue) >= queueLength {
		c.stats.Dropped++
		return
	}
	if len(c.txQueue) == 0 && len(c.rxQueue) == 0 {
		c.nextQueue = e.Now + queuePeriod
	}
	src := vl1.Packet(b).Source()
	c.rxQueue = append(c.rxQueue, received{at: e.Now, sock: p.sock, from: p.addr, b: append([]byte(nil), b...)})
	c.requestWhois(e, src)
}

// heard is called for every authentic packet: it is a sign of life of the peer and, with hops 0, of the path, which is
// learned or asked to confirm itself if it is not known.
func (c *Client) heard(e *Env, p *path, r *peer, hops uint8, v vl1.Verb) {
	r.lastReceive = e.Now
	switch v {
	case vl1.VerbFrame, vl1.VerbExtFrame, vl1.VerbNetworkConfigRequest, vl1.VerbNetworkConfig, vl1.VerbMulticastFrame:
		r.lastNontrivial = e.Now
	}
	if hops == 0 && !r.knows(c.fam, p, e.Now) && c.allowed(r, p.addr) {
		c.learn(e, p, r, v)
	}
	if e.Now-r.lastTrusted < trustMemory {
		c.pushPaths(e, p, r, hops)
	}
}

func (c *Client) learn(e *Env, p *path, r *peer, v vl1.Verb) {
	picky := c.fam.Learn == LearnSticky || c.fam.Learn == LearnStickyFirstDead || c.fam.Learn == LearnLast
	at := -1
	if v == vl1.VerbOK || picky {
		if at = r.place(c.fam, p, e.Now); at < 0 {
			return
		}
	}
	if v == vl1.VerbOK {
		r.set(at, p, e.Now, 1)
		e.notice(c, Notice{Kind: Learned, Peer: r.id.Address, At: p.addr})
		return
	}
	if c.fam.ConfirmGate && !r.mayTry(p, e.Now) {
		return
	}
	c.contact(e, r, p.sock, p.addr, true)
	p.lastOut = e.Now
	e.notice(c, Notice{Kind: Confirming, Peer: r.id.Address, At: p.addr})
}

// mayTry allows one HELLO to an unknown path in a second.
func (r *peer) mayTry(p *path, now int64) bool {
	fresh := r.tried[:0]
	recent := false
	for _, t := range r.tried {
		if now-t.at > confirmEvery {
			continue
		}
		recent = recent || t.p == p
		fresh = append(fresh, t)
	}
	r.tried = fresh
	if !recent {
		r.tried = append(r.tried, attempt{p: p, at: now})
	}
	return !recent
}
