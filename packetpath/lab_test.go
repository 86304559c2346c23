package packetpath_test

import (
	"bufio"
	"context"
	"crypto/ecdh"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/raft"

	"github.com/rootd/rootd/fsm"
	"github.com/rootd/rootd/fsm/table"
	"github.com/rootd/rootd/packetpath"
	"github.com/rootd/rootd/packetpath/gather"
	"github.com/rootd/rootd/packetpath/udp"
	"github.com/rootd/rootd/packetpath/vl1"
)

var (
	rootV4 = netip.MustParseAddrPort("10.0.0.1:9993")
	rootV6 = netip.MustParseAddrPort("[fd00::1]:9993")
)

// lab is a root of one or several members on a network in memory, in a bubble of virtual time. Its log has one writer
// and no Raft: sightings are applied at once, at all members.
type lab struct {
	*testing.T
	net   *udp.Network
	self  *vl1.SecretIdentity
	signs *vl1.SigningKey
	nodes []*node
	root  *packetpath.Root // of the first member
	fsm   *fsm.FSM         // of the first member

	saviours []*packetpath.Rescuer

	ahead time.Duration // of the log's time

	mu    sync.Mutex // guards index and all calls of fsm.Apply
	index uint64
}

// node is one member.
type node struct {
	*lab
	id     table.MemberID
	v4, v6 netip.AddrPort
	root   *packetpath.Root
	fsm    *fsm.FSM
	links  *packetpath.Receiver
}

// inLab runs f with a root. Options may be changed before it starts.
func inLab(t *testing.T, change func(*packetpath.Options), f func(*lab)) {
	t.Helper()
	inCluster(t, 1, change, f)
}

// inCluster runs f with a root of several members.
func inCluster(t *testing.T, members int, change func(*packetpath.Options), f func(*lab)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(30 * 365 * 24 * time.Hour) // the log's time begins after that of bubbles
		l := &lab{T: t, net: udp.NewNetwork(), self: identity(t, 0)}
		l.start(members, change)
		f(l)
	})
}

func (l *lab) start(members int, change func(*packetpath.Options)) {
	l.Helper()
	var err error
	if l.signs, err = vl1.GenerateSigningKey(); err != nil {
		l.Fatal(err)
	}
	for i := range members {
		n := &node{
			lab: l, id: table.MemberID(i + 1),
			v4: netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 0, byte(i + 1)}), 9993),
			v6: netip.AddrPortFrom(netip.AddrFrom16([16]byte{0xfd, 15: byte(i + 1)}), 9993),
		}
		if n.fsm, err = fsm.New(fsm.Options{}); err != nil {
			l.Fatal(err)
		}
		l.nodes = append(l.nodes, n)
	}
	l.apply(&fsm.Bootstrap{ID: [16]byte{1}, Name: "test", Root: l.self.Identity, Created: time.Now().UnixMilli()})
	for _, n := range l.nodes {
		l.apply(&fsm.MemberUp{ID: n.id, Name: fmt.Sprint("m", n.id), Endpoints: []netip.AddrPort{n.v4, n.v6}, Version: "test"})
		n.start(change)
	}
	l.root, l.fsm = l.nodes[0].root, l.nodes[0].fsm
}

func (n *node) start(change func(*packetpath.Options)) {
	n.Helper()
	o := packetpath.Options{
		Member: n.id, Identity: n.self, View: n.fsm.View(), Sink: n, Groups: gather.New(gather.Options{}),
		Limits: packetpath.DefaultLimits(), Version: packetpath.Version{Major: 1},
	}
	if len(n.nodes) > 1 {
		o.Link = func() packetpath.LinkSender { return &wire{from: n} }
	}
	if change != nil {
		change(&o)
	}
	var err error
	if o.Sockets, err = packetpath.Listen([]netip.AddrPort{n.v4, n.v6}, 1, n.net.Listen, udp.Options{}); err != nil {
		n.Fatal(err)
	}
	n.root = packetpath.New(o)
	n.links = n.root.NewReceiver()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- n.root.Run(ctx) }()
	n.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			n.Error(err)
		}
	})
}

// wire is a link without cryptography or delay.
type wire struct {
	from  *node
	queue []func()
}

func (w *wire) Send(member uint16, peer uint64, b []byte) error {
	to, c := w.from.nodes[member-1], append([]byte(nil), b...)
	w.queue = append(w.queue, func() {
		to.links.Begin()
		to.links.Deliver(vl1.Address(peer), c)
		to.links.End()
	})
	return nil
}

func (w *wire) Notify(member uint16, kind byte, body []byte) error {
	to, c := w.from.nodes[member-1], append([]byte(nil), body...)
	w.queue = append(w.queue, func() {
		to.links.Begin()
		to.links.Message(uint16(w.from.id), kind, c)
		to.links.End()
	})
	return nil
}

