package main_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/raft"

	"github.com/rootd/rootd/cmd/internal/client"
	"github.com/rootd/rootd/fsm"
	"github.com/rootd/rootd/fsm/table"
	"github.com/rootd/rootd/packetpath"
	"github.com/rootd/rootd/packetpath/gather"
	"github.com/rootd/rootd/packetpath/udp"
	"github.com/rootd/rootd/packetpath/vl1"
)

const (
	oneWay   = 10 * time.Millisecond // between any two addresses
	toCommit = 40 * time.Millisecond // from a proposal until the log has it
	toFollow = 20 * time.Millisecond // until a member has applied it
	lostIn   = 2 * time.Second       // from a crash until the log knows of it
)

// roots is a root of three members with real packet paths on a network in memory, in virtual time. Its log has one
// writer and no Raft; each member applies it a little later.
type roots struct {
	*testing.T
	net    *udp.Network
	self   *vl1.SecretIdentity
	world  *vl1.World
	signs  *vl1.SigningKey
	nodes  []*rootNode
	seats  []*seat
	target atomic.Uint32 // where all peers should be: what steering says; 0: where they are
	stuck  atomic.Bool   // there is no quorum

	mu   sync.Mutex // guards log and ids
	log  [][]byte
	ids  []*vl1.SecretIdentity
	seed uint64 // of the clients
}

// rootNode is one member.
type rootNode struct {
	*roots
	id     table.MemberID
	v4, v6 netip.AddrPort
	fsm    *fsm.FSM
	links  *packetpath.Receiver
	root   *packetpath.Root
	epoch  atomic.Uint32
	alive  atomic.Bool
	stop   context.CancelFunc
	ended  chan struct{}
	grown  chan struct{} // holds one: the log has grown
}

// withRoots runs f with members 1 to 3; the planet lists those that it should.
func withRoots(t *testing.T, listed int, f func(*roots)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(27 * 365 * 24 * time.Hour) // the log counts from 2020 on, bubbles begin in 2000
		r := &roots{T: t, net: udp.NewNetwork(), seed: 7}
		r.identities()
		r.self = r.ids[0]
		r.net.SetFate(udp.Lossy(1, 0, oneWay, 0))
		var err error
		if r.signs, err = vl1.GenerateSigningKey(); err != nil {
			t.Fatal(err)
		}
		r.world = &vl1.World{Type: vl1.WorldPlanet, ID: 0xdecade, Timestamp: 1000, UpdateKey: r.signs.Public(), Roots: []vl1.Root{{Identity: r.self.Identity}}}
		for i := range 3 {
			n := &rootNode{
				roots: r, id: table.MemberID(i + 1), grown: make(chan struct{}, 1),
				v4: netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 0, byte(i + 1)}), 9993),
				v6: netip.AddrPortFrom(netip.AddrFrom16([16]byte{0xfd, 15: byte(i + 1)}), 9993),
			}
			if n.fsm, err = fsm.New(fsm.Options{}); err != nil {
				t.Fatal(err)
			}
			r.nodes = append(r.nodes, n)
			if i < listed {
				r.world.Roots[0].Endpoints = append(r.world.Roots[0].Endpoints, n.v4, n.v6)
			}
		}
		r.world.Sign(r.signs)
		r.put(&fsm.Bootstrap{ID: [16]byte{1}, Name: "test", Root: r.self.Identity, Created: time.Now().UnixMilli()})
		r.put(&fsm.PublishPlanet{World: r.world.AppendBinary(nil)})
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		defer func() {
			for _, s := range r.seats {
				s.leave()
			}
			for _, n := range r.nodes {
				n.crash()
			}
			cancel()
			wg.Wait()
		}()
		for _, n := range r.nodes {
			wg.Go(func() { n.follow(ctx) })
		}
		for _, n := range r.nodes {
			n.start()
		}
		wg.Go(func() { r.collectHealth(ctx) })
		f(r)
	})
}

