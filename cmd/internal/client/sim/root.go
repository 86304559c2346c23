package sim

import (
	"math/rand/v2"
	"net/netip"

	"github.com/rootd/rootd/packetpath/vl1"
)

// Root is a root identity and what all of its members know: identities and keys of peers. It is as naive as a root can be
// and still serve clients: every HELLO is believed, nothing is limited or confirmed.
type Root struct {
	ID       *vl1.SecretIdentity
	Protocol uint8  // protocol version in OK(HELLO)
	Planet   []byte // serialized; given to clients that hold an older one. May be nil
	PlanetID uint64
	PlanetAt uint64

	rng     *rand.PCG
	peers   map[vl1.Address]*RootPeer
	members []*Member
	groups  map[vl1.Group]map[vl1.Address]int64
	united  map[[2]vl1.Address]int64
}

// RootPeer is what a root knows about a client.
type RootPeer struct {
	Identity vl1.Identity
	Planet   uint64 // timestamp of the planet it holds
	Protocol uint8
	key      vl1.Key
}

// NewRoot makes a root without members.
func NewRoot(id *vl1.SecretIdentity, seed uint64) *Root {
	return &Root{
		ID: id, Protocol: 11, rng: rand.NewPCG(seed, uint64(id.Address)), peers: make(map[vl1.Address]*RootPeer),
		groups: make(map[vl1.Group]map[vl1.Address]int64), united: make(map[[2]vl1.Address]int64),
	}
}

// Serve sets the planet that clients with an older one get.
func (r *Root) Serve(w *vl1.World) {
	r.Planet, r.PlanetID, r.PlanetAt = w.AppendBinary(nil), w.ID, w.Timestamp
}

// Know teaches the root a client's identity, as a HELLO to another member would.
func (r *Root) Know(id vl1.Identity) (*RootPeer, error) {
	if p := r.peers[id.Address]; p != nil {
		return p, nil
	}
	k, err := r.ID.Agree(&id.Key)
	if err != nil {
		return nil, err
	}
	p := &RootPeer{Identity: id, key: k}
	r.peers[id.Address] = p
	return p, nil
}

// Peer returns what is known of a client, nil if nothing is.
func (r *Root) Peer(a vl1.Address) *RootPeer { return r.peers[a] }

// Member is one machine of a root.
type Member struct {
	Name      string
	Root      *Root
	Endpoints []netip.AddrPort
	// Send takes what the member sends; b is valid until it returns.
	Send func(from, to netip.AddrPort, b []byte)
	// Seen is called for every authentic packet of a client, after it was answered. May be nil.
	Seen func(m *Member, s *Session, pkt vl1.Packet)
	// Silent members hear nothing and say nothing.
	Silent bool
	// Mute is asked before a client's packet is answered: true means that it is not. May be nil.
	Mute func(a vl1.Address, v vl1.Verb) bool
	// NoIntroductions switches RENDEZVOUS off.
	NoIntroductions bool

	sessions map[vl1.Address]*Session
	buf      [vl1.MaxPacket]byte
	unpack   [vl1.MaxPacket]byte
}

// Session is a client's last direct path to a member.
type Session struct {
	Peer   *RootPeer
	Client netip.AddrPort // the client's endpoint as seen here
	Local  netip.AddrPort // the member's endpoint that it spoke to
	Last   int64          // ms
	Hellos int
}

// NewMember adds a machine to the root.
func (r *Root) NewMember(name string, endpoints ...netip.AddrPort) *Member {
	m := &Member{Name: name, Root: r, Endpoints: endpoints, sessions: make(map[vl1.Address]*Session)}
	r.members = append(r.members, m)
	return m
}

// Session returns a client's session with this member, nil if it never spoke to it directly.
func (m *Member) Session(a vl1.Address) *Session { return m.sessions[a] }

// Handle takes a datagram that came to one of the member's endpoints at time now (ms). It may change b.
func (m *Member) Handle(now int64, local, from netip.AddrPort, b []byte) {
	if m.Silent || len(b) < vl1.MinDatagram {
		return
	}
	if vl1.IsFragment(b) {
		m.forward(vl1.Fragment(b).Dest(), b)
		return
	}
	pkt, err := vl1.ParsePacket(b)
	if err != nil {
		return
	}
	if pkt.Dest() != m.Root.ID.Address {
		if m.forward(pkt.Dest(), b) && !m.NoIntroductions {
			m.introduce(now, pkt.Source(), pkt.Dest())
		}
		return
	}
	p := m.Root.peers[pkt.Source()]
	hello := pkt.Suite() == vl1.SuitePoly1305 && pkt.Verb() == vl1.VerbHello
	if hello {
		_, id, err := vl1.PeekHello(pkt)
		if err != nil {
			return
		}
		if p, err = m.Root.Know(id); err != nil || p.Identity != id {
			return
		}
	}
	if p == nil || vl1.Dearmor(pkt, &p.key) != nil {
		return
	}
	if pkt, err = vl1.Decompress(pkt, m.unpack[:]); err != nil {
		return
	}
	s := m.sessions[pkt.Source()]
	if pkt.Hops() == 0 {
		if s == nil {
			s = new(Session)
			m.sessions[pkt.Source()] = s
		}
		s.Peer, s.Client, s.Local, s.Last = p, from, local, now
	} else {
		s = &Session{Peer: p, Client: from, Local: local, Last: now}
	}
	if m.Mute == nil || !m.Mute(pkt.Source(), pkt.Verb()) {
		m.answer(now, p, local, from, s, pkt)
	}
	if m.Seen != nil {
		m.Seen(m, s, pkt)
	}
}

