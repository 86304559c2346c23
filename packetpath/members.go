package packetpath

import (
	"encoding/binary"
	"net/netip"
	"sync"

	"github.com/rootd/rootd/fsm"
	"github.com/rootd/rootd/fsm/table"
	"github.com/rootd/rootd/packetpath/gather"
	"github.com/rootd/rootd/packetpath/vl1"
)

// LinkSender carries packets and short messages to other members. It belongs to one goroutine; what it was given
// leaves with Flush at the latest. Datagrams and messages may be lost, as on any network.
type LinkSender interface {
	// Send hands over a datagram for a peer that is attached to the member. Nothing of it is kept.
	Send(member uint16, peer uint64, datagram []byte) error
	// Notify sends a message of a kind of ours.
	Notify(member uint16, kind byte, body []byte) error
	Flush()
}

// Messages between members. Addresses have 5 bytes, endpoints are encoded as in VL1.
//
//	introduce  flags 1 (1: introduce back) | to 5 | about 5 | endpoint of about 7 or 19
//	like       peer 5 | groups, each network 8, MAC 6, ADI 4
//	gather     asker 5 | packet ID of its request 8 | group 18 | limit 2
//	gathered   asker 5 | packet ID 8 | group 18 | total 4 | members, 5 each
//	claim      peer 5 | family 1 (4 or 6): I hear your peer; do you?
//	release    peer 5 | family 1: no
//	probe      peer 5 | family 1: measure it, it will come (probe.go)
//	ready      peer 5 | family 1: let it come
//	arrived    peer 5 | family 1: the peer that you sent is here
//	kept       peer 5 | family 1: your peer keeps a path to me; does it keep yours?
//	follow     peer 5 | family 1: I have this family of it; look whether yours should follow
//	main       peer 5 | endpoint of the peer 7 or 19: I sent it from there
const (
	kindIntroduce  byte = 1
	kindLike       byte = 2
	kindGather     byte = 3
	kindGathered   byte = 4
	kindClaim      byte = 5
	kindRelease    byte = 6
	kindArrived    byte = 7
	kindMain       byte = 8
	kindProbe      byte = 9
	kindProbeReady byte = 10
	kindKept       byte = 11
	kindFollow     byte = 12
)

const (
	groupLen      = 18
	introduceBack = 1
)

// Receiver takes what other members sent. Calls come between Begin and End, from any goroutine, one at a time.
type Receiver struct {
	mu sync.Mutex // held from Begin to End
	w  *worker
}

// NewReceiver returns a receiver.
func (r *Root) NewReceiver() *Receiver { return &Receiver{w: r.newWorker(0)} }

// Begin starts a batch.
func (c *Receiver) Begin() {
	c.mu.Lock()
	c.w.begin()
}

// End sends what the batch brought about. The datagrams given to Deliver are not used afterwards.
func (c *Receiver) End() {
	c.w.end()
	c.mu.Unlock()
}

// Deliver passes a datagram on to a peer that is attached here. It goes no further than that: a packet makes at
// most one step between members. Only here, at the end of that step, the relay counts as a hop.
func (c *Receiver) Deliver(peer vl1.Address, b []byte) {
	w := c.w
	w.inc(LinkReceived)
	if w.root.fenced.Load() || len(b) < vl1.MinDatagram || vl1.AddressFrom(b[8:]) != peer {
		w.inc(LinkNoRoute)
		return
	}
	hopByte := headHops
	if vl1.IsFragment(b) {
		hopByte = fragmentHops
	} else if len(b) < vl1.HeaderLen {
		w.inc(LinkNoRoute)
		return
	}
	if b[hopByte]&7 >= maxHops {
		w.inc(RelayHopLimit)
		return
	}
	if s := w.root.sessions.get(peer); s != nil {
		if at := s.route(w.now); at != nil {
			if !w.mayRelayTo(s, b) {
				w.inc(RelayLimited)
				return
			}
			w.pass(b, hopByte, at.origin)
			return
		}
	}
	w.relayFromView(peer, b, hopByte, origin{})
}

