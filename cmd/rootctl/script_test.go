package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/rootd/rootd/cmd/internal/datadir"
	"github.com/rootd/rootd/packetpath/vl1"
	"github.com/rootd/rootd/transport/admin"
	"github.com/rootd/rootd/transport/join"
	"github.com/rootd/rootd/transport/pki"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"rootctl": main})
}

// TestScripts runs testdata/script. Each script finds in its directory:
//
//	0.secret .. 5.secret, 0.public .. 5.public   identities
//	data/                                        the data directory of root 0, named by ROOTD_DATA_DIR
//	data/admin.sock                              a rootd that serves it and knows peers 1, 2 and 3
//	broken.sock                                  a rootd that is not ready, and breaks off its lists
//	fresh.sock                                   the rootd of the machine that joined last, which comes up step by step
//
// and in its environment TOKEN and TOKEN2, which admit a machine; DEAD, which dials nobody; FOREIGN, of another cluster;
// PORT, the address of the cluster port.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup:               func(env *testscript.Env) error { return setup(t, env) },
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"mode":       mode,
			"nosecret":   noSecret,
			"flip":       flip,
			"understand": understand,
			"state":      state,
		},
	})
}

func setup(t *testing.T, env *testscript.Env) error {
	ids, err := identities()
	if err != nil {
		return err
	}
	for i, id := range ids {
		base := filepath.Join(env.WorkDir, fmt.Sprint(i))
		if err := errors.Join(os.WriteFile(base+".secret", []byte(id.SecretString()), 0o600), os.WriteFile(base+".public", []byte(id.Identity.String()), 0o644)); err != nil {
			return err
		}
	}
	data := filepath.Join(env.WorkDir, "data")
	d, err := datadir.Create(data, datadir.Options{
		Name: "m1", Identity: ids[0], WorldID: 0xabc, Now: time.UnixMilli(1700000000000),
		Endpoints: []netip.AddrPort{netip.MustParseAddrPort("5.6.7.8:9993"), netip.MustParseAddrPort("[2a00::8]:9993")},
	})
	if err != nil {
		return err
	}
	env.Setenv("ROOTD_DATA_DIR", data)
	env.Setenv("GORACE", "atexit_sleep_ms=10") // with the race detector, each process would wait a second at its end

	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	cluster := newFakeCluster(d)
	env.Values["cluster"] = cluster
	if cluster.state, err = newFakeState(d); err != nil {
		cancel()
		return err
	}
	if err := cluster.serve(ctx, &running); err != nil {
		cancel()
		return err
	}
	for name, address := range map[string]string{"TOKEN": "", "TOKEN2": "", "DEAD": "127.0.0.1:1"} {
		t, err := cluster.token(address)
		if err != nil {
			cancel()
			return err
		}
		env.Setenv(name, t.Text())
	}
	env.Setenv("PORT", cluster.address)
	foreign, err := join.NewToken(pki.Fingerprint{1}, time.Now().Add(time.Hour), cluster.address)
	if err != nil {
		cancel()
		return err
	}
	env.Setenv("FOREIGN", foreign.Text())
	for socket, src := range map[string]*fakeMember{
		filepath.Join(data, "admin.sock"):         {dir: d, ids: ids, cluster: cluster},
		filepath.Join(env.WorkDir, "broken.sock"): {dir: d, ids: ids, cluster: cluster, broken: true},
		filepath.Join(env.WorkDir, "fresh.sock"):  {dir: d, ids: ids, cluster: cluster, fresh: true},
	} {
		l, err := admin.Listen(socket)
		if err != nil {
			cancel()
			return err
		}
		src.imported = make(map[vl1.Address]vl1.PublicKey)
		s := admin.NewServer(src, slog.New(slog.DiscardHandler))
		running.Go(func() {
			if err := s.Run(ctx, l); err != nil {
				t.Error(err)
			}
		})
	}
	env.Defer(func() {
		cancel()
		running.Wait()
		_ = d.Close()
	})
	return nil
}