func (w *wire) Flush() {
	queue := w.queue
	w.queue = nil
	go func() {
		for _, f := range queue {
			f()
		}
	}()
}

func (l *lab) apply(c fsm.Command) {
	l.Helper()
	b, err := fsm.Encode(c)
	if err != nil {
		l.Fatal(err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.index++
	fsm.Stamp(b, time.Now().Add(l.ahead).UnixMilli())
	for _, n := range l.nodes {
		e := &raft.Log{Index: l.index, Term: 1, Type: raft.LogCommand, Data: append([]byte(nil), b...)}
		if r := n.fsm.Apply(e).(fsm.Response); r.Err != nil {
			l.Fatal(r.Err)
		}
	}
}

// Offer implements [packetpath.Sink].
func (n *node) Offer(sightings []fsm.Sighting) {
	changes := make(fsm.Changes, 0, len(sightings))
	self, _ := n.fsm.View().State().Member(n.id)
	for _, s := range sightings {
		c := fsm.Change{
			Address: s.Identity.Address, Key: s.Identity.Key, HasKey: true, Member: n.id, Epoch: self.Epoch,
			Protocol: s.Protocol, Major: s.Major, Minor: s.Minor, Revision: s.Revision, Planet: s.Planet,
		}
		if s.Endpoint.Addr().Is4() {
			c.V4 = s.Endpoint
		} else if s.Endpoint.IsValid() {
			c.V6 = s.Endpoint
		}
		changes = append(changes, c)
	}
	n.apply(changes)
}

// publish puts a planet of the root into the log and returns it.
func (l *lab) publish(timestamp uint64) *vl1.World {
	l.Helper()
	w := &vl1.World{
		Type: vl1.WorldPlanet, ID: 0xdecade, Timestamp: timestamp, UpdateKey: l.signs.Public(),
		Roots: []vl1.Root{{Identity: l.self.Identity, Endpoints: []netip.AddrPort{rootV4, rootV6}}},
	}
	w.Sign(l.signs)
	l.apply(&fsm.PublishPlanet{World: w.AppendBinary(nil)})
	return w
}

// count returns a counter's value once everything in flight has been handled.
func (l *lab) count(c packetpath.Counter) int {
	synctest.Wait()
	return int(l.root.Stats().Counters[c])
}

// identity returns a throw-away identity; the root has number 0.
func identity(t testing.TB, n int) *vl1.SecretIdentity {
	t.Helper()
	f, err := os.Open("vl1/testdata/identities.txt")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	for i := 0; lines.Scan(); i++ {
		if i == n {
			id, err := vl1.ParseSecretIdentity(lines.Text())
			if err != nil {
				t.Fatal(err)
			}
			return id
		}
	}
	t.Fatalf("no identity number %d", n)
	return nil
}

// client is a ZeroTier device as small as it can be: it does what the test says, and answers ECHO by itself unless
// told not to.
type client struct {
	*lab
	id   *vl1.SecretIdentity
	key  vl1.Key
	addr netip.AddrPort
	conn udp.Conn
	out  udp.Sender
	mute bool // does not answer ECHO
	at   *node
}

func (l *lab) client(n int, at string) *client {
	l.Helper()
	return l.clientAt(0, n, at)
}

// clientAt returns a client of the member with the index.
func (l *lab) clientAt(member, n int, at string) *client {
	l.Helper()
	c := &client{lab: l, id: identity(l, n), at: l.nodes[member]}
	var err error
	if c.key, err = c.id.Agree(&l.self.Key); err != nil {
		l.Fatal(err)
	}
	c.open(at)
	return c
}

// from returns the same device with another socket.
func (c *client) from(at string) *client {
	c.Helper()
	d := *c
	d.open(at)
	return &d
}

func (c *client) open(at string) {
	c.Helper()
	c.addr = netip.MustParseAddrPort(at)
	conn, err := c.net.Listen(c.addr, udp.Options{})
	if err != nil {
		c.Fatal(err)
	}
	c.conn, c.out = conn, conn.NewSender(1)
	c.Cleanup(func() { _ = conn.Close() })
}

func (c *client) rootAddr() netip.AddrPort {
	if c.addr.Addr().Is4() {
		return c.at.v4
	}
	return c.at.v6
}

// raw sends bytes to the root.
func (c *client) raw(b []byte) {
	c.Helper()
	if _, err := c.out.Write([]udp.Message{{Buf: b, N: len(b), Addr: c.rootAddr()}}); err != nil {
		c.Fatal(err)
	}
}

func randomID() uint64 {
	var b [8]byte
	_, _ = rand.Read(b[:])
	return binary.BigEndian.Uint64(b[:])
}

// packet begins a packet to the root.
func (c *client) packet(v vl1.Verb) vl1.Packet {
	return vl1.NewPacket(make([]byte, 0, vl1.MaxPacket), randomID(), c.self.Address, c.id.Address, v)
}

// send armors p in suite 1, sends it and returns its ID.
func (c *client) send(p vl1.Packet) uint64 {
	c.Helper()
	vl1.Armor(p, &c.key, vl1.SuiteSalsa)
	c.raw(p)
	return p.ID()
}

func (c *client) helloMessage() vl1.Hello {
	return vl1.Hello{
		Protocol: 12, Major: 1, Minor: 14, Revision: 1, Clock: uint64(time.Now().UnixMilli()),
		Identity: c.id.Identity, SentTo: c.rootAddr(), HasPlanet: true, PlanetID: 0xdecade, PlanetTimestamp: 1000,
	}
}

// helloPacket returns an armored HELLO.
func (c *client) helloPacket(change func(*vl1.Hello)) vl1.Packet {
	h := c.helloMessage()
	if change != nil {
		change(&h)
	}
	p := vl1.AppendHello(c.packet(vl1.VerbHello), &h, &c.key)
	vl1.Armor(p, &c.key, vl1.SuitePoly1305)
	return p
}

func (c *client) hello(change func(*vl1.Hello)) uint64 {
	c.Helper()
	p := c.helloPacket(change)
	c.raw(p)
	return p.ID()
}

// datagram returns the next datagram, or nil if none comes in two seconds.
func (c *client) datagram() ([]byte, netip.AddrPort) {
	c.Helper()
	batch := []udp.Message{{Buf: make([]byte, 2*vl1.MaxPacket)}}
	_ = c.conn.SetReadDeadline(time.Now().Add(2 * time.Second))
	n, err := c.conn.Read(batch)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return nil, netip.AddrPort{}
	}
	if err != nil || n != 1 {
		c.Fatalf("read: %d, %v", n, err)
	}
	return batch[0].Buf[:batch[0].N], batch[0].Addr
}

// next returns the next packet from the root, decrypted, or nil. ECHOs are answered and passed over.
func (c *client) next() vl1.Packet {
	c.Helper()
	for {
		b, _ := c.datagram()
		if b == nil {
			return nil
		}
		p, err := vl1.ParsePacket(b)
		if err != nil {
			c.Fatalf("%v: %x", err, b)
		}
		if p.Source() != c.self.Address {
			return p // relayed from another client
		}
		if err := vl1.Dearmor(p, &c.key); err != nil {
			c.Fatalf("%v: %x", err, b)
		}
		if p.Verb() == vl1.VerbEcho && !c.mute {
			c.send(vl1.AppendOKEcho(c.packet(vl1.VerbOK), p.ID(), p.Payload()))
			continue
		}
		return p
	}
}

// ok returns the body of the OK that must come next.
func (c *client) ok(inRe vl1.Verb, id uint64) []byte {
	c.Helper()
	p := c.next()
	if p == nil {
		c.Fatalf("no OK to %v", inRe)
	}
	verb, re, body, err := vl1.DecodeOK(p)
	if err != nil || verb != inRe || re != id {
		c.Fatalf("got %v (in re %v %x, %v), want OK to %v %x", p.Verb(), verb, re, err, inRe, id)
	}
	return body
}

func (c *client) okHello(id uint64) vl1.OKHello {
	c.Helper()
	var m vl1.OKHello
	if err := vl1.DecodeOKHello(c.ok(vl1.VerbHello, id), &m); err != nil {
		c.Fatal(err)
	}
	return m
}

// silence fails the test if anything but an ECHO comes.
func (c *client) silence() {
	c.Helper()
	if p := c.next(); p != nil {
		c.Fatalf("got %v of %d bytes, want silence", p.Verb(), len(p))
	}
}

// attach makes the client known, with a confirmed path.
func (c *client) attach() *client {
	c.Helper()
	c.okHello(c.hello(nil))
	c.silence() // answers the challenge
	if !c.confirmed() {
		c.Fatalf("%v: path %v is not confirmed", c.id.Address, c.addr)
	}
	return c
}

func (c *client) confirmed() bool {
	synctest.Wait()
	p, _ := c.at.root.Peer(c.id.Address)
	for _, at := range p.Paths {
		if at.Endpoint == c.addr {
			return at.Confirmed
		}
	}
	return false
}

// know puts an identity into the log.
func (l *lab) know(id vl1.Identity) {
	l.Helper()
	l.apply(fsm.Changes{{Address: id.Address, Key: id.Key, HasKey: true, Member: 1, Epoch: 1}})
}

func ephemeral(t *testing.T) *ecdh.PrivateKey {
	t.Helper()
	k, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}
