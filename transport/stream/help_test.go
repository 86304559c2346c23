package stream_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/raft"
	"go.uber.org/goleak"

	"github.com/rootd/rootd/transport/mux"
	"github.com/rootd/rootd/transport/pki"
	"github.com/rootd/rootd/transport/stream"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreTopFunction("github.com/armon/go-metrics.(*Metrics).collectStats"))
}

// cluster is members whose Raft has a state machine that counts.
type cluster struct {
	t     testing.TB
	ca    *pki.Authority
	net   *mux.Network // nil: loopback
	nodes []*node

	mu      sync.Mutex // guards what follows
	where   map[pki.MemberID]string
	removed pki.MemberID
}

type node struct {
	id        pki.MemberID
	at        netip.Addr
	mux       *mux.Mux
	keys      *pki.Keychain
	transport *raft.NetworkTransport
	raft      *raft.Raft
	fsm       *counter
	stop      func()
}

// counter is a state machine: it counts entries.
type counter struct {
	mu sync.Mutex
	n  int
}

func (c *counter) Apply(*raft.Log) any { c.mu.Lock(); defer c.mu.Unlock(); c.n++; return c.n }
func (c *counter) Snapshot() (raft.FSMSnapshot, error) {
	return nil, errors.New("no snapshots here")
}
func (c *counter) Restore(r io.ReadCloser) error { return r.Close() }
func (c *counter) count() int                    { c.mu.Lock(); defer c.mu.Unlock(); return c.n }

func (c *cluster) lookup(id pki.MemberID) (string, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	at, ok := c.where[id]
	return at, ok
}

func (c *cluster) admit(p pki.Peer) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if p.ID == c.removed {
		return errors.New("removed from the cluster")
	}
	return nil
}

func (c *cluster) must(err error) {
	c.t.Helper()
	if err != nil {
		c.t.Fatal(err)
	}
}

func (c *cluster) credential(ca *pki.Authority, id pki.MemberID) *pki.Credential {
	c.t.Helper()
	key, err := pki.NewKey()
	c.must(err)
	csr, err := pki.NewRequest(key)
	c.must(err)
	chain, err := ca.Sign(csr, pki.Member{Cluster: ca.Cluster(), ID: id, Name: fmt.Sprintf("m%d", id)}, time.Now(), 0)
	c.must(err)
	cred, err := pki.NewCredential(key, chain)
	c.must(err)
	return cred
}

// newCluster starts muxes and transports, without Raft.
func newCluster(t testing.TB, n *mux.Network, size int) *cluster {
	t.Helper()
	c := &cluster{t: t, net: n, where: map[pki.MemberID]string{}}
	ca, err := pki.NewAuthority(pki.ClusterID{1}, "test", time.Now())
	c.must(err)
	c.ca = ca
	for i := range size {
		c.nodes = append(c.nodes, c.start(pki.MemberID(i+1)))
	}
	return c
}

func (c *cluster) start(id pki.MemberID) *node {
	t := c.t
	t.Helper()
	bundle, err := pki.NewBundle(c.ca.Certificate())
	c.must(err)
	n := &node{id: id, at: netip.AddrFrom4([4]byte{10, 0, 0, byte(id)}), fsm: new(counter)}
	n.keys, err = pki.NewKeychain(pki.Keys{Credential: c.credential(c.ca, id), Bundle: bundle})
	c.must(err)
	v, err := pki.NewVerifier(pki.VerifierOptions{Keychain: n.keys, Now: time.Now, Admit: c.admit})
	c.must(err)
	var ln net.Listener
	dial := mux.DialTCP
	if c.net != nil {
		ln, err = c.net.Host(n.at).Listen(9995)
		dial = c.net.Host(n.at).Dial
	} else {
		ln, err = mux.ListenTCP(t.Context(), "127.0.0.1:0")
	}
	c.must(err)
	n.mux, err = mux.New(mux.Options{Keychain: n.keys, Verifier: v, Listener: ln, Dial: dial, Logger: slog.New(slog.DiscardHandler)})
	c.must(err)
	c.mu.Lock()
	c.where[id] = ln.Addr().String()
	c.mu.Unlock()
	ctx, cancel := context.WithCancel(context.Background())
	n.transport, err = stream.New(ctx, stream.Options{Mux: n.mux, Advertise: ln.Addr().String(), Lookup: c.lookup})
	c.must(err)
	done := make(chan error, 1)
	go func() { done <- n.mux.Run(ctx) }()
	n.stop = sync.OnceFunc(func() {
		if n.raft != nil {
			if err := n.raft.Shutdown().Error(); err != nil {
				t.Error(err)
			}
		}
		if err := n.transport.Close(); err != nil {
			t.Error(err)
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(n.stop)
	return n
}

// elect starts Raft on all nodes.
func (c *cluster) elect(timeout time.Duration) {
	c.t.Helper()
	var servers []raft.Server
	for _, n := range c.nodes {
		servers = append(servers, raft.Server{ID: stream.ServerID(n.id), Address: n.transport.LocalAddr()})
	}
	for _, n := range c.nodes {
		conf := raft.DefaultConfig()
		conf.LocalID = stream.ServerID(n.id)
		conf.HeartbeatTimeout, conf.ElectionTimeout, conf.LeaderLeaseTimeout = timeout, timeout, timeout/2
		conf.LogOutput, conf.LogLevel = io.Discard, "ERROR"
		store, snaps := raft.NewInmemStore(), raft.NewInmemSnapshotStore()
		c.must(raft.BootstrapCluster(conf, store, store, snaps, n.transport, raft.Configuration{Servers: servers}))
		r, err := raft.NewRaft(conf, n.fsm, store, store, snaps, n.transport)
		c.must(err)
		n.raft = r
	}
}

// leader waits for the leader of the nodes, which all must know.
func (c *cluster) leader(within time.Duration, nodes ...*node) *node {
	c.t.Helper()
	var found *node
	c.eventually(within, func() error {
		found = nil
		for _, n := range nodes {
			if n.raft.State() == raft.Leader {
				found = n
			}
		}
		if found == nil {
			return errors.New("no leader")
		}
		for _, n := range nodes {
			if _, id := n.raft.LeaderWithID(); id != stream.ServerID(found.id) {
				return fmt.Errorf("member %d follows %q, not %d", n.id, id, found.id)
			}
		}
		return nil
	})
	return found
}

// eventually polls until f returns nil.
func (c *cluster) eventually(within time.Duration, f func() error) {
	c.t.Helper()
	var err error
	for end := time.Now().Add(within); time.Now().Before(end); {
		if err = f(); err == nil {
			return
		}
		<-time.After(5 * time.Millisecond)
	}
	c.t.Fatal(err)
}
