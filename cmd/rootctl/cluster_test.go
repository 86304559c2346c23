package main

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/rootd/rootd/cmd/internal/datadir"
	"github.com/rootd/rootd/transport/admin"
	"github.com/rootd/rootd/transport/join"
	"github.com/rootd/rootd/transport/mux"
	"github.com/rootd/rootd/transport/pki"
)

// fakeCluster is the cluster that root 0's member belongs to: m1 leads, m2 votes, m3 is down. It admits machines.
type fakeCluster struct {
	mu        sync.Mutex // guards all
	dir       *datadir.Dir
	members   []admin.Member
	removed   []admin.Former
	tokens    map[join.TokenID]*join.Token
	used      map[join.TokenID]pki.MemberID
	keys      map[join.TokenID][32]byte // of who used it
	settings  []admin.Setting
	operators []admin.Operator
	rotation  int    // steps taken
	address   string // of the join server
	state     *fakeState
	polls     int // of Members, by the machine that has joined
}

func newFakeCluster(d *datadir.Dir) *fakeCluster {
	m := func(id uint16, name, status, role string, endpoints ...netip.AddrPort) admin.Member {
		return admin.Member{
			ID: id, Name: name, Status: status, Role: role, Version: "1.2.3", Feature: 1, Address: fmt.Sprintf("192.0.2.%d:9995", id), Endpoints: endpoints, Epoch: id,
			LastReport: time.Now().Add(-3 * time.Second), AppliedIndex: 12345, Joined: time.UnixMilli(1700000000000),
		}
	}
	own := d.Planet.Roots[0].Endpoints
	c := &fakeCluster{
		dir: d, tokens: map[join.TokenID]*join.Token{}, used: map[join.TokenID]pki.MemberID{}, keys: map[join.TokenID][32]byte{},
		members:  []admin.Member{m(1, "m1", "up", "leader", own...), m(2, "m2", "up", "voter", netip.MustParseAddrPort("5.6.7.10:9993")), m(3, "m3", "down", "voter")},
		settings: []admin.Setting{{Key: "voters", Value: "5", Default: "5", Help: "most members that vote"}, {Key: "feature_level", Value: "1", Default: "1", Help: "what is used"}, {Key: "keep_alive", Value: "6h0m0s", Default: "6h0m0s", Help: "how often"}},
	}
	c.members[0].Published = own
	c.members[0].Health = &admin.Health{Load: 0.25, CPU: 0.5, Memory: 64 << 20, PacketsPerSecond: 1000, Sessions: 20, DiskFree: 5 << 30}
	c.members[0].Reach = []admin.Reach{{Endpoint: own[0], Asked: true, OK: true}, {Endpoint: own[1], Asked: true}}
	return c
}

// serve runs the join server until ctx ends.
func (c *fakeCluster) serve(ctx context.Context, running *sync.WaitGroup) error {
	ln, err := mux.ListenTCP(ctx, "127.0.0.1:0")
	if err != nil {
		return err
	}
	c.address = ln.Addr().String()
	log := slog.New(slog.DiscardHandler)
	keys, err := pki.NewKeychain(c.dir.Keys)
	if err != nil {
		return err
	}
	v, err := pki.NewVerifier(pki.VerifierOptions{Keychain: keys, Now: time.Now, Admit: c.admits})
	if err != nil {
		return err
	}
	m, err := mux.New(mux.Options{Keychain: keys, Verifier: v, Listener: ln, Dial: mux.DialTCP, Logger: log})
	if err != nil {
		return err
	}
	jl, err := m.Listen(mux.Join)
	if err != nil {
		return err
	}
	s, err := join.NewServer(join.ServerOptions{Admitter: c, Features: func() (uint16, uint16) { return 1, 1 }, Now: time.Now, Logger: log})
	if err != nil {
		return err
	}
	al, err := m.Listen(mux.Admin)
	if err != nil {
		return err
	}
	remote := admin.NewServer(&fakeMember{dir: c.dir, cluster: c}, log)
	running.Go(func() { _ = remote.RunRemote(ctx, al, c.asker) })
	running.Go(func() { _ = m.Run(ctx) })
	running.Go(func() { _ = s.Run(ctx, jl) })
	return nil
}

// token makes a token that dials the address; "" = the join server.
func (c *fakeCluster) token(address string) (*join.Token, error) {
	if address == "" {
		address = c.address
	}
	t, err := join.NewToken(c.dir.Authority.Fingerprint(), time.Now().Add(time.Hour), address)
	if err == nil {
		c.mu.Lock()
		c.tokens[t.ID] = t
		c.mu.Unlock()
	}
	return t, err
}