func (r *roots) identities() {
	f, err := os.Open("../../packetpath/vl1/testdata/identities.txt")
	if err != nil {
		r.Fatal(err)
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan() && len(r.ids) < 20; {
		id, err := vl1.ParseSecretIdentity(lines.Text())
		if err != nil {
			r.Fatal(err)
		}
		r.ids = append(r.ids, id)
	}
}

// put appends an entry to the log at once.
func (r *roots) put(c fsm.Command) {
	b, err := fsm.Encode(c)
	if err != nil {
		r.Error(err)
		return
	}
	r.mu.Lock()
	fsm.Stamp(b, time.Now().UnixMilli())
	r.log = append(r.log, b)
	r.mu.Unlock()
	for _, n := range r.nodes {
		select {
		case n.grown <- struct{}{}:
		default:
		}
	}
}

// propose appends an entry as soon as there is a quorum, as proposers do.
func (r *roots) propose(c fsm.Command) {
	time.AfterFunc(toCommit, func() {
		if r.stuck.Load() {
			r.propose(c)
			return
		}
		r.put(c)
	})
}

// follow applies the log at one member.
func (n *rootNode) follow(ctx context.Context) {
	for index := 0; ; {
		select {
		case <-ctx.Done():
			return
		case <-n.grown:
		}
		time.Sleep(toFollow)
		n.mu.Lock()
		fresh := n.log[index:]
		n.mu.Unlock()
		for _, b := range fresh {
			index++
			n.fsm.Apply(&raft.Log{Index: uint64(index), Term: 1, Type: raft.LogCommand, Data: append([]byte(nil), b...)})
		}
	}
}

// collectHealth is the leader's part: reports of who lives.
func (r *roots) collectHealth(ctx context.Context) {
	for tick := time.NewTicker(2 * time.Second); ; {
		select {
		case <-ctx.Done():
			tick.Stop()
			return
		case <-tick.C:
		}
		h := new(fsm.Health)
		for _, n := range r.nodes {
			if n.alive.Load() {
				h.Reports = append(h.Reports, fsm.HealthReport{Member: n.id, Epoch: uint16(n.epoch.Load())})
			}
		}
		r.propose(h)
	}
}

// start begins a life of the member.
func (n *rootNode) start() {
	n.Helper()
	n.put(&fsm.MemberUp{ID: n.id, Name: fmt.Sprint("m", n.id), Endpoints: []netip.AddrPort{n.v4, n.v6}})
	time.Sleep(2 * toFollow)
	m, _ := n.fsm.View().State().Member(n.id)
	n.epoch.Store(uint32(m.Epoch))
	sockets, err := packetpath.Listen([]netip.AddrPort{n.v4, n.v6}, 1, n.net.Listen, udp.Options{})
	if err != nil {
		n.Fatal(err)
	}
	n.root = packetpath.New(packetpath.Options{
		Sockets: sockets, Member: n.id, Identity: n.self, View: n.fsm.View(), Sink: n, Groups: gather.New(gather.Options{}),
		Limits: packetpath.DefaultLimits(), Version: packetpath.Version{Major: 1}, KeepWarm: 25 * time.Second,
		Link: func() packetpath.LinkSender { return &nodeLink{from: n} }, Handoffs: n, Steer: n.steer,
	})
	n.links = n.root.NewReceiver()
	ctx, cancel := context.WithCancel(context.Background())
	n.stop, n.ended = cancel, make(chan struct{})
	n.alive.Store(true)
	go func() {
		defer close(n.ended)
		if err := n.root.Run(ctx); err != nil {
			n.Error(err)
		}
	}()
}

// crash ends it without a word.
func (n *rootNode) crash() {
	if n.alive.Swap(false) {
		n.stop()
		<-n.ended
	}
}

// lose crashes the member, which the others notice.
func (n *rootNode) lose() {
	down := &fsm.MemberDown{ID: n.id, Epoch: uint16(n.epoch.Load()), Cause: fsm.DownLost}
	for _, o := range n.nodes {
		if o.alive.Load() && o != n {
			down.Witnesses = append(down.Witnesses, o.id)
		}
	}
	n.crash()
	time.AfterFunc(lostIn, func() { n.propose(down) })
}

// steer sends everybody to the target, and the peers of a member that drains to whoever may take them.
func (n *rootNode) steer(state *fsm.State, rec *table.Record, v6 bool) table.MemberID {
	if m, ok := state.Member(n.id); ok && m.Draining() {
		for _, o := range n.nodes {
			if state.MayHandOff(rec, v6, n.id, uint16(n.epoch.Load()), o.id) == fsm.Accepted {
				return o.id
			}
		}
	}
	if to := table.MemberID(n.target.Load()); to != n.id {
		return to
	}
	return 0
}

// Offer implements [packetpath.Sink].
func (n *rootNode) Offer(sightings []fsm.Sighting) {
	changes := make(fsm.Changes, 0, len(sightings))
	for _, s := range sightings {
		c := fsm.Change{
			Address: s.Identity.Address, Key: s.Identity.Key, HasKey: true, Member: n.id, Epoch: uint16(n.epoch.Load()),
			Protocol: s.Protocol, Major: s.Major, Minor: s.Minor, Revision: s.Revision, Planet: s.Planet,
		}
		if s.Endpoint.Addr().Is4() {
			c.V4 = s.Endpoint
		} else if s.Endpoint.IsValid() {
			c.V6 = s.Endpoint
		}
		changes = append(changes, c)
	}
	n.propose(changes)
}

// OfferHandoffs implements [packetpath.HandoffSink].
func (n *rootNode) OfferHandoffs(steps []fsm.Handoff) {
	n.propose(append(fsm.Handoffs(nil), steps...))
}

// nodeLink is a link without cryptography.
type nodeLink struct {
	from  *rootNode
	queue []func()
}

func (w *nodeLink) later(to table.MemberID, f func(c *packetpath.Receiver)) {
	w.queue = append(w.queue, func() {
		if n := w.from.nodes[to-1]; n.alive.Load() {
			n.links.Begin()
			f(n.links)
			n.links.End()
		}
	})
}

func (w *nodeLink) Send(member uint16, peer uint64, b []byte) error {
	b = append([]byte(nil), b...)
	w.later(table.MemberID(member), func(c *packetpath.Receiver) { c.Deliver(vl1.Address(peer), b) })
	return nil
}

func (w *nodeLink) Notify(member uint16, kind byte, body []byte) error {
	body = append([]byte(nil), body...)
	w.later(table.MemberID(member), func(c *packetpath.Receiver) { c.Message(uint16(w.from.id), kind, body) })
	return nil
}

func (w *nodeLink) Flush() {
	for _, f := range w.queue {
		time.AfterFunc(oneWay, f)
	}
	w.queue = nil
}

// seat is a model of a real client on the network.
type seat struct {
	*roots
	c      *client.Client
	env    client.Env
	conns  []udp.Conn
	events chan func()
	done   chan struct{}

	notes     sync.Mutex             // guards what follows
	hellos    map[netip.AddrPort]int // sent, by endpoint
	redirects []client.Notice
	refused   []client.Notice
	key       vl1.Key
	packets   []string // to and from the client, the last of them
}

// join starts a client of a family in the given address families.
func (r *roots) join(family string, v4, v6 bool) *seat {
	r.Helper()
	fam, err := client.FamilyByName(family)
	if err != nil {
		r.Fatal(err)
	}
	r.mu.Lock()
	id := r.ids[len(r.ids)-1]
	r.ids = r.ids[:len(r.ids)-1]
	r.mu.Unlock()
	s := &seat{roots: r, events: make(chan func()), done: make(chan struct{}), hellos: map[netip.AddrPort]int{}}
	o := client.Options{Family: fam, Identity: id, Planet: r.world, Seed: r.seed}
	var addrs []netip.AddrPort
	n := byte(len(r.ids))
	if v4 {
		o.Sockets[0] = 2
		addrs = append(addrs, netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 0, 2, n}), 9993), netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 0, 2, n}), 29993))
	}
	if v6 {
		o.Sockets[1] = 1
		addrs = append(addrs, netip.AddrPortFrom(netip.AddrFrom16([16]byte{0xfd, 1, 15: n}), 9993))
	}
	if s.c, err = client.New(o); err != nil {
		r.Fatal(err)
	}
	if s.key, err = id.Agree(&r.self.Key); err != nil {
		r.Fatal(err)
	}
	var senders []udp.Sender
	for local, at := range addrs {
		conn, err := r.net.Listen(at, udp.Options{})
		if err != nil {
			r.Fatal(err)
		}
		s.conns = append(s.conns, conn)
		senders = append(senders, conn.NewSender(1))
		go s.read(conn, local)
	}
	s.env.Send = func(c *client.Client, from client.Socket, to netip.AddrPort, _ uint8, b []byte) {
		if local := c.Local(from, to.Addr()); local >= 0 && local < len(senders) {
			s.saw("->", local, to, b)
			if p := vl1.Packet(b); len(b) >= vl1.HeaderLen && p.Suite() == vl1.SuitePoly1305 && p.Verb() == vl1.VerbHello {
				s.notes.Lock()
				s.hellos[to]++
				s.notes.Unlock()
			}
			_, _ = senders[local].Write([]udp.Message{{Buf: append([]byte(nil), b...), N: len(b), Addr: to}})
		}
	}
	s.env.Notice = func(_ *client.Client, n client.Notice) {
		s.notes.Lock()
		defer s.notes.Unlock()
		switch n.Kind {
		case client.Redirected:
			s.redirects = append(s.redirects, n)
		case client.EndpointRefused, client.PushRefused:
			s.refused = append(s.refused, n)
		}
	}
	go s.live()
	r.seats = append(r.seats, s)
	return s
}

