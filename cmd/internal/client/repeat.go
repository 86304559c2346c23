package client

import (
	"bytes"

	"github.com/rootd/rootd/packetpath/vl1"
)

// Repetition: what a load generator may save without being kinder than a real client.
//
// A root does not look into what it passes on, so to it a frame that is sent twice is two frames. [Options.Repeats] makes
// a client keep the last frame that it sent to a peer, as it was on the wire, for [Client.Repeat] to send again: by
// the path that a new frame would take now. The client keeps the last frame that it decrypted of each peer, too: a packet
// that is the same byte for byte, but for the hops that a root counts, is as authentic as that one, and is not
// decrypted again. Anything else is.
//
// Everything that follows from a packet is as without: paths, timers, counters, notices.

// repetition is what is kept of a peer's frames.
type repetition struct {
	sent vl1.Packet // armored
	got  vl1.Packet // armored
	open vl1.Packet // got, decrypted
}

// Repeat sends the last frame to a peer once more. It reports false if there is none, or no way to the peer.
func (c *Client) Repeat(e *Env, to vl1.Address) bool {
	r := c.peer(to)
	if r == nil || len(r.again.sent) == 0 {
		return false
	}
	via := c.route(e.Now, r)
	if via == nil {
		return false
	}
	c.stats.FramesSent++
	c.emitPacket(e, via, r.again.sent)
	return true
}

// keepSent keeps a frame for Repeat.
func (c *Client) keepSent(pkt vl1.Packet) {
	if r := c.peer(pkt.Dest()); c.repeats && r != nil && len(pkt) <= maxDatagram {
		r.again.sent = append(r.again.sent[:0], pkt...)
	}
}

// decrypt verifies and decrypts a packet of a peer, in place or, if it repeats the last frame, not at all.
func (c *Client) decrypt(e *Env, r *peer, pkt vl1.Packet) (vl1.Packet, error) {
	e.Repeated = false
	if !c.repeats || len(pkt) > maxDatagram {
		return pkt, vl1.Dearmor(pkt, &r.key)
	}
	a := &r.again
	if sameButHops(pkt, a.got) {
		e.Repeated = true
		a.open.SetHops(pkt.Hops())
		return a.open, nil
	}
	armored := append(e.armored[:0], pkt...)
	if err := vl1.Dearmor(pkt, &r.key); err != nil {
		return nil, err
	}
	if pkt.Verb() == vl1.VerbFrame && !pkt.Compressed() {
		a.got, a.open = append(a.got[:0], armored...), append(a.open[:0], pkt...)
	}
	return pkt, nil
}

// sameButHops compares two packets as they are on the wire.
func sameButHops(p, q vl1.Packet) bool {
	const flags = 18 // the byte that holds the hops
	return len(p) == len(q) && p[flags]-p.Hops() == q[flags]-q.Hops() &&
		bytes.Equal(p[:flags], q[:flags]) && bytes.Equal(p[flags+1:], q[flags+1:])
}
