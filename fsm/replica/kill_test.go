package replica_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"github.com/rootd/rootd/fsm"
	"github.com/rootd/rootd/fsm/replica"
	"github.com/rootd/rootd/fsm/table"
)

// The test binary runs itself as a child that proposes without end; see TestMain.
const (
	childDir = "REPLICA_TEST_CHILD_DIR"
	childID  = "REPLICA_TEST_CHILD_ID"
)

// child runs a replica that makes peers known as fast as it can, eight at a time, and prints the number of each after it
// was acknowledged.
func child(dir, id string) int {
	f, err := fsm.New(fsm.Options{Table: table.Options{}})
	if err != nil {
		return fail(err)
	}
	o := options(dir, id, transport(id), f)
	o.Bootstrap, o.SnapshotThreshold, o.SnapshotInterval, o.TrailingLogs = true, 200, 20_000_000, 50
	r, err := replica.Open(o)
	if err != nil {
		return fail(err)
	}
	ctx := context.Background()
	go func() { os.Exit(fail(r.Run(ctx))) }()
	if err := r.WaitReady(ctx); err != nil {
		return fail(err)
	}
	first := f.View().State().Peers
	if first == 0 {
		if _, err := r.Apply(ctx, encode(bootstrap())); err != nil {
			return fail(err)
		}
	}
	var mu sync.Mutex
	var wg sync.WaitGroup
	for w := range 8 {
		wg.Go(func() {
			for i := first + w; ; i += 8 {
				if _, err := r.Apply(ctx, encode(newPeer(i))); err != nil {
					fail(err)
					return
				}
				mu.Lock()
				fmt.Println(i)
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	return 1
}

func fail(err error) int {
	fmt.Fprintln(os.Stderr, "child:", err)
	return 1
}

// TestKill9 kills a process under load, several times over on the same directory, and finds everything that was
// acknowledged in the view of the next one at once: before Raft runs.
func TestKill9(t *testing.T) {
	dir := t.TempDir()
	acked := map[int]bool{}
	for round := range 4 {
		runAndKill(t, dir, 300+100*round, acked)
		n := open(t, copyDir(t, dir), "a", nil)
		for i := range acked {
			if !n.knows(i) {
				t.Fatalf("round %d: peer %d of %d was acknowledged and is lost", round, i, len(acked))
			}
		}
		if err := n.stop(); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("%d acknowledged entries survived", len(acked))
}

// runAndKill runs the child until it has acknowledged n more, and kills it.
func runAndKill(t *testing.T, dir string, n int, acked map[int]bool) {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe)
	cmd.Env = append(os.Environ(), childDir+"="+dir, childID+"=a")
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	for got := 0; lines.Scan(); got++ {
		i, err := strconv.Atoi(lines.Text())
		if err != nil {
			break // cut off by the kill
		}
		if acked[i] = true; got == n {
			if err := cmd.Process.Kill(); err != nil {
				t.Fatal(err)
			}
		}
	}
	_ = cmd.Wait() // it was killed
	if cmd.ProcessState.Exited() {
		t.Fatal("the child ended by itself")
	}
}

// TestAloneWithoutQuorum restarts one of three voters: what was committed is in its view, with nobody to ask.
func TestAloneWithoutQuorum(t *testing.T) {
	ids := []string{"a", "b", "c"}
	trs := map[string]*raft.InmemTransport{}
	var conf raft.Configuration
	for _, id := range ids {
		trs[id] = transport(id)
		conf.Servers = append(conf.Servers, raft.Server{ID: raft.ServerID(id), Address: raft.ServerAddress(id)})
	}
	nodes := map[string]*node{}
	dirs := map[string]string{}
	for _, id := range ids {
		for _, other := range ids {
			if other != id {
				trs[id].Connect(raft.ServerAddress(other), trs[other])
			}
		}
		dirs[id] = t.TempDir()
		nodes[id] = open(t, dirs[id], id, func(o *replica.Options) {
			o.Transport = trs[id]
			o.Voters = conf.Servers
			o.Bootstrap = true
			o.Heartbeat, o.Election, o.LeaderLease = time.Second, time.Second, time.Second
		}).run(t)
	}
	lead := func(c fsm.Command) { // a busy machine may change its leader meanwhile
		t.Helper()
		until(t, "committed", func() bool {
			_, err := leaderOf(t, nodes).Apply(t.Context(), encode(c))
			return err == nil || errors.Is(err, fsm.ErrBootstrapped)
		})
	}
	lead(bootstrap())
	const peers = 300
	for i := range peers {
		lead(newPeer(i))
	}
	for _, n := range nodes { // the idle log notes what is committed
		until(t, "last peer known", func() bool { return n.knows(peers - 1) })
		until(t, "commit noted", func() bool { s := n.Stats(); return s.NotedIndex >= s.CommitIndex })
	}
	hash := nodes["a"].fsm.Hash()
	for _, n := range nodes {
		if err := n.stop(); err != nil {
			t.Fatal(err)
		}
	}
	for _, id := range ids {
		n := open(t, copyDir(t, dirs[id]), id, nil)
		if n.fsm.Hash() != hash {
			t.Errorf("member %s: its state differs after the restart: %d peers", id, n.fsm.View().State().Peers)
		}
		n.run(t)
		if _, err := n.Apply(t.Context(), encode(newPeer(0))); err == nil {
			t.Errorf("member %s commits alone", id)
		}
		if s := n.Stats(); s.ViewIndex == 0 || s.State == "leader" {
			t.Errorf("member %s: %+v", id, s)
		}
	}
}

func leaderOf(t *testing.T, nodes map[string]*node) (leader *node) {
	t.Helper()
	until(t, "a leader", func() bool {
		for _, n := range nodes {
			if n.IsLeader() {
				leader = n
				return true
			}
		}
		return false
	})
	return leader
}
