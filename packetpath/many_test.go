package packetpath

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"runtime"
	"testing"

	"github.com/rootd/rootd/fsm"
	"github.com/rootd/rootd/geo"
	"github.com/rootd/rootd/packetpath/udp"
	"github.com/rootd/rootd/packetpath/vl1"
)

// clientOf is the address of the i-th of many clients.
func clientOf(i int) netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}), 9993)
}

// crowd gives a worker's root many attached peers, and returns a packet of each to another one, in random order.
func crowd(b *bench, n int) []udp.Message {
	r, rng := b.w.root, rand.New(rand.NewPCG(1, 2))
	r.limits.RelayFrom, r.limits.RelayTo = DefaultLimits().RelayFrom, DefaultLimits().RelayTo
	r.sources = NewEndpointLimiter(prefixSlots, r.limits.RelayFrom, int(r.limits.RelayFrom))
	type peer struct {
		addr vl1.Address
		from origin
	}
	peers := make([]peer, n)
	for i := range peers {
		p := peer{vl1.Address(uint64(i+1) * 0x9e3779b97f4a7c15 << 24 >> 24), origin{addr: clientOf(i)}}
		s, at := b.attach(&session{id: vl1.Identity{Address: p.addr}}, p.from)
		at.echoed.Store(b.w.now)
		s.checked.Store(1 << 60)
		peers[i] = p
	}
	batch := make([]udp.Message, n)
	for i, k := range rng.Perm(n) {
		p := vl1.NewPacket(make([]byte, 0, 200), rng.Uint64(), peers[(k+n/2)%n].addr, peers[k].addr, vl1.VerbFrame)
		p = append(p, make([]byte, 172)...)
		batch[i] = udp.Message{Buf: p, N: len(p), Addr: peers[k].from.addr}
	}
	return batch
}

// Relays between peers of which hardly one is in any cache, without the kernel: alone, as at a light load, and 32 at a time.
func BenchmarkRelayMany(b *testing.B) {
	const peers = 200_000
	l := newBench(b)
	w := l.w
	packets := crowd(l, peers)
	for _, size := range []int{1, batchSize} {
		b.Run(fmt.Sprint("batch=", size), func(b *testing.B) {
			b.ReportAllocs()
			next := 0
			for b.Loop() {
				if next+size > len(packets) {
					next = 0
				}
				batch := packets[next : next+size]
				next += size
				for i := range batch {
					batch[i].Buf[headHops] &^= 7 // or it was relayed once
				}
				w.foresee(batch)
				for i := range batch {
					m := &batch[i]
					w.inc(Received)
					w.add(ReceivedBytes, m.N)
					w.datagram(m.Buf[:m.N], origin{addr: m.Addr})
				}
				w.end()
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(size), "ns/packet")
		})
	}
}

// greeters makes a bench's root a member of a cluster with many peers, all attached to it, of which n have sessions, and returns a
// keep-alive HELLO of each of these, in random order.
func greeters(tb testing.TB, b *bench, n, others int) []udp.Message {
	tb.Helper()
	r, rng := b.w.root, rand.New(rand.NewPCG(1, 2))
	peers := make(fsm.Changes, n+others)
	for i := range peers {
		peers[i] = fsm.Change{
			Address: vl1.Address(uint64(i+1)*0x9e3779b9&0x7fffffffff | 1<<38), HasKey: true,
			V4: clientOf(i), Protocol: 12, Major: 1, Minor: 14, Planet: 5, Position: geo.Point{Lat: float64(i%140 - 70), Lon: float64(i%360 - 180)}.Unit(), HasPosition: true, Member: 1, Epoch: 1,
		}
		peers[i].Key[0] = byte(i)
	}
	b.join(tb, peers)
	batch := make([]udp.Message, n)
	for k, i := range rng.Perm(n) {
		from := origin{addr: peers[i].V4}
		s := &session{id: vl1.Identity{Address: peers[i].Address, Key: peers[i].Key}}
		s.key[0] = byte(k)
		b.attach(s, from)
		s.sighted.Store(b.w.now)
		s.version.Store(packVersion(12, 1, 14, 0))
		s.planet.Store(5)
		h := vl1.Hello{
			Protocol: 12, Major: 1, Minor: 14, Identity: s.id, SentTo: r.sockets.listeners[0].addr,
			HasPlanet: true, PlanetID: 1, PlanetTimestamp: 5,
		}
		p := vl1.AppendHello(vl1.NewPacket(nil, rng.Uint64(), r.self.Address, s.id.Address, vl1.VerbHello), &h, &s.key)
		vl1.Armor(p, &s.key, vl1.SuitePoly1305)
		batch[k] = udp.Message{Buf: p, N: len(p), Addr: from.addr}
	}
	return batch
}

