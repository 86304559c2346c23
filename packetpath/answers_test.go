package packetpath_test

import (
	"bytes"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/rootd/rootd/packetpath"
	"github.com/rootd/rootd/packetpath/udp"
	"github.com/rootd/rootd/packetpath/vl1"
)

// slow delays every datagram.
func slow(d time.Duration) udp.FateFunc {
	return func(_, _ netip.AddrPort, _ []byte) udp.Fate { return udp.Fate{Delay: d} }
}

func TestWhois(t *testing.T) {
	inLab(t, nil, func(l *lab) {
		c, d := l.client(1, "192.0.2.7:40000").attach(), l.client(2, "192.0.2.8:40000").attach()
		logged := identity(t, 3).Identity
		l.know(logged)
		for _, want := range []vl1.Identity{d.id.Identity, c.id.Identity, logged, l.self.Identity} {
			id := c.send(vl1.AppendWhois(c.packet(vl1.VerbWhois), want.Address))
			if got, err := vl1.DecodeOKWhois(c.ok(vl1.VerbWhois, id)); err != nil || got != want {
				t.Errorf("got %v, %v, want %v", got, err, want)
			}
		}
		// One OK for each identity, silence for the unknown.
		id := c.send(vl1.AppendWhois(c.packet(vl1.VerbWhois), d.id.Address, 0x1234567890, logged.Address))
		for _, want := range []vl1.Identity{d.id.Identity, logged} {
			body := c.ok(vl1.VerbWhois, id)
			if got, err := vl1.DecodeOKWhois(body); err != nil || got != want || len(body) != 71 {
				t.Errorf("got %v, %v of %d bytes, want %v", got, err, len(body), want)
			}
		}
		c.silence()
		c.send(vl1.AppendWhois(c.packet(vl1.VerbWhois), 0x1234567890))
		c.silence()

		many := make([]vl1.Address, 20)
		for i := range many {
			many[i] = d.id.Address
		}
		before := l.count(packetpath.WhoisAnswered)
		c.send(vl1.AppendWhois(c.packet(vl1.VerbWhois), many...))
		if n := l.count(packetpath.WhoisAnswered) - before; n != 8 {
			t.Errorf("%d of %d addresses of one request answered, want 8", n, len(many))
		}
		for range 20 {
			c.send(vl1.AppendWhois(c.packet(vl1.VerbWhois), many[:8]...))
		}
		if n := l.count(packetpath.WhoisLimited); n == 0 {
			t.Error("no limit")
		}
	})
}

func TestEcho(t *testing.T) {
	inLab(t, nil, func(l *lab) {
		c := l.client(1, "192.0.2.7:40000").attach()
		for _, suite := range []vl1.Suite{vl1.SuiteSalsa, vl1.SuiteAES} {
			for _, payload := range []string{"", "hello", string(bytes.Repeat([]byte("x"), 1300))} {
				p := append(c.packet(vl1.VerbEcho), payload...)
				vl1.Armor(p, &c.key, suite)
				id := p.ID()
				c.raw(p)
				if got := c.ok(vl1.VerbEcho, id); string(got) != payload {
					t.Errorf("%v: got %q, want %q", suite, got, payload)
				}
			}
		}
		for range 100 {
			c.send(c.packet(vl1.VerbEcho))
		}
		if n := l.count(packetpath.EchoLimited); n < 80 {
			t.Errorf("limited %d of 100", n)
		}
	})
}

func TestAESIsUsedOnlyWhereItIsAllowed(t *testing.T) {
	for _, row := range []struct {
		on       bool
		protocol uint8
		want     vl1.Suite
	}{{false, 12, vl1.SuiteSalsa}, {true, 11, vl1.SuiteSalsa}, {true, 12, vl1.SuiteAES}} {
		inLab(t, func(o *packetpath.Options) { o.AES = row.on }, func(l *lab) {
			c := l.client(1, "192.0.2.7:40000").attach()
			time.Sleep(2 * time.Second)
			c.okHello(c.hello(func(h *vl1.Hello) { h.Protocol = row.protocol }))
			c.raw(func() []byte { p := c.packet(vl1.VerbEcho); vl1.Armor(p, &c.key, vl1.SuiteSalsa); return p }())
			if b, _ := c.datagram(); b == nil || vl1.Packet(b).Suite() != row.want {
				t.Errorf("%+v: answered %x", row, b)
			}
		})
	}
}