func (c *fakeCluster) Check(ctx context.Context, r *join.Request, note func(string)) (*join.Plan, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	t := c.tokens[r.Token]
	if t == nil || t.SecretHash() != r.SecretHash {
		return nil, &join.Refusal{Code: join.CodeToken, Why: "the cluster does not know this token", Way: "make a new one: rootctl token create"}
	}
	p := &join.Plan{
		Cluster: c.dir.Meta.Cluster, ClusterName: c.dir.Meta.ClusterLabel(), Root: c.dir.Identity.Address, Member: c.used[r.Token],
		Again: c.used[r.Token] != 0 && c.keys[r.Token] == r.KeyHash, Planet: c.dir.PlanetRaw, Voters: 5,
	}
	for _, m := range c.members {
		p.Members = append(p.Members, join.Member{ID: pki.MemberID(m.ID), Name: m.Name, Address: m.Address, Endpoints: m.Endpoints, Version: m.Version, Status: m.Status})
		if m.Name == r.Name && pki.MemberID(m.ID) != p.Member {
			p.Problems = append(p.Problems, &join.Refusal{Code: join.CodeName, Why: "another member has the name " + m.Name, Way: "choose another: --name NAME"})
		}
	}
	if r.Probe == nil {
		return p, nil
	}
	note("m1 tries to reach the machine")
	from, err := join.NewProbeIdentity()
	if err != nil {
		return nil, err
	}
	near := slices.DeleteFunc(slices.Clone(r.Endpoints), func(ap netip.AddrPort) bool { return !ap.Addr().IsLoopback() })
	if p.Probes, err = join.ProbeEndpoints(ctx, "m1", from, r.Probe, near); err != nil {
		return nil, err
	}
	for _, ap := range r.Endpoints {
		if !slices.Contains(near, ap) {
			p.Probes = append(p.Probes, join.Probe{Member: "m1", Endpoint: ap, Why: "no answer"})
			p.Problems = append(p.Problems, &join.Refusal{Code: join.CodeUnreachable, Why: fmt.Sprintf("nobody reaches %v", ap), Way: "open the port", Forceable: true})
		}
	}
	return p, nil
}

func (c *fakeCluster) Admit(_ context.Context, r *join.Request) (*join.Offer, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	id := c.used[r.Token]
	if id == 0 {
		id = pki.MemberID(len(c.members) + 1)
		c.used[r.Token], c.keys[r.Token] = id, r.KeyHash
		c.members = append(c.members, admin.Member{ID: uint16(id), Name: r.Name, Status: "joining", Address: r.Address, Endpoints: r.Endpoints})
	}
	chain, err := c.dir.Authority.Sign(r.CSR, pki.Member{Cluster: c.dir.Authority.Cluster(), ID: id, Name: r.Name}, time.Now(), 0)
	if err != nil {
		return nil, err
	}
	ca, err := c.dir.Authority.PEM()
	return &join.Offer{
		Member: id, Cluster: c.dir.Authority.Cluster(), ClusterName: c.dir.Meta.ClusterLabel(), Chain: chain, Bundle: c.dir.Keys.Bundle.PEM(), Planet: c.dir.PlanetRaw,
		Members:  []join.Member{{ID: 1, Name: "m1", Address: "192.0.2.1:9995"}},
		Identity: join.Hide([]byte(c.dir.Identity.SecretString())), Authority: join.Hide(ca),
	}, err
}

// fakeMember is a Cluster with a fakeCluster behind it. One that is fresh is the machine that joined last.
var _ admin.Cluster = (*fakeMember)(nil)

func (s *fakeMember) Members(context.Context) (*admin.Members, error) {
	c := s.cluster
	c.mu.Lock()
	defer c.mu.Unlock()
	out := &admin.Members{Cluster: c.dir.Meta.Cluster, ClusterName: "alice", Leader: "m1", Self: 1, Quorum: !s.broken, MaxVoters: 5, Time: time.Now(), Removed: slices.Clone(c.removed)}
	if s.broken {
		out.Leader = ""
	}
	if s.fresh {
		last := &c.members[len(c.members)-1]
		out.Self = last.ID
		switch c.polls++; c.polls {
		case 1:
		case 2:
			last.Status, last.Epoch, last.Role, last.AppliedIndex, last.Lag = "up", 1, "nonvoter", 10, 12335
		case 3:
			last.AppliedIndex, last.Lag = 12345, 0
		default:
			last.Role = "voter"
		}
	}
	out.Members = slices.Clone(c.members)
	return out, nil
}

func (s *fakeMember) find(name string) (int, error) {
	i := slices.IndexFunc(s.cluster.members, func(m admin.Member) bool { return m.Name == name || fmt.Sprint(m.ID) == name })
	if i < 0 {
		return 0, &admin.Error{Status: 404, Why: "there is no member " + name, Hint: "see rootctl member list"}
	}
	return i, nil
}

func (s *fakeMember) RemoveMember(_ context.Context, name string, o admin.RemoveOptions) (*admin.Removal, error) {
	c := s.cluster
	c.mu.Lock()
	defer c.mu.Unlock()
	i, err := s.find(name)
	if err != nil {
		return nil, err
	}
	r := &admin.Removal{Member: c.members[i], Peers: 12, VotersLeft: 2, VotersNeeded: 2}
	if c.members[i].Status == "up" {
		r.Problems = []string{"it is alive: stop its rootd first"}
	}
	switch {
	case o.DryRun:
	case len(r.Problems) > 0 && !o.Force:
		return nil, &admin.Error{Status: 409, Why: r.Problems[0], Hint: "--force removes it all the same"}
	default:
		r.Done = true
		c.removed = append(c.removed, admin.Former{ID: c.members[i].ID, Name: name, At: time.Now()})
		c.members = slices.Delete(c.members, i, i+1)
	}
	return r, nil
}

