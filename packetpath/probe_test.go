package packetpath_test

import (
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rootd/rootd/fsm"
	"github.com/rootd/rootd/geo"
	"github.com/rootd/rootd/packetpath"
	"github.com/rootd/rootd/packetpath/udp"
	"github.com/rootd/rootd/packetpath/vl1"
)

// TestProbe: member 1 measured a peer at 160 ms, which is near to member 2 by distance. So it has member 2 measure it: that
// works, the log hears of it, and the peer neither gets an answer from member 2 nor learns a path, nor is it attached there.
func TestProbe(t *testing.T) {
	var l *lab
	inCluster(t, 2, func(o *packetpath.Options) { measuring(&l)(o) }, func(in *lab) {
		l = in
		far, near := netip.MustParseAddrPort("10.0.0.1:9993"), netip.MustParseAddrPort("10.0.0.2:9993")
		l.net.SetFate(func(from, to netip.AddrPort, _ []byte) udp.Fate {
			switch {
			case from == far || to == far:
				return udp.Fate{Delay: 80 * time.Millisecond}
			case from == near || to == near:
				return udp.Fate{Delay: 15 * time.Millisecond}
			}
			return udp.Fate{}
		})
		w := &vl1.World{
			Type: vl1.WorldPlanet, ID: 0xdecade, Timestamp: 1000, UpdateKey: l.signs.Public(),
			Roots: []vl1.Root{{Identity: l.self.Identity, Endpoints: []netip.AddrPort{far, near}}},
		}
		w.Sign(l.signs)
		l.apply(&fsm.PublishPlanet{World: w.AppendBinary(nil)})
		ams, nyc := geo.Point{Lat: 52.37, Lon: 4.89}.Unit(), geo.Point{Lat: 40.71, Lon: -74.01}.Unit()
		for i, at := range []geo.Unit{nyc, ams} {
			n := l.nodes[i]
			l.apply(&fsm.MemberUp{ID: n.id, Name: "m", Endpoints: []netip.AddrPort{n.v4, n.v6}, Version: "test", Position: at})
		}
		l.apply(&fsm.Set{Key: "steering", Value: "off"}) // it shall stay
		c := &probedClient{client: l.clientAt(0, 1, "10.9.9.9:9993"), near: near}
		c.hello(nil)
		c.live(5 * time.Second)
		l.apply(fsm.Changes{{Address: c.id.Address, Key: c.id.Identity.Key, HasKey: true, HasPosition: true, Position: ams, Radius: 4}})
		c.live(4 * time.Minute)
		synctest.Wait()

		area, _ := geo.Areas(c.addr.Addr())
		st := l.fsm.View().State()
		rows := st.RTTs.Of(area)
		if len(rows) != 2 || rows[0].Micros < 158_000 || rows[0].Micros > 165_000 || rows[1].Micros < 28_000 || rows[1].Micros > 35_000 || rows[1].N < 3 {
			t.Errorf("the log has %+v", rows)
		}
		if c.answers != 0 || c.direct != 0 || c.echoes < 3 {
			t.Errorf("from member 2 came %d answers, %d direct packets, %d ECHO", c.answers, c.direct, c.echoes)
		}
		if n := c.rendezvous; n != 1 {
			t.Errorf("%d times sent to member 2", n)
		}
		if p, ok := l.nodes[1].root.Peer(c.id.Address); ok && len(p.Paths) != 0 {
			t.Errorf("member 2 has learnt %+v", p.Paths)
		}
		if got := int(l.nodes[1].root.Stats().Counters[packetpath.ProbesDone]); got != 1 {
			t.Errorf("%d measured", got)
		}
	})
}

// probedClient does as clients do when they are sent to another endpoint of the root, and counts what comes from there.
type probedClient struct {
	*client
	near                                netip.AddrPort
	echoes, answers, direct, rendezvous int
}

// live handles what comes, for a while.
func (c *probedClient) live(d time.Duration) {
	c.Helper()
	for end := time.Now().Add(d); time.Now().Before(end); {
		b, from := c.datagram()
		if b == nil {
			continue
		}
		p, err := vl1.ParsePacket(b)
		if err == nil {
			err = vl1.Dearmor(p, &c.key)
		}
		if err != nil {
			c.Fatal(err)
		}
		if from == c.near {
			c.count(p)
		}
		switch p.Verb() {
		case vl1.VerbEcho:
			c.sendTo(from, vl1.AppendOKEcho(c.packet(vl1.VerbOK), p.ID(), p.Payload()))
		case vl1.VerbRendezvous:
			r, err := vl1.DecodeRendezvous(p)
			if err != nil || r.Peer != c.self.Address {
				c.Fatalf("RENDEZVOUS with %v at %v, %v", r.Peer, r.Endpoint, err)
			}
			c.rendezvous++
			c.sendTo(r.Endpoint, c.packet(vl1.VerbEcho))
		}
	}
}

func (c *probedClient) count(p vl1.Packet) {
	switch {
	case p.Verb() == vl1.VerbOK:
		c.answers++
	case p.Hops() == 0:
		c.direct++
	case p.Verb() == vl1.VerbEcho:
		c.echoes++
	}
}

func (c *probedClient) sendTo(to netip.AddrPort, p vl1.Packet) {
	c.Helper()
	vl1.Armor(p, &c.key, vl1.SuiteSalsa)
	if _, err := c.out.Write([]udp.Message{{Buf: p, N: len(p), Addr: to}}); err != nil {
		c.Fatal(err)
	}
}
