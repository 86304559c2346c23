package client_test

import (
	"encoding/binary"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"

	"github.com/rootd/rootd/cmd/internal/client"
	"github.com/rootd/rootd/packetpath/vl1"
)

// start is a time for tests, ms since 1970.
const start = 1_700_000_000_000

// bench is a client with one root, whose packets the test writes itself.
type bench struct {
	c    *client.Client
	e    client.Env
	root *vl1.SecretIdentity
	key  vl1.Key
	sent []datagram
	eps  []netip.AddrPort // the root's
}

type datagram struct {
	from client.Socket
	to   netip.AddrPort
	b    []byte
}

func newBench(t testing.TB, family string) *bench {
	t.Helper()
	src := rand.NewPCG(1, 1)
	var ids [2]*vl1.SecretIdentity
	for i := range ids {
		var err error
		if ids[i], err = client.Synthetic(src); err != nil {
			t.Fatal(err)
		}
	}
	f, err := client.FamilyByName(family)
	if err != nil {
		t.Fatal(err)
	}
	b := &bench{root: ids[0], eps: []netip.AddrPort{
		netip.MustParseAddrPort("60.0.0.1:9993"), netip.MustParseAddrPort("[2a10::1]:9993"),
		netip.MustParseAddrPort("60.0.0.2:9993"), netip.MustParseAddrPort("[2a10:1::2]:9993"),
	}}
	planet := &vl1.World{Type: vl1.WorldPlanet, ID: 1, Timestamp: 1, Roots: []vl1.Root{{Identity: ids[0].Identity, Endpoints: b.eps}}}
	b.c, err = client.New(client.Options{
		Family: f, Identity: ids[1], Planet: planet, Seed: 1, Sockets: [2]int{2, 1}, Networks: []uint64{1},
	})
	if err != nil {
		t.Fatal(err)
	}
	if b.key, err = b.root.Agree(&ids[1].Key); err != nil {
		t.Fatal(err)
	}
	b.e.Now = start
	b.e.Send = func(_ *client.Client, s client.Socket, to netip.AddrPort, _ uint8, d []byte) {
		b.sent = append(b.sent, datagram{s, to, slices.Clone(d)})
	}
	return b
}

// packet is an armored packet of the root.
func (b *bench) packet(v vl1.Verb, payload []byte, id uint64, hops uint8) vl1.Packet {
	p := append(vl1.NewPacket(nil, id, b.c.Address(), b.root.Address, v), payload...)
	vl1.Armor(p, &b.key, vl1.SuiteSalsa)
	p.SetHops(hops)
	return p
}

// check fails if an invariant does not hold.
func (b *bench) check(t *testing.T) {
	t.Helper()
	paths := b.c.Paths(b.root.Address, b.e.Now)
	if len(paths) > b.c.Family().MaxPaths {
		t.Fatalf("%d paths, at most %d", len(paths), b.c.Family().MaxPaths)
	}
	for _, p := range paths {
		if !slices.ContainsFunc(b.eps, func(e netip.AddrPort) bool { return e.Addr() == p.Endpoint.Addr() }) && b.c.Family().ChecksWorld {
			t.Fatalf("path to %v, which is not in the planet", p.Endpoint)
		}
		if p.Priority < 1 {
			t.Fatalf("path with priority %d", p.Priority)
		}
	}
	for _, d := range b.sent {
		if len(d.b) > vl1.MTU {
			t.Fatalf("datagram of %d bytes", len(d.b))
		}
		if int(d.from) >= b.c.Locals() {
			t.Fatalf("sent from socket %d of %d", d.from, b.c.Locals())
		}
	}
	b.sent = b.sent[:0]
}

