package main

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/netip"
	"runtime"
	"time"

	"github.com/rootd/rootd/cmd/internal/client"
	"github.com/rootd/rootd/cmd/internal/client/sim"
	"github.com/rootd/rootd/packetpath/vl1"
)

// stage is a scenario being played.
type stage struct {
	s       *scenario
	net     *sim.Net
	rng     *rand.Rand
	key     *vl1.SigningKey
	roots   []*sim.Root
	members map[string]*sim.Member
	planet  *vl1.World
	actors  []*actor
	where   map[netip.Addr]int // index into places
	rtt     *rttTable
	at      map[netip.Addr]*sim.Member
	count   counters
	retired []client.Stats // of clients that were restarted
	roamed  int
}

// actor is a client of the stage.
type actor struct {
	node  *sim.Node
	opts  client.Options
	nat   *sim.NAT
	place int   // index into places
	since int64 // without a living member of the first root since, ms; 0: it has one
	away  int64 // longest such time, ms
	seq   int
}

// frameNet is the network of the frames.
const frameNet = 1

// newStage builds roots and clients. Clients start spread over the first five seconds.
func newStage(s *scenario, seed uint64) (*stage, error) {
	g := &stage{
		s: s, net: sim.New(seed), rng: rand.New(rand.NewPCG(seed, 3)), members: make(map[string]*sim.Member),
		where: make(map[netip.Addr]int), rtt: newRTTTable(), at: make(map[netip.Addr]*sim.Member),
	}
	var err error
	if g.key, err = vl1.GenerateSigningKey(); err != nil {
		return nil, err
	}
	src := rand.NewPCG(seed, 4)
	n := 0
	for i, spec := range s.roots {
		id, err := client.Synthetic(src)
		if err != nil {
			return nil, err
		}
		r := sim.NewRoot(id, seed+uint64(i))
		g.roots = append(g.roots, r)
		for k := range spec.members {
			name := fmt.Sprintf("%s.%d", spec.name, k+1)
			ap := netip.AddrPortFrom(netip.AddrFrom4([4]byte{60, 0, byte(i), byte(k + 1)}), 9993)
			m := r.NewMember(name, ap)
			m.NoIntroductions = s.nat == sim.Symmetric
			g.members[name] = m
			g.where[ap.Addr()] = n % len(places)
			g.at[ap.Addr()] = m
			n++
			g.net.AddMember(m)
		}
	}
	g.publish()
	for _, b := range s.bounce {
		from, to := g.members[b[0]], g.members[b[1]]
		from.Seen = func(m *sim.Member, c *sim.Session, pkt vl1.Packet) {
			if pkt.Verb() != vl1.VerbOK {
				m.Redirect(c, 0, to.Endpoints[0])
			}
		}
	}
	g.net.Delay = g.delay
	g.net.Env.Deliver = func(_ *client.Client, _ vl1.Address, hops uint8, _ []byte) {
		g.count.framesReceived++
		if hops == 0 {
			g.count.framesDirect++
		}
	}
	mix := config{mix: s.mix}
	for i := range s.clients {
		id, err := client.Synthetic(src)
		if err != nil {
			return nil, err
		}
		a := &actor{
			opts: client.Options{
				Family: mix.familyOf(i), Identity: id, Planet: g.planet, Seed: seed, Sockets: [2]int{s.sockets, 0},
				Networks: []uint64{frameNet}, Jitter: 60,
			},
			place: g.rng.IntN(len(places)),
		}
		g.actors = append(g.actors, a)
		ext := g.address(62)
		g.where[ext] = a.place
		local := make([]netip.AddrPort, s.sockets)
		host := ext
		if s.nat != sim.NoNAT {
			a.nat = &sim.NAT{Kind: s.nat, Timeout: s.natTime.Milliseconds(), External: [2]netip.Addr{ext}}
			host = netip.AddrFrom4([4]byte{192, 168, 0, 2})
		}
		for k := range local {
			local[k] = netip.AddrPortFrom(host, uint16(9993+k))
		}
		c, err := client.New(a.opts)
		if err != nil {
			return nil, err
		}
		a.node = g.net.AddClient(c, a.nat, local...)
		a.node.Asleep = true
		g.net.At(g.rng.Int64N(5000), func() {
			g.net.Restart(a.node)
			g.talk(i)
		})
	}
	return g, nil
}

// address returns an external address that nobody had.
func (g *stage) address(first byte) netip.Addr {
	g.roamed++
	n := g.roamed
	return netip.AddrFrom4([4]byte{first, byte(n >> 16), byte(n >> 8), byte(n)})
}

func (g *stage) delay(from, to netip.AddrPort) (int64, bool) {
	if g.s.loss > 0 && g.rng.Float64() < g.s.loss {
		return 0, false
	}
	if !g.s.cities {
		return g.s.rtt.Milliseconds() / 2, true
	}
	return g.rtt[g.where[from.Addr()]][g.where[to.Addr()]] / 2, true
}

