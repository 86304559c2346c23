package main

import (
	"context"
	"errors"
	"math/rand/v2"
	"net/netip"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/rootd/rootd/cmd/internal/client"
	"github.com/rootd/rootd/packetpath/vl1"
)

// swarm is all clients of a run on real sockets.
type swarm struct {
	cfg     *config
	shards  []*shard
	traffic traffic
	trace   *trace // nil: none
}

// newSwarm opens the sockets and makes the clients. Nothing is sent before run.
func newSwarm(cfg *config, ids []*vl1.SecretIdentity) (s *swarm, err error) {
	s = &swarm{cfg: cfg}
	defer func() {
		if err != nil {
			s.close()
			_ = s.trace.close()
		}
	}()
	s.traffic = traffic{network: cfg.network, fresh: uint32(cfg.fresh), size: max(cfg.frameSize, bulkSize), start: time.Now()}
	s.traffic.roots = make(map[vl1.Address]bool)
	for _, r := range cfg.planet.Roots {
		s.traffic.roots[r.Identity.Address] = true
		s.traffic.rootList = append(s.traffic.rootList, r.Identity.Address)
	}
	if s.trace, err = newTrace(cfg.trace); err != nil {
		return s, err
	}
	if err := s.open(); err != nil {
		return s, err
	}
	now := time.Now().UnixMilli()
	var sockets [2]int
	sockets[0] = cfg.perNode
	if cfg.v6() {
		sockets[0], sockets[1] = 0, cfg.perNode
	}
	r := rand.New(rand.NewPCG(cfg.seed, 1))
	run := uint64(now) // packet IDs of an earlier run would be replays to the root
	for i := range cfg.clients {
		o := client.Options{
			Family: cfg.familyOf(i), Identity: ids[i], Planet: cfg.planet, Seed: cfg.seed ^ run, Sockets: sockets,
			Networks: []uint64{cfg.network}, AllowLoopback: cfg.loopback, Jitter: 60,
			Repeats: cfg.fresh > 1,
		}
		c, err := client.New(o)
		if err != nil {
			return s, err
		}
		sh := s.shards[i%len(s.shards)]
		m := &member{c: c, opts: o, nat: sh.newNAT(cfg.natOf(i), cfg.natTimeout)}
		to := ids[partner(i, cfg.clients)].Address
		if cfg.frameEvery > 0 && (cfg.active == 0 || i < cfg.active) && to != ids[i].Address {
			m.flow = flow{to: to, every: cfg.frameEvery, size: cfg.frameSize}
		}
		if i < cfg.bulk {
			m.flow = flow{to: to, every: time.Duration(float64(time.Second) / cfg.bulkRate), size: bulkSize}
		}
		sh.add(m, now+r.Int64N(max(cfg.ramp.Milliseconds(), 1)))
	}
	return s, nil
}

// partner is the client that client i of n sends to: a ring with a stride, so that partners sit in other shards.
func partner(i, n int) int { return (i + n/2 + 1) % n }

// open opens the sockets of all shards.
func (s *swarm) open() error {
	var roots map[netip.Addr]bool
	if s.cfg.relay {
		roots = make(map[netip.Addr]bool)
		for _, r := range s.cfg.planet.Roots {
			for _, e := range r.Endpoints {
				roots[e.Addr()] = true
			}
		}
	}
	var sources []*source
	for _, p := range s.cfg.source {
		sources = append(sources, &source{prefix: p})
	}
	for range s.cfg.shards {
		conns, err := openPorts(s.cfg.ports/s.cfg.shards, s.cfg.v6())
		if err != nil {
			return err
		}
		sh := newShard(conns, time.Now())
		sh.roots, sh.sources = roots, sources
		sh.traffic, sh.trace = &s.traffic, s.trace
		sh.frame = make([]byte, s.traffic.size)
		s.shards = append(s.shards, sh)
	}
	return nil
}

func (s *swarm) close() {
	for _, sh := range s.shards {
		closeAll(sh.conns)
	}
}

// run lets the clients live: ramp and warm-up, then the measured time, then one second for what is under way.
// It returns the report; the context ends the measured time early.
func (s *swarm) run(ctx context.Context, each func(now time.Duration, c *counters)) (*Report, error) {
	live, stop := context.WithCancel(context.Background())
	defer stop()
	var g errgroup.Group
	for _, sh := range s.shards {
		g.Go(func() error { return sh.run(live, s.cfg.poll) })
	}
	begin := time.Now()
	cpu := newMeter(s.cfg.pid)
	s.wait(ctx, max(s.cfg.ramp+s.cfg.warmup, time.Millisecond), begin, each)
	s.phase(func(t *traffic) { t.measure = true })
	measured := time.Now()
	stopProfile, err := startProfile(s.cfg.profile)
	if err != nil {
		return nil, err
	}
	cpu.reset()
	for _, a := range s.cfg.script {
		g.Go(func() error { return s.later(live, a) })
	}
	s.wait(ctx, s.cfg.duration, begin, each)
	seconds := time.Since(measured).Seconds()
	swarmCPU, rootCPU := cpu.read()
	stopProfile()
	s.phase(func(t *traffic) { t.stop = true })
	s.wait(context.WithoutCancel(ctx), time.Second, begin, nil)
	stop()
	s.close()
	err = errors.Join(g.Wait(), s.trace.close())

	r := &Report{Clients: s.cfg.clients, Seconds: seconds, SwarmCPU: swarmCPU, RootCPU: rootCPU, Families: make(map[string]int), NATs: make(map[string]int)}
	var all counters
	var stats []client.Stats
	now := time.Now().UnixMilli()
	for _, sh := range s.shards {
		all.merge(&sh.count)
		stats = append(stats, sh.retired...)
		for _, m := range sh.members {
			stats = append(stats, m.c.Stats(now))
			r.Families[m.c.Family().Name]++
			if m.nat != nil {
				r.NATs[m.nat.Kind.String()]++
			}
			if m.online {
				r.Online++
			}
		}
	}
	var outages hist
	r.fill(&all, stats, &outages)
	return r, err
}

// phase changes what all shards do, with all of their locks held.
func (s *swarm) phase(change func(*traffic)) {
	for _, sh := range s.shards {
		sh.mu.Lock()
		defer sh.mu.Unlock()
	}
	change(&s.traffic)
}

// wait lets time pass and reports each second; zero means until the context ends.
func (s *swarm) wait(ctx context.Context, d time.Duration, begin time.Time, each func(time.Duration, *counters)) {
	var end <-chan time.Time
	if d > 0 {
		t := time.NewTimer(d)
		defer t.Stop()
		end = t.C
	}
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-end:
			return
		case <-tick.C:
			if each != nil {
				var all counters
				for _, sh := range s.shards {
					sh.mu.Lock()
					all.merge(&sh.count)
					sh.mu.Unlock()
				}
				each(time.Since(begin), &all)
			}
		}
	}
}
