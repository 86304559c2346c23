package replica_test

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"github.com/rootd/rootd/fsm"
	"github.com/rootd/rootd/fsm/replica"
	"github.com/rootd/rootd/packetpath/vl1"
	"github.com/rootd/rootd/transport/mux"
	"github.com/rootd/rootd/transport/pki"
	"github.com/rootd/rootd/transport/stream"
)

// logLab is a cluster of three voters in this process: real stores, TLS over loopback, the timing of a LAN or of members
// between whom there is a round trip. One of two labs keeps its log in memory.
type logLab struct {
	nodes  []*node
	beats  *beats
	leader *node
	peers  int
	turn   atomic.Uint64 // packs of changes made so far
}

// labOptions say what kind of cluster a lab is.
type labOptions struct {
	memory bool // the log is not written
	peers  int  // that the log knows before anything is measured
	line   *line
	late   bool // the last member is not started: it has the whole log to catch up with
}

func newLogLab(t *testing.T, o labOptions) *logLab {
	t.Helper()
	lab := &logLab{beats: new(beats), peers: o.peers}
	ca, err := pki.NewAuthority(pki.ClusterID{1}, "bench", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	const voters = 3
	where := map[pki.MemberID]string{}
	var starts []func(servers []raft.Server) *node
	var servers []raft.Server
	for id := pki.MemberID(1); id <= voters; id++ {
		m, at := lab.mux(t, ca, id, o.line)
		where[id] = at
		lookup := func(id pki.MemberID) (string, bool) { a, ok := where[id]; return a, ok }
		tr, err := stream.New(t.Context(), stream.Options{Mux: m, Advertise: at, Lookup: lookup})
		if err != nil {
			t.Fatal(err)
		}
		servers = append(servers, raft.Server{ID: stream.ServerID(id), Address: tr.LocalAddr()})
		starts = append(starts, func(servers []raft.Server) *node {
			return open(t, t.TempDir(), string(stream.ServerID(id)), func(ro *replica.Options) {
				timing := replica.TimingFor(max(o.line.roundTrip(), 300*time.Millisecond)) // patient: the machine is busy with it
				ro.Transport = &beatTransport{NetworkTransport: tr, beats: lab.beats}
				ro.Bootstrap, ro.Voters = true, servers
				ro.Heartbeat, ro.Election, ro.LeaderLease, ro.CommitTimeout = timing.Heartbeat, timing.Election, timing.Lease, timing.Commit
				if o.memory {
					ro.WrapLog(func(raft.LogStore) raft.LogStore { return raft.NewInmemStore() })
				}
			})
		})
	}
	for _, start := range starts {
		lab.nodes = append(lab.nodes, start(servers))
	}
	for i, n := range lab.nodes { // only now: all have the directory
		if !o.late || i < voters-1 {
			n.run(t)
		}
	}
	until(t, "a leader", func() bool {
		i := slices.IndexFunc(lab.nodes, func(n *node) bool { return n.IsLeader() })
		if i >= 0 {
			lab.leader = lab.nodes[i]
		}
		return i >= 0
	})
	lab.leader.must(t, bootstrap())
	lab.leader.must(t, &fsm.MemberUp{ID: 1, Name: "ams"})
	lab.know(t, o.peers)
	return lab
}

// know makes new peers known, in full entries of which eight at a time are under way.
func (lab *logLab) know(t *testing.T, peers int) {
	t.Helper()
	var wg sync.WaitGroup
	slots := make(chan struct{}, 8)
	for first := 0; first < peers; first += fsm.MaxChanges {
		cs := make(fsm.Changes, min(fsm.MaxChanges, peers-first))
		for i := range cs {
			cs[i] = fsm.Change{Address: labPeer(first + i), HasKey: true, Key: labKey(first + i)}
		}
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			if _, err := lab.leader.Apply(t.Context(), encode(cs)); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
}

// mux starts the cluster port of a member.
func (lab *logLab) mux(t *testing.T, ca *pki.Authority, id pki.MemberID, l *line) (*mux.Mux, string) {
	t.Helper()
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	key, err := pki.NewKey()
	check(err)
	csr, err := pki.NewRequest(key)
	check(err)
	chain, err := ca.Sign(csr, pki.Member{Cluster: ca.Cluster(), ID: id, Name: fmt.Sprintf("m%d", id)}, time.Now(), 0)
	check(err)
	cred, err := pki.NewCredential(key, chain)
	check(err)
	bundle, err := pki.NewBundle(ca.Certificate())
	check(err)
	keys, err := pki.NewKeychain(pki.Keys{Credential: cred, Bundle: bundle})
	check(err)
	v, err := pki.NewVerifier(pki.VerifierOptions{Keychain: keys, Now: time.Now, Admit: func(pki.Peer) error { return nil }})
	check(err)
	ln, err := mux.ListenTCP(t.Context(), "127.0.0.1:0")
	check(err)
	dial := mux.DialTCP
	if l != nil {
		ln, dial = l.far(ln)
	}
	m, err := mux.New(mux.Options{Keychain: keys, Verifier: v, Listener: ln, Dial: dial, Logger: slog.New(slog.DiscardHandler)})
	check(err)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- m.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-done })
	return m, ln.Addr().String()
}

