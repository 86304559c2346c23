package stream_test

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/raft"

	"github.com/rootd/rootd/transport/mux"
	"github.com/rootd/rootd/transport/pki"
	"github.com/rootd/rootd/transport/stream"
)

var _ raft.WithPreVote = (*raft.NetworkTransport)(nil) // else elections would go without

func others(nodes []*node, but *node) (rest []*node) {
	for _, n := range nodes {
		if n != but {
			rest = append(rest, n)
		}
	}
	return rest
}

// TestElection: three members on loopback elect a leader, replicate, lose the leader, elect another one.
func TestElection(t *testing.T) {
	c := newCluster(t, nil, 3)
	c.elect(300 * time.Millisecond)
	lead := c.leader(10*time.Second, c.nodes...)
	for range 20 {
		if err := lead.raft.Apply([]byte("x"), time.Second).Error(); err != nil {
			t.Fatal(err)
		}
	}
	for _, n := range c.nodes {
		c.eventually(5*time.Second, func() error {
			if k := n.fsm.count(); k != 20 {
				return fmt.Errorf("member %d has %d entries", n.id, k)
			}
			return nil
		})
	}
	if at, _ := lead.raft.LeaderWithID(); string(at) != lead.mux.Addr().String() {
		t.Errorf("leader's address is %q", at)
	}
	lead.stop()
	rest := others(c.nodes, lead)
	next := c.leader(10*time.Second, rest...)
	if err := next.raft.Apply([]byte("y"), time.Second).Error(); err != nil {
		t.Fatal(err)
	}
}

// TestRotation: Raft goes on while the CA is replaced under it, and never changes its term.
func TestRotation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, mux.NewNetwork(), 3)
		rotate(t, c)
		for _, n := range c.nodes {
			n.stop()
		}
	})
}

func rotate(t *testing.T, c *cluster) {
	t.Helper()
	c.elect(time.Second)
	lead := c.leader(10*time.Second, c.nodes...)
	term := lead.raft.CurrentTerm()
	apply := func(step string) {
		t.Helper()
		if err := lead.raft.Apply([]byte(step), 2*time.Second).Error(); err != nil {
			t.Fatalf("%s: %v", step, err)
		}
	}
	ca, err := pki.NewAuthority(c.ca.Cluster(), "next", time.Now())
	c.must(err)
	swap := func(step string, change func(pki.Keys, *node) pki.Keys) {
		t.Helper()
		for _, n := range c.nodes {
			c.must(n.keys.Swap(change(n.keys.Load(), n)))
			n.mux.Recheck()
			apply(step)
		}
	}
	apply("before")
	swap("trust", func(k pki.Keys, _ *node) pki.Keys {
		k.Bundle, err = k.Bundle.With(ca.Certificate())
		c.must(err)
		return k
	})
	swap("renew", func(k pki.Keys, n *node) pki.Keys {
		k.Credential = c.credential(ca, n.id)
		return k
	})
	swap("forget", func(k pki.Keys, _ *node) pki.Keys {
		k.Bundle, err = k.Bundle.Without(c.ca.Fingerprint())
		c.must(err)
		return k
	})
	if lead.raft.State() != raft.Leader || lead.raft.CurrentTerm() != term {
		t.Errorf("term %d became %d", term, lead.raft.CurrentTerm())
	}
	for _, n := range c.nodes {
		c.eventually(10*time.Second, func() error {
			if k := n.fsm.count(); k != 10 {
				return fmt.Errorf("member %d has %d entries", n.id, k)
			}
			return nil
		})
	}
	cut := uint64(0)
	for _, n := range c.nodes {
		cut += n.mux.Metrics().Cut
	}
	if cut == 0 {
		t.Error("no connection of the old CA was closed")
	}
}