func (s *fakeMember) role(name, role string) (*admin.Member, error) {
	c := s.cluster
	c.mu.Lock()
	defer c.mu.Unlock()
	i, err := s.find(name)
	if err != nil {
		return nil, err
	}
	c.members[i].Role = role
	m := c.members[i]
	return &m, nil
}

func (s *fakeMember) PromoteMember(_ context.Context, name string, _ bool) (*admin.Member, error) {
	return s.role(name, "voter")
}

func (s *fakeMember) DemoteMember(_ context.Context, name string, _ bool) (*admin.Member, error) {
	return s.role(name, "nonvoter")
}

func (s *fakeMember) LeaveVote(_ context.Context, name string) (*admin.Member, error) {
	m, err := s.role(name, "nonvoter")
	if err == nil {
		m.Vote = admin.VoteAuto
	}
	return m, err
}

func (s *fakeMember) ReadmitMember(_ context.Context, name string) (*admin.Member, error) {
	return s.role(name, "nonvoter")
}

func (s *fakeMember) PreferLeaders(ctx context.Context, names []string) (*admin.Members, error) {
	s.cluster.mu.Lock()
	for i, name := range names {
		at, err := s.find(name)
		if err != nil {
			s.cluster.mu.Unlock()
			return nil, err
		}
		s.cluster.members[at].Priority = uint8(100 - i)
	}
	s.cluster.mu.Unlock()
	return s.Members(ctx)
}

func (s *fakeMember) TransferLeadership(_ context.Context, to string) (*admin.Member, error) {
	if to == "" {
		to = "m2"
	}
	return s.role(to, "leader")
}

func (s *fakeMember) Tokens(context.Context) ([]admin.Token, error) {
	if s.broken {
		return nil, nil
	}
	return []admin.Token{
		{ID: "44061b4921ac9027", Note: "ams1", Expires: time.Now().Add(time.Hour + time.Second), State: admin.TokenOpen},
		{ID: "55061b4921ac9027", Expires: time.Now().Add(-time.Hour), State: admin.TokenUsed, Member: "m2"},
	}, nil
}

func (s *fakeMember) CreateToken(_ context.Context, r admin.TokenRequest) (*admin.NewToken, error) {
	t, err := s.cluster.token("")
	if err != nil {
		return nil, err
	}
	return &admin.NewToken{
		Token: admin.Token{ID: t.ID.String(), Note: r.Note, Expires: time.Now().Add(time.Duration(r.Life)*time.Second + time.Second), State: admin.TokenOpen},
		Text:  t.Text(), CA: t.CA.String(), Addresses: t.Addresses,
	}, nil
}

func (s *fakeMember) RevokeToken(_ context.Context, id string) (*admin.Token, error) {
	switch id {
	case "44061b4921ac9027":
		return &admin.Token{ID: id}, nil
	case "55061b4921ac9027":
		return &admin.Token{ID: id, Member: "m2"}, nil
	}
	return nil, &admin.Error{Status: 404, Why: "there is no such token", Hint: "see rootctl token list"}
}

func (s *fakeMember) Settings(context.Context) ([]admin.Setting, error) {
	s.cluster.mu.Lock()
	defer s.cluster.mu.Unlock()
	return slices.Clone(s.cluster.settings), nil
}

func (s *fakeMember) SetSetting(_ context.Context, key, value string) (*admin.Setting, error) {
	s.cluster.mu.Lock()
	defer s.cluster.mu.Unlock()
	for i := range s.cluster.settings {
		set := &s.cluster.settings[i]
		if set.Key != key {
			continue
		}
		if strings.HasPrefix(value, "-") || value == "many" {
			return nil, &admin.Error{Status: 409, Why: "setting refused: voters: \"many\" is not a number"}
		}
		if set.Value = value; value == "" {
			set.Value = set.Default
		}
		now := *set
		return &now, nil
	}
	return nil, &admin.Error{Status: 404, Why: "there is no setting " + key, Hint: "see rootctl config list"}
}

func (s *fakeMember) Adoption(context.Context) (*admin.Adoption, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.summary()
	return &admin.Adoption{
		Planet: *now, Peers: 1000, Adopted: 750, Unknown: 50,
		Versions: []admin.AdoptionVersion{{Timestamp: now.Timestamp, Time: now.Time, Peers: 750}, {Timestamp: 1600000000000, Time: time.UnixMilli(1600000000000), Peers: 200}},
		Curve:    []admin.AdoptionPoint{{Time: now.Time, Peers: 1000}, {Peers: 1000, Adopted: 500}, {Peers: 1000, Adopted: 1000}},
	}, nil
}
