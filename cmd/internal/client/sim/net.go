package sim

import (
	"math/rand/v2"
	"net/netip"

	"github.com/rootd/rootd/cmd/internal/client"
	"github.com/rootd/rootd/packetpath/vl1"
)

// Epoch is the time at which a simulation starts, in ms since 1970. It is any large number: clients take a time near
// zero for "never".
const Epoch = 1_700_000_000_000

// Net is the simulated world.
type Net struct {
	// Now is the virtual time, ms since 1970.
	Now int64
	// Delay returns how long a datagram travels, ms, and whether it arrives. By default 20 ms, always.
	Delay func(from, to netip.AddrPort) (ms int64, ok bool)
	// Trace is called for every datagram that is sent, before its fate is known. May be nil.
	Trace func(from, to netip.AddrPort, b []byte)
	// Env is what the clients run with; tests may set its Deliver and Notice.
	Env client.Env
	// Rand is the network's own random source.
	Rand *rand.Rand

	Sent, Lost uint64 // datagrams

	queue queue
	free  []*datagram
	ports map[netip.AddrPort]port
	nats  map[netip.Addr]*Node
	nodes []*Node
}

// datagram is under way.
type datagram struct {
	from, to netip.AddrPort
	b        []byte
}

// port is who listens at an endpoint.
type port struct {
	member *Member
	node   *Node
	sock   client.Socket
}

// Node is a client with its sockets and NAT.
type Node struct {
	C *client.Client
	// Sockets are its local endpoints, see [client.Client.Locals].
	Sockets []netip.AddrPort
	NAT     *NAT
	// Asleep nodes neither send nor receive nor notice the time.
	Asleep bool

	due int64
}

// New makes an empty world.
func New(seed uint64) *Net {
	n := &Net{
		Now: Epoch, Rand: rand.New(rand.NewPCG(seed, 2)),
		Delay: func(netip.AddrPort, netip.AddrPort) (int64, bool) { return 20, true },
		ports: make(map[netip.AddrPort]port), nats: make(map[netip.Addr]*Node),
	}
	n.Env.Send = n.fromClient
	return n
}

// AddMember puts a member of a root on the network.
func (n *Net) AddMember(m *Member) {
	m.Send = n.send
	for _, ap := range m.Endpoints {
		n.ports[ap] = port{member: m}
	}
}

// AddClient puts a client on the network; it starts at once. There must be as many local endpoints as the client
// has, IPv4 first.
func (n *Net) AddClient(c *client.Client, nat *NAT, sockets ...netip.AddrPort) *Node {
	node := &Node{C: c, NAT: nat}
	if nat != nil && nat.Kind == NoNAT {
		node.NAT = nil
	}
	c.SetLabel(len(n.nodes))
	n.nodes = append(n.nodes, node)
	n.Move(node, sockets...)
	n.arm(node)
	return node
}

// Nodes returns all clients.
func (n *Net) Nodes() []*Node { return n.nodes }

// Move gives a client other local endpoints, as roaming does. Behind a NAT only its external address changes for
// others: set that first.
func (n *Net) Move(node *Node, sockets ...netip.AddrPort) {
	for _, ap := range node.Sockets {
		delete(n.ports, ap)
	}
	node.Sockets = append([]netip.AddrPort(nil), sockets...)
	if node.NAT == nil {
		for k, ap := range sockets {
			n.ports[ap] = port{node: node, sock: node.C.SocketOf(k)}
		}
		return
	}
	for a, o := range n.nats {
		if o == node && a != node.NAT.External[0] && a != node.NAT.External[1] {
			delete(n.nats, a)
		}
	}
	node.NAT.Forget()
	for _, a := range node.NAT.External {
		if a.IsValid() {
			n.nats[a] = node
		}
	}
}

// At runs f at a time from now, ms.
func (n *Net) At(after int64, f func()) { n.queue.push(event{at: n.Now + after, fn: f}) }

// Wake arms a client's timer after something was done to it from outside.
func (n *Net) Wake(node *Node) { n.arm(node) }

func (n *Net) arm(node *Node) {
	if node.Asleep {
		return
	}
	next := max(node.C.Next(), n.Now)
	if node.due > n.Now && node.due <= next {
		return
	}
	node.due = next
	n.queue.push(event{at: next, node: node})
}

