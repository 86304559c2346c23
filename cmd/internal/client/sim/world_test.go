package sim_test

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"

	"github.com/rootd/rootd/cmd/internal/client"
	"github.com/rootd/rootd/cmd/internal/client/sim"
	"github.com/rootd/rootd/packetpath/vl1"
)

// world is the setting of most tests: root Alice with three members and Bob with one, each with an IPv4 and an IPv6
// endpoint, and one client.
type world struct {
	*sim.Net
	t          testing.TB
	key        *vl1.SigningKey
	alice, bob *sim.Root
	a          []*sim.Member // Alice's
	b          *sim.Member   // Bob's
	planet     *vl1.World
	node       *sim.Node
	c          *client.Client
	rtt        map[netip.Addr]int64 // ms, per member address; 40 if missing
	log        []sent               // what the client sent
	id         vl1.Identity         // the client's
}

// sent is a datagram that the client sent. Its verb can only be told for HELLO.
type sent struct {
	at    int64 // ms since the start
	to    netip.AddrPort
	size  int
	hello bool
}

// setting is what a test wants to be different.
type setting struct {
	family  string
	seed    uint64
	sockets [2]int
	nat     *sim.NAT
	noBob   bool
	v4only  bool
	jitter  int64
	dual    bool // sockets carry both families, as in the harness of the measurements
	members int  // of Alice; 3 if 0
}

const rttDefault = 40

func family(t testing.TB, name string) *client.Family {
	t.Helper()
	f, err := client.FamilyByName(name)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func newWorld(t testing.TB, o setting) *world {
	t.Helper()
	if o.sockets == [2]int{} {
		o.sockets = [2]int{1, 1}
		if o.v4only {
			o.sockets[1] = 0
		}
	}
	if o.members == 0 {
		o.members = 3
	}
	src := rand.NewPCG(o.seed, 99)
	identity := func() *vl1.SecretIdentity {
		id, err := client.Synthetic(src)
		if err != nil {
			t.Fatal(err)
		}
		return id
	}
	w := &world{Net: sim.New(o.seed), t: t, rtt: make(map[netip.Addr]int64)}
	var err error
	if w.key, err = vl1.GenerateSigningKey(); err != nil {
		t.Fatal(err)
	}
	w.alice, w.bob = sim.NewRoot(identity(), o.seed), sim.NewRoot(identity(), o.seed+1)
	endpoints := func(net, host int) []netip.AddrPort {
		e := []netip.AddrPort{netip.MustParseAddrPort(fmt.Sprintf("60.0.%d.%d:9993", net, host))}
		if !o.v4only {
			e = append(e, netip.MustParseAddrPort(fmt.Sprintf("[2a10:%d::%d]:9993", 100*net+host, host)))
		}
		return e
	}
	for i := range o.members {
		w.a = append(w.a, w.alice.NewMember(fmt.Sprintf("m%d", i+1), endpoints(1, i+1)...))
	}
	roots := []*sim.Root{w.alice}
	w.b = w.bob.NewMember("b1", endpoints(2, 1)...)
	if !o.noBob {
		roots = append(roots, w.bob)
	}
	for _, m := range append(w.a, w.b) {
		w.AddMember(m)
	}
	w.Delay = func(from, to netip.AddrPort) (int64, bool) {
		for _, a := range []netip.Addr{from.Addr(), to.Addr()} {
			if ms, ok := w.rtt[a]; ok {
				return ms / 2, true
			}
		}
		return rttDefault / 2, true
	}
	w.planet = sim.Planet(w.key, 1000, roots...)
	id := identity()
	w.id = id.Identity
	w.c, err = client.New(client.Options{
		Family: family(t, o.family), Identity: id, Planet: w.planet, Seed: o.seed, Sockets: o.sockets,
		Networks: []uint64{1}, Jitter: o.jitter, DualStack: o.dual,
	})
	if err != nil {
		t.Fatal(err)
	}
	var socks []netip.AddrPort
	for k := range o.sockets[0] {
		socks = append(socks, netip.AddrPortFrom(netip.MustParseAddr("61.0.0.1"), uint16(9993+k)))
	}
	for k := range o.sockets[1] {
		socks = append(socks, netip.AddrPortFrom(netip.MustParseAddr("2a11::1"), uint16(9993+k)))
	}
	w.Trace = func(from, to netip.AddrPort, b []byte) {
		if len(b) >= vl1.HeaderLen && !vl1.IsFragment(b) && vl1.Packet(b).Source() == w.c.Address() && vl1.Packet(b).Hops() == 0 {
			p := vl1.Packet(b)
			w.log = append(w.log, sent{
				at: w.Now - sim.Epoch, to: to, size: len(b),
				hello: p.Suite() == vl1.SuitePoly1305 && p.Verb() == vl1.VerbHello,
			})
		}
	}
	w.node = w.AddClient(w.c, o.nat, socks...)
	return w
}

// seconds lets time pass.
func (w *world) seconds(s float64) { w.Run(int64(s * 1000)) }

// table is the client's path table of a root, as member and priority: "m1:1 m2:3".
func (w *world) table(r *sim.Root) string {
	s := ""
	for _, p := range w.c.Paths(r.ID.Address, w.Now) {
		if s != "" {
			s += " "
		}
		s += fmt.Sprintf("%s:%d", w.name(p.Endpoint), p.Priority)
	}
	return s
}

// name says whose endpoint it is: "m1" for IPv4, "m1/6" for IPv6.
func (w *world) name(ap netip.AddrPort) string {
	for _, m := range append(w.a, w.b) {
		for i, e := range m.Endpoints {
			if e.Addr() == ap.Addr() {
				return m.Name + []string{"", "/6"}[i]
			}
		}
	}
	return ap.String()
}

// uses is the member that packets to Alice go to.
func (w *world) uses() string {
	ap, ok := w.c.Endpoint(w.alice.ID.Address, w.Now)
	if !ok {
		return "none"
	}
	return w.name(ap)
}

// at returns the member of Alice that the client uses, over IPv4.
func (w *world) member(name string) *sim.Member {
	for _, m := range w.a {
		if m.Name == name {
			return m
		}
	}
	w.t.Fatalf("no member %q", name)
	return nil
}

// other returns members of Alice that the client does not use.
func (w *world) others() []*sim.Member {
	var o []*sim.Member
	for _, m := range w.a {
		if n := w.uses(); n != m.Name && n != m.Name+"/6" {
			o = append(o, m)
		}
	}
	return o
}

// hellos counts HELLOs to an address in the log from index i on.
func (w *world) hellos(i int, a netip.Addr) (n int) {
	for _, s := range w.log[i:] {
		if s.hello && s.to.Addr() == a {
			n++
		}
	}
	return n
}

// session is the client's session with a member.
func (w *world) session(m *sim.Member) *sim.Session {
	s := m.Session(w.c.Address())
	if s == nil {
		w.t.Fatalf("the client never spoke to %s directly", m.Name)
	}
	return s
}

func addrPort(s string) netip.AddrPort { return netip.MustParseAddrPort(s) }

func (w *world) identity() vl1.Identity { return w.id }