// labPeer spreads peers over the table as real addresses are.
func labPeer(i int) vl1.Address { return 0x10<<32 | vl1.Address(uint32(i)*0x9e3779b1) }

// labKey is the key of a lab's peer.
func labKey(i int) (k vl1.PublicKey) {
	k[0], k[1], k[2], k[3] = byte(i), byte(i>>8), byte(i>>16), 1
	return k
}

// burst is one measurement.
type burst struct {
	entries int
	size    int // changes an entry
	took    time.Duration
	late    []time.Duration // of each entry: from the proposal until it is applied at the leader
}

func (b *burst) perSecond() float64 { return float64(b.entries*b.size) / b.took.Seconds() }

func (b *burst) quantile(q float64) time.Duration {
	if len(b.late) == 0 {
		return 0
	}
	slices.Sort(b.late)
	return b.late[min(int(q*float64(len(b.late))), len(b.late)-1)]
}

// run commits entries of so many endpoint changes of random known peers for a while, so many entries at a time.
func (lab *logLab) run(t *testing.T, size, writers int, d time.Duration) *burst {
	t.Helper()
	b := &burst{size: size}
	var mu sync.Mutex
	var wg sync.WaitGroup
	began := time.Now()
	for range writers {
		wg.Go(func() {
			rnd := rand.New(rand.NewPCG(lab.turn.Add(1), 1))
			cs := make(fsm.Changes, size)
			var late []time.Duration
			for time.Since(began) < d {
				for i := range cs {
					p := rnd.IntN(lab.peers)
					k := labKey(p)
					cs[i] = fsm.Change{Address: labPeer(p), Member: 1, Epoch: 1, V4: netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, byte(p), byte(rnd.Uint32()), 1}), 9993)}
					copy(cs[i].Key[:2], k[:2])
				}
				at := time.Now()
				if _, err := lab.leader.Apply(t.Context(), encode(cs)); err != nil {
					t.Errorf("%v: is the machine too busy?", err)
					return
				}
				late = append(late, time.Since(at))
			}
			mu.Lock()
			defer mu.Unlock()
			b.late = append(b.late, late...)
		})
	}
	wg.Wait()
	b.took, b.entries = time.Since(began), len(b.late)
	return b
}

// same waits until all members have the leader's state.
func (lab *logLab) same(t *testing.T) {
	t.Helper()
	want := lab.leader.fsm.View().State()
	if want.Counters.Unknown+want.Counters.Stale+want.Counters.Refused+want.Counters.Collisions > 0 {
		t.Errorf("changes that did nothing: %+v", want.Counters)
	}
	for _, n := range lab.nodes {
		until(t, "equal states", func() bool { return n.fsm.Hash() == lab.leader.fsm.Hash() })
	}
}