// Message takes a message of another member. One that makes no sense is dropped: it may come from a newer version.
func (c *Receiver) Message(from uint16, kind byte, body []byte) {
	w := c.w
	w.inc(LinkMessages)
	if w.root.fenced.Load() {
		return
	}
	switch kind {
	case kindIntroduce:
		w.introducedByMember(from, body)
	case kindLike:
		w.likedAtMember(body)
	case kindGather:
		w.gatherForMember(from, body)
	case kindGathered:
		w.gatheredAtMember(body)
	case kindClaim:
		w.claimedByMember(from, body, false)
	case kindKept:
		w.claimedByMember(from, body, true)
	case kindFollow:
		w.follows(body)
	case kindRelease:
		w.releasedByMember(body)
	case kindProbe:
		w.probeForMember(from, body)
	case kindProbeReady:
		w.readyAtMember(from, body)
	case kindMain:
		w.mainPath(body)
	case kindArrived:
		w.sentTo(table.MemberID(from), body)
	}
}

// elsewhere returns the member to which a peer is attached by the log, if that is another one. A session to which the peer
// answered after the log saw it knows better: the peer has just come, and the log will say so soon.
func (w *worker) elsewhere(peer vl1.Address, s *session) (table.MemberID, bool) {
	r := w.root
	state := r.view.State()
	if r.link == nil || len(state.Members) < 2 {
		return 0, false
	}
	var words table.Words
	if !r.view.PeerHot(peer, &words) {
		return 0, false
	}
	v4, ok4 := state.AttachedIn(&words, false)
	v6, ok6 := state.AttachedIn(&words, true)
	if s != nil {
		if at := s.route(w.now); at != nil {
			here := ok4 && v4 == r.member || ok6 && v6 == r.member
			if here || s.answered(at, seenMillis(words.LastSeen()), w.now) {
				return 0, false
			}
		}
	}
	switch {
	case ok4 && v4 != r.member:
		return v4, true
	case ok6 && v6 != r.member:
		return v6, true
	}
	return 0, false
}

// seenMillis is when the log last saw a peer, in ms since 1970.
func seenMillis(lastSeen uint32) int64 { return table.Epoch.UnixMilli() + int64(lastSeen)*1000 }

// handOver sends a datagram to the member that has its receiver.
func (w *worker) handOver(to table.MemberID, peer vl1.Address, b []byte) bool {
	if w.link.Send(uint16(to), uint64(peer), b) != nil {
		w.inc(LinkFailed)
		return false
	}
	w.inc(LinkSent)
	return true
}

// introduceAcross introduces a peer of ours to one of another member. That member tells its own peer, because only
// its address may pass the peer's NAT, and tells us where its peer really is, so that we can tell ours.
func (w *worker) introduceAcross(source, dest vl1.Address, at table.MemberID, from origin) {
	s := w.mayIntroduce(source, dest, from)
	if s == nil {
		return
	}
	for _, p := range [2]*path{live(&s.v4, w.now), live(&s.v6, w.now)} {
		if p != nil {
			w.notifyIntroduce(at, introduceBack, dest, source, p.addr)
		}
	}
	w.inc(Introductions)
}

func (w *worker) notifyIntroduce(member table.MemberID, flags byte, to, about vl1.Address, where netip.AddrPort) {
	var space [32]byte
	b := append(space[:0], flags)
	b = about.Append(to.Append(b))
	w.notify(member, kindIntroduce, vl1.AppendEndpoint(b, where))
}

func (w *worker) notify(member table.MemberID, kind byte, body []byte) {
	if w.link == nil || w.link.Notify(uint16(member), kind, body) != nil {
		w.inc(LinkFailed)
	}
}

func (w *worker) introducedByMember(from uint16, b []byte) {
	if len(b) < 1+2*vl1.AddressLen {
		return
	}
	to, about := vl1.AddressFrom(b[1:]), vl1.AddressFrom(b[6:])
	where, _, err := vl1.DecodeEndpoint(b[11:])
	s := w.root.sessions.get(to)
	if err != nil || !where.IsValid() || s == nil {
		return
	}
	p := live(s.bestFor(where.Addr()), w.now)
	if p == nil {
		return
	}
	w.rendezvous(s, p, about, where)
	if b[0]&introduceBack != 0 {
		w.notifyIntroduce(table.MemberID(from), 0, about, to, p.addr)
	}
}

// homes are the members that keep a multicast group: the two that win the rendezvous hashing over all that serve.
// Two, because then no subscription is missed while a member comes or goes: the second home of before is the first
// of after, and both are asked.
func homes(state *fsm.State, g *vl1.Group) (first, second table.MemberID) {
	var best, next uint64
	for i := range state.Members {
		m := &state.Members[i]
		if m.Status != fsm.StatusUp {
			continue
		}
		h := mix(g.Network ^ uint64(m.ID)<<48)
		h = mix(h ^ uint64(binary.BigEndian.Uint32(g.MAC[:4]))<<32 ^ uint64(g.ADI))
		h = mix(h ^ uint64(binary.BigEndian.Uint16(g.MAC[4:])))
		switch {
		case h >= best:
			first, second, best, next = m.ID, first, h, best
		case h >= next:
			second, next = m.ID, h
		}
	}
	return first, second
}

