package main

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/netip"
	"time"

	"github.com/rootd/rootd/fsm"
	"github.com/rootd/rootd/fsm/table"
	"github.com/rootd/rootd/geo"
	"github.com/rootd/rootd/transport/admin"
	"github.com/rootd/rootd/transport/pki"
)

var _ admin.Geo = source{}

const (
	callGeo    = "geo/1" // an IP address as text; answer: admin.GeoPlace of the member
	geoTimeout = 5 * time.Second
)

// GeoLookup implements [admin.Geo].
func (s source) GeoLookup(ctx context.Context, ip netip.Addr, member string) (*admin.GeoPlace, error) {
	what := "locate " + ip.String()
	if member == "" || member == s.m.name || member == fmt.Sprint(s.m.id) {
		p := s.m.atlas.lookup(ip)
		return &p, nil
	}
	_, of, err := s.find(what, member)
	if err != nil {
		return nil, err
	}
	if s.m.cluster == nil {
		return nil, noClusterPort(what)
	}
	ctx, cancel := context.WithTimeout(ctx, geoTimeout)
	defer cancel()
	b, err := s.m.cluster.call(ctx, of.ID, callGeo, []byte(ip.String()))
	if err != nil {
		return nil, fmt.Errorf("ask member %s: %w: %w", of.Name, admin.ErrUnavailable, err)
	}
	p := new(admin.GeoPlace)
	return p, json.Unmarshal(b, p)
}

func (c *cluster) handleGeo(_ context.Context, _ pki.Peer, body []byte) ([]byte, error) {
	ip, err := netip.ParseAddr(string(body))
	if err != nil {
		return nil, err
	}
	return json.Marshal(c.m.atlas.lookup(ip))
}

// lookup is what an operator is told about an address: what [atlas.Locate] says, and names.
func (a *atlas) lookup(ip netip.Addr) admin.GeoPlace {
	out := admin.GeoPlace{IP: ip.Unmap(), Member: a.m.name}
	p, ok := a.Locate(ip)
	if !ok {
		return out
	}
	if p.Source != fromConfig && p.Source != fromSettings {
		if full, network, found := a.file.DB().City(ip); found {
			p, out.Network = full, network.String()
		}
	}
	out.Known, out.Position, out.RadiusKm = true, p.Unit.String(), p.RadiusKm
	out.City, out.Country, out.Source = p.City, p.Country, p.Source
	return out
}

// GeoStatus implements [admin.Geo].
func (s source) GeoStatus(ctx context.Context) (*admin.GeoStatus, error) {
	state := s.m.fsm.View().State()
	a := s.m.atlas
	out := &admin.GeoStatus{
		Members: []admin.GeoMember{}, Overrides: a.config.Len(), Settings: len(state.Settings.GeoOverrides()), Peers: state.Peers,
		Path: s.m.cfg.Geo.Database,
	}
	if a.file != nil {
		if err := a.file.Refused(); err != nil {
			out.Refused = err.Error()
		}
	}
	usual := usualDatabase(state.Members, s.m.id, a.database())
	for i := range state.Members {
		m := &state.Members[i]
		g := admin.GeoMember{Name: m.Name, Position: m.Position.String()}
		db := databaseOf(m, s.m.id, a.database())
		if db != (fsm.GeoDatabase{}) {
			g.Hash, g.Built = hex.EncodeToString(db.Hash[:]), table.Epoch.Add(time.Duration(db.Built)*time.Second)
		}
		if m.ID == s.m.id && a.file != nil && a.file.DB() != nil {
			g.Type = a.file.DB().Type
		}
		g.Differs = m.Status == fsm.StatusUp && db != usual
		out.Differ = out.Differ || g.Differs
		out.Members = append(out.Members, g)
	}
	for cursor, done := uint64(0), false; !done && ctx.Err() == nil; {
		cursor, done = state.Table().Scan(cursor, 10_000, func(r *table.Record) {
			if geo.Unit(r.Position).Known() {
				out.Located++
			}
		})
	}
	return out, ctx.Err()
}

// databaseOf is which database a member has: this one knows its own, the others say so with their health.
func databaseOf(m *fsm.Member, self table.MemberID, own fsm.GeoDatabase) fsm.GeoDatabase {
	switch {
	case m.ID == self:
		return own
	case m.Health == nil:
		return fsm.GeoDatabase{}
	}
	return m.Health.Geo
}

// usualDatabase is the database that most members have that are up; of several the newest.
func usualDatabase(members []fsm.Member, self table.MemberID, own fsm.GeoDatabase) (usual fsm.GeoDatabase) {
	counts := map[fsm.GeoDatabase]int{}
	for i := range members {
		if m := &members[i]; m.Status == fsm.StatusUp {
			counts[databaseOf(m, self, own)]++
		}
	}
	for db, n := range counts {
		most := counts[usual]
		if n > most || n == most && (db.Built > usual.Built || db.Built == usual.Built && string(db.Hash[:]) > string(usual.Hash[:])) {
			usual = db
		}
	}
	return usual
}
