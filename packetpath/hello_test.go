package packetpath_test

import (
	"net/netip"
	"testing"
	"time"

	"github.com/rootd/rootd/fsm/table"
	"github.com/rootd/rootd/packetpath"
	"github.com/rootd/rootd/packetpath/vl1"
)

func TestHelloIsAnswered(t *testing.T) {
	full := func(*vl1.Hello) {}
	forms := map[string]func(*vl1.Hello){
		"with planet":   full,
		"bare":          func(h *vl1.Hello) { h.HasPlanet = false },
		"with moons":    func(h *vl1.Hello) { h.MoonCount = 1; h.Moons[0] = vl1.WorldStamp{Type: vl1.WorldMoon, ID: 7} },
		"relayed field": func(h *vl1.Hello) { h.SentTo = netip.AddrPort{} },
		"old client":    func(h *vl1.Hello) { h.Protocol = 4 },
	}
	for name, form := range forms {
		for _, at := range []string{"192.0.2.7:40000", "[fd00::7]:40000"} {
			t.Run(name+" from "+at, func(t *testing.T) {
				inLab(t, nil, func(l *lab) {
					c := l.client(1, at)
					var clock uint64
					ok := c.okHello(c.hello(func(h *vl1.Hello) { form(h); clock = h.Clock }))
					seen := c.addr
					if name == "old client" {
						seen = netip.AddrPortFrom(seen.Addr(), 0)
					}
					if ok.Clock != clock || ok.SeenAt != seen || ok.Protocol != 11 || ok.Major != 1 || len(ok.Worlds) != 0 {
						t.Errorf("OK(HELLO) = %+v", ok)
					}
				})
			})
		}
	}
}

func TestHelloInExtendedArmor(t *testing.T) {
	inLab(t, nil, func(l *lab) {
		c := l.client(1, "192.0.2.7:40000")
		for range 2 { // as a stranger, then as a known client
			h := c.helloMessage()
			p, err := vl1.ArmorExtended(vl1.AppendHello(c.packet(vl1.VerbHello), &h, &c.key), &c.key, &c.self.Key, ephemeral(t))
			if err != nil {
				t.Fatal(err)
			}
			id := p.ID()
			c.raw(p)
			c.okHello(id)
			c.silence()
		}
		if n := l.count(packetpath.ExtendedHello); n != 2 {
			t.Errorf("counted %d, want 2", n)
		}
	})
}

func TestHelloEncryptedAsOtherPackets(t *testing.T) {
	inLab(t, nil, func(l *lab) {
		c := l.client(1, "192.0.2.7:40000").attach()
		for _, suite := range []vl1.Suite{vl1.SuiteSalsa, vl1.SuiteAES} {
			h := c.helloMessage()
			p := vl1.AppendHello(c.packet(vl1.VerbHello), &h, &c.key)
			vl1.Armor(p, &c.key, suite)
			c.raw(p)
			c.okHello(p.ID())
			time.Sleep(2 * time.Second)
		}
	})
}

