package replica_test

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"github.com/rootd/rootd/fsm"
	"github.com/rootd/rootd/fsm/replica"
)

// hangingLog is a disk whose writes stop returning.
type hangingLog struct {
	raft.LogStore
	mu   sync.RWMutex // held by the test: nothing is written
	hung chan struct{}
	once sync.Once
}

func (h *hangingLog) StoreLogs(logs []*raft.Log) error {
	if !h.mu.TryRLock() {
		h.once.Do(func() { close(h.hung) })
		h.mu.RLock()
	}
	defer h.mu.RUnlock()
	return h.LogStore.StoreLogs(logs)
}

// A leader whose disk hangs gives up: Run says so, and the others elect another one, which commits.
func TestLeaderWithAHangingDiskGivesUp(t *testing.T) {
	disks := map[string]*hangingLog{}
	nodes, ends := three(t, func(id string, o *replica.Options) {
		o.DiskLimit = time.Second
		o.WrapLog(func(l raft.LogStore) raft.LogStore {
			disks[id] = &hangingLog{LogStore: l, hung: make(chan struct{})}
			return disks[id]
		})
	})
	until(t, "committed", func() bool {
		_, err := leaderOf(t, nodes).Apply(t.Context(), encode(bootstrap()))
		return err == nil || errors.Is(err, fsm.ErrBootstrapped)
	})
	leader := leaderOf(t, nodes)
	id := leader.id
	disks[id].mu.Lock()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	proposed := make(chan error, 1)
	go func() { _, err := leader.Apply(ctx, encode(newPeer(1))); proposed <- err }()
	<-disks[id].hung
	if err := <-ends[id]; !errors.Is(err, replica.ErrDiskStuck) {
		t.Errorf("Run of the leader: %v", err)
	}
	delete(nodes, id)
	until(t, "another leader commits", func() bool {
		_, err := leaderOf(t, nodes).Apply(t.Context(), encode(newPeer(2)))
		return err == nil
	})
	disks[id].mu.Unlock()
	if err := leader.Bury(); err != nil {
		t.Error(err)
	}
	<-proposed
}

// three runs three voters until the test ends. What Run returns comes through the channels.
func three(t *testing.T, change func(id string, o *replica.Options)) (map[string]*node, map[string]chan error) {
	t.Helper()
	ids := []string{"a", "b", "c"}
	trs := map[string]*raft.InmemTransport{}
	var servers []raft.Server
	for _, id := range ids {
		trs[id] = transport(id)
		servers = append(servers, raft.Server{ID: raft.ServerID(id), Address: raft.ServerAddress(id)})
	}
	nodes, ends := map[string]*node{}, map[string]chan error{}
	for _, id := range ids {
		for _, other := range ids {
			if other != id {
				trs[id].Connect(raft.ServerAddress(other), trs[other])
			}
		}
		n := &node{fsm: newFSM(t), id: id}
		o := options(t.TempDir(), id, trs[id], n.fsm)
		o.Logger = slog.New(slog.NewTextHandler(&n.log, nil))
		o.Voters, o.Bootstrap = servers, true
		patient(&o)
		change(id, &o)
		r, err := replica.Open(o)
		if err != nil {
			t.Fatal(err)
		}
		end := make(chan error, 1)
		n.Replica, nodes[id], ends[id] = r, n, end
		ctx, cancel := context.WithCancel(context.Background())
		ended := make(chan struct{})
		go func() { defer close(ended); end <- n.Run(ctx) }()
		t.Cleanup(func() {
			cancel()
			<-ended
			if t.Failed() {
				t.Logf("log of %s:\n%s", id, n.log.String())
			}
		})
	}
	return nodes, ends
}
