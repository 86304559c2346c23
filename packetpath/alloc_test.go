package packetpath

import (
	"bufio"
	"net"
	"net/netip"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"github.com/rootd/rootd/fsm"
	"github.com/rootd/rootd/packetpath/gather"
	"github.com/rootd/rootd/packetpath/udp"
	"github.com/rootd/rootd/packetpath/vl1"
)

// hole is a socket that swallows everything: what remains is the packet path itself.
type hole struct{ addr netip.AddrPort }

func (h hole) Read([]udp.Message) (int, error)                      { return 0, net.ErrClosed }
func (h hole) SetReadDeadline(time.Time) error                      { return nil }
func (h hole) NewSender(int) udp.Sender                             { return h }
func (h hole) LocalAddr() netip.AddrPort                            { return h.addr }
func (h hole) Stats() udp.Stats                                     { return udp.Stats{} }
func (h hole) Close() error                                         { return nil }
func (h hole) Write(batch []udp.Message) (int, error)               { return len(batch), nil }
func (h hole) listen(netip.AddrPort, udp.Options) (udp.Conn, error) { return h, nil }

type deaf struct{}

func (deaf) Offer([]fsm.Sighting) {}

// bench is a worker, two attached peers, and packets of them that it may be given again and again.
type bench struct {
	w     *worker
	froms [2]origin
	hello vl1.Packet // keep-alive of the first
	echo  vl1.Packet
	whois vl1.Packet
	frame vl1.Packet // from the first to the second
	first vl1.Packet // HELLO of the second, which the log knows
	plain []byte
	batch [batchSize]udp.Message
}

func newBench(tb testing.TB) *bench {
	tb.Helper()
	f, err := os.Open("vl1/testdata/identities.txt")
	if err != nil {
		tb.Fatal(err)
	}
	defer f.Close()
	var ids []*vl1.SecretIdentity
	for lines := bufio.NewScanner(f); len(ids) < 3 && lines.Scan(); {
		id, err := vl1.ParseSecretIdentity(lines.Text())
		if err != nil {
			tb.Fatal(err)
		}
		ids = append(ids, id)
	}
	view := viewOf(tb,
		&fsm.Bootstrap{ID: [16]byte{1}, Name: "x", Root: ids[0].Identity, Created: 1},
		fsm.Changes{{Address: ids[2].Address, Key: ids[2].Key, HasKey: true}},
	)

	limits := DefaultLimits()
	limits.HelloRate, limits.HelloBurst = 1e9, 1e9
	limits.EchoRate, limits.EchoBurst, limits.WhoisRate, limits.WhoisBurst = 1e9, 1e9, 1e9, 1e9
	limits.RelayFrom, limits.RelayTo = 0, 0
	addr := netip.MustParseAddrPort("192.0.2.1:9993")
	sockets, err := Listen([]netip.AddrPort{addr}, 1, hole{addr}.listen, udp.Options{})
	if err != nil {
		tb.Fatal(err)
	}
	r := New(Options{
		Sockets:  sockets,
		Identity: ids[0], View: view, Sink: deaf{}, Groups: gather.New(gather.Options{}), Limits: limits,
	})
	b := &bench{w: r.newWorker(0), plain: make([]byte, vl1.MaxPacket)}
	b.w.now = 1e12
	for i := range b.froms {
		key, err := ids[0].Agree(&ids[i+1].Key)
		if err != nil {
			tb.Fatal(err)
		}
		b.froms[i] = origin{addr: netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 0, 2, byte(10 + i)}), 9993)}
		s, _ := b.attach(&session{id: ids[i+1].Identity, key: key}, b.froms[i])
		s.sighted.Store(1 << 60)
		s.version.Store(packVersion(12, 1, 14, 0))
		if i > 0 {
			h := vl1.Hello{Protocol: 12, Major: 1, Minor: 14, Identity: ids[2].Identity, SentTo: addr}
			b.first = vl1.AppendHello(vl1.NewPacket(nil, 2, ids[0].Address, ids[2].Address, vl1.VerbHello), &h, &key)
			vl1.Armor(b.first, &key, vl1.SuitePoly1305)
			continue
		}
		h := vl1.Hello{Protocol: 12, Major: 1, Minor: 14, Identity: ids[1].Identity, SentTo: addr}
		b.hello = vl1.AppendHello(vl1.NewPacket(nil, 2, ids[0].Address, ids[1].Address, vl1.VerbHello), &h, &key)
		vl1.Armor(b.hello, &key, vl1.SuitePoly1305)
		b.echo = vl1.NewPacket(nil, 3, ids[0].Address, ids[1].Address, vl1.VerbEcho)
		vl1.Armor(b.echo, &key, vl1.SuiteSalsa)
		b.whois = vl1.AppendWhois(vl1.NewPacket(nil, 4, ids[0].Address, ids[1].Address, vl1.VerbWhois), ids[2].Address)
		vl1.Armor(b.whois, &key, vl1.SuiteSalsa)
	}
	b.frame = vl1.NewPacket(nil, 5, ids[2].Address, ids[1].Address, vl1.VerbFrame)
	b.frame = append(b.frame, make([]byte, 172)...)
	return b
}

