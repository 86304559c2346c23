package client

import (
	"net/netip"

	"github.com/rootd/rootd/packetpath/vl1"
)

// anySocket sends from every socket of the destination's address family.
const anySocket = Socket(0xff)

// begin starts a packet in the scratch space of e.
func (c *Client) begin(e *Env, dst vl1.Address, v vl1.Verb) vl1.Packet {
	return vl1.NewPacket(e.build[:0], c.rand64(), dst, c.addr, v)
}

// suite is how packets to the peer are encrypted.
func (c *Client) suite(r *peer) vl1.Suite {
	if c.fam.AES && r.proto >= 12 {
		return vl1.SuiteAES
	}
	return vl1.SuiteSalsa
}

// emit hands one datagram to the caller. A datagram for a socket of the other address family is lost, as it is in
// real clients.
func (c *Client) emit(e *Env, s Socket, to netip.AddrPort, ttl uint8, b []byte) {
	n4, n := Socket(c.sockets[0]), Socket(c.sockets[0]+c.sockets[1])
	first, last := Socket(0), n4
	if familyOf(to) == 1 && !c.dual {
		first, last = n4, n
	}
	if s != anySocket {
		if s < first || s >= last {
			return
		}
		first, last = s, s+1
	}
	for ; first < last; first++ {
		c.stats.SentPackets++
		c.stats.SentBytes += uint64(len(b))
		e.Send(c, first, to, ttl, b)
	}
}

// emitPacket sends an armored packet on one path, in pieces if it is large.
func (c *Client) emitPacket(e *Env, p *path, pkt vl1.Packet) {
	p.lastOut = e.Now
	if len(pkt) <= maxDatagram {
		c.emit(e, p.sock, p.addr, 0, pkt)
		return
	}
	if vl1.Split(pkt, maxDatagram, func(b []byte) { c.emit(e, p.sock, p.addr, 0, b) }) != nil {
		c.stats.Dropped++
	}
}

// seal armors a packet for a peer and remembers its ID if an OK is expected.
func (c *Client) seal(pkt vl1.Packet, r *peer, expect bool) {
	pkt.SetFragmented(len(pkt) > maxDatagram)
	vl1.Armor(pkt, &r.key, c.suite(r))
	if expect {
		c.expect(pkt.ID())
	}
}

// expect makes an OK for the packet ID acceptable. Real clients remember the upper half of several thousand IDs; we
// remember those of the requests that are still worth an answer.
func (c *Client) expect(id uint64) {
	c.asked[c.askedAt%replies] = uint32(id >> 32)
	c.askedAt++
}

func (c *Client) expected(id uint64) bool {
	want := uint32(id >> 32)
	for _, have := range c.asked {
		if have == want {
			return true
		}
	}
	return false
}

// hello sends HELLO to an endpoint.
func (c *Client) hello(e *Env, r *peer, s Socket, to netip.AddrPort) {
	h := vl1.Hello{
		Protocol: c.fam.Protocol, Major: c.fam.Major, Minor: c.fam.Minor, Revision: c.fam.Revision,
		Clock: uint64(e.Now), Identity: c.id.Identity, SentTo: to,
	}
	if c.fam.HelloTail {
		h.HasPlanet, h.PlanetID, h.PlanetTimestamp = true, c.planet.ID, c.planet.Timestamp
	}
	pkt := vl1.AppendHello(c.begin(e, r.id.Address, vl1.VerbHello), &h, &r.key)
	vl1.Armor(pkt, &r.key, vl1.SuitePoly1305)
	c.expect(pkt.ID())
	c.stats.Hellos++
	if r.root {
		c.silence.asked(e.Now)
	}
	if c.fam.HelloEverywhere {
		s = anySocket
	}
	c.emit(e, s, to, 0, pkt)
}

// contact sends ECHO, or HELLO if that is asked for or the peer does not know ECHO.
func (c *Client) contact(e *Env, r *peer, s Socket, to netip.AddrPort, full bool) {
	if full || c.fam.Ancient || !r.echoes() {
		c.hello(e, r, s, to)
		return
	}
	pkt := c.begin(e, r.id.Address, vl1.VerbEcho)
	c.seal(pkt, r, true)
	c.stats.Echoes++
	if r.root {
		c.silence.asked(e.Now)
	}
	c.emit(e, s, to, 0, pkt)
}

// reply sends a packet to a peer over the path on which its request came.
func (c *Client) reply(e *Env, p *path, r *peer, pkt vl1.Packet) {
	c.seal(pkt, r, false)
	c.emitPacket(e, p, pkt)
}

// send sends a packet wherever packets to its destination go now, or queues it until its identity is known.
// The packet is not armored yet; it is if send reports true: that it went out.
func (c *Client) send(e *Env, pkt vl1.Packet, expect bool) bool {
	if pkt.Dest() == c.addr {
		return false
	}
	if c.trySend(e, pkt, expect) {
		return true
	}
	if len(c.txQueue) == 0 && len(c.rxQueue) == 0 {
		c.nextQueue = e.Now + queuePeriod
	}
	if len(c.txQueue) >= queueLength {
		c.stats.FramesLost++
		c.txQueue = append(c.txQueue[:0], c.txQueue[1:]...)
	}
	dst := pkt.Dest()
	c.txQueue = append(c.txQueue, queued{at: e.Now, expect: expect, pkt: append(vl1.Packet(nil), pkt...)})
	if c.peer(dst) == nil {
		c.requestWhois(e, dst)
	}
	return false
}

// trySend sends a packet by the route of its destination, if its identity and a way are known.
func (c *Client) trySend(e *Env, pkt vl1.Packet, expect bool) bool {
	r := c.peer(pkt.Dest())
	if r == nil {
		return false
	}
	via := c.route(e.Now, r)
	if via == nil {
		return false
	}
	c.seal(pkt, r, expect)
	c.emitPacket(e, via, pkt)
	return true
}

// route returns the path that packets to a peer take now: its best, else that of the best root, else an expired one. Nil
// if there is none.
func (c *Client) route(now int64, r *peer) *path {
	if p := r.best(now, false); p != nil {
		return p
	}
	if _, p := c.upstreamPath(now); p != nil {
		return p
	}
	return r.best(now, true)
}