// FuzzReceive feeds a client of each family with a script of the fuzzer: authentic packets with any verb and payload,
// raw datagrams, and time.
func FuzzReceive(f *testing.F) {
	redirect := func(ip byte) []byte { return []byte{0, 1, 0x02, 0, 0, 4, 6, 60, 0, 0, ip, 0x27, 0x09} }
	script := func(steps ...[]byte) []byte {
		var b []byte
		for _, s := range steps {
			b = append(append(b, byte(len(s))), s...)
		}
		return b
	}
	step := func(kind, endpoint, hops byte, v vl1.Verb, payload []byte) []byte {
		return append([]byte{kind, endpoint, hops, byte(v)}, payload...)
	}
	f.Add(byte(6), script(step(0, 0, 0, vl1.VerbNop, nil), step(0, 0, 1, vl1.VerbPushDirectPaths, redirect(2)), []byte{2, 5}))
	f.Add(byte(2), script(step(0, 2, 0, vl1.VerbEcho, []byte("ping")), step(0, 2, 0, vl1.VerbPushDirectPaths, redirect(9)), []byte{2, 250}))
	f.Add(byte(0), script(step(0, 1, 0, vl1.VerbRendezvous, append([]byte{0, 1, 2, 3, 4, 5, 0x27, 9, 4}, 60, 0, 0, 2)), []byte{2, 1}))
	f.Add(byte(7), script(step(3, 0, 0, vl1.VerbHello, nil), step(3, 0, 0, vl1.VerbWhois, []byte("okwhois")), []byte{1, 0xff, 0}))
	f.Fuzz(func(t *testing.T, family byte, steps []byte) {
		all := client.Families()
		b := newBench(t, all[int(family)%len(all)].Name)
		b.c.Tick(&b.e)
		for id := uint64(1 << 40); len(steps) > 0; id += 1 << 33 {
			n := min(int(steps[0]), len(steps)-1)
			s := steps[1 : 1+n]
			steps = steps[1+n:]
			if len(s) < 2 {
				continue
			}
			from := b.eps[int(s[1])%len(b.eps)]
			sock := client.Socket(0)
			if from.Addr().Is6() {
				sock = 2
			}
			switch kind := s[0] % 4; {
			case kind == 0 && len(s) >= 4: // an authentic packet
				b.c.Receive(&b.e, sock, from, b.packet(vl1.Verb(s[3]%vl1.NumVerbs), s[4:], id, s[2]))
			case kind == 1: // anything
				b.c.Receive(&b.e, sock, from, slices.Clone(s[1:]))
			case kind == 2: // time
				b.e.Now += int64(s[1]) * 1000
				b.c.Tick(&b.e)
			case kind == 3 && len(s) >= 4: // an OK to what the client sent last
				for _, d := range slices.Backward(b.sent) {
					if len(d.b) >= vl1.HeaderLen {
						body := binary.BigEndian.AppendUint64([]byte{s[3] & 0x1f}, vl1.Packet(d.b).ID())
						b.c.Receive(&b.e, d.from, d.to, b.packet(vl1.VerbOK, append(body, s[4:]...), id, s[2]))
						break
					}
				}
			}
			b.check(t)
		}
	})
}

// TestNextTellsTheTruth: nothing is sent before the time that Next returns.
func TestNextTellsTheTruth(t *testing.T) {
	for _, f := range client.Families() {
		b := newBench(t, f.Name)
		for range 1000 {
			due := max(b.c.Next(), b.e.Now)
			for b.e.Now < due-1 {
				b.e.Now = min(b.e.Now+777, due-1)
				b.sent = b.sent[:0]
				b.c.Tick(&b.e)
				if len(b.sent) > 0 {
					t.Fatalf("%s: sent at %d, %d ms before Next", f.Name, b.e.Now-start, due-b.e.Now)
				}
			}
			b.e.Now = due
			b.c.Tick(&b.e)
			if b.c.Next() <= due {
				t.Fatalf("%s: Next stands still", f.Name)
			}
		}
	}
}

// TestSameSeedSameRun: with the same seed and input two clients send the same bytes.
func TestSameSeedSameRun(t *testing.T) {
	run := func() []datagram {
		b := newBench(t, "1.8")
		for range 100 {
			b.e.Now = max(b.e.Now, b.c.Next())
			b.c.Tick(&b.e)
			b.c.Receive(&b.e, 0, b.eps[0], b.packet(vl1.VerbNop, nil, uint64(b.e.Now), 0))
		}
		return b.sent
	}
	x, y := run(), run()
	if !slices.EqualFunc(x, y, func(a, b datagram) bool { return a.to == b.to && a.from == b.from && slices.Equal(a.b, b.b) }) {
		t.Errorf("two runs differ: %d and %d datagrams", len(x), len(y))
	}
}

