package main

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/rootd/rootd/cmd/internal/client"
	"github.com/rootd/rootd/packetpath/udp"
	"github.com/rootd/rootd/packetpath/vl1"
)

// batch is the number of datagrams that a shard reads or writes with one system call.
const batch = 64

// socketBuffer is what a socket asks the kernel for, in bytes: hundreds of clients answer through it at once.
const socketBuffer = 4 << 20

// shard runs a part of the clients on a few sockets that only they use. One mutex guards all of its state: it is
// taken once per batch of datagrams and once per round of timers, never per packet.
type shard struct {
	conns []udp.Conn
	roots map[netip.Addr]bool // the only addresses that blocked clients reach; nil: not blocked

	mu      sync.Mutex // guards everything below
	env     client.Env
	outs    []outbox
	members []*member
	byAddr  map[vl1.Address]*member
	timers  timers     // what the clients do by themselves
	flows   agenda     // the frames that they are made to send
	base    time.Time  // Env.Now is the wall clock at base, plus what passed since on the monotonic clock
	stamp   int64      // ns since traffic.start, of this batch of datagrams or round of timers
	allowed netip.Addr // the one of roots that was last sent to
	count   counters
	retired []client.Stats // of clients that were restarted
	failed  error
	traffic *traffic
	frame   []byte // that is being sent
}

// member is a client of the shard. What every packet needs comes first, as in a client.Client.
type member struct {
	c      *client.Client
	asleep int64    // until this time, ms
	at     int      // index in shard.timers
	socks  [8]uint8 // index into shard.conns for each of the client's sockets
	locals uint8    // how many of socks are used
	shift  uint8    // by how many places socks were moved on
	online bool
	flow   flow
	opts   client.Options
}

// outbox collects datagrams of one socket until the lock is given up.
type outbox struct {
	sender udp.Sender
	msgs   []udp.Message
	n      int
}

func newShard(conns []udp.Conn, now time.Time) *shard {
	s := &shard{conns: conns, byAddr: make(map[vl1.Address]*member), base: now}
	for _, c := range conns {
		o := outbox{sender: c.NewSender(batch), msgs: make([]udp.Message, batch)}
		for i := range o.msgs {
			o.msgs[i].Buf = make([]byte, 2048)
		}
		s.outs = append(s.outs, o)
	}
	s.env.Send = s.send
	s.env.Deliver = s.deliver
	s.env.Notice = s.notice
	return s
}

// now sets the clocks: once per batch of datagrams and once per round of timers.
func (s *shard) now() {
	passed := time.Since(s.base)
	s.env.Now = s.base.Add(passed).UnixMilli()
	s.stamp = int64(s.base.Sub(s.traffic.start) + passed)
}

// add puts a client on the shard's sockets. It starts at the given time, ms.
func (s *shard) add(m *member, start int64) {
	m.c.SetLabel(len(s.members))
	m.locals = uint8(m.c.Locals())
	s.place(m)
	s.members = append(s.members, m)
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
	o := &s.outs[s.members[c.Label()].socks[from]]
	if o.n == len(o.msgs) {
		s.flush(o)
	}
	m := &o.msgs[o.n]
	m.N, m.Addr = copy(m.Buf, b), to
	o.n++
}

func (s *shard) flush(o *outbox) {
	if o.n == 0 {
		return
	}
	sent, err := o.sender.Write(o.msgs[:o.n])
	s.count.sent += uint64(sent)
	s.count.unsent += uint64(o.n - sent)
	o.n = 0
	if err != nil && !errors.Is(err, net.ErrClosed) {
		s.failed = err
	}
}

func (s *shard) flushAll() {
	for i := range s.outs {
		s.flush(&s.outs[i])
	}
}

// read serves one socket until it is closed.
func (s *shard) read(k int) error {
	msgs := make([]udp.Message, batch)
	for i := range msgs {
		msgs[i].Buf = make([]byte, 2048)
	}
	for {
		n, err := s.conns[k].Read(msgs)
		if errors.Is(err, net.ErrClosed) {
			return nil
		}
		if err != nil {
			return err
		}
		s.mu.Lock()
		s.now()
		for i := range msgs[:n] {
			s.receive(uint8(k), &msgs[i])
		}
		s.flushAll()
		err = s.failed
		s.mu.Unlock()
		if err != nil {
			return err
		}
	}
}

// receive gives a datagram to the client it names. Many clients share a socket, so the destination address in the
// packet decides.
func (s *shard) receive(sock uint8, m *udp.Message) {
	s.count.received++
	b := m.Buf[:m.N]
	if len(b) <= 16 {
		return
	}
	to := s.byAddr[vl1.AddressFrom(b[8:])]
	if to == nil || to.asleep > s.env.Now {
		s.count.stray++
		return
	}
	for k := range to.locals {
		if to.socks[k] == sock {
			to.c.Receive(&s.env, client.Socket(k), m.Addr, b)
			s.rearm(to)
			return
		}
	}
	s.count.stray++
}

// resolution is how late a timer may fire, and how far apart the bursts of frames are: what is due by then leaves in one
// batch of each socket, so that the kernel's work is shared by many datagrams. Real clients are coarser still: their
// background loop is up to 60 ms late.
const resolution = 10 * time.Millisecond

// run fires the timers until the context ends.
func (s *shard) run(ctx context.Context) error {
	tick := time.NewTicker(resolution)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		s.mu.Lock()
		s.now()
		s.fire()
		s.flushAll()
		err := s.failed
		s.mu.Unlock()
		if err != nil {
			return err
		}
	}
}

// fire runs everything that is due.
func (s *shard) fire() {
	for len(s.timers) > 0 && s.timers[0].due <= s.env.Now {
		m := s.timers[0].m
		if m.asleep > s.env.Now {
			s.timers.set(m, m.asleep)
			continue
		}
		m.c.Tick(&s.env)
		s.timers.set(m, m.c.Next())
	}
	for len(s.flows) > 0 && s.flows[0].due <= s.env.Now {
		m := s.flows[0].m
		if m.asleep > s.env.Now {
			s.flows.postpone(m.asleep)
			continue
		}
		s.drive(m)
		s.flows.postpone(m.flow.next)
		s.rearm(m) // what it sent may wait for something
	}
}

// rearm moves a client's timer forward if a datagram gave it something to do.
func (s *shard) rearm(m *member) {
	if d := m.c.Next(); d < s.timers[m.at].due {
		s.timers.set(m, d)
	}
}
