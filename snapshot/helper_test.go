package snapshot_test

import (
	"bytes"
	"encoding/binary"
	"io"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"github.com/rootd/rootd/fsm"
	"github.com/rootd/rootd/packetpath/vl1"
	"github.com/rootd/rootd/snapshot"
	"github.com/rootd/rootd/transport/pki"
)

const began = int64(1_700_000_000_000)

// cluster is a state machine with everything an archive is made of.
type cluster struct {
	*fsm.FSM
	t       testing.TB
	index   uint64
	secrets snapshot.Secrets
}

// newCluster returns a cluster with a planet, settings and that many peers.
func newCluster(t testing.TB, peers int) *cluster {
	t.Helper()
	return newClusterAt(t, "2", peers)
}

// newClusterAt returns one that uses a feature level.
func newClusterAt(t testing.TB, level string, peers int) *cluster {
	t.Helper()
	f, err := fsm.New(fsm.Options{})
	if err != nil {
		t.Fatal(err)
	}
	c := &cluster{FSM: f, t: t, secrets: newSecrets(t)}
	self := c.secrets.Identity.Identity
	w := &vl1.World{Type: vl1.WorldPlanet, ID: 77, Timestamp: uint64(began), UpdateKey: c.secrets.PlanetKey.Public()}
	w.Roots = []vl1.Root{{Identity: self, Endpoints: []netip.AddrPort{netip.MustParseAddrPort("192.0.2.1:9993")}}}
	w.Sign(c.secrets.PlanetKey)
	c.do(&fsm.Bootstrap{ID: [16]byte{7}, Name: "alice", Root: self, Created: began})
	c.do(&fsm.MemberUp{ID: 1, Name: "ams", Version: "0.1", Endpoints: w.Roots[0].Endpoints})
	c.do(&fsm.PublishPlanet{World: w.AppendBinary(nil)})
	c.do(&fsm.SetMany{Settings: []fsm.KeyValue{{Key: "feature_level", Value: level}, {Key: "peer_expiry", Value: "48h"}}})
	c.addPeers(1, peers)
	return c
}

func newSecrets(t testing.TB) (s snapshot.Secrets) {
	t.Helper()
	b, err := os.ReadFile("testdata/identity.secret")
	if err != nil {
		t.Fatal(err)
	}
	if s.Identity, err = vl1.ParseSecretIdentity(strings.TrimSpace(string(b))); err != nil {
		t.Fatal(err)
	}
	if s.PlanetKey, err = vl1.GenerateSigningKey(); err != nil {
		t.Fatal(err)
	}
	if s.Authority, err = pki.NewAuthority(pki.ClusterID{7}, "alice", time.UnixMilli(began)); err != nil {
		t.Fatal(err)
	}
	return s
}

func (c *cluster) do(cmd fsm.Command) {
	c.t.Helper()
	b, err := fsm.Encode(cmd)
	if err != nil {
		c.t.Fatal(err)
	}
	fsm.Stamp(b, began+int64(c.index))
	c.index++
	if r := c.Apply(&raft.Log{Index: c.index, Type: raft.LogCommand, Data: b}).(fsm.Response); r.Err != nil {
		c.t.Fatal(r.Err)
	}
}

// addPeers makes n peers known, from address first on.
func (c *cluster) addPeers(first, n int) {
	c.t.Helper()
	for n > 0 {
		batch := make(fsm.Changes, min(n, 1000))
		for i := range batch {
			batch[i] = change(first + i)
		}
		c.do(batch)
		first, n = first+len(batch), n-len(batch)
	}
}

func change(i int) fsm.Change {
	c := fsm.Change{Address: vl1.Address(i), HasKey: true, Member: 1, Epoch: 1, Protocol: 11, Major: 1, Minor: 14}
	sum := uint64(i) * 0x9e3779b97f4a7c15
	for k := 0; k < len(c.Key); k += 8 { // as random as keys are
		sum ^= sum << 13
		sum ^= sum >> 7
		sum ^= sum << 17
		binary.BigEndian.PutUint64(c.Key[k:], sum)
	}
	c.V4 = netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}), 9993)
	return c
}

// meta returns the metadata of the present state.
func (c *cluster) meta(f *fsm.Frozen) snapshot.Meta {
	m := snapshot.Describe(f)
	m.Software, m.Member, m.Term, m.Created = "0.3.0", "ams", 4, time.UnixMilli(began)
	return m
}

func (c *cluster) freeze() *fsm.Frozen {
	c.t.Helper()
	f, err := c.Freeze()
	if err != nil {
		c.t.Fatal(err)
	}
	return f
}

// archive returns an archive of the present state.
func (c *cluster) archive(s snapshot.Secrets, seal snapshot.Seal) []byte {
	c.t.Helper()
	f := c.freeze()
	defer f.Release()
	var b bytes.Buffer
	w, err := snapshot.Write(&b, c.meta(f), f.Write, s, seal)
	if err != nil {
		c.t.Fatal(err)
	}
	if w.Bytes != int64(b.Len()) {
		c.t.Errorf("%d bytes reported, %d written", w.Bytes, b.Len())
	}
	return b.Bytes()
}

// sealed is an archive with all secrets, sealed to a key.
func (c *cluster) sealed() (archive []byte, key snapshot.Key) {
	c.t.Helper()
	id := newIdentity(c.t)
	seal, err := snapshot.SealTo(id.Recipient().String())
	if err != nil {
		c.t.Fatal(err)
	}
	if key, err = snapshot.ParseKey(id.String()); err != nil {
		c.t.Fatal(err)
	}
	return c.archive(c.secrets, seal), key
}

// check reads an archive to its end.
func check(b []byte) error {
	a, err := snapshot.Open(bytes.NewReader(b))
	if err != nil {
		return err
	}
	return a.Verify()
}

func open(t testing.TB, b []byte) *snapshot.Archive {
	t.Helper()
	a, err := snapshot.Open(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// restored is the state machine that an archive gives.
func restored(t testing.TB, b []byte) *fsm.FSM {
	t.Helper()
	f, err := fsm.New(fsm.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Restore(io.NopCloser(open(t, b).State())); err != nil {
		t.Fatal(err)
	}
	return f
}