// viewOf returns what becomes of these entries.
func viewOf(tb testing.TB, commands ...fsm.Command) *fsm.View {
	tb.Helper()
	machine, err := fsm.New(fsm.Options{})
	if err != nil {
		tb.Fatal(err)
	}
	for i, c := range commands {
		entry, err := fsm.Encode(c)
		if err != nil {
			tb.Fatal(err)
		}
		fsm.Stamp(entry, 1_700_000_000_000)
		if resp := machine.Apply(&raft.Log{Index: uint64(i + 1), Type: raft.LogCommand, Data: entry}).(fsm.Response); resp.Err != nil {
			tb.Fatal(resp.Err)
		}
	}
	return machine.View()
}

// attach gives the worker's root a session with a confirmed path.
func (b *bench) attach(s *session, from origin) (*session, *path) {
	s = b.w.root.sessions.insert(s)
	at, _ := s.heardFrom(from, 1, b.w.now)
	at.echoID.Store(7)
	s.confirm(from, 7, b.w.now)
	return s, at
}

// give hands a batch of copies of p to the worker as a reader would, and returns how many answers left.
func (b *bench) give(p vl1.Packet) int {
	before := b.w.n[Sent]
	b.w.now += 2000 // past the limits per endpoint
	for i := range b.batch {
		b.batch[i] = udp.Message{Buf: p, N: len(p), Addr: b.froms[0].addr}
	}
	b.w.foresee(b.batch[:])
	for range batchSize {
		c := b.plain[:copy(b.plain, p)]
		b.w.now += helloPathEvery
		b.w.datagram(c, b.froms[0])
		b.w.flush() // the copy's memory is used again
	}
	b.w.end()
	return int(b.w.n[Sent] - before)
}

func TestPacketPathDoesNotAllocate(t *testing.T) {
	b := newBench(t)
	for name, p := range map[string]vl1.Packet{"HELLO": b.hello, "ECHO": b.echo, "WHOIS": b.whois, "relay": b.frame} {
		for _, s := range b.w.root.sessionsForTest() {
			for _, at := range s.paths {
				at.heard.Store(b.w.now + 1e9)
			}
		}
		if n := b.give(p); n < batchSize {
			t.Fatalf("%s: %d of %d answered", name, n, batchSize)
		}
		if n := testing.AllocsPerRun(20, func() { b.give(p) }); n != 0 {
			t.Errorf("%s: %v allocations per %d packets", name, n, batchSize)
		}
	}
}

func (r *Root) sessionsForTest() (all []*session) {
	for i := range sessionShards {
		r.sessions.each(i, func(s *session) { all = append(all, s) })
	}
	return all
}