func identities() ([]*vl1.SecretIdentity, error) {
	b, err := os.ReadFile("testdata/identities-secret.txt")
	if err != nil {
		return nil, err
	}
	var out []*vl1.SecretIdentity
	for line := range strings.FieldsSeq(string(b)) {
		id, err := vl1.ParseSecretIdentity(line)
		if err != nil {
			return nil, err
		}
		out = append(out, id)
	}
	return out, nil
}

// mode checks the permissions of files: mode 0600 FILE...
func mode(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: mode 0600 FILE...")
	}
	for _, name := range args[1:] {
		fi, err := os.Stat(ts.MkAbs(name))
		ts.Check(err)
		if got := fmt.Sprintf("%04o", fi.Mode().Perm()); got != args[0] {
			ts.Fatalf("%s has mode %s, want %s", name, got, args[0])
		}
	}
}

// noSecret checks that the last command printed no part of any secret in the script's directory.
func noSecret(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) > 0 {
		ts.Fatalf("usage: nosecret")
	}
	printed := ts.ReadFile("stdout") + ts.ReadFile("stderr")
	found := 0
	ts.Check(filepath.WalkDir(ts.Getenv("WORK"), func(path string, e os.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() || !strings.HasSuffix(path, ".secret") && !strings.HasSuffix(path, ".key") {
			return err
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		text := strings.TrimSpace(string(b))
		secret := text[strings.LastIndexByte(text, ':')+1:]
		if len(secret) != 128 {
			return nil // broken on purpose
		}
		found++
		for i := 0; i+16 <= len(secret); i += 16 {
			if strings.Contains(printed, secret[i:i+16]) {
				ts.Fatalf("the secret of %s was printed", path)
			}
		}
		return nil
	}))
	if found == 0 {
		ts.Fatalf("no secret to look for")
	}
}

// flip damages a file: flip FILE OFFSET, from the end if negative.
func flip(ts *testscript.TestScript, neg bool, args []string) {
	var at int
	if neg || len(args) != 2 {
		ts.Fatalf("usage: flip FILE OFFSET")
	}
	_, err := fmt.Sscan(args[1], &at)
	ts.Check(err)
	b, err := os.ReadFile(ts.MkAbs(args[0]))
	ts.Check(err)
	if at < 0 {
		at += len(b)
	}
	b[at] ^= 1
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), b, 0o600))
}

// fakeMember is a member with three peers.
type fakeMember struct {
	mu     sync.Mutex // guards dir
	dir    *datadir.Dir
	ids    []*vl1.SecretIdentity
	broken bool

	cluster *fakeCluster

	importing sync.Mutex // guards imported
	imported  map[vl1.Address]vl1.PublicKey
	fresh     bool // the machine that joined last
}

