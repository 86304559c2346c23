package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/rootd/rootd/cmd/internal/build"
	"github.com/rootd/rootd/cmd/internal/datadir"
	"github.com/rootd/rootd/fsm"
	"github.com/rootd/rootd/fsm/replica"
	"github.com/rootd/rootd/fsm/table"
	"github.com/rootd/rootd/packetpath"
	"github.com/rootd/rootd/packetpath/vl1"
	"github.com/rootd/rootd/transport/admin"
)

// source answers the admin API from what the member is.
type source struct{ m *member }

var _ admin.Source = source{}

// informed refuses to say what the log has while this member began without one and has not caught up: others know better.
func (s source) informed(what string) error {
	if s.m.ignorant.Load() {
		return fmt.Errorf("%s: %w: this member began without a log, and has not caught up yet", what, admin.ErrUnavailable)
	}
	return nil
}

// ready says whether clients are served, and if not fully, what is wrong.
func (m *member) ready() (ready bool, problems []string) {
	state, raft := m.fsm.View().State(), m.replica.Stats()
	if state.Halted != "" {
		problems = append(problems, "the log is not applied any more: "+state.Halted)
	}
	if m.cluster != nil {
		if d := m.cluster.comparer.latest.Load(); d.differs() {
			problems = append(problems, d.problem())
		}
	}
	switch {
	case m.ignorant.Load():
		problems = append(problems, "silent: it began without a log, and has not caught up yet")
	case m.fenced.Load():
		problems = append(problems, "silent: the cluster believes this member dead or removed")
	}
	if raft.LeaderID == "" {
		problems = append(problems, "no leader: peers are served from what the log said last, nothing new is written")
	}
	if state.Planet == nil {
		problems = append(problems, "no planet is published")
	}
	if why := m.overdue(time.Now()); why != "" {
		problems = append(problems, why)
	}
	if m.dir.SigningKey == nil && m.dir.Created {
		problems = append(problems, "the planet's signing key is missing")
	}
	return m.sightings.epoch.Load() != 0 && state.Halted == "", problems
}

// Status implements [admin.Source].
func (s source) Status(context.Context) (*admin.Status, error) {
	m := s.m
	state, raft, stats, b := m.fsm.View().State(), m.replica.Stats(), m.root.Stats(), build.Current()
	st := &admin.Status{
		Name: m.name, MemberID: uint16(m.id), Address: m.dir.Identity.Address,
		Identity: m.dir.Identity.Identity.String(), DataDir: m.dir.Path,
		Version: b.Version, Commit: b.Commit, PID: os.Getpid(),
		Started: m.started, Uptime: int64(time.Since(m.started).Seconds()),
		Cluster: admin.ClusterStatus{
			Name: state.Cluster.Name, ID: m.dir.Meta.Cluster, Members: len(state.Members), Epoch: state.Cluster.Epoch.String(), Contents: state.Contents().String(),
			HandoffsFailed: state.Counters.HandoffsFailed,
		},
		Raft: admin.RaftStatus{
			State: raft.State, Term: raft.Term, Leader: m.memberName(raft.LeaderID), AppliedIndex: raft.AppliedIndex,
			CommitIndex: raft.CommitIndex, LastIndex: raft.LastIndex, SnapshotIndex: raft.SnapshotIndex, LogBytes: raft.LogBytes,
		},
		Totals: admin.Totals{
			PacketsReceived: stats.Counters[packetpath.Received], PacketsSent: stats.Counters[packetpath.Sent],
			Relayed: stats.Counters[packetpath.Relayed], Validated: stats.Counters[packetpath.NewcomersAccepted],
			Refused: stats.Counters[packetpath.NewcomersInvalid],
		},
		Memory: m.platform.usage().resident, Endpoints: m.endpoints(),
	}
	if self, ok := state.Member(m.id); ok {
		st.Drain = drainStates[self.Drain]
	}
	for _, c := range drops {
		st.Totals.Dropped += stats.Counters[c]
	}
	st.Ready, st.Problems = m.ready()
	var planet uint64
	if p := state.Planet; p != nil {
		sum := summary(p)
		st.Planet, planet = &sum, p.World.Timestamp
	}
	census := m.root.Census(planet)
	st.Peers = admin.PeersStatus{Known: state.Peers, Sessions: stats.Sessions, Confirmed: census.Confirmed, OnPlanet: census.OnPlanet}
	for _, a := range m.sockets.Addrs() {
		st.Listen = append(st.Listen, admin.ListenStatus{Address: a, Workers: m.cfg.Workers()})
	}
	if r := m.rates.latest.Load(); r != nil {
		st.Rates = *r
	}
	if m.http != nil {
		st.Metrics = "http://" + m.http.Addr().String() + "/metrics"
	}
	return st, nil
}

