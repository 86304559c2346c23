package sim

import (
	"net/netip"

	"github.com/rootd/rootd/packetpath/vl1"
)

// Rendezvous names an endpoint of a peer, which may be the root itself, to a client.
func (m *Member) Rendezvous(s *Session, with vl1.Address, at netip.AddrPort) {
	pkt := vl1.AppendRendezvous(m.packet(s.Peer, vl1.VerbRendezvous), vl1.Rendezvous{Peer: with, Endpoint: at})
	m.write(s.Local, s.Client, s.Peer, pkt, 0)
}

// Push sends PUSH_DIRECT_PATHS with the given hop count.
func (m *Member) Push(s *Session, hops uint8, paths ...vl1.DirectPath) {
	m.write(s.Local, s.Client, s.Peer, vl1.AppendPushDirectPaths(m.packet(s.Peer, vl1.VerbPushDirectPaths), paths...), hops)
}

// Redirect sends a client to other endpoints.
func (m *Member) Redirect(s *Session, hops uint8, to ...netip.AddrPort) {
	paths := make([]vl1.DirectPath, len(to))
	for i, ap := range to {
		paths[i] = vl1.DirectPath{Flags: vl1.PathRedirect, Endpoint: ap}
	}
	m.Push(s, hops, paths...)
}

// RedirectVia makes another member, of this or another root, deliver a redirect of this root with hops 1: s is the
// client's session there.
func (m *Member) RedirectVia(via *Member, s *Session, to netip.AddrPort) {
	p := m.Root.peers[s.Peer.Identity.Address]
	pkt := vl1.AppendPushDirectPaths(m.packet(p, vl1.VerbPushDirectPaths),
		vl1.DirectPath{Flags: vl1.PathRedirect, Endpoint: to})
	vl1.Armor(pkt, &p.key, vl1.SuiteSalsa)
	pkt.SetHops(1)
	via.Send(s.Local, s.Client, pkt)
}

// Nop sends the smallest authentic packet to an endpoint of a client, which need not have spoken to this member.
func (m *Member) Nop(p *RootPeer, from, to netip.AddrPort, hops uint8) {
	m.write(from, to, p, m.packet(p, vl1.VerbNop), hops)
}

// Echo asks a client to answer.
func (m *Member) Echo(s *Session) {
	m.write(s.Local, s.Client, s.Peer, m.packet(s.Peer, vl1.VerbEcho), 0)
}

// Join puts an address into a multicast group, as a MULTICAST_LIKE from it would.
func (r *Root) Join(g vl1.Group, a vl1.Address, now int64) {
	if r.groups[g] == nil {
		r.groups[g] = make(map[vl1.Address]int64)
	}
	r.groups[g][a] = now
}
