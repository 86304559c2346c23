package packetpath

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"runtime"
	"testing"

	"github.com/rootd/rootd/packetpath/udp"
	"github.com/rootd/rootd/packetpath/vl1"
)

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
		p := peer{vl1.Address(uint64(i+1) * 0x9e3779b97f4a7c15 << 24 >> 24), origin{addr: netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}), 9993)}}
		s := r.sessions.insert(&session{id: vl1.Identity{Address: p.addr}})
		at, _ := s.heardFrom(p.from, 1, b.w.now)
		at.echoID.Store(7)
		at.echoed.Store(b.w.now)
		s.confirm(p.from, 7, b.w.now)
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
				w.foresee(batch)
				for i := range batch {
					m := &batch[i]
					m.Buf[headHops] &^= 7
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
