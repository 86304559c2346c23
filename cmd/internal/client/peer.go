package client

import (
	"net/netip"

	"github.com/rootd/rootd/packetpath/vl1"
)

// peerEntry is a peer in a client's list. The address stands beside the pointer, so that a search touches no other peer.
type peerEntry struct {
	addr vl1.Address
	*peer
}

// peer is another node, root or not: its key, what is known of it, and the table of paths to it. What every packet
// needs comes first, as in a Client.
type peer struct {
	slots               []slot
	lastReceive         int64 // any authentic packet, direct or relayed
	lastNontrivial      int64 // frames and network configuration
	lastTrusted         int64
	lastPushOut         int64
	root                bool // in the planet or a moon
	proto, major, minor uint8
	revision            uint16
	again               repetition

	key vl1.Key

	id           vl1.Identity
	lastVisit    int64 // when doPing last counted as full
	lastWhoisAsk int64
	lastEcho     int64
	lastPushIn   int64
	pushes       int
	tried        []attempt // unknown paths we lately sent a HELLO to

	preferred [2]netip.AddrPort // family 1.2.4: redirect target, per address family
}

// attempt is a HELLO to an unknown path.
type attempt struct {
	p  *path
	at int64
}

// best returns the path that packets to the peer take: the lowest quality by priority, the later entry on a tie.
func (r *peer) best(now int64, expired bool) *path {
	var p *path
	lowest := int64(1<<31 - 1)
	for i := range r.slots {
		s := &r.slots[i]
		if !expired && now-s.learned >= pathExpiry {
			continue
		}
		q := s.p.quality(now) / int64(s.priority)
		if q <= lowest {
			lowest, p = q, s.p
		}
	}
	return p
}

func familyOf(ap netip.AddrPort) int {
	if ap.Addr().Is4() {
		return 0
	}
	return 1
}

// relayQuality ranks roots: the latency of the chosen path, times one more for every 61 s of silence. Lower is better.
func (r *peer) relayQuality(now int64, chosen *path) uint32 {
	silent := now - r.lastReceive
	if silent >= peerTimeout {
		return ^uint32(0)
	}
	l := uint32(unknownLatency)
	if chosen != nil && chosen.latency != 0 {
		l = chosen.latency
	}
	return l * (uint32(silent/(fullPingPeriod+1000)) + 1)
}

// echoes says whether the peer understands ECHO; until its version is known it does not.
func (r *peer) echoes() bool {
	return r.proto >= 5 && !(r.major == 1 && r.minor == 1 && r.revision == 0)
}

// has reports whether an unexpired path to the endpoint is known.
func (r *peer) has(now int64, ap netip.AddrPort) bool {
	for i := range r.slots {
		if now-r.slots[i].learned < pathExpiry && r.slots[i].p.addr == ap {
			return true
		}
	}
	return false
}

// admitPush is the push gate. Pushes that come within the window of the last one count up, whether they were obeyed or
// not, and only the first few of such a row are obeyed.
func (r *peer) admitPush(f *Family, now int64) bool {
	if now-r.lastPushIn <= f.PushWindow {
		r.pushes++
	} else {
		r.pushes = 0
	}
	r.lastPushIn = now
	return r.pushes < f.PushLimit
}

// drop removes entry i and keeps the order of the rest.
func (r *peer) drop(i int) {
	r.slots[i].p.refs--
	copy(r.slots[i:], r.slots[i+1:])
	r.slots[len(r.slots)-1] = slot{}
	r.slots = r.slots[:len(r.slots)-1]
}

// set writes entry i, or appends it.
func (r *peer) set(i int, p *path, now int64, priority int32) {
	p.refs++
	s := slot{p: p, learned: now, priority: priority}
	if i == len(r.slots) {
		r.slots = append(r.slots, s)
		return
	}
	r.slots[i].p.refs--
	r.slots[i] = s
}

// redirect is the effect of a push with the redirect flag that arrived over the path from: the table forgets
// everything below the new priority and every path to the target's IP, and the target is its last entry.
func (r *peer) redirect(f *Family, from, to *path, now int64) {
	if f.Redirect == RedirectPrefer {
		r.preferred[familyOf(to.addr)] = to.addr
		return
	}
	priority := int32(1)
	for i := range r.slots {
		if r.slots[i].p == from {
			priority = r.slots[i].priority
			break
		}
	}
	priority += 2
	kept := r.slots[:0]
	for _, s := range r.slots {
		if s.priority >= priority && !sameNet(s.p.addr, to.addr) {
			kept = append(kept, s)
		} else {
			s.p.refs--
		}
	}
	clear(r.slots[len(kept):])
	r.slots = kept
	if len(r.slots) < f.MaxPaths {
		r.set(len(r.slots), to, now, priority)
	}
}
