package packetpath

import (
	"encoding/binary"

	"github.com/rootd/rootd/fsm/table"
	"github.com/rootd/rootd/packetpath/gather"
	"github.com/rootd/rootd/packetpath/vl1"
)

const (
	maxWhois = 8                   // addresses answered of one request; clients ask for one
	maxEcho  = vl1.MaxPacket - 128 // bytes sent back
)

// whois answers with one OK for each known identity: clients read only the first of an OK. Unknown addresses are
// met with silence; the client asks again.
func (w *worker) whois(s *session, p vl1.Packet, from origin) {
	asked, err := vl1.DecodeWhois(p)
	if err != nil {
		w.inc(BadPacket)
		return
	}
	l := &w.root.limits
	for i := range min(asked.Len(), maxWhois) {
		a := asked.At(i)
		w.inc(WhoisReceived)
		if !s.whois.Take(w.now, 1, l.WhoisRate, l.WhoisBurst) {
			w.inc(WhoisLimited)
			continue
		}
		id, ok := w.identity(a)
		if !ok {
			w.inc(WhoisUnknown)
			continue
		}
		if w.answer(from, s, vl1.AppendOKWhois(w.packet(s.id.Address, vl1.VerbOK), p.ID(), &id)) {
			w.inc(WhoisAnswered)
		}
	}
}

// identity looks an address up: ourselves, a peer of ours, any peer of the cluster.
func (w *worker) identity(a vl1.Address) (vl1.Identity, bool) {
	r := w.root
	if a == r.self.Address {
		return r.self.Identity, true
	}
	if s := r.sessions.get(a); s != nil {
		return s.id, true
	}
	var rec table.Record
	if r.view.Peer(a, &rec) {
		return vl1.Identity{Address: a, Key: rec.Key}, true
	}
	return vl1.Identity{}, false
}

// echo sends the payload back.
func (w *worker) echo(s *session, p vl1.Packet, from origin) {
	l := &w.root.limits
	if !s.echoes.Take(w.now, 1, l.EchoRate, l.EchoBurst) {
		w.inc(EchoLimited)
		return
	}
	payload := p.Payload()
	payload = payload[:min(len(payload), maxEcho)]
	if w.answer(from, s, vl1.AppendOKEcho(w.packet(s.id.Address, vl1.VerbOK), p.ID(), payload)) {
		w.inc(EchoAnswered)
	}
}

// like stores multicast subscriptions.
func (w *worker) like(s *session, p vl1.Packet) {
	groups, err := vl1.DecodeMulticastLike(p)
	if err != nil {
		w.inc(BadPacket)
		return
	}
	for i := range groups.Len() {
		g := groups.At(i)
		if !w.likeAtHome(s.id.Address, &g) || w.root.groups.Like(s.id.Address, gather.Group(g), w.now) {
			w.inc(Likes)
		} else {
			w.inc(LikesRefused)
		}
	}
}

// gather names members of a multicast group.
func (w *worker) gather(s *session, p vl1.Packet, from origin) {
	g, err := vl1.DecodeMulticastGather(p)
	if err != nil {
		w.inc(BadPacket)
		return
	}
	l := &w.root.limits
	if !s.gathers.Take(w.now, 1, l.GatherRate, l.GatherBurst) {
		w.inc(GatherLimited)
		return
	}
	var space [256]vl1.Address
	want := min(int(g.Limit), l.GatherMax, len(space))
	if w.budget == unlimited {
		w.gatherAtHome(s.id.Address, p.ID(), &g.Group, want)
	}
	total, members := w.root.groups.Gather(gather.Group(g.Group), s.id.Address, want, w.now, w.random.Uint64(), space[:0])
	if len(members) == 0 {
		return
	}
	reply := vl1.AppendOKGather(w.packet(s.id.Address, vl1.VerbOK), p.ID(), g.Group, uint32(total), members)
	if w.answer(from, s, reply) {
		w.inc(GatherAnswered)
	}
}

// refuseConfig tells a client that we are no network controller, or it would go on asking.
func (w *worker) refuseConfig(s *session, p vl1.Packet, from origin) {
	request, err := vl1.DecodeNetworkConfigRequest(p)
	if err != nil {
		w.inc(BadPacket)
		return
	}
	if !s.echoes.Take(w.now, 1, w.root.limits.EchoRate, w.root.limits.EchoBurst) {
		w.inc(EchoLimited)
		return
	}
	var network [8]byte
	binary.BigEndian.PutUint64(network[:], request.Network)
	m := vl1.ErrorMessage{
		InRe: vl1.VerbNetworkConfigRequest, InReID: p.ID(), Code: vl1.ErrorUnsupported,
		Payload: network[:],
	}
	if w.answer(from, s, vl1.AppendError(w.packet(s.id.Address, vl1.VerbError), &m)) {
		w.inc(ConfigRefused)
	}
}