// fromClient sends what a client sends, through its NAT.
func (n *Net) fromClient(c *client.Client, s client.Socket, to netip.AddrPort, ttl uint8, b []byte) {
	node := n.nodes[c.Label()]
	from := node.Sockets[c.Local(s, to.Addr())]
	if node.NAT != nil {
		from, _ = node.NAT.Out(n.Now, from, to)
	}
	if ttl > 0 {
		return // it has opened the NAT and dies on the way
	}
	n.send(from, to, b)
}

// send puts a datagram on its way.
func (n *Net) send(from, to netip.AddrPort, b []byte) {
	n.Sent++
	if n.Trace != nil {
		n.Trace(from, to, b)
	}
	ms, ok := n.Delay(from, to)
	if !ok {
		n.Lost++
		return
	}
	var d *datagram
	if k := len(n.free) - 1; k >= 0 {
		d, n.free = n.free[k], n.free[:k]
	} else {
		d = new(datagram)
	}
	d.from, d.to, d.b = from, to, append(d.b[:0], b...)
	n.queue.push(event{at: n.Now + ms, pkt: d})
}

// Run lets d ms pass.
func (n *Net) Run(d int64) {
	end := n.Now + d
	for len(n.queue.h) > 0 && n.queue.h[0].at <= end {
		n.step()
	}
	n.Now, n.Env.Now = end, end
}

// RunUntil lets time pass until the condition holds, at most d ms. The condition is looked at after every event. It
// returns the time that passed, and whether the condition holds.
func (n *Net) RunUntil(d int64, cond func() bool) (int64, bool) {
	start := n.Now
	end := n.Now + d
	for !cond() {
		if len(n.queue.h) == 0 || n.queue.h[0].at > end {
			n.Now, n.Env.Now = end, end
			return d, false
		}
		n.step()
	}
	return n.Now - start, true
}

func (n *Net) step() {
	e := n.queue.pop()
	n.Now = e.at
	n.Env.Now = n.Now
	switch {
	case e.pkt != nil:
		n.arrive(e.pkt)
		n.free = append(n.free, e.pkt)
	case e.node != nil:
		if e.node.due != e.at || e.node.Asleep {
			return // a newer timer was set
		}
		e.node.due = 0
		e.node.C.Tick(&n.Env)
		n.arm(e.node)
	default:
		e.fn()
	}
}

func (n *Net) arrive(d *datagram) {
	p, ok := n.ports[d.to]
	if !ok {
		node := n.nats[d.to.Addr()]
		if node == nil {
			n.Lost++
			return
		}
		local, open := node.NAT.In(n.Now, d.to.Port(), d.to.Addr().Is6(), d.from)
		if !open {
			n.Lost++
			return
		}
		p.node = node
		for k, ap := range node.Sockets {
			if ap == local {
				p.sock = node.C.SocketOf(k)
			}
		}
	}
	switch {
	case p.member != nil:
		p.member.Handle(n.Now, d.to, d.from, d.b)
	case !p.node.Asleep:
		p.node.C.Receive(&n.Env, p.sock, d.from, d.b)
		n.arm(p.node)
	}
}

// Restart wakes a sleeping node, or does nothing to one that is awake.
func (n *Net) Restart(node *Node) {
	if node.Asleep {
		node.Asleep = false
		node.due = 0
		n.arm(node)
	}
}

// Planet makes a signed planet of roots whose endpoints are those of their members, in the order given.
func Planet(key *vl1.SigningKey, at uint64, roots ...*Root) *vl1.World {
	w := &vl1.World{Type: vl1.WorldPlanet, ID: 0xfeedface, Timestamp: at, UpdateKey: key.Public()}
	for _, r := range roots {
		e := vl1.Root{Identity: r.ID.Identity}
		for _, m := range r.members {
			e.Endpoints = append(e.Endpoints, m.Endpoints...)
		}
		w.Roots = append(w.Roots, e)
	}
	w.Sign(key)
	return w
}

// Replace restarts a node as another client on the same sockets.
func (n *Net) Replace(node *Node, c *client.Client) {
	c.SetLabel(node.C.Label())
	node.C = c
	node.due = 0
	n.arm(node)
}