func (s *fakeMember) Status(context.Context) (*admin.Status, error) {
	if s.broken {
		return &admin.Status{Name: "m1", Problems: []string{"UDP port 9993 is in use"}}, nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return &admin.Status{
		Name: "m1", MemberID: 1, Address: s.dir.Identity.Address, Identity: s.dir.Identity.Identity.String(), DataDir: s.dir.Path,
		Version: "1.2.3", PID: 42, Uptime: 93784, Ready: true,
		Cluster: admin.ClusterStatus{ID: "00112233aabbccdd", Members: 1},
		Raft:    admin.RaftStatus{State: "leader", Term: 2, Leader: "m1", AppliedIndex: 12345, CommitIndex: 12345, LastIndex: 12345, SnapshotIndex: 8192},
		Peers:   admin.PeersStatus{Known: 1234567, Sessions: 1, Confirmed: 1, OnPlanet: 1},
		Planet:  s.summary(), Endpoints: s.dir.Planet.Roots[0].Endpoints,
		Listen: []admin.ListenStatus{{Address: netip.MustParseAddrPort("0.0.0.0:9993"), Workers: 2}},
		Rates:  admin.Rates{Window: 10, PacketsReceived: 15000, BytesReceived: 3e6, PacketsSent: 9.5, Hellos: 0.5},
		Memory: 64 << 20, Problems: []string{"the disk is 91 % full"},
	}, nil
}

func (s *fakeMember) summary() *admin.PlanetSummary {
	w := s.dir.Planet
	return &admin.PlanetSummary{
		WorldID: worldID(w.ID), Timestamp: w.Timestamp, Time: time.UnixMilli(int64(w.Timestamp)), Fingerprint: s.dir.Fingerprint(),
		Bytes: len(s.dir.PlanetRaw), Roots: len(w.Roots), Endpoints: len(w.Roots[0].Endpoints),
	}
}

func (s *fakeMember) peer(i int) *admin.Peer {
	id := s.ids[i].Identity
	p := &admin.Peer{Address: id.Address, Identity: id.String(), LastSeen: time.Now().Add(-90 * time.Second), Protocol: 11, Version: "1.14.2", Planet: 1700000000000, OnPlanet: true, Session: true, Confirmed: true}
	p.Paths = []admin.Path{{Family: "v4", Endpoint: netip.MustParseAddrPort("1.2.3.4:21000"), Member: "m1", MemberID: 1, Epoch: 1, Attached: true, Live: true, Confirmed: true, LastReceived: time.Now(), RTTMillis: 12.34}}
	switch i {
	case 2:
		p.Planet, p.OnPlanet, p.Confirmed, p.Version = 1600000000000, false, false, ""
		p.Paths = append(p.Paths, admin.Path{Family: "v6", Endpoint: netip.MustParseAddrPort("[2a00::9]:9993"), Member: "m2", Attached: true})
	case 3:
		p.Planet, p.OnPlanet, p.Confirmed, p.Session, p.Paths = 0, false, false, false, nil
	}
	return p
}

func (s *fakeMember) Peers(_ context.Context, f admin.PeerFilter, yield func(*admin.Peer) error) error {
	for i := 1; i <= 3; i++ {
		p := s.peer(i)
		if !strings.HasPrefix(p.Address.String(), f.Prefix) || f.Unconfirmed && p.Confirmed || f.Member != "" && !strings.Contains(members(p), f.Member) {
			continue
		}
		if err := yield(p); err != nil {
			return err
		}
		if s.broken {
			return errors.New("the table was closed")
		}
	}
	return nil
}

func (s *fakeMember) Peer(_ context.Context, a vl1.Address) (*admin.Peer, error) {
	for i := 1; i <= 3; i++ {
		if s.ids[i].Address == a {
			return s.peer(i), nil
		}
	}
	return nil, fmt.Errorf("no peer %s: %w", a, admin.ErrNotFound)
}

func (s *fakeMember) ImportPeers(_ context.Context, ids []vl1.Identity) (*admin.Imported, error) {
	s.importing.Lock()
	defer s.importing.Unlock()
	var r admin.Imported
	for _, id := range ids {
		switch key, ok := s.imported[id.Address]; {
		case !ok:
			s.imported[id.Address] = id.Key
			r.Created++
		case key == id.Key:
			r.Known++
		default:
			r.Collisions = append(r.Collisions, id.Address)
		}
	}
	return &r, nil
}

func (s *fakeMember) Planet(context.Context) (*admin.Planet, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return &admin.Planet{PlanetSummary: *s.summary(), Raw: s.dir.PlanetRaw}, nil
}

func (s *fakeMember) PublishPlanet(ctx context.Context, raw []byte) (*admin.Planet, error) {
	w, _, err := vl1.DecodeWorld(raw)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", admin.ErrRefused, err)
	}
	s.mu.Lock()
	err = s.dir.Planet.ReplacedBy(w)
	if err == nil {
		err = s.dir.SetPlanet(raw)
	}
	s.mu.Unlock()
	if err != nil {
		return nil, fmt.Errorf("%w: %w", admin.ErrRefused, err)
	}
	return s.Planet(ctx)
}

// understand LEVEL: all members of the fake cluster understand that feature level.
func understand(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: understand LEVEL")
	}
	level, err := strconv.ParseUint(args[0], 10, 16)
	ts.Check(err)
	c := ts.Value("cluster").(*fakeCluster)
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := range c.members {
		c.members[i].Feature = uint16(level)
	}
}