// memberName turns the ID that Raft knows a member by into its name.
func (m *member) memberName(id string) string {
	for _, o := range m.fsm.View().State().Members {
		if fmt.Sprint(o.ID) == id {
			return o.Name
		}
	}
	return id
}

func summary(p *fsm.Planet) admin.PlanetSummary {
	s := admin.PlanetSummary{
		WorldID: fmt.Sprintf("%016x", p.World.ID), Timestamp: p.World.Timestamp,
		Time: time.UnixMilli(int64(p.World.Timestamp)).UTC(), Fingerprint: datadir.Fingerprint(p.Raw),
		Bytes: len(p.Raw), Roots: len(p.World.Roots),
	}
	for _, r := range p.World.Roots {
		s.Endpoints += len(r.Endpoints)
	}
	return s
}

// Planet implements [admin.Source].
func (s source) Planet(context.Context) (*admin.Planet, error) {
	p := s.m.fsm.View().State().Planet
	if p == nil {
		return nil, fmt.Errorf("planet: %w: none is published yet", admin.ErrNotFound)
	}
	return &admin.Planet{PlanetSummary: summary(p), Raw: p.Raw, Auto: s.m.publishes(s.m.fsm.View().State())}, nil
}

// PublishPlanet implements [admin.Source]. The state machine decides; what is refused here is what clients would
// take and then be lost with.
func (s source) PublishPlanet(ctx context.Context, world []byte) (*admin.Planet, error) {
	m := s.m
	refuse := func(why, hint string) error {
		return &admin.Error{Status: 409, What: "publish planet", Why: why, Hint: hint}
	}
	w, n, err := vl1.DecodeWorld(world)
	if err != nil || n != len(world) {
		return nil, refuse(fmt.Sprintf("not a signed world (%v)", err), "make one with rootctl planet make and planet sign")
	}
	if w.Type != vl1.WorldPlanet {
		return nil, refuse(fmt.Sprintf("it is a %v", w.Type), "moons go into moons.d in the data directory")
	}
	serves := false
	for _, r := range w.Roots {
		serves = serves || r.Identity == m.dir.Identity.Identity
	}
	if !serves {
		return nil, refuse(fmt.Sprintf("it does not name this root, %v: clients would leave it for ever", m.dir.Identity.Address), "add it with rootctl planet make --from")
	}
	if held := m.fsm.View().State().Planet; held != nil {
		if string(held.Raw) == string(world) {
			return s.Planet(ctx) // published before: safe to run twice
		}
		if err := held.World.ReplacedBy(w); err != nil {
			return nil, refuse(fmt.Sprintf("clients would not take it: %v", err), "sign a newer version of the current planet with its key: rootctl planet make --from")
		}
	}
	if err := m.wouldReplace(m.fsm.View().State(), w); err != nil {
		return nil, err
	}
	if _, err := m.propose(ctx, &fsm.PublishPlanet{World: world}); err != nil {
		if errors.Is(err, replica.ErrNotLeader) || errors.Is(err, replica.ErrNotRunning) {
			return nil, fmt.Errorf("%w: %w", admin.ErrUnavailable, err)
		}
		return nil, refuse(err.Error(), "")
	}
	return s.Planet(ctx)
}

// Peer implements [admin.Source].
func (s source) Peer(_ context.Context, a vl1.Address) (*admin.Peer, error) {
	var rec table.Record
	state := s.m.fsm.View().State()
	if state.Peer(a, &rec) {
		return s.peer(state, &rec), nil
	}
	if info, ok := s.m.root.Peer(a); ok {
		return s.peer(state, &table.Record{Address: a, Key: info.Identity.Key}), nil
	}
	return nil, fmt.Errorf("peer %v: %w: it never said HELLO here, or was forgotten", a, admin.ErrNotFound)
}