func TestHelloThatMustMeetSilence(t *testing.T) {
	cases := map[string]func(c *client) vl1.Packet{
		"wrong MAC": func(c *client) vl1.Packet {
			p := c.helloPacket(nil)
			p[20] ^= 1
			return p
		},
		"protocol 3": func(c *client) vl1.Packet { return c.helloPacket(func(h *vl1.Hello) { h.Protocol = 3 }) },
		"address of another": func(c *client) vl1.Packet {
			h := c.helloMessage()
			p := vl1.NewPacket(nil, randomID(), c.self.Address, 0x1234567890, vl1.VerbHello)
			p = vl1.AppendHello(p, &h, &c.key)
			vl1.Armor(p, &c.key, vl1.SuitePoly1305)
			return p
		},
		"identity that does not validate": func(c *client) vl1.Packet {
			bad := c.id.Identity
			bad.Address++
			h := c.helloMessage()
			h.Identity = bad
			p := vl1.NewPacket(nil, randomID(), c.self.Address, bad.Address, vl1.VerbHello)
			p = vl1.AppendHello(p, &h, &c.key)
			vl1.Armor(p, &c.key, vl1.SuitePoly1305)
			return p
		},
		"cut short": func(c *client) vl1.Packet { return c.helloPacket(nil)[:100] },
		"another verb in suite 0": func(c *client) vl1.Packet {
			p := c.packet(vl1.VerbEcho)
			vl1.Armor(p, &c.key, vl1.SuitePoly1305)
			return p
		},
		"trusted path": func(c *client) vl1.Packet {
			p := c.packet(vl1.VerbEcho)
			p[18] |= 2 << 3
			return p
		},
		"from the root itself": func(c *client) vl1.Packet {
			return vl1.NewPacket(nil, randomID(), c.self.Address, c.self.Address, vl1.VerbHello)
		},
	}
	for name, make := range cases {
		for _, known := range []bool{false, true} {
			t.Run(name, func(t *testing.T) {
				inLab(t, nil, func(l *lab) {
					c := l.client(1, "192.0.2.7:40000")
					if known {
						c.attach()
						c = c.from("192.0.2.8:40000")
					}
					c.mute = true
					c.raw(make(c))
					if b, _ := c.datagram(); b != nil {
						t.Errorf("got %d bytes, want silence", len(b))
					}
					if n := l.count(packetpath.NewcomersAccepted); known && n != 1 || !known && n != 0 {
						t.Errorf("accepted %d identities", n)
					}
					if p, ok := l.root.Peer(c.id.Address); ok != known || known && len(p.Paths) != 1 {
						t.Errorf("peer = %+v, %v", p, ok)
					}
				})
			})
		}
	}
}

func TestAddressCollision(t *testing.T) {
	inLab(t, nil, func(l *lab) {
		holder := identity(t, 2)
		c := l.client(1, "192.0.2.7:40000")
		// The log knows the client's address as somebody else's.
		other := vl1.Identity{Address: c.id.Address, Key: holder.Key}
		l.know(other)
		p := c.helloPacket(nil)
		c.raw(p)
		answer := c.next()
		if answer == nil {
			t.Fatal("no answer to a valid identity whose address is taken")
		}
		m, err := vl1.DecodeError(answer)
		if err != nil || m.Code != vl1.ErrorIdentityCollision || m.InReID != p.ID() {
			t.Errorf("got %+v, %v", m, err)
		}
		c.hello(nil)
		c.silence() // once a minute is enough
		time.Sleep(time.Minute)
		c.hello(nil)
		if p := c.next(); p == nil || p.Verb() != vl1.VerbError {
			t.Errorf("after a minute: %v", p)
		}
		// An invalid newcomer gets nothing.
		bad := l.client(3, "198.51.100.1:1")
		l.know(vl1.Identity{Address: bad.id.Address + 1, Key: holder.Key})
		h := bad.helloMessage()
		h.Identity.Address++
		q := vl1.NewPacket(nil, randomID(), l.self.Address, h.Identity.Address, vl1.VerbHello)
		q = vl1.AppendHello(q, &h, &bad.key)
		vl1.Armor(q, &bad.key, vl1.SuitePoly1305)
		bad.raw(q)
		bad.silence()
	})
}

func TestNewcomerIsKnownToTheLog(t *testing.T) {
	inLab(t, nil, func(l *lab) {
		c := l.client(1, "192.0.2.7:40000").attach()
		var rec table.Record
		if !l.fsm.View().Peer(c.id.Address, &rec) || rec.Key != c.id.Key || rec.V4 != c.addr {
			t.Errorf("the log has %+v", rec)
		}
	})
}

func TestProbesAreAnsweredAndForgotten(t *testing.T) {
	inLab(t, nil, func(l *lab) {
		c := l.client(1, "192.0.2.7:40000")
		c.okHello(c.hello(func(h *vl1.Hello) { h.HasPlanet = false }))
		c.silence()
		var rec table.Record
		if l.fsm.View().Peer(c.id.Address, &rec) {
			t.Errorf("the log has %+v", rec)
		}
		c.attach()
		if !l.fsm.View().Peer(c.id.Address, &rec) {
			t.Error("a client is not known because it greeted as a probe before")
		}
	})
}

