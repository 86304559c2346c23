package packetpath_test

import (
	"bytes"
	"net/netip"
	"testing"
	"time"

	"github.com/rootd/rootd/fsm"
	"github.com/rootd/rootd/packetpath"
	"github.com/rootd/rootd/packetpath/vl1"
)

// frame is a packet between two clients; only they could read it.
func frame(from, to *client, hops uint8) vl1.Packet {
	p := vl1.NewPacket(nil, randomID(), to.id.Address, from.id.Address, vl1.VerbFrame)
	p = append(p, bytes.Repeat([]byte{0x5a}, 100)...)
	p[18] = 0x98 | hops // suite 3 and a flag: nothing the relay may touch
	return p
}

func fragment(from, to *client, hops uint8) vl1.Fragment {
	f := append(vl1.Fragment(nil), frame(from, to, 0)...)
	f[13], f[14], f[15] = 0xff, 0x31, hops
	return f
}

func TestRelayChangesNothingButTheHops(t *testing.T) {
	inLab(t, nil, func(l *lab) {
		a, b := l.client(1, "192.0.2.7:40000").attach(), l.client(2, "[fd00::8]:40000").attach()
		for hops := range uint8(8) {
			head, frag := frame(a, b, hops), fragment(a, b, hops)
			for i, sent := range [][]byte{head, frag} {
				at := []int{18, 15}[i]
				a.raw(append([]byte(nil), sent...))
				got, _ := b.datagram()
				if hops >= 3 {
					if got != nil {
						t.Errorf("relayed a packet with %d hops", hops)
					}
					continue
				}
				want := append([]byte(nil), sent...)
				want[at]++
				if !bytes.Equal(got, want) {
					t.Errorf("hops %d:\n got %x\nwant %x", hops, got, want)
				}
			}
		}
		if n := l.count(packetpath.RelayHopLimit); n != 10 {
			t.Errorf("counted %d, want 10", n)
		}
	})
}

func TestRelayToNobody(t *testing.T) {
	inLab(t, nil, func(l *lab) {
		a, nobody := l.client(1, "192.0.2.7:40000").attach(), l.client(2, "192.0.2.8:40000")
		a.raw(frame(a, nobody, 0))
		a.silence()
		if n := l.count(packetpath.RelayNoRoute); n != 1 {
			t.Errorf("counted %d, want 1", n)
		}
	})
}

func TestRelayFromTheLogAfterARestart(t *testing.T) {
	inLab(t, nil, func(l *lab) {
		a, b := l.client(1, "192.0.2.7:40000").attach(), l.client(2, "192.0.2.8:40000")
		l.apply(fsm.Changes{{Address: b.id.Address, Key: b.id.Key, HasKey: true, Member: 1, Epoch: 1, V4: b.addr}})
		a.raw(frame(a, b, 0))
		if got, _ := b.datagram(); len(got) != 128 || got[18]&7 != 1 {
			t.Errorf("got %x", got)
		}
	})
}

func TestIntroduction(t *testing.T) {
	inLab(t, nil, func(l *lab) {
		a, b := l.client(1, "192.0.2.7:40000").attach(), l.client(2, "192.0.2.8:40000").attach()
		a6, b6 := a.from("[fd00::7]:1").attach(), b.from("[fd00::8]:1").attach()
		introduced := func(sockets ...*client) (n int) {
			for _, c := range sockets {
				for d, _ := c.datagram(); d != nil; d, _ = c.datagram() {
					p, _ := vl1.ParsePacket(d)
					if vl1.IsFragment(d) || p.Source() != l.self.Address || vl1.Dearmor(p, &c.key) != nil || p.Verb() != vl1.VerbRendezvous {
						continue
					}
					r, err := vl1.DecodeRendezvous(p)
					if err != nil {
						t.Fatal(err)
					}
					want := map[*client]*client{a: b, b: a, a6: b6, b6: a6}[c]
					if r.Peer != want.id.Address || r.Endpoint != want.addr {
						t.Errorf("%v was told that %v is at %v", c.addr, r.Peer, r.Endpoint)
					}
					n++
				}
			}
			return n
		}
		a.raw(frame(a, b, 0))
		if n := introduced(a, b, a6, b6); n != 4 {
			t.Errorf("%d RENDEZVOUS, want one to each side in each family", n)
		}
		b.raw(frame(b, a, 0))
		if n := introduced(a, b, a6, b6); n != 0 {
			t.Errorf("introduced again at once")
		}
		time.Sleep(30 * time.Second)
		a.attach()
		a.raw(frame(a, b, 1)) // not its first relay: the source is not where the packet came from
		stranger := l.client(3, "192.0.2.66:1")
		stranger.raw(frame(a, b, 0)) // not from a path of a
		a.raw(fragment(a, b, 0))
		if n := introduced(a, b, a6, b6); n != 0 {
			t.Errorf("introduced by %d packets that must not", n)
		}
		a.raw(frame(a, b, 0))
		if n := introduced(a, b, a6, b6); n != 4 {
			t.Errorf("%d RENDEZVOUS after 30 s, want 4", n)
		}
	})
}

