package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/rootd/rootd/cmd/internal/build"
	"github.com/rootd/rootd/fsm"
)

// announce puts this life of the member into the log as soon as there is a leader, and what a new log lacks. The
// packet path serves meanwhile: from what the log said before, or as a root that knows nobody yet.
func (m *member) announce(ctx context.Context) error {
	for {
		err := m.announceOnce(ctx)
		switch {
		case ctx.Err() != nil:
			return nil
		case err == nil:
			if err := m.notify.ready(fmt.Sprintf("root %v", m.dir.Identity.Address)); err != nil {
				return err
			}
			return m.notify.run(ctx, func() bool { return m.replica.Stats().Running })
		case errors.Is(err, errRefused):
			return err
		}
		m.log.Warn("not announced yet", "error", err)
		if !sleep(ctx, time.Second) {
			return nil
		}
	}
}

func (m *member) announceOnce(ctx context.Context) error {
	if err := m.replica.WaitReady(ctx); err != nil {
		return err
	}
	if !m.dir.Meta.Founds() {
		// The leader may be known before its log is: nothing may be concluded from an empty one.
		for {
			if _, ok := m.fsm.View().State().Member(m.id); ok {
				break
			}
			if !sleep(ctx, 50*time.Millisecond) {
				return ctx.Err()
			}
		}
	}
	state := m.fsm.View().State()
	if !state.Cluster.Bootstrapped() {
		b := &fsm.Bootstrap{ID: m.dir.Meta.ClusterID(), Name: m.dir.Meta.ClusterLabel(), Root: m.dir.Identity.Identity, Created: time.Now().UnixMilli()}
		if _, err := m.propose(ctx, b); err != nil {
			return err
		}
	}
	if len(state.Members) == 0 && state.Feature() < build.FeatureLevel { // a new cluster: no older version has been in it
		if _, err := m.propose(ctx, &fsm.Set{Key: "feature_level", Value: strconv.Itoa(build.FeatureLevel)}); err != nil {
			return err
		}
	}
	if state.Planet == nil {
		if _, err := m.propose(ctx, &fsm.PublishPlanet{World: m.dir.PlanetRaw}); err != nil {
			return err
		}
	}
	return m.up(ctx)
}

// up begins a life of this member: from its entry on the attachments of older lives are stale.
func (m *member) up(ctx context.Context) error {
	up := &fsm.MemberUp{ID: m.id, Name: m.name, Endpoints: m.endpoints(), Version: build.Current().Version}
	if c := m.cluster; c != nil {
		up.Address, up.KeyHash, up.Feature = c.address, c.mux.Self().KeyHash, build.FeatureLevel
	}
	up.Position, _ = m.atlas.here()
	r, err := m.propose(ctx, up)
	if err != nil {
		return err
	}
	m.sightings.begin(r.Epoch)
	m.log.Info("member is up", "epoch", r.Epoch, "peers", m.fsm.View().State().Peers)
	return nil
}

// propose puts one command into the log.
func (m *member) propose(ctx context.Context, c fsm.Command) (fsm.Response, error) {
	entry, err := fsm.Encode(c)
	if err != nil {
		return fsm.Response{}, err
	}
	r, err := m.persist(ctx, entry)
	switch {
	case r.Err != nil:
		return r, fmt.Errorf("log %v: %w: %w", c.Kind(), errRefused, err)
	case err != nil:
		return r, fmt.Errorf("log %v: %w", c.Kind(), err)
	}
	return r, nil
}

// leaderless is how long a command waits for a leader: the leadership changes hands in a few seconds, and a cluster that
// grows from one member to two has none for a moment.
const leaderless = 15 * time.Second

// persist tries for a while to get an entry to a leader. An entry may end up in the log twice; all commands of this
// program may.
func (m *member) persist(ctx context.Context, entry []byte) (fsm.Response, error) {
	until := time.Now().Add(leaderless)
	for {
		r, err := applier{m}.Apply(ctx, slices.Clone(entry))
		if err == nil || r.Err != nil || time.Now().After(until) || !sleep(ctx, 100*time.Millisecond) {
			return r, err
		}
	}
}

// errRefused is wrapped when the log took an entry and all members refused it alike: trying again is no use.
var errRefused = errors.New("refused")
