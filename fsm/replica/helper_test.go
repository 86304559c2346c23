package replica_test

import (
	"bytes"
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/raft"
	"go.uber.org/goleak"

	"github.com/rootd/rootd/fsm"
	"github.com/rootd/rootd/fsm/replica"
	"github.com/rootd/rootd/fsm/table"
	"github.com/rootd/rootd/packetpath/vl1"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(childDir); dir != "" {
		os.Exit(child(dir, os.Getenv(childID)))
	}
	goleak.VerifyTestMain(m)
}

// node is a replica that runs in this process.
type node struct {
	*replica.Replica
	id   string
	fsm  *fsm.FSM
	log  syncBuffer
	stop func() error // ends Run and waits
}

func options(dir, id string, tr raft.Transport, f *fsm.FSM) replica.Options {
	return replica.Options{
		Dir: dir, ID: id, FSM: f, Transport: tr,
		Heartbeat: 150 * time.Millisecond, Election: 150 * time.Millisecond,
		LeaderLease: 100 * time.Millisecond, CommitTimeout: 10 * time.Millisecond,
		SnapshotInterval: time.Hour,
	}
}

// patient is for replicas of a cluster on a busy machine: with the timing of [options] these lose each other.
func patient(o *replica.Options) {
	o.Heartbeat, o.Election, o.LeaderLease = time.Second, time.Second, 500*time.Millisecond
}

func newFSM(t testing.TB) *fsm.FSM {
	t.Helper()
	f, err := fsm.New(fsm.Options{Table: table.Options{}})
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func transport(id string) *raft.InmemTransport {
	_, tr := raft.NewInmemTransport(raft.ServerAddress(id))
	return tr
}

// open opens the replica of id in dir without running it.
func open(t testing.TB, dir, id string, change func(*replica.Options)) *node {
	t.Helper()
	n := &node{fsm: newFSM(t), id: id}
	o := options(dir, id, transport(id), n.fsm)
	o.Logger = slog.New(slog.NewTextHandler(&n.log, nil))
	if change != nil {
		change(&o)
	}
	r, err := replica.Open(o)
	if err != nil {
		t.Fatal(err)
	}
	n.Replica = r
	n.stop = r.Close
	t.Cleanup(func() {
		if err := n.stop(); err != nil {
			t.Errorf("stop %s: %v", id, err)
		}
		if t.Failed() {
			t.Logf("log of %s:\n%s", id, n.log.String())
		}
	})
	return n
}

// run runs it until the test ends or stop is called.
func (n *node) run(t testing.TB) *node {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- n.Run(ctx) }()
	n.stop = sync.OnceValue(func() error { cancel(); return <-done })
	return n
}

func (n *node) ready(t testing.TB) *node {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := n.WaitReady(ctx); err != nil {
		t.Fatal(err)
	}
	return n
}

func (n *node) must(t testing.TB, c fsm.Command) {
	t.Helper()
	if _, err := n.Apply(t.Context(), encode(c)); err != nil {
		t.Fatal(err)
	}
}

func encode(c fsm.Command) []byte {
	b, err := fsm.Encode(c)
	if err != nil {
		panic(err)
	}
	return b
}

// alone opens, runs and bootstraps a cluster of one.
func alone(t testing.TB, dir string, change func(*replica.Options)) *node {
	t.Helper()
	n := open(t, dir, "a", func(o *replica.Options) {
		o.Bootstrap = true
		if change != nil {
			change(o)
		}
	}).run(t).ready(t)
	if !n.fsm.View().State().Cluster.Bootstrapped() {
		n.must(t, bootstrap())
	}
	return n
}

func bootstrap() *fsm.Bootstrap {
	return &fsm.Bootstrap{Name: "alice", Root: vl1.Identity{Address: 1}, Created: 1}
}

// newPeer makes peer i known.
func newPeer(i int) fsm.Command {
	return fsm.Changes{{Address: address(i), HasKey: true, Key: vl1.PublicKey{byte(i)}}}
}

func address(i int) vl1.Address { return vl1.Address(i + 1) }

func (n *node) knows(i int) bool {
	var r table.Record
	return n.fsm.View().Peer(address(i), &r)
}

// until polls for a condition.
func until(t testing.TB, what string, cond func() bool) {
	t.Helper()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(20 * time.Second); !cond(); <-tick.C {
		if time.Now().After(end) {
			t.Fatalf("timed out: %s", what)
		}
	}
}

func copyDir(t testing.TB, from string) string {
	t.Helper()
	to := filepath.Join(t.TempDir(), "raft")
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
	return to
}

type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer // guarded by mu
}

func (s *syncBuffer) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(b)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}