func TestPrivateEndpointsAreOnlyToldToTheirLike(t *testing.T) {
	inLab(t, nil, func(l *lab) {
		private, public := l.client(1, "10.9.9.9:1").attach(), l.client(2, "9.9.9.9:1").attach()
		private.raw(frame(private, public, 0))
		if p := private.next(); p == nil || p.Verb() != vl1.VerbRendezvous {
			t.Errorf("the private side got %v", p)
		}
		public.next() // the frame
		public.silence()
	})
}

func TestRelayLimits(t *testing.T) {
	limit := func(o *packetpath.Options) { o.Limits.RelayTo = 1000 }
	inLab(t, limit, func(l *lab) {
		a, b := l.client(1, "192.0.2.7:40000").attach(), l.client(2, "192.0.2.8:40000").attach()
		for range 10 {
			a.raw(frame(a, b, 1))
		}
		if n := l.count(packetpath.Relayed); n != 1000/128 {
			t.Errorf("relayed %d, want %d", n, 1000/128)
		}
		time.Sleep(time.Second)
		a.raw(frame(a, b, 1))
		if n := l.count(packetpath.Relayed); n != 1000/128+1 {
			t.Errorf("nothing more after a second")
		}
	})
	limit = func(o *packetpath.Options) { o.Limits.RelayFrom = 1000 }
	inLab(t, limit, func(l *lab) {
		a, b := l.client(1, "192.0.2.7:40000").attach(), l.client(2, "192.0.2.8:40000").attach()
		for range 10 {
			a.raw(frame(a, b, 1))
		}
		if n := l.count(packetpath.RelayLimited); n != 10-1000/128 {
			t.Errorf("limited %d", n)
		}
	})
}

func TestPlanetIsHandedOutOnlyIfItIsNewer(t *testing.T) {
	inLab(t, nil, func(l *lab) {
		c := l.client(1, "192.0.2.7:40000").attach()
		w := l.publish(2000)
		for _, row := range []struct {
			id, timestamp uint64
			has, want     bool
		}{
			{0xdecade, 1999, true, true},
			{0xdecade, 2000, true, false},
			{0xdecade, 2001, true, false},
			{0xdecadf, 1999, true, false},
			{0xdecade, 1999, false, false},
		} {
			time.Sleep(11 * time.Second)
			ok := c.okHello(c.hello(func(h *vl1.Hello) {
				h.HasPlanet, h.PlanetID, h.PlanetTimestamp = row.has, row.id, row.timestamp
			}))
			if got := len(ok.Worlds) > 0; got != row.want {
				t.Errorf("%+v: got a world: %v", row, got)
			}
			if row.want && !bytes.Equal(ok.Worlds, w.AppendBinary(nil)) {
				t.Errorf("got another world: %x", ok.Worlds)
			}
		}
		time.Sleep(11 * time.Second)
		older := func(h *vl1.Hello) { h.PlanetTimestamp = 1 }
		if ok := c.okHello(c.hello(older)); len(ok.Worlds) == 0 {
			t.Error("no world")
		}
		time.Sleep(2 * time.Second)
		if ok := c.okHello(c.hello(older)); len(ok.Worlds) != 0 {
			t.Error("a second world within 10 s")
		}
	})
}

