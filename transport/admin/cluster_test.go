package admin_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http/httptest"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/rootd/rootd/packetpath/vl1"
	"github.com/rootd/rootd/transport/admin"
)

// clusterMember is a Cluster that writes down what it was asked.
type clusterMember struct {
	member
	asked []string
}

func (m *clusterMember) note(format string, a ...any) {
	m.asked = append(m.asked, fmt.Sprintf(format, a...))
}

func (m *clusterMember) Members(context.Context) (*admin.Members, error) {
	m.note("members")
	return &admin.Members{Leader: "m1", Members: []admin.Member{{ID: 1, Name: "m1"}}}, m.err
}

func (m *clusterMember) RemoveMember(_ context.Context, who string, o admin.RemoveOptions) (*admin.Removal, error) {
	m.note("remove %s %+v", who, o)
	return &admin.Removal{Done: true}, m.err
}

func (m *clusterMember) PromoteMember(_ context.Context, who string, force bool) (*admin.Member, error) {
	m.note("promote %s %v", who, force)
	return &admin.Member{Name: who}, m.err
}

func (m *clusterMember) DemoteMember(_ context.Context, who string, force bool) (*admin.Member, error) {
	m.note("demote %s %v", who, force)
	return &admin.Member{Name: who}, m.err
}

func (m *clusterMember) LeaveVote(_ context.Context, who string) (*admin.Member, error) {
	m.note("auto %s", who)
	return &admin.Member{Name: who}, m.err
}

func (m *clusterMember) ReadmitMember(_ context.Context, who string) (*admin.Member, error) {
	m.note("readmit %s", who)
	return &admin.Member{Name: who}, m.err
}

func (m *clusterMember) PreferLeaders(_ context.Context, who []string) (*admin.Members, error) {
	m.note("prefer %q", who)
	return &admin.Members{Leader: "m1"}, m.err
}

func (m *clusterMember) TransferLeadership(_ context.Context, to string) (*admin.Member, error) {
	m.note("transfer %q", to)
	return &admin.Member{Name: to}, m.err
}

func (m *clusterMember) Tokens(context.Context) ([]admin.Token, error) {
	m.note("tokens")
	return []admin.Token{{ID: "1"}, {ID: "2"}}, m.err
}

func (m *clusterMember) CreateToken(_ context.Context, r admin.TokenRequest) (*admin.NewToken, error) {
	m.note("token %+v", r)
	return &admin.NewToken{Text: "t"}, m.err
}

func (m *clusterMember) RevokeToken(_ context.Context, id string) (*admin.Token, error) {
	m.note("revoke %s", id)
	return &admin.Token{ID: id}, m.err
}

func (m *clusterMember) Settings(context.Context) ([]admin.Setting, error) {
	m.note("settings")
	return []admin.Setting{{Key: "voters"}}, m.err
}

func (m *clusterMember) SetSetting(_ context.Context, key, value string) (*admin.Setting, error) {
	m.note("set %s=%q", key, value)
	return &admin.Setting{Key: key, Value: value}, m.err
}

func (m *clusterMember) Adoption(context.Context) (*admin.Adoption, error) {
	m.note("adoption")
	return &admin.Adoption{Peers: 3}, m.err
}

// calls asks everything once.
func calls(ctx context.Context, c admin.Cluster) []error {
	var errs []error
	add := func(ok bool, err error) {
		if err == nil && !ok {
			err = errors.New("the answer lacks something")
		}
		errs = append(errs, err)
	}
	ms, err := c.Members(ctx)
	add(ms != nil && len(ms.Members) == 1 && ms.Leader == "m1", err)
	r, err := c.RemoveMember(ctx, "m 1/2?", admin.RemoveOptions{Force: true})
	add(r != nil && r.Done, err)
	r, err = c.RemoveMember(ctx, "m1", admin.RemoveOptions{DryRun: true})
	add(r != nil, err)
	m, err := c.PromoteMember(ctx, "m2", false)
	add(m != nil && m.Name == "m2", err)
	m, err = c.DemoteMember(ctx, "m2", true)
	add(m != nil && m.Name == "m2", err)
	m, err = c.ReadmitMember(ctx, "m 2")
	add(m != nil && m.Name == "m 2", err)
	m, err = c.LeaveVote(ctx, "m 2")
	add(m != nil && m.Name == "m 2", err)
	ms, err = c.PreferLeaders(ctx, []string{"m 2", "m1"})
	add(ms != nil && ms.Leader == "m1", err)
	m, err = c.TransferLeadership(ctx, "m 3")
	add(m != nil && m.Name == "m 3", err)
	ts, err := c.Tokens(ctx)
	add(len(ts) == 2, err)
	nt, err := c.CreateToken(ctx, admin.TokenRequest{Life: 60, Note: "ü"})
	add(nt != nil && nt.Text == "t", err)
	tok, err := c.RevokeToken(ctx, "0102")
	add(tok != nil && tok.ID == "0102", err)
	ss, err := c.Settings(ctx)
	add(len(ss) == 1, err)
	s, err := c.SetSetting(ctx, "voters", "")
	add(s != nil && s.Key == "voters", err)
	a, err := c.Adoption(ctx)
	add(a != nil && a.Peers == 3, err)
	return errs
}