func TestPathIsConfirmedBeforeItIsBelieved(t *testing.T) {
	inLab(t, nil, func(l *lab) {
		c := l.client(1, "192.0.2.7:40000")
		c.mute = true
		p := c.helloPacket(nil)
		c.raw(p)
		bytes := 0
		for b, _ := c.datagram(); b != nil; b, _ = c.datagram() {
			bytes += len(b)
		}
		if bytes == 0 || bytes > len(p) {
			t.Errorf("answered %d bytes with %d", len(p), bytes)
		}
		w := vl1.AppendWhois(c.packet(vl1.VerbWhois), c.self.Address)
		c.send(w)
		bytes = 0
		for b, _ := c.datagram(); b != nil; b, _ = c.datagram() {
			bytes += len(b)
		}
		if bytes > len(w) {
			t.Errorf("answered a WHOIS of %d bytes with %d on an unconfirmed path", len(w), bytes)
		}
		if l.count(packetpath.UnconfirmedWithheld) == 0 {
			t.Error("nothing was withheld")
		}
		// Nobody's packets are relayed to it either.
		d := l.client(2, "192.0.2.8:40000").attach()
		d.raw(vl1.NewPacket(nil, randomID(), c.id.Address, d.id.Address, vl1.VerbFrame))
		if b, _ := c.datagram(); b != nil {
			t.Errorf("%d bytes relayed to an unconfirmed path", len(b))
		}
	})
}

func TestReplayDoesNotMoveAPeer(t *testing.T) {
	inLab(t, nil, func(l *lab) {
		c := l.client(1, "192.0.2.7:40000").attach()
		old := c.helloPacket(nil)
		c.raw(append([]byte(nil), old...))
		c.okHello(old.ID())
		time.Sleep(time.Hour / 2)
		c.attach()

		thief := c.from("203.0.113.66:666")
		thief.mute = true // cannot: it has no key
		for range 5 {
			thief.raw(append([]byte(nil), old...))
			thief.datagram()
			time.Sleep(3 * time.Second)
		}
		d := l.client(2, "192.0.2.8:40000").attach()
		d.raw(vl1.NewPacket(nil, randomID(), c.id.Address, d.id.Address, vl1.VerbFrame))
		if p := c.next(); p == nil || p.Source() != d.id.Address {
			t.Errorf("the packet did not reach the peer: %v", p)
		}
		if thief.confirmed() {
			t.Error("the replayer's path was confirmed")
		}
	})
}

func TestRoamingMovesAPeerAtOnce(t *testing.T) {
	inLab(t, nil, func(l *lab) {
		c := l.client(1, "192.0.2.7:40000").attach()
		moved := c.from("198.51.100.9:555").attach()
		d := l.client(2, "192.0.2.8:40000").attach()
		d.raw(vl1.NewPacket(nil, randomID(), c.id.Address, d.id.Address, vl1.VerbFrame))
		if p := moved.next(); p == nil || p.Source() != d.id.Address {
			t.Errorf("the packet did not follow the peer: %v", p)
		}
	})
}

func TestHelloWithHopsBindsNoPath(t *testing.T) {
	inLab(t, nil, func(l *lab) {
		c := l.client(1, "192.0.2.7:40000")
		relay := c.from("203.0.113.5:9993") // another root's socket
		p := c.helloPacket(nil)
		p.SetHops(1)
		relay.raw(p)
		relay.okHello(p.ID())
		relay.silence()
		if p, ok := l.root.Peer(c.id.Address); !ok || len(p.Paths) != 0 {
			t.Errorf("peer = %+v, %v", p, ok)
		}
	})
}

func TestSeveralSocketsOfOneClient(t *testing.T) {
	inLab(t, nil, func(l *lab) {
		c := l.client(1, "192.0.2.7:40000").attach()
		time.Sleep(2 * time.Second)
		sockets := []*client{c, c.from("192.0.2.7:40001"), c.from("192.0.2.7:40002"), c.from("[fd00::7]:40000")}
		ids := make([]uint64, len(sockets))
		for i, s := range sockets {
			ids[i] = s.hello(nil)
		}
		for i, s := range sockets {
			s.okHello(ids[i])
		}
	})
}

func TestHelloLimits(t *testing.T) {
	inLab(t, nil, func(l *lab) {
		c := l.client(1, "192.0.2.7:40000").attach()
		time.Sleep(2 * time.Second)
		c.okHello(c.hello(nil))
		c.hello(nil)
		c.silence() // one a second and endpoint
		if n := l.count(packetpath.HelloLimited); n != 1 {
			t.Errorf("limited %d, want 1", n)
		}
		time.Sleep(time.Second)
		c.okHello(c.hello(nil))
	})
}