func (m *Member) answer(now int64, p *RootPeer, local, from netip.AddrPort, s *Session, pkt vl1.Packet) {
	r := m.Root
	switch pkt.Verb() {
	case vl1.VerbHello:
		var h vl1.Hello
		if vl1.DecodeHello(pkt, &p.key, &h) != nil {
			return
		}
		s.Hellos++
		p.Protocol, p.Planet = h.Protocol, h.PlanetTimestamp
		ok := vl1.OKHello{Clock: h.Clock, Protocol: r.Protocol, Major: 1, SeenAt: from}
		if h.HasPlanet && h.PlanetID == r.PlanetID && h.PlanetTimestamp < r.PlanetAt {
			ok.Worlds = r.Planet
		}
		m.write(local, from, p, vl1.AppendOKHello(m.packet(p, vl1.VerbOK), pkt.ID(), &ok), 0)
	case vl1.VerbEcho:
		m.write(local, from, p, vl1.AppendOKEcho(m.packet(p, vl1.VerbOK), pkt.ID(), pkt.Payload()), 0)
	case vl1.VerbWhois:
		list, err := vl1.DecodeWhois(pkt)
		if err != nil {
			return
		}
		for i := range list.Len() {
			id := r.ID.Identity
			if list.At(i) != id.Address {
				q := r.peers[list.At(i)]
				if q == nil {
					continue
				}
				id = q.Identity
			}
			m.write(local, from, p, vl1.AppendOKWhois(m.packet(p, vl1.VerbOK), pkt.ID(), &id), 0)
		}
	case vl1.VerbMulticastLike:
		if list, err := vl1.DecodeMulticastLike(pkt); err == nil {
			for i := range list.Len() {
				g := list.At(i)
				if r.groups[g] == nil {
					r.groups[g] = make(map[vl1.Address]int64)
				}
				r.groups[g][pkt.Source()] = now
			}
		}
	case vl1.VerbMulticastGather:
		g, err := vl1.DecodeMulticastGather(pkt)
		if err != nil {
			return
		}
		var members []vl1.Address
		for a := range r.groups[g.Group] {
			if a != pkt.Source() && len(members) < int(min(g.Limit, vl1.MaxOKGatherMembers)) {
				members = append(members, a)
			}
		}
		if len(members) > 0 {
			m.write(local, from, p, vl1.AppendOKGather(m.packet(p, vl1.VerbOK), pkt.ID(), g.Group, uint32(len(members)), members), 0)
		}
	}
}

func (m *Member) packet(p *RootPeer, v vl1.Verb) vl1.Packet {
	return vl1.NewPacket(m.buf[:0], m.Root.rng.Uint64(), p.Identity.Address, m.Root.ID.Address, v)
}

func (m *Member) write(local, to netip.AddrPort, p *RootPeer, pkt vl1.Packet, hops uint8) {
	vl1.Armor(pkt, &p.key, vl1.SuiteSalsa)
	pkt.SetHops(hops)
	m.Send(local, to, pkt)
}

// forward relays a datagram to wherever the destination was heard of last, at any member of the root.
func (m *Member) forward(to vl1.Address, b []byte) bool {
	const maxHops = 3
	var s *Session
	at := m
	for _, o := range m.Root.members {
		if t := o.sessions[to]; t != nil && !o.Silent && (s == nil || t.Last > s.Last) {
			s, at = t, o
		}
	}
	if s == nil {
		return false
	}
	if vl1.IsFragment(b) {
		f := vl1.Fragment(b)
		if f.Hops() >= maxHops {
			return false
		}
		f.SetHops(f.Hops() + 1)
	} else {
		p := vl1.Packet(b)
		if p.Hops() >= maxHops {
			return false
		}
		p.SetHops(p.Hops() + 1)
	}
	at.Send(s.Local, s.Client, b)
	return true
}

// introduce sends both sides RENDEZVOUS, at most once per pair in 30 s.
func (m *Member) introduce(now int64, a, b vl1.Address) {
	pair := [2]vl1.Address{min(a, b), max(a, b)}
	if last, ok := m.Root.united[pair]; ok && now-last < 30_000 {
		return
	}
	x, xm := m.Root.find(a)
	y, ym := m.Root.find(b)
	if x == nil || y == nil || x.Client.Addr().Is4() != y.Client.Addr().Is4() {
		return
	}
	m.Root.united[pair] = now
	xm.Rendezvous(x, b, y.Client)
	ym.Rendezvous(y, a, x.Client)
}

func (r *Root) find(a vl1.Address) (*Session, *Member) {
	var s *Session
	var at *Member
	for _, o := range r.members {
		if t := o.sessions[a]; t != nil && !o.Silent && (s == nil || t.Last > s.Last) {
			s, at = t, o
		}
	}
	return s, at
}