// mix is the finalizer of splitmix64: all members must compute the same, so it has no seed.
func mix(x uint64) uint64 {
	x ^= x >> 30
	x *= 0xbf58476d1ce4e5b9
	x ^= x >> 27
	x *= 0x94d049bb133111eb
	return x ^ x>>31
}

// likeAtHome sends a subscription to the group's homes; ours is kept here.
func (w *worker) likeAtHome(peer vl1.Address, g *vl1.Group) (here bool) {
	state := w.root.view.State()
	if w.link == nil || len(state.Members) < 2 {
		return true
	}
	first, second := homes(state, g)
	for _, m := range [2]table.MemberID{first, second} {
		if m == w.root.member || m == 0 {
			here = true
			continue
		}
		var space [32]byte
		w.notify(m, kindLike, appendGroup(peer.Append(space[:0]), g))
	}
	return here
}

func (w *worker) likedAtMember(b []byte) {
	if len(b) < vl1.AddressLen {
		return
	}
	peer := vl1.AddressFrom(b)
	for b = b[vl1.AddressLen:]; len(b) >= groupLen; b = b[groupLen:] {
		w.root.groups.Like(peer, gather.Group(decodeGroup(b)), w.now)
	}
}

// gatherAtHome asks the group's homes; their answers come back as messages and become further OKs.
func (w *worker) gatherAtHome(asker vl1.Address, requestID uint64, g *vl1.Group, limit int) {
	state := w.root.view.State()
	if w.link == nil || len(state.Members) < 2 {
		return
	}
	first, second := homes(state, g)
	for _, m := range [2]table.MemberID{first, second} {
		if m == w.root.member || m == 0 {
			continue
		}
		var space [64]byte
		b := binary.BigEndian.AppendUint64(asker.Append(space[:0]), requestID)
		w.notify(m, kindGather, binary.BigEndian.AppendUint16(appendGroup(b, g), uint16(limit)))
	}
}

func (w *worker) gatherForMember(from uint16, b []byte) {
	if len(b) != vl1.AddressLen+8+groupLen+2 {
		return
	}
	g := decodeGroup(b[13:])
	var space [256]vl1.Address
	limit := min(int(binary.BigEndian.Uint16(b[31:])), w.root.limits.GatherMax, len(space))
	total, members := w.root.groups.Gather(gather.Group(g), vl1.AddressFrom(b), limit, w.now, w.random.Uint64(), space[:0])
	if len(members) == 0 {
		return
	}
	var body [1400]byte
	reply := append(body[:0], b[:13+groupLen]...)
	reply = binary.BigEndian.AppendUint32(reply, uint32(total))
	for _, m := range members {
		reply = m.Append(reply)
	}
	w.notify(table.MemberID(from), kindGathered, reply)
}

func (w *worker) gatheredAtMember(b []byte) {
	const head = vl1.AddressLen + 8 + groupLen + 4
	if len(b) < head {
		return
	}
	s := w.root.sessions.get(vl1.AddressFrom(b))
	if s == nil {
		return
	}
	at := s.route(w.now)
	if at == nil {
		return
	}
	var space [256]vl1.Address
	members := space[:0]
	for m := b[head:]; len(m) >= vl1.AddressLen && len(members) < len(space); m = m[vl1.AddressLen:] {
		members = append(members, vl1.AddressFrom(m))
	}
	p := w.packet(s.id.Address, vl1.VerbOK)
	p = vl1.AppendOKGather(p, binary.BigEndian.Uint64(b[5:]), decodeGroup(b[13:]), binary.BigEndian.Uint32(b[31:]), members)
	w.seal(at.origin, s, p)
	w.inc(GatherAnswered)
}

func appendGroup(b []byte, g *vl1.Group) []byte {
	b = binary.BigEndian.AppendUint64(b, g.Network)
	b = append(b, g.MAC[:]...)
	return binary.BigEndian.AppendUint32(b, g.ADI)
}

func decodeGroup(b []byte) (g vl1.Group) {
	g.Network = binary.BigEndian.Uint64(b)
	copy(g.MAC[:], b[8:])
	g.ADI = binary.BigEndian.Uint32(b[14:])
	return g
}
