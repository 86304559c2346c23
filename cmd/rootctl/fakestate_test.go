package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"strconv"
	"sync"
	"time"

	"github.com/hashicorp/raft"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/rootd/rootd/cmd/internal/datadir"
	"github.com/rootd/rootd/fsm"
	"github.com/rootd/rootd/packetpath/vl1"
	"github.com/rootd/rootd/snapshot"
	"github.com/rootd/rootd/transport/admin"
)

// fakeState is the replicated state of the fake cluster: a real state machine without a log.
type fakeState struct {
	mu      sync.Mutex // guards all
	fsm     *fsm.FSM
	index   uint64
	backups admin.Backups
	failing string // what goes wrong with the next snapshot
}

func newFakeState(d *datadir.Dir) (*fakeState, error) {
	f, err := fsm.New(fsm.Options{})
	if err != nil {
		return nil, err
	}
	key := sha256.Sum256(d.Planet.UpdateKey[:])
	s := &fakeState{fsm: f, backups: admin.Backups{PlanetKey: hex.EncodeToString(key[:])}}
	for _, c := range []fsm.Command{
		&fsm.Bootstrap{ID: d.Meta.ClusterID(), Name: "alice", Root: d.Identity.Identity, Created: 1700000000000},
		&fsm.MemberUp{ID: 1, Name: "m1", Version: "1.2.3", Endpoints: d.Planet.Roots[0].Endpoints},
		&fsm.PublishPlanet{World: d.PlanetRaw},
	} {
		if err := s.do(c); err != nil {
			return nil, err
		}
	}
	return s, s.do(fakePeers(1, 1000))
}

// fakePeers are up to 1000 peers.
func fakePeers(first, n int) fsm.Changes {
	c := make(fsm.Changes, 0, n)
	for i := range cap(c) {
		a := first + i
		c = append(c, fsm.Change{
			Address: vl1.Address(a), HasKey: true, Key: vl1.PublicKey{byte(a), byte(a >> 8), 1}, Member: 1, Epoch: 1,
			V4: netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, byte(a >> 8), byte(a)}), 9993),
		})
	}
	return c
}

func (s *fakeState) do(c fsm.Command) error {
	b, err := fsm.Encode(c)
	if err != nil {
		return err
	}
	fsm.Stamp(b, 1700000000000)
	s.index++
	return s.fsm.Apply(&raft.Log{Index: s.index, Type: raft.LogCommand, Data: b}).(fsm.Response).Err
}

// Snapshot implements [admin.Snapshots].
func (s *fakeMember) Snapshot(_ context.Context, stale bool, w io.Writer) error {
	st := s.cluster.state
	st.mu.Lock()
	defer st.mu.Unlock()
	failing := st.failing
	st.failing = ""
	if failing == "no leader" && !stale {
		return &admin.Error{Status: 503, What: "take snapshot", Why: "no leader", Hint: "--stale"}
	}
	f, err := st.fsm.Freeze()
	if err != nil {
		return err
	}
	defer f.Release()
	m := snapshot.Describe(f)
	m.Software, m.Member, m.Term, m.Stale = "1.2.3", "m1", 2, stale
	text, err := json.Marshal(m)
	if err != nil {
		return err
	}
	line, err := json.Marshal(admin.SnapshotHead{Meta: text, Bytes: f.Size()})
	if err != nil {
		return err
	}
	if _, err := w.Write(append(line, '\n')); err != nil {
		return err
	}
	var b bytes.Buffer
	if err := f.Write(&b); err != nil {
		return err
	}
	switch failing {
	case "breaks off":
		_, _ = w.Write(b.Bytes()[:b.Len()/2])
		return errors.New("the member stops")
	case "ends early":
		b.Truncate(b.Len() - 20)
	case "lies":
		b.Bytes()[b.Len()/2] ^= 1
	}
	_, err = w.Write(b.Bytes())
	return err
}

// NoteBackup implements [admin.Snapshots].
func (s *fakeMember) NoteBackup(_ context.Context, b admin.Backup) (*admin.Backups, error) {
	st := s.cluster.state
	st.mu.Lock()
	defer st.mu.Unlock()
	st.backups.Last = &b
	if b.PlanetKey != "" {
		st.backups.Key, st.backups.KeySafe = &b, b.PlanetKey == st.backups.PlanetKey
	}
	all := st.backups
	return &all, nil
}

// Backups implements [admin.Snapshots].
func (s *fakeMember) Backups(context.Context) (*admin.Backups, error) {
	st := s.cluster.state
	st.mu.Lock()
	defer st.mu.Unlock()
	all := st.backups
	all.Time = time.UnixMilli(1700000000000)
	return &all, nil
}

// state changes the fake cluster's state: state peers FIRST N | state set KEY VALUE | state fails HOW.
func state(ts *testscript.TestScript, neg bool, args []string) {
	st := ts.Value("cluster").(*fakeCluster).state
	st.mu.Lock()
	defer st.mu.Unlock()
	switch {
	case neg || len(args) < 2:
		ts.Fatalf("usage: state peers FIRST N | state set KEY VALUE | state fails HOW")
	case args[0] == "fails":
		st.failing = args[1]
	case args[0] == "set":
		ts.Check(st.do(&fsm.Set{Key: args[1], Value: args[2]}))
	case args[0] == "peers":
		first, err := strconv.Atoi(args[1])
		ts.Check(err)
		n, err := strconv.Atoi(args[2])
		ts.Check(err)
		ts.Check(st.do(fakePeers(first, n)))
	default:
		ts.Fatalf("%s", fmt.Sprint("no such change: ", args))
	}
}
