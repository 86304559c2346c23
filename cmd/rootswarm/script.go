package main

import (
	"context"
	"math/rand/v2"
	"strconv"
	"time"

	"github.com/rootd/rootd/cmd/internal/client"
)

// later does one action of the script when it is due.
func (s *swarm) later(ctx context.Context, a action) error {
	t := time.NewTimer(a.at)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return nil
	case <-t.C:
	}
	share, err := strconv.ParseFloat(a.args[0], 64)
	if err != nil {
		return err
	}
	r := rand.New(rand.NewPCG(s.cfg.seed, uint64(a.at)))
	for _, sh := range s.shards {
		sh.mu.Lock()
		sh.now()
		for _, m := range sh.members {
			if r.Float64() < share && err == nil {
				err = sh.act(m, a)
			}
		}
		sh.mu.Unlock()
	}
	return err
}

// act does an action to one client. The lock is held.
func (s *shard) act(m *member, a action) error {
	switch a.verb {
	case "sleep":
		d, err := time.ParseDuration(a.args[1])
		if err != nil {
			return err
		}
		m.asleep = s.env.Now + d.Milliseconds()
	case "rebind":
		s.move(m)
	case "roam":
		m.settle(s.sources[m.source].deal())
		s.move(m)
	case "storm":
		m.opts.Planet = m.c.Planet()
		m.opts.Seed++
		c, err := client.New(m.opts)
		if err != nil {
			return err
		}
		s.retired = append(s.retired, m.c.Stats(s.env.Now))
		c.SetLabel(m.c.Label())
		m.c = c
		s.move(m)
		s.rearm(m)
	}
	return nil
}

// move puts a client on other sockets of the shard, or makes its NAT forget: new ports. What still comes to the old ones
// is lost.
func (s *shard) move(m *member) {
	if m.nat != nil {
		m.nat.Forget()
		return
	}
	m.shift++
	s.place(m)
}

// place chooses the sockets of a client: the same for all that have not moved, so that few sockets have much to do.
func (s *shard) place(m *member) {
	for k := range m.socks[:m.locals] {
		m.socks[k] = uint8((int(m.shift) + k) % len(s.conns))
	}
}