func (s *seat) leave() {
	select {
	case <-s.done:
		return
	default:
	}
	close(s.done)
	for _, c := range s.conns {
		_ = c.Close()
	}
}

func (s *seat) live() {
	for {
		s.env.Now = time.Now().UnixMilli()
		s.c.Tick(&s.env)
		wait := max(1, s.c.Next()-time.Now().UnixMilli())
		select {
		case <-s.done:
			return
		case f := <-s.events:
			s.env.Now = time.Now().UnixMilli()
			f()
		case <-time.After(time.Duration(wait) * time.Millisecond):
		}
	}
}

func (s *seat) read(conn udp.Conn, local int) {
	batch := []udp.Message{{Buf: make([]byte, 2*vl1.MaxPacket)}}
	for {
		n, err := conn.Read(batch)
		if err != nil {
			return
		}
		if n == 0 {
			continue
		}
		b, from := append([]byte(nil), batch[0].Buf[:batch[0].N]...), batch[0].Addr
		s.saw("<-", local, from, b)
		select {
		case s.events <- func() { s.c.Receive(&s.env, s.c.SocketOf(local), from, b) }:
		case <-s.done:
			return
		}
	}
}

// keptPackets is how many packets a test that failed shows.
const keptPackets = 400

// saw keeps a line about a packet.
func (s *seat) saw(way string, local int, remote netip.AddrPort, b []byte) {
	if len(b) < vl1.HeaderLen {
		return
	}
	p := vl1.Packet(bytes.Clone(b))
	what := "?"
	if vl1.Dearmor(p, &s.key) == nil {
		what = p.Verb().String()
		switch p.Verb() {
		case vl1.VerbOK:
			if re, id, _, err := vl1.DecodeOK(p); err == nil {
				what += fmt.Sprintf("(%s %x)", re, id>>48)
			}
		case vl1.VerbPushDirectPaths:
			to, _ := vl1.DecodePushDirectPaths(p, nil)
			what += fmt.Sprint(to)
		}
	}
	line := fmt.Sprintf("%s socket %d %s m%d %s %x hops %d", time.Now().Format("15:04:05.000"), local, way, s.owner(remote), what, vl1.Packet(b).ID()>>48, p.Hops())
	s.notes.Lock()
	defer s.notes.Unlock()
	if s.packets = append(s.packets, line); len(s.packets) > 2*keptPackets {
		s.packets = slices.Delete(s.packets, 0, keptPackets)
	}
}

