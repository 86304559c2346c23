package main

import (
	"context"
	"time"

	"github.com/rootd/rootd/fsm"
	"github.com/rootd/rootd/packetpath/vl1"
	"github.com/rootd/rootd/transport/admin"
)

// publishAfter is how long the members' endpoints must have called for the same planet before the leader signs it: who
// has just come may go again.
const publishAfter = 5 * time.Second

// publish keeps the planet what the members' endpoints call for, at the leader, if the signing key is kept in the
// cluster. Where it is kept offline an operator does the same with rootctl planet prepare, sign and publish.
func (c *cluster) publish(ctx context.Context) error {
	if c.m.dir.SigningKey == nil {
		return nil
	}
	var wanted *admin.NextPlanet
	var since time.Time
	for sleep(ctx, time.Second) {
		next := c.nextPlanet()
		switch {
		case next == nil:
			wanted = nil
			continue
		case wanted == nil || !sameRoots(next.World, wanted.World):
			wanted, since = next, time.Now()
			continue
		case time.Since(since) < publishAfter:
			continue
		}
		w := next.World
		w.Sign(c.m.dir.SigningKey)
		if _, err := c.m.propose(ctx, &fsm.PublishPlanet{World: w.AppendBinary(nil)}); err != nil {
			c.m.log.Warn("planet not published", "error", err)
		}
		wanted = nil
	}
	return nil
}

// nextPlanet returns the planet to publish, nil if there is none, or it is not on this member to do it.
func (c *cluster) nextPlanet() *admin.NextPlanet {
	m := c.m
	s := m.fsm.View().State()
	if !m.replica.IsLeader() || s.Planet == nil || len(s.Members) < 2 || s.Planet.World.UpdateKey != m.dir.SigningKey.Public() {
		return nil
	}
	all := source{m}.members(s)
	next, err := admin.Next(s.Planet.World, m.dir.Identity.Identity, all, time.Now())
	if err != nil || !next.Changed() {
		return nil
	}
	return next
}

// sameRoots compares two planets but for their timestamps.
func sameRoots(a, b *vl1.World) bool {
	x, y := *a, *b
	x.Timestamp, y.Timestamp = 0, 0
	return string(x.SignedContent()) == string(y.SignedContent())
}
