package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/rootd/rootd/fsm"
	"github.com/rootd/rootd/packetpath/vl1"
	"github.com/rootd/rootd/transport/admin"
)

// publishAfter is how long the members' endpoints must have called for the same planet before the leader signs it: who
// has just come may go again.
const publishAfter = 5 * time.Second

// publish keeps the planet what the members' endpoints call for, at the leader, if the signing key is kept in the
// cluster and the setting planet_auto is on. Else an operator does the same with rootctl planet prepare, sign and publish.
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

// publishes reports whether the cluster signs and publishes the planet by itself, as far as this member can tell: all have
// the key or none.
func (m *member) publishes(s *fsm.State) bool {
	key := m.dir.SigningKey
	return key != nil && s.Settings.PlanetAuto && s.Planet != nil && len(s.Members) > 1 && s.Planet.World.UpdateKey == key.Public()
}

// nextPlanet returns the planet to publish, nil if there is none, or it is not on this member to do it.
func (c *cluster) nextPlanet() *admin.NextPlanet {
	m := c.m
	s := m.fsm.View().State()
	if !m.replica.IsLeader() || !m.publishes(s) {
		return nil
	}
	next, err := m.next(s, s.Planet.World)
	if err != nil || !next.Changed() {
		return nil
	}
	return next
}

// next is the planet that the members' endpoints call for in place of another.
func (m *member) next(s *fsm.State, held *vl1.World) (*admin.NextPlanet, error) {
	return admin.Next(held, m.dir.Identity.Identity, source{m}.members(s), time.Now())
}

// wouldReplace refuses a planet published by hand that the cluster would replace within seconds by one of its own.
func (m *member) wouldReplace(s *fsm.State, w *vl1.World) error {
	if m.cluster == nil || !m.publishes(s) {
		return nil
	}
	next, err := m.next(s, w)
	if err != nil || !next.Changed() {
		return nil //nolint:nilerr // then nothing would be published
	}
	var why strings.Builder
	why.WriteString("the cluster keeps the signing key, and would within seconds replace it by what its members' endpoints call for:")
	for _, ap := range next.Added {
		fmt.Fprintf(&why, " +%v", ap)
	}
	for _, ap := range next.Removed {
		fmt.Fprintf(&why, " -%v", ap)
	}
	return refused("publish planet", why.String(), "change the endpoints of the members; or rootctl config set planet_auto off, then publish again: nothing is published by itself until planet_auto is on")
}

// sameRoots compares two planets but for their timestamps.
func sameRoots(a, b *vl1.World) bool {
	x, y := *a, *b
	x.Timestamp, y.Timestamp = 0, 0
	return string(x.SignedContent()) == string(y.SignedContent())
}