// The packet path alone, without the kernel: ns and allocations for each packet, answers included.
func BenchmarkPacket(b *testing.B) {
	l := newBench(b)
	for _, row := range []struct {
		name string
		p    vl1.Packet
	}{{"hello", l.hello}, {"echo", l.echo}, {"whois", l.whois}, {"relay", l.frame}} {
		b.Run(row.name, func(b *testing.B) {
			for _, s := range l.w.root.sessionsForTest() {
				for _, at := range s.paths {
					at.heard.Store(1 << 50)
				}
			}
			b.ReportAllocs()
			for b.Loop() {
				l.give(row.p)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/batchSize, "ns/packet")
		})
	}
}

// The first HELLO of a peer that the log knows, turn about with the key agreement that it needs: medians.
func BenchmarkFirstHello(b *testing.B) {
	l := newBench(b)
	r := l.w.root
	s := r.sessions.get(l.first.Source())
	var hello, agreement []time.Duration
	for b.Loop() {
		begin := time.Now()
		r.sessions.remove(r.sessions.get(s.id.Address))
		l.w.budget = len(l.first)
		l.w.newcomer(l.plain[:copy(l.plain, l.first)], l.froms[1])
		l.w.end()
		middle := time.Now()
		if _, err := r.self.Agree(&s.id.Key); err != nil {
			b.Fatal(err)
		}
		hello, agreement = append(hello, middle.Sub(begin)), append(agreement, time.Since(middle))
	}
	if r.sessions.get(s.id.Address) == nil {
		b.Fatal("it was not admitted")
	}
	slices.Sort(hello)
	slices.Sort(agreement)
	h, a := float64(hello[len(hello)/2]), float64(agreement[len(agreement)/2])
	b.ReportMetric(h, "ns/hello")
	b.ReportMetric(a, "ns/agreement")
	b.ReportMetric(h/a, "ratio")
}

type noLink struct{}

func (noLink) Send(uint16, uint64, []byte) error { return nil }
func (noLink) Notify(uint16, byte, []byte) error { return nil }
func (noLink) Flush()                            {}

// join makes the bench's root member 1 of two, whose log has these peers, on a planet of timestamp 5.
func (b *bench) join(tb testing.TB, peers fsm.Changes, more ...fsm.Command) {
	tb.Helper()
	r := b.w.root
	r.link, r.member, r.hints = func() LinkSender { return noLink{} }, 1, make(chan *session, 1<<16)
	b.w.link = r.link()
	ip4 := func(n byte) netip.AddrPort { return netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 0, 2, n}), 9993) }
	w := &vl1.World{Type: vl1.WorldPlanet, ID: 1, Timestamp: 5, Roots: []vl1.Root{{Identity: r.self.Identity, Endpoints: []netip.AddrPort{ip4(1), ip4(2)}}}}
	commands := []fsm.Command{
		&fsm.Bootstrap{ID: [16]byte{1}, Name: "x", Root: r.self.Identity, Created: 1},
		&fsm.MemberUp{ID: 1, Name: "a", Endpoints: []netip.AddrPort{ip4(1)}}, &fsm.MemberUp{ID: 2, Name: "b", Endpoints: []netip.AddrPort{ip4(2)}},
		&fsm.PublishPlanet{World: w.AppendBinary(nil)},
	}
	for some := range slices.Chunk(peers, fsm.MaxChanges) {
		commands = append(commands, some)
	}
	r.view = viewOf(tb, append(commands, more...)...)
}

// Looking whether a peer should be elsewhere allocates nothing, whatever comes of it.
func TestConsideringDoesNotAllocate(t *testing.T) {
	b := newBench(t)
	s := b.w.root.sessionsForTest()[0]
	b.join(t, fsm.Changes{{Address: s.id.Address, Key: s.id.Key, HasKey: true, Member: 1, Epoch: 1, V4: b.froms[0].addr, Planet: 5}},
		&fsm.MemberSet{ID: 1, SetDrain: true, Drain: fsm.DrainOperator})
	hints := 0
	if n := testing.AllocsPerRun(1000, func() {
		s.considered.Store(0)
		s.v4.Load().heard.Store(b.w.now)
		b.w.consider(s)
		hints += len(b.w.hints)
		b.w.hints = b.w.hints[:0]
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
	if hints < 1000 {
		t.Errorf("%d of 1000 peers of a member that drains should go", hints)
	}
}