// talk makes a client send frames to its partner, if the scenario wants that.
func (g *stage) talk(i int) {
	if g.s.frames == 0 {
		return
	}
	a := g.actors[i]
	to := g.actors[partner(i, len(g.actors))].opts.Identity.Address
	if !a.node.Asleep && to != a.opts.Identity.Address {
		g.net.Env.Now = g.net.Now
		if a.node.C.SendFrame(&g.net.Env, frameNet, to, g.frame()) == nil {
			g.count.framesSent++
		}
		g.net.Wake(a.node)
	}
	g.net.At(g.s.frames.Milliseconds(), func() { g.talk(i) })
}

func (g *stage) frame() []byte { return make([]byte, 100) }

// publish makes a newer planet. Clients that do not exist yet start with it, the others get it from the roots.
func (g *stage) publish() {
	at := uint64(g.net.Now)
	g.planet = sim.Planet(g.key, at, g.roots...)
	for _, r := range g.roots {
		r.Serve(g.planet)
	}
}

// play runs the scenario to its end, or until the context's.
func (g *stage) play(ctx context.Context, out io.Writer) error {
	for _, a := range g.s.actions {
		g.net.At(a.at.Milliseconds(), func() {
			g.net.Env.Now = g.net.Now
			fmt.Fprintf(out, "%8s  %s %v\n", a.at, a.verb, a.args)
			g.act(a)
		})
	}
	every := int64(1000)
	if len(g.actors) > 2000 {
		every = 30_000
	}
	g.net.At(10_000, func() { g.sample(every) })
	const lines = 10
	for i := range lines {
		g.net.At((g.s.duration * time.Duration(i+1) / lines).Milliseconds(), func() { g.progress(out) })
	}
	const slice = 1000 // ms of virtual time between looks at the context
	for left := g.s.duration.Milliseconds(); left > 0; left -= slice {
		if err := ctx.Err(); err != nil {
			return err
		}
		g.net.Run(min(slice, left))
	}
	return nil
}

// passed is the virtual time since the start.
func (g *stage) passed() time.Duration { return time.Duration(g.net.Now-sim.Epoch) * time.Millisecond }

func (g *stage) progress(out io.Writer) {
	m := g.metrics()
	fmt.Fprintf(out, "%8s  online %.4f  attached %.4f  frames lost %.4f  redirects %.0f  datagrams %d\n",
		g.passed(), m["online"], m["attached"], m["lost"], m["redirects"], g.net.Sent)
}

// attached reports whether a client's packets to the first root go to a living member.
func (g *stage) attached(a *actor) bool {
	ap, ok := a.node.C.Endpoint(g.roots[0].ID.Address, g.net.Now)
	m := g.at[ap.Addr()]
	return ok && m != nil && !m.Silent
}

// sample notes how long each client that is awake has been without a living member of the first root.
func (g *stage) sample(every int64) {
	for _, a := range g.actors {
		switch {
		case a.node.Asleep || g.attached(a):
			a.since = 0
		case a.since == 0:
			a.since = g.net.Now
		}
		if a.since > 0 {
			a.away = max(a.away, g.net.Now-a.since)
		}
	}
	g.net.At(every, func() { g.sample(every) })
}

// metrics computes everything that a limit may name, as of now.
func (g *stage) metrics() map[string]float64 {
	n := float64(len(g.actors))
	var outages, away hist
	var hellos, redirects, rendezvous, resets, planets uint64
	add := func(s *client.Stats) {
		hellos += s.Hellos
		redirects += s.Redirects
		rendezvous += s.Rendezvous
		resets += s.Resets
		planets += s.PlanetsTaken
	}
	for i := range g.retired {
		add(&g.retired[i])
	}
	online, attached := 0, 0
	users := make(map[*sim.Member]int)
	for _, a := range g.actors {
		s := a.node.C.Stats(g.net.Now)
		add(&s)
		outages.add(time.Duration(s.LongestSilence) * time.Millisecond)
		away.add(time.Duration(a.away) * time.Millisecond)
		if a.node.C.Online() && !a.node.Asleep {
			online++
		}
		if g.attached(a) {
			attached++
		}
		for _, r := range g.roots {
			if ap, ok := a.node.C.Endpoint(r.ID.Address, g.net.Now); ok {
				users[g.at[ap.Addr()]]++
			}
		}
	}
	seconds := max(float64(g.net.Now-sim.Epoch)/1000, 1)
	m := map[string]float64{
		"online": float64(online) / n, "attached": float64(attached) / n, "lost": 0,
		"hello-rate": float64(hellos) / n / seconds, "planets": float64(planets) / n,
		"redirects": float64(redirects), "rendezvous": float64(rendezvous), "resets": float64(resets),
		"outage-max": outages.max.Seconds(), "outage-p99": outages.quantile(0.99).Seconds(),
		"away-max": away.max.Seconds(), "away-p99": away.quantile(0.99).Seconds(),
	}
	if g.count.framesSent > 0 {
		m["lost"] = 1 - min(float64(g.count.framesReceived)/float64(g.count.framesSent), 1)
	}
	for name, member := range g.members {
		m["at:"+name] = float64(users[member]) / n
	}
	return m
}

// memory returns the bytes in use on the heap, after a collection.
func memory() uint64 {
	runtime.GC()
	var ms runtime.MemStats
	runtime.ReadMemStats(&ms)
	return ms.HeapAlloc
}