func TestUnknownIdentitiesAreLimitedPerPrefix(t *testing.T) {
	limit := func(o *packetpath.Options) { o.Limits.NewcomerRate, o.Limits.NewcomerBurst = 0.1, 2 }
	inLab(t, limit, func(l *lab) {
		for i := 1; i <= 4; i++ {
			l.client(i, netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 0, 2, byte(i)}), 1).String()).hello(nil)
		}
		far := l.client(5, "198.51.100.1:1")
		far.okHello(far.hello(nil))
		if a, n := l.count(packetpath.NewcomersAccepted), l.count(packetpath.NewcomersLimited); a != 3 || n != 2 {
			t.Errorf("accepted %d, limited %d, want 3 and 2", a, n)
		}
	})
}

func TestKnownPeerOfTheLogNeedsNoHello(t *testing.T) {
	inLab(t, nil, func(l *lab) {
		c := l.client(1, "192.0.2.7:40000")
		l.know(c.id.Identity)
		c.send(c.packet(vl1.VerbNop)) // its first packet here is not a HELLO
		if c.silence(); !c.confirmed() {
			t.Error("the path was not confirmed")
		}
		id := c.send(vl1.AppendWhois(c.packet(vl1.VerbWhois), l.self.Address))
		c.ok(vl1.VerbWhois, id)
		if n := l.count(packetpath.NewcomersQueued); n != 0 {
			t.Errorf("%d validations of a known identity", n)
		}
	})
}

func TestKeepWarm(t *testing.T) {
	for _, every := range []time.Duration{25 * time.Second, 0} {
		t.Run(every.String(), func(t *testing.T) {
			inLab(t, func(o *packetpath.Options) { o.KeepWarm = every }, func(l *lab) {
				c := l.client(1, "192.0.2.7:40000").attach()
				stop := time.Now().Add(225 * time.Second)
				for time.Now().Before(stop) {
					c.silence() // answers the ECHOs
				}
				n := l.count(packetpath.KeepWarmSent)
				if every == 0 && n != 0 || every != 0 && (n < 9 || n > 12) {
					t.Errorf("%d ECHOs in 225 s", n)
				}
				// A client that is gone is left alone.
				_ = c.conn.Close()
				before := l.count(packetpath.KeepWarmSent)
				time.Sleep(time.Hour / 4)
				if n := l.count(packetpath.KeepWarmSent) - before; n > 5 {
					t.Errorf("%d ECHOs to a client that is gone", n)
				}
			})
		})
	}
}

func TestRepliesLeaveFromTheAddressThatWasAsked(t *testing.T) {
	inLab(t, nil, func(l *lab) {
		c := l.client(1, "192.0.2.7:40000")
		c.mute = true
		c.hello(nil)
		if b, from := c.datagram(); b == nil || from != rootV4 {
			t.Errorf("answer from %v, want %v", from, rootV4)
		}
	})
}

func FuzzDatagram(f *testing.F) {
	self, peer := identity(f, 0), identity(f, 1)
	key, err := peer.Agree(&self.Key)
	if err != nil {
		f.Fatal(err)
	}
	h := vl1.Hello{Protocol: 12, Identity: peer.Identity}
	hello := vl1.AppendHello(vl1.NewPacket(nil, 1, self.Address, peer.Address, vl1.VerbHello), &h, &key)
	vl1.Armor(hello, &key, vl1.SuitePoly1305)
	f.Add([]byte(hello), uint8(1))
	for v := range uint8(vl1.NumVerbs) {
		p := vl1.NewPacket(nil, uint64(v), self.Address, peer.Address, vl1.Verb(v))
		f.Add([]byte(append(p, make([]byte, 40)...)), v)
	}
	f.Fuzz(func(t *testing.T, b []byte, verb uint8) {
		if len(b) > vl1.MaxPacket {
			return
		}
		inLab(t, nil, func(l *lab) {
			c := l.client(1, "192.0.2.7:40000")
			c.mute = true
			c.raw(b)
			c.datagram()
			// The same as the payload of an authentic packet of a known peer.
			l.know(c.id.Identity)
			c.send(append(c.packet(vl1.Verb(verb)%vl1.NumVerbs), b[:min(len(b), 9000)]...))
			c.datagram()
		})
	})
}