// TestPlanetUpdates: a newer planet with the right signature is taken, everything else is refused, and kept is what was.
func TestPlanetUpdates(t *testing.T) {
	key, err := vl1.GenerateSigningKey()
	if err != nil {
		t.Fatal(err)
	}
	other, err := vl1.GenerateSigningKey()
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name   string
		change func(w *vl1.World)
		sign   *vl1.SigningKey
		taken  bool
	}{
		{"newer", func(w *vl1.World) { w.Timestamp = 9 }, key, true},
		{"older", func(w *vl1.World) { w.Timestamp = 4 }, key, false},
		{"same time", func(*vl1.World) {}, key, false},
		{"other ID", func(w *vl1.World) { w.Timestamp, w.ID = 9, 2 }, key, false},
		{"foreign key", func(w *vl1.World) { w.Timestamp = 9 }, other, false},
		{"moon", func(w *vl1.World) { w.Timestamp, w.Type = 9, vl1.WorldMoon }, key, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			b := newBench(t, "1.14")
			held := b.c.Planet()
			held.Timestamp, held.UpdateKey = 5, key.Public()
			next := *held
			tc.change(&next)
			next.Sign(tc.sign)
			b.c.Tick(&b.e)
			hello := b.sent[0]
			ok := vl1.OKHello{Clock: start, Protocol: 11, SeenAt: netip.MustParseAddrPort("61.0.0.1:9993"), Worlds: next.AppendBinary(nil)}
			p := vl1.AppendOKHello(vl1.NewPacket(nil, 1, b.c.Address(), b.root.Address, vl1.VerbOK), vl1.Packet(hello.b).ID(), &ok)
			vl1.Armor(p, &b.key, vl1.SuiteSalsa)
			b.c.Receive(&b.e, hello.from, hello.to, p)
			if got := b.c.Planet().Timestamp == next.Timestamp && b.c.Planet() != held; got != tc.taken {
				t.Errorf("taken: %v, want %v", got, tc.taken)
			}
			if s := b.c.Stats(b.e.Now); s.PlanetsTaken+s.PlanetsRefused != 1 {
				t.Errorf("counted %d taken, %d refused", s.PlanetsTaken, s.PlanetsRefused)
			}
			if len(b.c.Paths(b.root.Address, b.e.Now)) == 0 {
				t.Error("the answer did not teach the path")
			}
		})
	}
}

// TestFramesDoNotAllocate: nothing is allocated for a frame that is sent or received.
func TestFramesDoNotAllocate(t *testing.T) {
	b := newBench(t, "1.14")
	b.c.Tick(&b.e)
	hello := b.sent[0]
	ok := vl1.OKHello{Clock: start, Protocol: 11, SeenAt: netip.MustParseAddrPort("61.0.0.1:9993")}
	p := vl1.AppendOKHello(vl1.NewPacket(nil, 1, b.c.Address(), b.root.Address, vl1.VerbOK), vl1.Packet(hello.b).ID(), &ok)
	vl1.Armor(p, &b.key, vl1.SuiteSalsa)
	b.c.Receive(&b.e, hello.from, hello.to, p)

	sent, delivered := 0, 0
	b.e.Send = func(*client.Client, client.Socket, netip.AddrPort, uint8, []byte) { sent++ }
	b.e.Deliver = func(*client.Client, vl1.Address, uint8, []byte) { delivered++ }
	data := make([]byte, 200)
	body := vl1.AppendFrame(vl1.NewPacket(nil, 0, b.c.Address(), b.root.Address, vl1.VerbFrame), &vl1.Frame{Network: 1, Payload: data})
	in := b.packet(vl1.VerbFrame, body.Payload(), 7<<32, 1)
	buf := make([]byte, len(in))
	const runs = 100
	allocs := testing.AllocsPerRun(runs, func() {
		if err := b.c.SendFrame(&b.e, 1, b.root.Address, data); err != nil {
			t.Fatal(err)
		}
		copy(buf, in)
		b.c.Receive(&b.e, hello.from, hello.to, buf)
	})
	if allocs != 0 {
		t.Errorf("%v allocations per frame, want 0", allocs)
	}
	if sent < runs || delivered < runs {
		t.Errorf("%d frames sent, %d delivered: want %d", sent, delivered, runs)
	}
}