func TestNewClientGetsThePlanetWhenItsPathIsConfirmed(t *testing.T) {
	inLab(t, nil, func(l *lab) {
		w := l.publish(2000)
		l.net.SetFate(slow(50 * time.Millisecond))
		c := l.client(1, "192.0.2.7:40000")
		start := time.Now()
		var clock uint64
		id := c.hello(func(h *vl1.Hello) { clock = h.Clock })
		if ok := c.okHello(id); len(ok.Worlds) != 0 {
			t.Error("a world on an unconfirmed path")
		}
		ok := c.okHello(id) // the ECHO between them is answered by next
		if !bytes.Equal(ok.Worlds, w.AppendBinary(nil)) {
			t.Errorf("worlds = %x", ok.Worlds)
		}
		// The client takes now - clock for its latency.
		if took, said := time.Since(start).Milliseconds(), time.Now().UnixMilli()-int64(ok.Clock); took < 190 || said > 110 || ok.Clock < clock {
			t.Errorf("after %d ms the answer makes the latency %d ms", took, said)
		}
	})
}

func TestMoonIsHandedOut(t *testing.T) {
	moon := packetpath.Moon{ID: 77, Timestamp: 500, Raw: []byte("a signed moon")}
	inLab(t, func(o *packetpath.Options) { o.Moons = []packetpath.Moon{moon} }, func(l *lab) {
		c := l.client(1, "192.0.2.7:40000").attach()
		for held, want := range map[uint64]bool{0: true, 499: true, 500: false} {
			time.Sleep(11 * time.Second)
			ok := c.okHello(c.hello(func(h *vl1.Hello) {
				h.MoonCount, h.Moons[0] = 1, vl1.WorldStamp{Type: vl1.WorldMoon, ID: 77, Timestamp: held}
			}))
			if (string(ok.Worlds) == string(moon.Raw)) != want {
				t.Errorf("held %d: got %q", held, ok.Worlds)
			}
		}
	})
}

func TestLargeOKHelloComesInFragments(t *testing.T) {
	inLab(t, nil, func(l *lab) {
		w := &vl1.World{Type: vl1.WorldPlanet, ID: 0xdecade, Timestamp: 2000, UpdateKey: l.signs.Public()}
		for i := range vl1.MaxRoots {
			r := vl1.Root{Identity: identity(t, 10+i).Identity}
			for j := range vl1.MaxEndpoints {
				ip := netip.AddrFrom16([16]byte{0xfd, byte(i), byte(j), 15: 1})
				r.Endpoints = append(r.Endpoints, netip.AddrPortFrom(ip, 9993))
			}
			w.Roots = append(w.Roots, r)
		}
		w.Sign(l.signs)
		c := l.client(1, "192.0.2.7:40000").attach()
		l.apply(&fsm.PublishPlanet{World: w.AppendBinary(nil)})
		time.Sleep(11 * time.Second)
		id := c.hello(nil)
		asm := vl1.NewAssembler(0, 0)
		var whole vl1.Packet
		for whole == nil {
			b, _ := c.datagram()
			if b == nil {
				t.Fatal("no whole packet")
			}
			if len(b) > 1432 {
				t.Fatalf("a datagram of %d bytes", len(b))
			}
			if vl1.IsFragment(b) {
				whole = asm.Fragment(vl1.Fragment(b), rootV4.Addr(), 0)
			} else if p := vl1.Packet(b); p.Fragmented() {
				whole = asm.Head(p, rootV4.Addr(), 0)
			}
		}
		if err := vl1.Dearmor(whole, &c.key); err != nil {
			t.Fatal(err)
		}
		_, re, body, err := vl1.DecodeOK(whole)
		var ok vl1.OKHello
		if err != nil || re != id || vl1.DecodeOKHello(body, &ok) != nil || !bytes.Equal(ok.Worlds, w.AppendBinary(nil)) {
			t.Errorf("in re %x, %v, %d bytes of worlds", re, err, len(ok.Worlds))
		}
	})
}