// Peers implements [admin.Source].
func (s source) Peers(ctx context.Context, f admin.PeerFilter, yield func(*admin.Peer) error) error {
	const slice = 1000
	var err error
	state, n := s.m.fsm.View().State(), 0
	for cursor, done := uint64(0), false; !done && err == nil && ctx.Err() == nil; {
		var page []table.Record
		cursor, done = state.Table().Scan(cursor, slice, func(r *table.Record) { page = append(page, *r) })
		for i := range page {
			r := &page[i]
			if !strings.HasPrefix(r.Address.String(), strings.ToLower(f.Prefix)) {
				continue
			}
			p := s.peer(state, r)
			if f.Unconfirmed && p.Confirmed || f.Member != "" && !attachedTo(p, f.Member) {
				continue
			}
			if err = yield(p); err != nil {
				break
			}
			if n++; n == f.Limit {
				return nil
			}
		}
	}
	return errors.Join(err, ctx.Err())
}

func attachedTo(p *admin.Peer, member string) bool {
	for _, at := range p.Paths {
		if at.Attached && at.Member == member {
			return true
		}
	}
	return false
}

// peer joins what the log says of a peer with what this member knows first-hand.
func (s source) peer(state *fsm.State, r *table.Record) *admin.Peer {
	p := &admin.Peer{
		Address: r.Address, Identity: vl1.Identity{Address: r.Address, Key: r.Key}.String(),
		Protocol: r.Protocol, Version: versionText(r.Protocol, r.Major, r.Minor, r.Revision), Planet: r.Planet,
	}
	if r.LastSeen != 0 {
		p.LastSeen = table.Epoch.Add(time.Duration(r.LastSeen) * time.Second)
	}
	if info, ok := s.m.root.Peer(r.Address); ok {
		p.Session, p.LastSeen = true, info.LastHeard
		p.Protocol, p.Version = info.Protocol, versionText(info.Protocol, info.Major, info.Minor, info.Revision)
		if info.PlanetTimestamp != 0 {
			p.Planet = info.PlanetTimestamp
		}
		for _, at := range info.Paths {
			p.Confirmed = p.Confirmed || at.Confirmed
			id, ok := state.Attached(r, at.Endpoint.Addr().Is6())
			p.Paths = append(p.Paths, admin.Path{
				Family: family(at.Endpoint), Endpoint: at.Endpoint, Member: s.m.name, MemberID: uint16(s.m.id),
				Epoch: uint16(s.m.sightings.epoch.Load()), Attached: ok && id == s.m.id, Live: true, Confirmed: at.Confirmed,
				LastReceived: at.LastHeard, RTTMillis: float64(at.RTT) / float64(time.Millisecond),
			})
		}
	}
	for _, at := range []struct {
		endpoint netip.AddrPort
		member   table.MemberID
		epoch    uint16
	}{{r.V4, r.V4Member, r.V4Epoch}, {r.V6, r.V6Member, r.V6Epoch}} {
		known := func(x admin.Path) bool { return x.Endpoint == at.endpoint && x.MemberID == uint16(at.member) }
		if at.endpoint.IsValid() && !slices.ContainsFunc(p.Paths, known) {
			p.Paths = append(p.Paths, admin.Path{
				Family: family(at.endpoint), Endpoint: at.endpoint, Member: s.m.memberName(fmt.Sprint(at.member)),
				MemberID: uint16(at.member), Epoch: at.epoch, Attached: true,
			})
		}
	}
	// A client before 1.10.3 greets all members: that it is heard here does not make it this member's.
	slices.SortStableFunc(p.Paths, func(a, b admin.Path) int {
		switch {
		case a.Attached == b.Attached:
			return 0
		case a.Attached:
			return -1
		}
		return 1
	})
	p.OnPlanet = state.Planet != nil && p.Planet == state.Planet.World.Timestamp
	return p
}

func family(e netip.AddrPort) string {
	if e.Addr().Is4() {
		return "v4"
	}
	return "v6"
}

func versionText(protocol, major, minor uint8, revision uint16) string {
	if protocol == 0 {
		return ""
	}
	return fmt.Sprintf("%d.%d.%d", major, minor, revision)
}

// parseSoftwareVersion turns the version of the build into what clients are told: the release's numbers, or 0.0.0.
func parseSoftwareVersion(text string) packetpath.Version {
	var v packetpath.Version
	_, err := fmt.Sscanf(strings.TrimPrefix(text, "v"), "%d.%d.%d", &v.Major, &v.Minor, &v.Revision)
	if err != nil || v == (packetpath.Version{Major: 1, Minor: 1}) { // clients take 1.1.0 for a release with a bug
		return packetpath.Version{}
	}
	return v
}
