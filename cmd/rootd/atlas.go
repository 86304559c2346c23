package main

import (
	"context"
	"net/netip"
	"os"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/rootd/rootd/fsm"
	"github.com/rootd/rootd/fsm/table"
	"github.com/rootd/rootd/geo"
	"github.com/rootd/rootd/geo/mmdb"
)

// followAtlas is the time between two looks at whether places in the cluster's settings have changed.
const followAtlas = time.Second

// What knew a place.
const (
	fromConfig   = "configuration"
	fromSettings = "settings"
)

// atlas is where addresses are, for this member. In this order: its configuration, the settings of the cluster, a database. What
// it says of a peer goes into the log with the peer's endpoint; only the log counts.
type atlas struct {
	m        *member
	config   *geo.Overrides
	settings atomic.Pointer[geo.Overrides]
	file     *mmdb.File   // nil: none
	last     fsm.Settings // that settings were made of; only run touches it
}

var _ geo.Locator = (*atlas)(nil)

func newAtlas(m *member) *atlas {
	a := &atlas{m: m, config: geo.NewOverrides(m.cfg.Geo.Overrides, fromConfig), last: m.fsm.View().State().Settings}
	a.settings.Store(geo.NewOverrides(a.last.GeoOverrides(), fromSettings))
	if path := m.cfg.Geo.Database; path != "" {
		a.file = mmdb.NewFile(mmdb.Options{Path: path, Logger: m.log, Changed: a.changed})
	}
	return a
}

// Locate implements [geo.Locator].
func (a *atlas) Locate(addr netip.Addr) (geo.Place, bool) {
	if p, ok := a.config.Locate(addr); ok {
		return p, true
	}
	if p, ok := a.settings.Load().Locate(addr); ok {
		return p, true
	}
	if a.file == nil {
		return geo.Place{}, false
	}
	return a.file.Locate(addr)
}

// run follows the file of the database and the settings. SIGHUP has the file read again.
func (a *atlas) run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return a.follow(ctx) })
	if a.file != nil {
		g.Go(func() error { return a.file.Run(ctx) })
	}
	return g.Wait()
}

func (a *atlas) follow(ctx context.Context) error {
	var hangup <-chan os.Signal
	if a.m.platform.reload != nil {
		c, stop := a.m.platform.reload()
		defer stop()
		hangup = c
	}
	tick := time.NewTicker(followAtlas)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-hangup:
			if a.file != nil {
				a.file.Reload()
			}
		case <-tick.C:
			if s := a.m.fsm.View().State().Settings; !s.GeoSame(&a.last) {
				a.last = s
				a.settings.Store(geo.NewOverrides(s.GeoOverrides(), fromSettings))
				a.changed()
			}
			a.settle(ctx)
		}
	}
}

// changed has this member's peers located anew.
func (a *atlas) changed() { a.m.proposer.Relocate() }

// here is where this member is: as configured, else as its endpoints say.
func (a *atlas) here() (geo.Unit, bool) {
	if p, err := geo.ParsePoint(a.m.cfg.Position); err == nil {
		return p.Unit(), true
	}
	for _, e := range a.m.endpoints() {
		if p, ok := a.Locate(e.Addr()); ok {
			return p.Unit, true
		}
	}
	return geo.Unit{}, false
}

// settle tells the log where this member is once that is known, or another place than the log has: a database is read
// after the member is up.
func (a *atlas) settle(ctx context.Context) {
	self, ok := a.m.fsm.View().State().Member(a.m.id)
	if !ok || self.Status != fsm.StatusUp || a.m.sightings.epoch.Load() != uint32(self.Epoch) {
		return
	}
	at, ok := a.here()
	if !ok || !geo.Moved(self.Position, at, 1) {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	if _, err := a.m.propose(ctx, &fsm.MemberSet{ID: a.m.id, Position: at}); err != nil && ctx.Err() == nil {
		a.m.log.Debug("position not in the log yet", "error", err)
	}
}

// database is what identifies the database in use, as reports have it.
func (a *atlas) database() (g fsm.GeoDatabase) {
	if a.file == nil || a.file.DB() == nil {
		return g
	}
	db := a.file.DB()
	copy(g.Hash[:], db.SHA256[:])
	g.Built = uint32(max(0, min(db.Built.Unix()-table.Epoch.Unix(), 1<<32-1)))
	return g
}
