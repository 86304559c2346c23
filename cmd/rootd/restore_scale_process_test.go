package main_test

import (
	"encoding/binary"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"github.com/rootd/rootd/cmd/internal/build"
	"github.com/rootd/rootd/cmd/internal/datadir"
	"github.com/rootd/rootd/cmd/internal/procs"
	"github.com/rootd/rootd/fsm"
	"github.com/rootd/rootd/fsm/replica"
	"github.com/rootd/rootd/packetpath/vl1"
)

// TestRestoreScale is a disaster of as many peers as ROOTD_RESTORE_PEERS says, on this machine: save, lose all, init --from, two
// joins; and, before that, the same archive back into the running member. `make scale-restore`.
func TestRestoreScale(t *testing.T) {
	peers, err := strconv.Atoi(os.Getenv("ROOTD_RESTORE_PEERS"))
	if err != nil {
		t.Skip("ROOTD_RESTORE_PEERS is not set: make scale-restore")
	}
	b := binaries{t.TempDir()}
	if err := procs.Build(longDeadline(t), b.dir, ".", "../rootctl"); err != nil {
		t.Fatal(err)
	}
	f := &fleet{T: t, binary: b.rootd()}
	old := procs.MemberTest(t, b.rootd(), "-name", "m1")
	populate(t, old, peers)
	f.members = append(f.members, old)
	f.start(0)
	if err := old.WaitReady(longDeadline(t)); err != nil {
		t.Fatal(err)
	}
	before := f.contents(0)

	archive, passphrase := filepath.Join(t.TempDir(), "m1.rootd-snapshot"), filepath.Join(t.TempDir(), "passphrase")
	if err := os.WriteFile(passphrase, []byte("correct horse\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	run := func(what string, args ...string) string {
		t.Helper()
		began := time.Now()
		p := procs.StartTest(t, procs.Command{Path: b.rootctl(), Args: args})
		if code, err := p.Wait(longDeadline(t)); err != nil || code != 0 {
			t.Fatalf("%s: exit code %d, %v", what, code, err)
		}
		t.Logf("%s: %.1f s\n%s", what, time.Since(began).Seconds(), p.Output())
		return p.Output()
	}
	run("save", "snapshot", "save", archive, "--data-dir", old.DataDir, "--passphrase-file", passphrase)
	if fi, err := os.Stat(archive); err == nil {
		t.Logf("archive: %.1f bytes a peer", float64(fi.Size())/float64(peers))
	}
	if _, err := f.admin(0).SetSetting(longDeadline(t), "peer_expiry", "999h"); err != nil {
		t.Fatal(err)
	}
	run("restore into the running member", "snapshot", "restore", archive, "--data-dir", old.DataDir, "--yes")
	if got := f.contents(0); got != before {
		t.Errorf("contents %s, before %s", got, before)
	}

	f.grow()
	f.grow()
	f.waitMembers("m1 up voter", "m2 up voter", "m3 up voter")
	eventually(t, "the planet names all members", func() bool { return len(readPlanet(t, old).Roots[0].Endpoints) == 3 })
	clients := f.swarm(b)
	run("save", "snapshot", "save", archive, "--data-dir", old.DataDir, "--passphrase-file", passphrase)
	saved := readArchive(t, archive).View().State().Contents().String()

	for _, m := range f.members {
		m.Kill()
	}
	for _, m := range f.members {
		if err := os.RemoveAll(m.DataDir); err != nil {
			t.Fatal(err)
		}
	}
	disaster := time.Now()
	m := procs.MemberTest(t, b.rootd())
	m.DataDir, m.UDP = filepath.Join(t.TempDir(), "new"), old.UDP // the one old endpoint that answers again
	f.members = append(f.members, m)
	founded := run("init --from", "init", "--from", archive, "--passphrase-file", passphrase, "--name", "r1", "--endpoint", m.UDP.String(),
		"--address", m.Cluster.String(), "--data-dir", m.DataDir, "--yes")
	if !strings.Contains(founded, saved) {
		t.Errorf("the contents of the archive are %s", saved)
	}
	f.start(3)
	if err := m.WaitReady(longDeadline(t)); err != nil {
		t.Fatal(err)
	}
	t.Logf("serves %.1f s after the disaster", time.Since(disaster).Seconds())
	back := clients.follow(f, disaster)
	f.joinAfter(3)
	t.Logf("one more after %.1f s", time.Since(disaster).Seconds())
	f.joinAfter(3)
	t.Logf("both after %.1f s", time.Since(disaster).Seconds())
	for i := 3; i <= 5; i++ {
		s, err := f.admin(i).Status(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("%s: %d peers, %d MiB, %.0f bytes a peer, contents %s", s.Name, s.Peers.Known, s.Memory>>20, float64(s.Memory)/float64(s.Peers.Known), s.Cluster.Contents)
	}
	back()

	// Nobody is missing, nobody is another: what differs is where the clients are.
	again := filepath.Join(t.TempDir(), "again.rootd-snapshot")
	run("save again", "snapshot", "save", again, "--data-dir", m.DataDir, "--no-secrets")
	run("compare", "snapshot", "diff", archive, again, "--limit", "5")
}

// populate makes the data directory of a member that knows peers.
func populate(t *testing.T, m *procs.Member, peers int) {
	t.Helper()
	d, err := datadir.Create(m.DataDir, datadir.Options{Name: "m1", Endpoints: []netip.AddrPort{m.UDP}, Now: time.Now()})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if err := d.SetAddress(m.Cluster.String()); err != nil {
		t.Fatal(err)
	}
	state, err := fsm.New(fsm.Options{})
	if err != nil {
		t.Fatal(err)
	}
	index, now := uint64(0), time.Now().UnixMilli()
	do := func(c fsm.Command) {
		entry, err := fsm.Encode(c)
		if err != nil {
			t.Fatal(err)
		}
		fsm.Stamp(entry, now)
		index++
		if r := state.Apply(&raft.Log{Index: index, Type: raft.LogCommand, Data: entry}).(fsm.Response); r.Err != nil {
			t.Fatal(r.Err)
		}
	}
	do(&fsm.Bootstrap{ID: d.Meta.ClusterID(), Name: "m1", Root: d.Identity.Identity, Created: now})
	do(&fsm.Set{Key: "feature_level", Value: strconv.Itoa(build.FeatureLevel)})
	do(&fsm.PublishPlanet{World: d.PlanetRaw})
	do(&fsm.MemberUp{ID: 1, Name: "m1", Endpoints: []netip.AddrPort{m.UDP}, Address: m.Cluster.String(), KeyHash: d.Keys.Credential.Self().KeyHash, Feature: build.FeatureLevel})
	rnd := rand.New(rand.NewPCG(1, 2))
	for i := 0; i < peers; i += fsm.MaxChanges {
		cs := make(fsm.Changes, min(fsm.MaxChanges, peers-i))
		for j := range cs {
			n := uint64(i + j + 1)
			c := &cs[j]
			*c = fsm.Change{Address: vl1.Address(n*0x9e3779b9&0x7fffffffff | 1<<38), HasKey: true, Member: 1, Epoch: 1, Protocol: 11, Major: 1, Minor: 14}
			c.V4 = netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, byte(n >> 16), byte(n >> 8), byte(n)}), 9993)
			for k := 0; k < len(c.Key); k += 8 { // as random as keys are
				binary.BigEndian.PutUint64(c.Key[k:], rnd.Uint64())
			}
		}
		do(cs)
	}
	if err := replica.Seed(replica.SeedOptions{Dir: d.RaftDir(), ID: "1", Address: m.Cluster.String(), FSM: state, Term: 1, Now: now}); err != nil {
		t.Fatal(err)
	}
	t.Logf("%d peers", state.View().State().Peers)
}
