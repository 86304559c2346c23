package restore_test

import (
	"encoding/binary"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"filippo.io/age"
	"github.com/hashicorp/raft"

	"github.com/rootd/rootd/cmd/internal/datadir"
	"github.com/rootd/rootd/cmd/internal/restore"
	"github.com/rootd/rootd/fsm"
	"github.com/rootd/rootd/fsm/replica"
	"github.com/rootd/rootd/packetpath/vl1"
	"github.com/rootd/rootd/snapshot"
	"github.com/rootd/rootd/transport/pki"
)

// cluster is a cluster of the past: the state machine of its first member, and that member's directory.
type cluster struct {
	*fsm.FSM
	t     testing.TB
	dir   *datadir.Dir
	index uint64
}

func endpoint(s string) []netip.AddrPort { return []netip.AddrPort{netip.MustParseAddrPort(s)} }

// newCluster makes a cluster of three members with that many peers.
func newCluster(t testing.TB, peers int) *cluster {
	t.Helper()
	text, err := os.ReadFile("../../../snapshot/testdata/identity.secret")
	if err != nil {
		t.Fatal(err)
	}
	id, err := vl1.ParseSecretIdentity(strings.TrimSpace(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	d, err := datadir.Create(filepath.Join(t.TempDir(), "m1"), datadir.Options{Name: "m1", Cluster: "alice", Identity: id, Endpoints: endpoint("192.0.2.1:9993"), Now: time.Now()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	f, err := fsm.New(fsm.Options{})
	if err != nil {
		t.Fatal(err)
	}
	c := &cluster{FSM: f, t: t, dir: d}
	self := d.Keys.Credential.Self()
	now := time.Now().UnixMilli()
	c.do(&fsm.Bootstrap{ID: d.Meta.ClusterID(), Name: "alice", Root: d.Identity.Identity, Created: now})
	c.do(&fsm.PublishPlanet{World: d.PlanetRaw})
	c.do(&fsm.MemberUp{ID: 1, Name: "m1", Endpoints: endpoint("192.0.2.1:9993"), Address: "127.0.0.1:1", KeyHash: self.KeyHash, Feature: 1})
	for i := byte(2); i <= 3; i++ {
		c.do(&fsm.TokenCreate{ID: fsm.TokenID{i}, Expires: now + 3_600_000})
		name, address := "m"+string('0'+i), "127.0.0.1:"+string('0'+i)
		c.do(&fsm.MemberJoin{ID: c.View().State().NextMemberID(), Name: name, Address: address, KeyHash: fsm.KeyHash{i}, Token: fsm.TokenID{i}})
	}
	c.do(&fsm.Set{Key: "peer_expiry", Value: "48h"})
	for i := 0; i < peers; i += fsm.MaxChanges {
		cs := make(fsm.Changes, min(fsm.MaxChanges, peers-i))
		for j := range cs {
			cs[j] = fsm.Change{Address: vl1.Address(i + j + 1), HasKey: true, Member: 1, Epoch: 1, V4: netip.MustParseAddrPort("198.51.100.7:9")}
			binary.BigEndian.PutUint64(cs[j].Key[:], uint64(i+j))
		}
		c.do(cs)
	}
	return c
}

func (c *cluster) do(cmd fsm.Command) {
	c.t.Helper()
	b, err := fsm.Encode(cmd)
	if err != nil {
		c.t.Fatal(err)
	}
	fsm.Stamp(b, time.Now().UnixMilli())
	c.index++
	if r := c.Apply(&raft.Log{Index: c.index, Type: raft.LogCommand, Data: b}).(fsm.Response); r.Err != nil {
		c.t.Fatal(r.Err)
	}
}

// archive writes an archive with all secrets, and returns the options to begin with it in a new directory.
func (c *cluster) archive() restore.ArchiveOptions {
	c.t.Helper()
	o, _ := c.archiveAndKey()
	return o
}

// archiveAndKey is archive, with the key that opens it.
func (c *cluster) archiveAndKey() (restore.ArchiveOptions, string) {
	c.t.Helper()
	id, err := age.GenerateX25519Identity()
	if err != nil {
		c.t.Fatal(err)
	}
	seal, err := snapshot.SealTo(id.Recipient().String())
	if err != nil {
		c.t.Fatal(err)
	}
	path := filepath.Join(c.t.TempDir(), "alice.rootd-snapshot")
	c.write(path, snapshot.Secrets{Identity: c.dir.Identity, Authority: c.dir.Authority, PlanetKey: c.dir.SigningKey}, seal)
	o := options(path, id.String())
	o.Dir = filepath.Join(c.t.TempDir(), "new")
	return o, id.String()
}

func options(path, key string) restore.ArchiveOptions {
	return restore.ArchiveOptions{
		Path: path, Name: "r1", Address: "127.0.0.1:9995", Endpoints: endpoint("203.0.113.9:9993"), Now: time.Now,
		Key: func(*snapshot.Meta) (snapshot.Key, error) { return snapshot.ParseKey(key) },
	}
}

func (c *cluster) write(path string, s snapshot.Secrets, seal snapshot.Seal) {
	c.t.Helper()
	frozen, err := c.Freeze()
	if err != nil {
		c.t.Fatal(err)
	}
	defer frozen.Release()
	m := snapshot.Describe(frozen)
	m.Software, m.Member, m.Term = "test", "m1", 7
	file, err := os.Create(path)
	if err != nil {
		c.t.Fatal(err)
	}
	defer file.Close()
	if _, err := snapshot.Write(file, m, frozen.Write, s, seal); err != nil {
		c.t.Fatal(err)
	}
}

// started is what rootd would find in a directory.
func started(t testing.TB, path string) (*datadir.Dir, *fsm.State) {
	t.Helper()
	d, err := datadir.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	f, err := fsm.New(fsm.Options{})
	if err != nil {
		t.Fatal(err)
	}
	_, tr := raft.NewInmemTransport("x")
	r, err := replica.Open(replica.Options{Dir: d.RaftDir(), ID: d.Meta.Member.String(), FSM: f, Transport: tr, Bootstrap: !d.Meta.Joined})
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	st := f.View().State()
	if pki.Epoch(st.Cluster.Epoch) != d.Keys.Credential.Self().Epoch {
		t.Errorf("epoch %v in the log, %v in the certificate", st.Cluster.Epoch, d.Keys.Credential.Self().Epoch)
	}
	return d, st
}
