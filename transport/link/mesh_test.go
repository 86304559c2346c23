package link_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/rootd/rootd/packetpath/udp"
	"github.com/rootd/rootd/transport/link"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var errUnreachable = errors.New("unreachable")

// mesh is some members in one process, on a network in memory or real sockets. Exchanges are calls.
type mesh struct {
	t       *testing.T
	listen  udp.ListenFunc
	net     *udp.Network // nil with real sockets
	options link.Options // for all

	mu       sync.Mutex // guards the following
	nodes    map[uint16]*node
	exchange func(from, to uint16) (delay time.Duration, err error) // trouble of exchanges
}

// node is one member.
type node struct {
	*link.Link
	mesh   *mesh
	id     uint16
	conns  []udp.Conn
	stop   context.CancelFunc
	result chan error

	mu       sync.Mutex // guards the following
	inbound  []link.Inbound
	notified []string
}

func newMesh(t *testing.T) *mesh {
	t.Helper()
	n := udp.NewNetwork()
	return &mesh{t: t, listen: n.Listen, net: n, nodes: map[uint16]*node{}}
}

func v4(id uint16) netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, byte(id >> 8), byte(id)}), 7000)
}

func v6(id uint16) netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom16([16]byte{0xfd, 14: byte(id >> 8), 15: byte(id)}), 7000)
}

// start makes a member that listens on the addresses, and runs it. It replaces the one with the same number.
func (m *mesh) start(id uint16, addrs ...netip.AddrPort) *node {
	m.t.Helper()
	n := &node{mesh: m, id: id, result: make(chan error, 1)}
	o := m.options
	o.Self, o.Exchange, o.Handler, o.Notified = id, n.exchange, n.handle, n.hear
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	for _, a := range addrs {
		c, err := m.listen(a, udp.Options{RecvBuffer: 16 << 20})
		if err != nil {
			m.t.Fatal(err)
		}
		o.Conns = append(o.Conns, c)
	}
	n.conns = o.Conns
	l, err := link.New(o)
	if err != nil {
		m.t.Fatal(err)
	}
	n.Link = l
	m.mu.Lock()
	m.nodes[id] = n
	m.mu.Unlock()
	ctx, cancel := context.WithCancel(m.t.Context())
	n.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-n.result; err != nil {
			m.t.Errorf("member %d: %v", id, err)
		}
	})
	go func() { n.result <- l.Run(ctx) }()
	return n
}

// setExchange says what happens to exchanges from now on; nil: they succeed at once.
func (m *mesh) setExchange(f func(from, to uint16) (time.Duration, error)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.exchange = f
}

// join makes everyone know everyone.
func (m *mesh) join() {
	m.t.Helper()
	var all []link.Member
	for _, n := range m.nodes {
		all = append(all, n.member())
	}
	for _, n := range m.nodes {
		if err := n.SetMembers(all); err != nil {
			m.t.Fatal(err)
		}
	}
}

func (m *mesh) stop() {
	for _, n := range m.nodes {
		n.stop()
	}
}

// pair is two members on IPv4 that know each other and have keys, in a bubble.
func pair(t *testing.T, o link.Options) (m *mesh, a, b *node) {
	t.Helper()
	m = newMesh(t)
	m.options = o
	a, b = m.start(1, v4(1)), m.start(2, v4(2))
	m.join()
	time.Sleep(2100 * time.Millisecond) // and no probe is due right now
	if !a.ready(2) || !b.ready(1) {
		t.Fatalf("no keys after 2 s: %+v, %+v", a.Stats(), b.Stats())
	}
	return m, a, b
}

func (n *node) member() link.Member {
	m := link.Member{ID: n.id}
	for _, c := range n.conns {
		m.Endpoints = append(m.Endpoints, c.LocalAddr())
	}
	return m
}

func (n *node) exchange(ctx context.Context, member uint16, offer []byte) ([]byte, error) {
	n.mesh.mu.Lock()
	other, trouble := n.mesh.nodes[member], n.mesh.exchange
	n.mesh.mu.Unlock()
	if other == nil {
		return nil, errUnreachable
	}
	if trouble == nil {
		return other.HandleOffer(n.id, offer)
	}
	there, err := trouble(n.id, member)
	if err := pause(ctx, there); err != nil {
		return nil, err
	}
	if err != nil {
		return nil, err
	}
	answer, err := other.HandleOffer(n.id, offer)
	if err != nil {
		return nil, err
	}
	back, err := trouble(n.id, member)
	if err := pause(ctx, back); err != nil {
		return nil, err
	}
	return answer, err
}

func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (n *node) handle(batch []link.Inbound) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, in := range batch {
		in.Payload = append([]byte(nil), in.Payload...)
		n.inbound = append(n.inbound, in)
	}
}

func (n *node) hear(from uint16, kind byte, body []byte) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.notified = append(n.notified, fmt.Sprintf("%d %d %s", from, kind, body))
}

// take returns what has come since the last call.
func (n *node) take() []link.Inbound {
	n.mu.Lock()
	defer n.mu.Unlock()
	in := n.inbound
	n.inbound = nil
	return in
}

func (n *node) of(member uint16) link.MemberStats {
	for _, m := range n.Stats().Members {
		if m.ID == member {
			return m
		}
	}
	return link.MemberStats{}
}

func (n *node) ready(member uint16) bool { return n.of(member).Ready }

// flow sends one packet from each of the nodes to each other, with a new number in it, and reports who got none.
func (m *mesh) flow(nodes ...*node) error {
	m.t.Helper()
	for _, n := range nodes {
		n.take()
	}
	for _, from := range nodes {
		s := from.NewSender()
		for _, to := range nodes {
			if from == to {
				continue
			}
			if err := s.Send(to.id, uint64(from.id), []byte("flow")); err != nil {
				return fmt.Errorf("%d to %d: %w", from.id, to.id, err)
			}
		}
		s.Flush()
	}
	time.Sleep(500 * time.Millisecond) // virtual
	for _, to := range nodes {
		if got := len(to.take()); got != len(nodes)-1 {
			return fmt.Errorf("%d got %d packets, want %d: %+v", to.id, got, len(nodes)-1, to.Stats())
		}
	}
	return nil
}

// numbered is a packet that can be recognised, of the given length, at least 8.
func numbered(number uint64, length int) []byte {
	b := make([]byte, length)
	for i := range b {
		b[i] = byte(uint64(i)*7 + number)
	}
	binary.BigEndian.PutUint64(b, number)
	return b
}
