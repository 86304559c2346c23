package rpc_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/rootd/rootd/transport/mux"
	"github.com/rootd/rootd/transport/pki"
	"github.com/rootd/rootd/transport/rpc"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// node is a member: mux, server, caller, all running.
type node struct {
	*rpc.Caller
	mux    *mux.Mux
	server *rpc.Server
	at     netip.Addr
	stop   func()
}

func (n *node) target() rpc.Target {
	p := n.mux.Self()
	return rpc.Target{ID: p.ID, Address: n.mux.Addr().String()}
}

// cluster makes nodes, on loopback or on a network in memory.
type cluster struct {
	t   testing.TB
	ca  *pki.Authority
	net *mux.Network // nil: loopback

	mu      sync.Mutex // guards removed
	removed pki.MemberID
}

func newCluster(t testing.TB, n *mux.Network) *cluster {
	t.Helper()
	ca, err := pki.NewAuthority(pki.ClusterID{1}, "test", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return &cluster{t: t, ca: ca, net: n}
}

func (c *cluster) admit(p pki.Peer) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if p.ID == c.removed {
		return errors.New("removed from the cluster")
	}
	return nil
}

type setup struct {
	server rpc.ServerOptions
	caller rpc.CallerOptions
	handle func(*rpc.Server)
}

// start runs a node until the test ends or stop is called.
func (c *cluster) start(id pki.MemberID, o setup) *node {
	t := c.t
	t.Helper()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	key, err := pki.NewKey()
	must(err)
	csr, err := pki.NewRequest(key)
	must(err)
	chain, err := c.ca.Sign(csr, pki.Member{Cluster: c.ca.Cluster(), ID: id, Name: fmt.Sprintf("m%d", id)}, time.Now(), 0)
	must(err)
	cred, err := pki.NewCredential(key, chain)
	must(err)
	bundle, err := pki.NewBundle(c.ca.Certificate())
	must(err)
	keys, err := pki.NewKeychain(pki.Keys{Credential: cred, Bundle: bundle})
	must(err)
	v, err := pki.NewVerifier(pki.VerifierOptions{Keychain: keys, Now: time.Now, Admit: c.admit})
	must(err)
	n := &node{at: netip.AddrFrom4([4]byte{10, 0, 0, byte(id)})}
	var ln net.Listener
	dial := mux.DialTCP
	if c.net != nil {
		ln, err = c.net.Host(n.at).Listen(9995)
		dial = c.net.Host(n.at).Dial
	} else {
		ln, err = mux.ListenTCP(t.Context(), "127.0.0.1:0")
	}
	must(err)
	log := slog.New(slog.DiscardHandler)
	n.mux, err = mux.New(mux.Options{Keychain: keys, Verifier: v, Listener: ln, Dial: dial, Logger: log})
	must(err)
	o.server.Logger, o.caller.Mux = log, n.mux
	n.server, n.Caller = rpc.NewServer(o.server), rpc.NewCaller(o.caller)
	if o.handle != nil {
		o.handle(n.server)
	}
	calls, err := n.mux.Listen(mux.RPC)
	must(err)
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	for _, run := range []func(context.Context) error{n.mux.Run, n.Caller.Run, func(ctx context.Context) error { return n.server.Run(ctx, calls) }} {
		wg.Go(func() {
			if err := run(ctx); err != nil {
				t.Errorf("member %d: %v", id, err)
			}
		})
	}
	n.stop = sync.OnceFunc(func() {
		cancel()
		wg.Wait()
	})
	t.Cleanup(n.stop)
	return n
}

// echo registers "echo/1".
func echo(s *rpc.Server) {
	s.Handle("echo/1", func(_ context.Context, _ pki.Peer, body []byte) ([]byte, error) { return body, nil })
}