// serveCluster serves src on a socket until the test ends.
func serveCluster(t *testing.T, src admin.Source) *admin.Client {
	t.Helper()
	socket := filepath.Join(t.TempDir(), "s")
	l, err := admin.Listen(socket)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { _ = admin.NewServer(src, slog.New(slog.DiscardHandler)).Run(ctx, l) })
	c := admin.NewClient(socket)
	t.Cleanup(func() { c.Close(); cancel(); wg.Wait() })
	return c
}

func TestClusterRoundTrip(t *testing.T) {
	m := &clusterMember{}
	for i, err := range calls(t.Context(), serveCluster(t, m)) {
		if err != nil {
			t.Errorf("call %d: %v", i, err)
		}
	}
	want := []string{
		"members", "remove m 1/2? {Force:true Alone:false DryRun:false}", "remove m1 {Force:false Alone:false DryRun:true}", "promote m2 false", "demote m2 true", "readmit m 2", "auto m 2", `prefer ["m 2" "m1"]`, `transfer "m 3"`,
		"tokens", "token {Life:60 Note:ü}", "revoke 0102", "settings", `set voters=""`, "adoption",
	}
	if !slices.Equal(m.asked, want) {
		t.Errorf("asked\n%q\nwant\n%q", m.asked, want)
	}
	m.err = &admin.Error{Status: 409, Why: "no", Hint: "never"}
	for i, err := range calls(t.Context(), serveCluster(t, m)) {
		if e, ok := errors.AsType[*admin.Error](err); !ok || e.Why != "no" || e.Hint != "never" || e.What == "" || !errors.Is(err, admin.ErrRefused) {
			t.Errorf("call %d refused: %v", i, err)
		}
	}
}

// TestNoCluster: a Source that is none says so.
func TestNoCluster(t *testing.T) {
	for i, err := range calls(t.Context(), serveCluster(t, &member{})) {
		if !errors.Is(err, admin.ErrNotFound) || !strings.Contains(err.Error(), "no such route") {
			t.Errorf("call %d: %v", i, err)
		}
	}
}

func TestBadClusterRequests(t *testing.T) {
	s := admin.NewServer(&clusterMember{}, slog.New(slog.DiscardHandler))
	for _, tc := range []struct{ method, url, body, want string }{
		{"POST", "/v1/tokens", "", "not understood"},
		{"POST", "/v1/tokens", `{"life_seconds":-1}`, "not understood"},
		{"POST", "/v1/tokens", strings.Repeat(" ", 5000), "too large"},
		{"PUT", "/v1/settings/x", strings.Repeat(" ", 5000), "too large"},
	} {
		w := httptest.NewRecorder()
		s.Handler().ServeHTTP(w, httptest.NewRequest(tc.method, tc.url, strings.NewReader(tc.body)))
		if w.Code != 400 || !strings.Contains(w.Body.String(), tc.want) {
			t.Errorf("%s %s: %d %s", tc.method, tc.url, w.Code, w.Body)
		}
	}
}

func endpoints(list ...string) (out []netip.AddrPort) {
	for _, s := range list {
		out = append(out, netip.MustParseAddrPort(s))
	}
	return out
}

