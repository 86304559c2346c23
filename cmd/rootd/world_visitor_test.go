package main

import (
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/rootd/rootd/cmd/internal/client"
	"github.com/rootd/rootd/fsm"
	"github.com/rootd/rootd/fsm/table"
	"github.com/rootd/rootd/packetpath/udp"
	"github.com/rootd/rootd/packetpath/vl1"
)

// natForgets is after how long a visitor's NAT lets an endpoint in no more that was not sent to.
const natForgets = 30 * time.Second

// visitor is a model of a real client in a city, behind a NAT or not. It knows all roots of its planet.
type visitor struct {
	fleet  *fleet
	c      *client.Client
	env    client.Env
	place  place
	nat    bool // that lets in only whom it has sent to
	conns  []udp.Conn
	events chan func()
	done   chan struct{}

	mu     sync.Mutex // guards what follows
	opened map[hole]time.Time
	pushes []push
}

// hole is what a NAT lets in.
type hole struct {
	socket int
	from   netip.AddrPort
}

// push is a redirect that a visitor obeyed, or a push that it refused.
type push struct {
	at      time.Time
	root    vl1.Address
	to      netip.AddrPort
	refused bool
}

// visitor puts a client of a family into a city, with two sockets of IPv4.
func (f *fleet) visitor(family string, city int, nat bool) *visitor {
	f.Helper()
	fam, err := client.FamilyByName(family)
	if err != nil {
		f.Fatal(err)
	}
	n := len(f.visitors)
	g := &visitor{
		fleet: f, nat: nat, events: make(chan func()), done: make(chan struct{}), opened: map[hole]time.Time{},
	}
	o := client.Options{Family: fam, Identity: identities(f, identityOfClients+n, 1)[0], Planet: f.planet, Seed: f.seed + uint64(n), Sockets: [2]int{2, 0}, Jitter: 60}
	if g.c, err = client.New(o); err != nil {
		f.Fatal(err)
	}
	addr := netip.AddrFrom4([4]byte{10, 2, byte(n >> 8), byte(n)})
	g.place = f.place(city, false, addr)
	var senders []udp.Sender
	for local, port := range []uint16{9993, 29993} {
		conn, err := f.udp.Listen(netip.AddrPortFrom(addr, port), udp.Options{})
		if err != nil {
			f.Fatal(err)
		}
		g.conns = append(g.conns, conn)
		senders = append(senders, conn.NewSender(1))
		f.ending.Go(func() { g.read(conn, local) })
	}
	g.env.Send = func(c *client.Client, from client.Socket, to netip.AddrPort, _ uint8, b []byte) {
		local := c.Local(from, to.Addr())
		g.mu.Lock()
		g.opened[hole{local, to}] = time.Now()
		g.mu.Unlock()
		_, _ = senders[local].Write([]udp.Message{{Buf: slices.Clone(b), N: len(b), Addr: to}})
	}
	g.env.Notice = g.note
	f.ending.Go(g.live)
	f.visitors = append(f.visitors, g)
	return g
}

func (g *visitor) note(_ *client.Client, n client.Notice) {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch n.Kind {
	case client.Redirected, client.PushRefused, client.EndpointRefused:
		g.pushes = append(g.pushes, push{time.Now(), n.Peer, n.At, n.Kind != client.Redirected})
	}
}

func (g *visitor) leave() {
	close(g.done)
	for _, c := range g.conns {
		_ = c.Close()
	}
}

func (g *visitor) live() {
	for {
		g.env.Now = time.Now().UnixMilli()
		g.c.Tick(&g.env)
		wait := time.NewTimer(time.Duration(max(1, g.c.Next()-time.Now().UnixMilli())) * time.Millisecond)
		select {
		case <-g.done:
			return
		case f := <-g.events:
			g.env.Now = time.Now().UnixMilli()
			f()
		case <-wait.C:
		}
		wait.Stop()
	}
}

func (g *visitor) read(conn udp.Conn, local int) {
	batch := []udp.Message{{Buf: make([]byte, 2*vl1.MaxPacket)}}
	for {
		n, err := conn.Read(batch)
		if err != nil {
			return
		}
		if n == 0 || !g.lets(local, batch[0].Addr) {
			continue
		}
		b, from := slices.Clone(batch[0].Buf[:batch[0].N]), batch[0].Addr
		select {
		case g.events <- func() { g.c.Receive(&g.env, g.c.SocketOf(local), from, b) }:
		case <-g.done:
			return
		}
	}
}

// lets reports whether its NAT lets a packet in.
func (g *visitor) lets(local int, from netip.AddrPort) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return !g.nat || time.Since(g.opened[hole{local, from}]) < natForgets
}

// ask runs f while the client rests.
func (g *visitor) ask(f func()) {
	done := make(chan struct{})
	select {
	case g.events <- func() { f(); close(done) }:
		<-done
	case <-g.done:
	}
}

// uses is the member of a cluster to which the client's packets for its root go, nil if there is none, and when it was last heard.
func (g *visitor) uses(w *world) (h *host, heard time.Time) {
	var at netip.AddrPort
	var ms int64
	g.ask(func() { at, ms = g.c.Route(w.root().Address, g.env.Now) })
	return w.owner(at), time.UnixMilli(ms)
}

// served reports whether the client uses a member that runs, and has heard it since.
func (g *visitor) served(w *world, since time.Time) bool {
	h, heard := g.uses(w)
	return h != nil && h.running() != nil && !w.isCut(h, g) && heard.After(since)
}

// pushed are the pushes of a root since a time.
func (g *visitor) pushed(w *world, since time.Time) (all []push) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, p := range g.pushes {
		if p.root == w.root().Address && !p.at.Before(since) {
			all = append(all, p)
		}
	}
	return all
}

// owner is the member whose endpoint it is, or nil.
func (w *world) owner(at netip.AddrPort) *host {
	for _, h := range w.hosts {
		if slices.Contains(h.endpoints(), at) {
			return h
		}
	}
	return nil
}

// isCut reports whether nothing passes from a member to a visitor.
func (e *earth) isCut(h *host, g *visitor) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.cuts[[2]int{h.number, g.place.number}]
}

// record is what the log of a cluster says of the visitor.
func (g *visitor) record(w *world) (rec table.Record) {
	if l := w.leads(); l != nil {
		l.fsm.View().Peer(g.c.Address(), &rec)
	}
	return rec
}

// attached is the member of a cluster that the log has the visitor at, 0 if none that lives.
func (g *visitor) attached(w *world) table.MemberID {
	rec := g.record(w)
	l := w.leads()
	if l == nil {
		return 0
	}
	id, _ := l.fsm.View().State().Attached(&rec, false)
	return id
}

// know puts the visitors into a cluster's log: a root validates identities with a processor that virtual time does not have.
func (f *fleet) know(w *world) {
	f.Helper()
	var all fsm.Changes
	for i := range f.expected {
		id := identities(f, identityOfClients+i, 1)[0]
		all = append(all, fsm.Change{Address: id.Address, Key: id.Key, HasKey: true})
	}
	if _, err := w.leader().propose(f.Context(), all); err != nil {
		f.Fatal(err)
	}
}
