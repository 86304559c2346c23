package main

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/rootd/rootd/cmd/internal/client"
	"github.com/rootd/rootd/cmd/internal/client/sim"
	"github.com/rootd/rootd/packetpath/udp"
	"github.com/rootd/rootd/packetpath/vl1"
)

// batch is the number of datagrams that a shard reads or writes at once.
const batch = 64

// shard runs a part of the clients on a few sockets that only they use. One goroutine does everything, in rounds: take
// what came, let timers fire, send. Between two rounds it sleeps, and no datagram wakes it. One mutex guards all of its
// state, for those who look at it or change it from outside; it is taken once per round.
type shard struct {
	conns   []udp.Conn
	ports   []uint16            // of conns
	sockOf  map[uint16]uint8    // index into conns, by port
	roots   map[netip.Addr]bool // the only addresses that blocked clients reach; nil: not blocked
	sources []*source           // of the clients' addresses

	mu        sync.Mutex // guards everything below
	env       client.Env
	in        []udp.Message
	gaps      []gap // of each socket
	maxGap    int   // rounds
	outs      []outbox
	members   []*member
	current   *member // that is being called
	byAddr    map[vl1.Address]*member
	timers    timers     // what the clients do by themselves
	flows     agenda     // the frames that they are made to send
	base      time.Time  // Env.Now is the wall clock at base, plus what passed since on the monotonic clock
	stamp     int64      // ns since traffic.start, of this round
	allowed   netip.Addr // the one of roots that was last sent to
	count     counters
	retired   []client.Stats // of clients that were restarted
	failed    error
	due       []*member // that are about to be called
	warmth    int       // what Client.Warm returned: a result that nobody keeps need not be computed
	traffic   *traffic
	trace     *trace // nil: none
	nextTrace int64  // ms
	frame     []byte // that is being sent
}

// member is a client of the shard. What every packet needs comes first, as in a client.Client.
type member struct {
	c      *client.Client
	asleep int64      // until this time, ms
	at     int        // index in shard.timers
	addr   netip.Addr // that it sends from
	nat    *sim.NAT   // nil: none
	socks  [8]uint8   // index into shard.conns for each of the client's sockets
	locals uint8      // how many of socks are used
	shift  uint8      // by how many places socks were moved on
	online bool
	flow   flow
	source int     // index into shard.sources
	uses   []using // with a trace: by root
	opts   client.Options
}

func newShard(conns []udp.Conn, now time.Time) *shard {
	s := &shard{conns: conns, in: newBatch(), byAddr: make(map[vl1.Address]*member), sockOf: make(map[uint16]uint8), base: now}
	for i, c := range conns {
		s.ports = append(s.ports, c.LocalAddr().Port())
		s.sockOf[s.ports[i]] = uint8(i)
		s.outs = append(s.outs, newOutbox(c))
		s.gaps = append(s.gaps, gap{length: 1})
	}
	s.env.Send = s.send
	s.env.Deliver = s.deliver
	s.env.Notice = s.notice
	return s
}

// now sets the clocks, once per round.
func (s *shard) now() {
	passed := time.Since(s.base)
	s.env.Now = s.base.Add(passed).UnixMilli()
	s.stamp = int64(s.base.Sub(s.traffic.start) + passed)
}

// add gives a client an address and sockets. It starts at the given time, ms.
func (s *shard) add(m *member, start int64) {
	m.c.SetLabel(len(s.members))
	m.source = len(s.members) % len(s.sources)
	m.locals = uint8(m.c.Locals())
	if m.nat != nil {
		m.nat.First = len(s.members)
	}
	m.settle(s.sources[m.source].deal())
	s.place(m)
	s.members = append(s.members, m)
	s.current = m
	s.byAddr[m.c.Address()] = m
	s.timers.push(m, start)
	if m.flow.every > 0 {
		s.flows.push(m, start)
	}
}

func (s *shard) send(c *client.Client, from client.Socket, to netip.AddrPort, _ uint8, b []byte) {
	if s.roots != nil && to.Addr() != s.allowed { // the last one is the next one, nearly always
		if !s.roots[to.Addr()] {
			return // clients are blocked from each other: it would be lost on the way
		}
		s.allowed = to.Addr()
	}
	x := s.current
	if x.c != c {
		x = s.members[c.Label()]
	}
	o := &s.outs[s.outward(x, int(from), to)]
	if o.n == len(o.msgs) {
		s.flush(o)
	}
	m := &o.msgs[o.n]
	m.N, m.Addr, m.Local = copy(m.Buf, b), to, x.addr
	o.n++
}