// greet hands a batch of HELLOs to the worker.
func (b *bench) greet(batch []udp.Message) {
	b.w.foresee(batch)
	for i := range batch {
		m := &batch[i]
		p := b.plain[:copy(b.plain, m.Buf[:m.N])] // it is decrypted in place
		b.w.datagram(p, origin{addr: m.Addr})
	}
	b.w.end()
}

// A HELLO in a cluster looks into the log and considers where its sender should be: that allocates nothing either.
func TestHelloInClusterDoesNotAllocate(t *testing.T) {
	l := newBench(t)
	w, batch := l.w, greeters(t, l, batchSize, 100)
	answered, decisions := w.n[HelloAnswered], w.n[Decisions]
	const runs = 20
	if n := testing.AllocsPerRun(runs, func() {
		w.now += 120_000
		l.greet(batch)
	}); n != 0 {
		t.Errorf("%v allocations for %d HELLOs", n, batchSize)
	}
	if n := w.n[HelloAnswered] - answered; n != (runs+1)*batchSize {
		t.Errorf("%d of %d HELLOs answered", n, (runs+1)*batchSize)
	}
	if w.n[Decisions]-decisions < runs*batchSize {
		t.Errorf("%d decisions", w.n[Decisions]-decisions)
	}
}

// Keep-alive HELLOs of clients of a cluster, each once in two minutes, as they come: hardly anything of one is in any cache. Without the kernel.
func BenchmarkHelloMany(b *testing.B) {
	l := newBench(b)
	w := l.w
	packets := greeters(b, l, 200_000, 800_000)
	for _, size := range []int{1, batchSize} {
		b.Run(fmt.Sprint("batch=", size), func(b *testing.B) {
			b.ReportAllocs()
			next, answered := len(packets), w.n[HelloAnswered]
			for b.Loop() {
				if next+size > len(packets) {
					next = 0
					w.now += 120_000
				}
				batch := packets[next : next+size]
				next += size
				l.greet(batch)
			}
			if n := w.n[HelloAnswered] - answered; n != uint64(b.N*size) {
				b.Fatalf("%d of %d HELLOs answered", n, b.N*size)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(size), "ns/packet")
		})
	}
}

// What the keeper's visits cost where nothing is due.
func BenchmarkVisit(b *testing.B) {
	const peers = 200_000
	l := newBench(b)
	crowd(l, peers)
	w, book, shard := l.w, newRTTBook(), 0
	b.ReportAllocs()
	for b.Loop() {
		w.root.sessions.each(shard, func(s *session) { w.visit(s, book) })
		shard = (shard + 1) % sessionShards
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/(peers/sessionShards), "ns/visit")
}

// What a turn of the collector costs for each session.
func BenchmarkCollect(b *testing.B) {
	const peers = 900_000 // of a million that a member takes
	l := newBench(b)
	crowd(l, peers)
	b.ReportAllocs()
	for b.Loop() {
		runtime.GC()
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/peers, "ns/session")
	runtime.KeepAlive(l)
}