// ask runs f while the client rests.
func (s *seat) ask(f func()) {
	done := make(chan struct{})
	s.events <- func() { f(); close(done) }
	<-done
}

// greeted is how many HELLOs the client has sent to a member.
func (s *seat) greeted(n *rootNode) int {
	s.notes.Lock()
	defer s.notes.Unlock()
	return s.hellos[n.v4] + s.hellos[n.v6]
}

// pushes are the redirects that the client obeyed, and what it refused.
func (s *seat) pushes() (obeyed, refused []client.Notice) {
	s.notes.Lock()
	defer s.notes.Unlock()
	return slices.Clone(s.redirects), slices.Clone(s.refused)
}

func (s *seat) sent() bool {
	obeyed, _ := s.pushes()
	return len(obeyed) > 0
}

// paths are the client's paths to the root.
func (s *seat) paths() (all []client.PathInfo) {
	s.ask(func() { all = s.c.Paths(s.self.Address, s.env.Now) })
	return all
}

// at is the member that the client uses.
func (s *seat) at() table.MemberID {
	for _, p := range s.paths() {
		if p.Chosen {
			return s.owner(p.Endpoint)
		}
	}
	return 0
}

func (r *roots) owner(ep netip.AddrPort) table.MemberID {
	for _, n := range r.nodes {
		if ep == n.v4 || ep == n.v6 {
			return n.id
		}
	}
	return 0
}

// record is what the log says of the client, as a member that lives has it.
func (s *seat) record() (rec table.Record) {
	for _, n := range s.nodes {
		if n.alive.Load() {
			n.fsm.View().Peer(s.c.Address(), &rec)
			return rec
		}
	}
	return rec
}

// until waits for something to become true and returns how long that took; it fails after the limit.
func (r *roots) until(what string, limit time.Duration, f func() bool) time.Duration {
	r.Helper()
	for began := time.Now(); ; time.Sleep(20 * time.Millisecond) {
		switch d := time.Since(began); {
		case f():
			return d
		case d > limit:
			r.Fatalf("%s: not in %s", what, limit)
		}
	}
}

// homed starts a client and waits until it is attached; it returns the member.
func (r *roots) homed(family string, v4, v6 bool) (*seat, table.MemberID) {
	r.Helper()
	s := r.join(family, v4, v6)
	r.until("attached", time.Minute, func() bool {
		rec := s.record()
		return (!v4 || rec.V4Member != 0) && (!v6 || rec.V6Member != 0)
	})
	rec := s.record()
	if v4 {
		return s, rec.V4Member
	}
	return s, rec.V6Member
}

func (r *roots) counters() fsm.Counters {
	for _, n := range r.nodes {
		if n.alive.Load() {
			return n.fsm.View().State().Counters
		}
	}
	return fsm.Counters{}
}

// other returns a member that is none of these.
func (r *roots) other(than ...table.MemberID) *rootNode {
	for _, n := range r.nodes {
		found := false
		for _, id := range than {
			found = found || n.id == id
		}
		if !found {
			return n
		}
	}
	return nil
}