// takeIn gives datagrams of a socket to their clients. See Client.Warm for why it finds all of the clients first.
func (s *shard) takeIn(sock uint8, msgs []udp.Message) {
	s.due = s.due[:0]
	for i := range msgs {
		var m *member
		if msgs[i].N > 16 {
			m = s.byAddr[vl1.AddressFrom(msgs[i].Buf[8:])]
		}
		s.due = append(s.due, m)
	}
	s.warm()
	for i := range msgs {
		s.receive(sock, &msgs[i], s.due[i])
	}
}

// warm gets what the members in s.due need into the cache.
func (s *shard) warm() {
	for step := range client.WarmSteps {
		for _, m := range s.due {
			if m != nil {
				s.warmth += m.c.Warm(step)
			}
		}
	}
}

// receive gives a datagram to the client it names, if that is the one it came to.
func (s *shard) receive(sock uint8, m *udp.Message, to *member) {
	s.count.received++
	if to == nil || to.asleep > s.env.Now || m.Local != to.addr && m.Local.IsValid() {
		s.count.stray++
		return
	}
	k, ok := s.inward(to, sock, m.Addr)
	if !ok {
		s.count.stray++
		if to.nat != nil {
			s.count.filtered++
		}
		return
	}
	s.current = to
	to.c.Receive(&s.env, client.Socket(k), m.Addr, m.Buf[:m.N])
	s.rearm(to)
}

// run does rounds until the context ends.
func (s *shard) run(ctx context.Context, every time.Duration) error {
	s.maxGap = max(1, int(longestGap/every))
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		if err := s.round(); err != nil {
			return err
		}
	}
}

func (s *shard) round() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.now()
	for k := range s.conns {
		g := &s.gaps[k]
		if g.rounds--; g.rounds > 0 {
			continue
		}
		any, err := s.drain(k)
		if err != nil {
			return err
		}
		g.next(any, s.maxGap)
	}
	s.fire()
	s.flushAll()
	s.follow()
	return s.failed
}

// gap is how often a socket is looked at: in every round while something comes, then in fewer and fewer. Half of the
// sockets of real clients are silent, too, but between their keep-alives.
type gap struct {
	rounds int // until the next look
	length int
}

const longestGap = 8 * time.Millisecond

func (g *gap) next(any bool, longest int) {
	g.length = min(2*g.length, longest)
	if any {
		g.length = 1
	}
	g.rounds = g.length
}

// drain takes what came to one socket, up to a limit that keeps the timers from starving. It reports whether there was
// anything.
func (s *shard) drain(k int) (any bool, err error) {
	for range 256 {
		n, err := s.conns[k].Read(s.in)
		if errors.Is(err, net.ErrClosed) {
			return false, nil
		}
		if err != nil {
			return false, err
		}
		any = any || n > 0
		s.takeIn(uint8(k), s.in[:n])
		if n < len(s.in) {
			break
		}
	}
	return any, nil
}

// fire runs everything that is due.
func (s *shard) fire() {
	for len(s.timers) > 0 && s.timers[0].due <= s.env.Now {
		m := s.timers[0].m
		if m.asleep > s.env.Now {
			s.timers.set(m, m.asleep)
			continue
		}
		s.current = m
		m.c.Tick(&s.env)
		s.timers.set(m, m.c.Next())
	}
	for s.driveSome() {
	}
}

// driveSome lets those members send whose frames are due, at most a batch of them.
func (s *shard) driveSome() bool {
	s.due = s.due[:0]
	for len(s.due) < batch && len(s.flows) > 0 && s.flows[0].due <= s.env.Now {
		m := s.flows[0].m
		if m.asleep > s.env.Now {
			s.flows.postpone(m.asleep)
			continue
		}
		s.due = append(s.due, m)
		s.flows.postpone(s.plan(m))
	}
	s.warm()
	for _, m := range s.due {
		s.current = m
		s.drive(m)
		s.rearm(m) // what it sent may wait for something
	}
	return len(s.due) == batch
}

// rearm moves a client's timer forward if a datagram gave it something to do.
func (s *shard) rearm(m *member) {
	if d := m.c.Next(); d < s.timers[m.at].due {
		s.timers.set(m, d)
	}
}
