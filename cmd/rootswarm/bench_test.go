package main

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"github.com/rootd/rootd/cmd/internal/client"
	"github.com/rootd/rootd/packetpath/udp"
	"github.com/rootd/rootd/packetpath/vl1"
)

// benchSwarm is a shard of clients that know a root and their partners, on a network that is a slice.
type benchSwarm struct {
	s     *shard
	wire  []udp.Message
	local netip.Addr // that everything comes to; invalid: unknown
}

// Write implements udp.Sender: it is the root that passes everything on.
func (w *benchSwarm) Write(msgs []udp.Message) (int, error) {
	for i := range msgs {
		m := &w.wire[i]
		m.N, m.Addr, m.Local = copy(m.Buf, msgs[i].Buf[:msgs[i].N]), msgs[i].Addr, w.local
		m.Buf[18]++ // hops
	}
	w.s.takeIn(0, w.wire[:len(msgs)])
	return len(msgs), nil
}

// BenchmarkRelayedFrame is what a frame costs the swarm at both ends, without the kernel.
func BenchmarkRelayedFrame(b *testing.B) {
	for _, clients := range []int{400, 4_000} {
		for _, fresh := range []uint32{1, 8} {
			b.Run(fmt.Sprintf("clients=%d/fresh=%d", clients, fresh), func(b *testing.B) {
				w := newBenchSwarm(b, clients, fresh)
				b.ReportAllocs()
				for n := 0; b.Loop(); {
					m := w.s.members[n]
					if n++; n == clients {
						n = 0
					}
					w.s.current = m
					f := &m.flow
					if f.seq%fresh == 0 || !m.c.Repeat(&w.s.env, f.to) {
						w.s.make(m)
					}
					f.seq++
					w.s.rearm(m)
				}
				w.s.flushAll()
				if got := w.s.count.framesReceived; got == 0 {
					b.Fatal("no frame arrived")
				}
			})
		}
	}
}

func newBenchSwarm(b testing.TB, clients int, fresh uint32) *benchSwarm {
	b.Helper()
	src := rand.NewPCG(1, 1)
	ids := make([]*vl1.SecretIdentity, clients+1)
	for i := range ids {
		var err error
		if ids[i], err = client.Synthetic(src); err != nil {
			b.Fatal(err)
		}
	}
	root := netip.MustParseAddrPort("127.0.0.1:9993")
	planet := &vl1.World{Type: vl1.WorldPlanet, ID: 1, Timestamp: 1, Roots: []vl1.Root{{
		Identity: ids[clients].Identity, Endpoints: []netip.AddrPort{root},
	}}}
	w := &benchSwarm{wire: newBatch()}
	s := newShard(nil, time.Now())
	s.ports, s.sockOf = []uint16{20_000}, map[uint16]uint8{20_000: 0}
	s.outs = []outbox{{sender: w, msgs: newBatch()}}
	s.traffic = &traffic{network: 1, start: time.Now(), fresh: fresh}
	s.sources = []*source{{prefix: netip.MustParsePrefix("127.64.0.0/10")}}
	s.frame = make([]byte, 200)
	w.s = s
	family, err := client.FamilyByName("1.14")
	if err != nil {
		b.Fatal(err)
	}
	for i := range clients {
		c, err := client.New(client.Options{
			Family: family, Identity: ids[i], Planet: planet, Seed: 1, Sockets: [2]int{1, 0},
			Networks: []uint64{1}, AllowLoopback: true, Repeats: fresh > 1,
		})
		if err != nil {
			b.Fatal(err)
		}
		s.conns = make([]udp.Conn, 1)
		s.add(&member{c: c, flow: flow{to: ids[partner(i, clients)].Address, size: 200, begun: true}}, 0)
	}
	s.now()
	for i := range clients {
		m := s.members[i]
		if err := m.c.Meet(&s.env, ids[clients].Identity, root); err != nil {
			b.Fatal(err)
		}
		for _, k := range []int{partner(i, clients), (i - partner(0, clients) + clients) % clients} {
			if err := m.c.Meet(&s.env, ids[k].Identity, netip.AddrPort{}); err != nil {
				b.Fatal(err)
			}
		}
	}
	return w
}