// TestVirtualTime: a cluster over the Atlantic and the Pacific, for twenty virtual minutes at 1 % loss without an election; then a partition.
func TestVirtualTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net := mux.NewNetwork()
		oneWay := func(a, b netip.Addr) time.Duration {
			return map[byte]time.Duration{3: 38 * time.Millisecond, 4: 72 * time.Millisecond, 5: 35 * time.Millisecond}[a.As4()[3]+b.As4()[3]]
		}
		net.SetDelay(mux.Lossy(1, 0.01, oneWay))
		c := newCluster(t, net, 3)
		c.elect(4 * time.Second)
		lead := c.leader(time.Minute, c.nodes...)
		term := lead.raft.CurrentTerm()
		for range 20 {
			if err := lead.raft.Apply([]byte("x"), time.Second).Error(); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Minute)
		}
		if now := lead.raft.CurrentTerm(); now != term {
			t.Errorf("elections without a reason: term %d became %d", term, now)
		}
		rest := others(c.nodes, lead)
		for _, n := range rest {
			net.Cut(lead.at, n.at)
			net.Cut(n.at, lead.at)
		}
		begin := time.Now()
		next := c.leader(time.Minute, rest...)
		t.Logf("next leader after %v", time.Since(begin))
		if err := next.raft.Apply([]byte("y"), time.Second).Error(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Minute)
		term = next.raft.CurrentTerm()
		for _, n := range rest {
			net.Heal(lead.at, n.at)
			net.Heal(n.at, lead.at)
		}
		c.leader(time.Minute, c.nodes...)
		c.eventually(time.Minute, func() error {
			if k := lead.fsm.count(); k != 21 {
				return fmt.Errorf("the old leader has %d entries", k)
			}
			return nil
		})
		if now := next.raft.CurrentTerm(); now != term {
			t.Errorf("the old leader's return cost an election: term %d became %d", term, now)
		}
		for _, n := range c.nodes {
			n.stop()
		}
	})
}

// TestDial: Raft reaches the member it means, or none.
func TestDial(t *testing.T) {
	c := newCluster(t, nil, 2)
	one, two := c.nodes[0], c.nodes[1]
	var resp raft.RequestPreVoteResponse
	ask := func(id raft.ServerID, at raft.ServerAddress) error {
		return one.transport.RequestPreVote(id, at, &raft.RequestPreVoteRequest{}, &resp)
	}
	go func() {
		for rpc := range two.transport.Consumer() {
			rpc.Respond(&raft.RequestPreVoteResponse{Granted: true}, nil)
			return
		}
	}()
	if err := ask("2", "192.0.2.1:1"); err != nil || !resp.Granted { // the directory knows better than the configuration
		t.Errorf("member 2: %v", err)
	}
	c.mu.Lock()
	c.where[3] = two.mux.Addr().String() // another member has the address of one that is gone
	c.removed = 0
	c.mu.Unlock()
	if err := ask("3", "192.0.2.1:1"); !errors.Is(err, mux.ErrWrongMember) {
		t.Errorf("member 3: %v", err)
	}
	if err := ask("4", stream.Address(4, two.mux.Addr().String())); !errors.Is(err, mux.ErrWrongMember) {
		t.Errorf("member 4: %v", err)
	}
	c.mu.Lock()
	c.removed = 1
	c.mu.Unlock()
	two.mux.CloseMember(1)
	one.transport.CloseStreams()
	if err := ask("2", ""); !errors.Is(err, pki.ErrNotAdmitted) {
		t.Errorf("removed: %v", err)
	}
}

func TestAddress(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		in string
		id pki.MemberID
		at string
	}{
		{"3@10.0.0.1:9995", 3, "10.0.0.1:9995"},
		{"10.0.0.1:9995", 0, "10.0.0.1:9995"},
		{"65535@[2001:db8::1]:1", 65535, "[2001:db8::1]:1"},
	} {
		id, at, err := stream.ParseAddress(raft.ServerAddress(tc.in))
		if err != nil || id != tc.id || at != tc.at {
			t.Errorf("%s: got %d, %q, %v", tc.in, id, at, err)
		}
	}
	for _, bad := range []string{"", "3@", "0@a:1", "70000@a:1", "03@a:1", "x@a:1", "@a:1", "3@a", "3@@a:1", "3@4@a:1", ":1", "a:"} {
		if id, at, err := stream.ParseAddress(raft.ServerAddress(bad)); err == nil {
			t.Errorf("%q is %d at %q", bad, id, at)
		}
	}
}

func FuzzAddress(f *testing.F) {
	for _, s := range []string{"3@10.0.0.1:9995", "10.0.0.1:9995", "1@[::1]:1", "3@4@a:1", "65536@a:1", "1@0:@"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		id, at, err := stream.ParseAddress(raft.ServerAddress(s))
		if err != nil {
			return
		}
		back := at
		if id != 0 {
			back = string(stream.Address(id, at))
		}
		if back != s || strings.Contains(at, "@") {
			t.Errorf("%q is %d at %q", s, id, at)
		}
	})
}