func TestNext(t *testing.T) {
	root := vl1.Identity{Address: 0x0123456789}
	held := func(list ...string) *vl1.World {
		return &vl1.World{Type: vl1.WorldPlanet, ID: 7, Timestamp: 5000, Roots: []vl1.Root{{Identity: vl1.Identity{Address: 0x0223456789}, Endpoints: endpoints("9.9.9.9:1")}, {Identity: root, Endpoints: endpoints(list...)}}}
	}
	m := func(name string, epoch uint16, list ...string) admin.Member {
		return admin.Member{Name: name, Epoch: epoch, Endpoints: endpoints(list...)}
	}
	for _, tc := range []struct {
		name                  string
		held                  *vl1.World
		members               []admin.Member
		want, added, removed  string
		unserved              string
		unchanged, impossible bool
	}{
		{name: "nothing new", held: held("1.1.1.1:1", "[2a00::1]:1"), members: []admin.Member{m("a", 1, "[2a00::1]:1", "1.1.1.1:1")}, want: "1.1.1.1:1 [2a00::1]:1", unchanged: true},
		{name: "an order that is kept", held: held("[2a00::1]:1", "[2a00::2]:1", "1.1.1.1:1"), members: []admin.Member{m("a", 1, "1.1.1.1:1", "[2a00::2]:1", "[2a00::1]:1")}, want: "[2a00::1]:1 [2a00::2]:1 1.1.1.1:1", unchanged: true},
		{name: "join", held: held("1.1.1.1:1", "[2a00::1]:1"), members: []admin.Member{m("a", 4, "1.1.1.1:1", "[2a00::1]:1"), m("b", 1, "2.2.2.2:1", "[2a00::2]:1")}, want: "1.1.1.1:1 [2a00::1]:1 2.2.2.2:1 [2a00::2]:1", added: "2.2.2.2:1 [2a00::2]:1"},
		{name: "not up yet", held: held("1.1.1.1:1"), members: []admin.Member{m("a", 4, "1.1.1.1:1"), m("b", 0, "2.2.2.2:1")}, want: "1.1.1.1:1", unserved: "b", unchanged: true},
		{name: "removed", held: held("1.1.1.1:1", "2.2.2.2:1"), members: []admin.Member{m("b", 4, "2.2.2.2:1")}, want: "2.2.2.2:1", removed: "1.1.1.1:1"},
		{name: "moved", held: held("1.1.1.1:1"), members: []admin.Member{m("a", 4, "1.1.1.9:1")}, want: "1.1.1.9:1", added: "1.1.1.9:1", removed: "1.1.1.1:1"},
		{name: "nobody", held: held("1.1.1.1:1"), impossible: true},
		{name: "another root's", held: &vl1.World{Type: vl1.WorldPlanet}, members: []admin.Member{m("a", 4, "1.1.1.9:1")}, impossible: true},
	} {
		n, err := admin.Next(tc.held, root, tc.members, time.UnixMilli(4000))
		if tc.impossible {
			if err == nil {
				t.Errorf("%s: %+v", tc.name, n)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", tc.name, err)
			continue
		}
		text := func(a []netip.AddrPort) string { return strings.Trim(fmt.Sprint(a), "[ ]") }
		trim := func(s string) string { return strings.Trim(s, "[ ]") }
		if got := text(n.World.Roots[1].Endpoints); got != trim(tc.want) || text(n.Added) != trim(tc.added) || text(n.Removed) != trim(tc.removed) || strings.Join(n.Unserved, " ") != tc.unserved || n.Changed() == tc.unchanged {
			t.Errorf("%s: %+v, endpoints %s", tc.name, n, got)
		}
		if n.World.Timestamp != 5001 || len(n.World.Roots[0].Endpoints) != 1 || tc.held.Timestamp != 5000 {
			t.Errorf("%s: %+v", tc.name, n.World)
		}
	}
}

// TestNextAlwaysFits: however many members and endpoints there are, the planet is one that clients take, every member that
// fits has an endpoint in it, and making the next one of it changes nothing.
func TestNextAlwaysFits(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		root := vl1.Identity{Address: 0x0123456789}
		held := &vl1.World{Type: vl1.WorldPlanet, ID: 7, Timestamp: 5, Roots: []vl1.Root{{Identity: root, Endpoints: endpoints("10.0.0.1:1")}}}
		var members []admin.Member
		for i := range rapid.IntRange(1, 40).Draw(t, "members") {
			m := admin.Member{Name: fmt.Sprint(i), Epoch: uint16(rapid.IntRange(0, 2).Draw(t, "epoch"))}
			for k := range rapid.IntRange(0, 5).Draw(t, "endpoints") {
				s := fmt.Sprintf("10.1.%d.%d:1", i, k)
				if rapid.Bool().Draw(t, "v6") {
					s = fmt.Sprintf("[2a00::%x:%x]:1", i, k)
				}
				m.Endpoints = append(m.Endpoints, netip.MustParseAddrPort(s))
			}
			members = append(members, m)
		}
		n, err := admin.Next(held, root, members, time.UnixMilli(9))
		if err != nil {
			if slices.ContainsFunc(members, func(m admin.Member) bool { return m.Epoch > 0 && len(m.Endpoints) > 0 }) {
				t.Fatal(err)
			}
			return
		}
		up := 0
		for _, m := range members {
			if m.Epoch > 0 && len(m.Endpoints) > 0 {
				up++
				if slices.Contains(n.Unserved, m.Name) && len(n.World.Roots[0].Endpoints) < vl1.MaxEndpoints {
					t.Errorf("%s has no endpoint, and there is room", m.Name)
				}
			}
		}
		if served := len(members) - len(n.Unserved); up <= vl1.MaxEndpoints && served != up {
			t.Errorf("%d members are up, %d are served", up, served)
		}
		again, err := admin.Next(n.World, root, members, time.UnixMilli(9))
		if err != nil || again.Changed() && len(n.LeftOut) == 0 {
			t.Errorf("next of the next: %+v, %v", again, err)
		}
	})
}