func TestMulticast(t *testing.T) {
	group := vl1.Group{Network: 0x8056c2e21c000001, MAC: [6]byte{0x33, 0x33, 0, 0, 0, 1}}
	inLab(t, nil, func(l *lab) {
		asker := l.client(1, "192.0.2.7:40000").attach()
		members := []*client{l.client(2, "192.0.2.8:1").attach(), l.client(3, "192.0.2.9:1").attach(), l.client(4, "192.0.2.10:1").attach()}
		groups := make([]vl1.Group, 100)
		for i := range groups {
			groups[i] = vl1.Group{Network: group.Network, MAC: group.MAC, ADI: uint32(i)}
		}
		// Plain, compressed, and in fragments.
		members[0].send(vl1.AppendMulticastLike(members[0].packet(vl1.VerbMulticastLike), group))
		p := vl1.AppendMulticastLike(members[1].packet(vl1.VerbMulticastLike), groups...)
		members[1].send(vl1.Compress(p, make([]byte, len(p))))
		p = vl1.AppendMulticastLike(members[2].packet(vl1.VerbMulticastLike), groups...)
		p.SetFragmented(true)
		vl1.Armor(p, &members[2].key, vl1.SuiteSalsa)
		var pieces [][]byte
		if err := vl1.Split(p, 600, func(b []byte) { pieces = append(pieces, append([]byte(nil), b...)) }); err != nil {
			t.Fatal(err)
		}
		slices.Reverse(pieces)
		for _, b := range append(pieces[:1:1], pieces...) { // the last one comes first, and twice
			members[2].raw(b)
		}
		asker.send(vl1.AppendMulticastLike(asker.packet(vl1.VerbMulticastLike), group))
		if n := l.count(packetpath.Likes); n != 202 {
			t.Errorf("%d subscriptions, want 202", n)
		}

		ask := func(limit uint32) vl1.OKGather {
			t.Helper()
			id := asker.send(vl1.AppendMulticastGather(asker.packet(vl1.VerbMulticastGather), &vl1.Gather{Group: group, Limit: limit}))
			m, err := vl1.DecodeOKGather(asker.ok(vl1.VerbMulticastGather, id))
			if err != nil {
				t.Fatal(err)
			}
			return m
		}
		m := ask(33)
		got := map[vl1.Address]bool{}
		for i := range m.Members.Len() {
			got[m.Members.At(i)] = true
		}
		if m.Total != 4 || len(got) != 3 || got[asker.id.Address] || m.Group != group {
			t.Errorf("got %+v: %v", m, got)
		}
		if m := ask(2); m.Total != 4 || m.Members.Len() != 2 {
			t.Errorf("of 2 wanted: %d of %d", m.Members.Len(), m.Total)
		}
		time.Sleep(601 * time.Second)
		asker.attach()
		asker.send(vl1.AppendMulticastGather(asker.packet(vl1.VerbMulticastGather), &vl1.Gather{Group: group, Limit: 33}))
		asker.silence()
	})
}

func TestConfigRequestIsRefused(t *testing.T) {
	inLab(t, nil, func(l *lab) {
		c := l.client(1, "192.0.2.7:40000").attach()
		id := c.send(vl1.AppendNetworkConfigRequest(c.packet(vl1.VerbNetworkConfigRequest), &vl1.NetworkConfigRequest{Network: 0x8056c2e21c000001}))
		m, err := vl1.DecodeError(c.next())
		if err != nil || m.Code != vl1.ErrorUnsupported || m.InReID != id || !bytes.Equal(m.Payload, []byte{0x80, 0x56, 0xc2, 0xe2, 0x1c, 0, 0, 1}) {
			t.Errorf("got %+v, %v", m, err)
		}
	})
}

func TestVerbsThatAreIgnored(t *testing.T) {
	inLab(t, nil, func(l *lab) {
		c := l.client(1, "192.0.2.7:40000").attach()
		for v := range vl1.Verb(vl1.NumVerbs) {
			switch v {
			case vl1.VerbHello, vl1.VerbEcho, vl1.VerbWhois, vl1.VerbMulticastGather, vl1.VerbNetworkConfigRequest:
				continue
			}
			c.send(append(c.packet(v), make([]byte, 60)...))
			c.send(c.packet(v))
		}
		c.silence()
		c.okHello(c.hello(nil)) // alive and well
	})
}

func TestJunk(t *testing.T) {
	inLab(t, nil, func(l *lab) {
		c := l.client(1, "192.0.2.7:40000")
		for n := range 28 {
			c.raw(make([]byte, n))
		}
		if b, _ := c.datagram(); b != nil {
			t.Errorf("got %x", b)
		}
		if n := l.count(packetpath.Junk); n != 28 {
			t.Errorf("counted %d, want 28", n)
		}
	})
}

func TestAnyHopCountIsAuthentic(t *testing.T) {
	inLab(t, nil, func(l *lab) {
		c := l.client(1, "192.0.2.7:40000").attach()
		for hops := range uint8(8) {
			p := c.packet(vl1.VerbEcho)
			vl1.Armor(p, &c.key, vl1.SuiteSalsa)
			p.SetHops(hops)
			c.raw(p)
		}
		if n := l.count(packetpath.BadMAC); n != 0 {
			t.Errorf("%d refused", n)
		}
	})
}

func TestPacketIDsAreRandom(t *testing.T) {
	inLab(t, nil, func(l *lab) {
		c := l.client(1, "192.0.2.7:40000").attach()
		var ones [64]int
		const n = 400
		for range n {
			time.Sleep(200 * time.Millisecond)
			c.raw(func() []byte { p := c.packet(vl1.VerbEcho); vl1.Armor(p, &c.key, vl1.SuiteSalsa); return p }())
			b, _ := c.datagram()
			for i := range ones {
				ones[i] += int(vl1.Packet(b).ID() >> i & 1)
			}
		}
		for i, k := range ones {
			if k < n/2-120 || k > n/2+120 { // 12 standard deviations
				t.Errorf("bit %d is set in %d of %d", i, k, n)
			}
		}
	})
}
