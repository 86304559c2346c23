package main_test

import (
	"errors"
	"strings"
	"time"

	"github.com/rootd/rootd/cmd/internal/datadir"
	"github.com/rootd/rootd/packetpath/vl1"
	"github.com/rootd/rootd/transport/admin"
)

// planetByHand: a cluster that publishes by itself refuses what it would replace, and says how it is published all the same.
func (f *fleet) planetByHand(*vl1.World, *device) {
	ctx := longDeadline(f.T)
	dir, err := datadir.Read(f.members[0].DataDir)
	if err != nil {
		f.Fatal(err)
	}
	current := func() *admin.Planet {
		p, err := f.admin(0).Planet(ctx)
		if err != nil {
			f.Fatal(err)
		}
		return p
	}
	eventually(f.T, "the cluster publishes the endpoints of all members", func() bool { return current().Endpoints == len(f.members) })
	w, _, err := vl1.DecodeWorld(current().Raw)
	if err != nil {
		f.Fatal(err)
	}
	w.Roots[0].Endpoints = w.Roots[0].Endpoints[:2]
	w.Timestamp = max(w.Timestamp+1, uint64(time.Now().UnixMilli()))
	w.Sign(dir.SigningKey)
	raw := w.AppendBinary(nil)

	_, err = f.admin(1).PublishPlanet(ctx, raw)
	if e, ok := errors.AsType[*admin.Error](err); !ok || !errors.Is(err, admin.ErrRefused) || !strings.Contains(e.Hint, "planet_auto off") || !strings.Contains(e.Why, " +127.0.0.1:") {
		f.Errorf("published by hand: %v", err)
	}
	if _, err := f.admin(0).SetSetting(ctx, "planet_auto", "off"); err != nil {
		f.Fatal(err)
	}
	if p, err := f.admin(0).PublishPlanet(ctx, raw); err != nil || p.Auto || p.Timestamp != w.Timestamp {
		f.Errorf("published by hand with planet_auto off: %+v, %v", p, err)
	}
	if _, err := f.admin(0).SetSetting(ctx, "planet_auto", ""); err != nil {
		f.Fatal(err)
	}
	eventually(f.T, "the cluster publishes again", func() bool {
		p := current()
		return p.Auto && p.Timestamp > w.Timestamp && p.Endpoints == len(f.members)
	})
}
