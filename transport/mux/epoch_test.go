package mux_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rootd/rootd/transport/mux"
	"github.com/rootd/rootd/transport/pki"
)

// ofEpoch makes a credential of an epoch.
func (c *cluster) ofEpoch(id pki.MemberID, e pki.Epoch, at time.Time) *pki.Credential {
	c.t.Helper()
	k, err := pki.NewKey()
	if err != nil {
		c.t.Fatal(err)
	}
	csr, err := pki.NewRequest(k)
	if err != nil {
		c.t.Fatal(err)
	}
	chain, err := c.ca.Sign(csr, pki.Member{Cluster: c.ca.Cluster(), Epoch: e, ID: id, Name: fmt.Sprintf("m%d", id)}, at, 0)
	if err != nil {
		c.t.Fatal(err)
	}
	cred, err := pki.NewCredential(k, chain)
	if err != nil {
		c.t.Fatal(err)
	}
	return cred
}

// met notes who made a member learn that its epoch is over.
type met struct {
	mu  sync.Mutex // guards ids
	ids []pki.MemberID
}

// watch is for a member that then calls end.
func (m *met) watch(t *testing.T, end func()) options {
	return func(o *mux.Options) {
		v, err := pki.NewVerifier(pki.VerifierOptions{Keychain: o.Keychain, Now: time.Now, Admit: func(pki.Peer) error { return nil }})
		if err != nil {
			t.Fatal(err)
		}
		o.Verifier = v
		o.Superseded = func(p pki.Peer) {
			m.mu.Lock()
			defer m.mu.Unlock()
			m.ids = append(m.ids, p.ID)
			end()
		}
	}
}

func (m *met) list() []pki.MemberID {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Compact(slices.Clone(m.ids))
}

// wait returns once that member was the one to tell.
func (m *met) wait(t *testing.T, from pki.MemberID) {
	t.Helper()
	eventually(t, func() error {
		if ids := m.list(); !slices.Equal(ids, []pki.MemberID{from}) {
			return fmt.Errorf("learned from %v, want member %d", ids, from)
		}
		return nil
	})
}

// Members of two epochs do not speak to each other on any protocol, and the older learns why, whoever dials.
func TestEpochs(t *testing.T) {
	c := newCluster(t, alice)
	first, second := pki.Epoch{}, pki.Epoch{Number: 1, ID: [8]byte{7}}
	fork := pki.Epoch{Number: 1, ID: [8]byte{8}} // from the same archive, later
	c.remove(1)                                  // the restored cluster has it among the former members
	now := time.Now()
	for _, proto := range []mux.Proto{mux.Raft, mux.RPC} {
		for _, tc := range []struct {
			name     string
			from, to pki.Epoch
			err      error
			text     string
			learns   bool
		}{
			{"new to old", second, first, pki.ErrSuperseded, "member 1 (m1) is of epoch 0 of the cluster, which is over", false},
			{"old to new", first, second, pki.ErrSuperseded, "this member is of epoch 0 of the cluster, which is over: member 1 (m1) is of epoch 1.0700000000000000", true},
			{"fork", second, fork, pki.ErrSuperseded, "this member is of epoch 1.0700000000000000", true},
		} {
			t.Run(string(proto)+" "+tc.name, func(t *testing.T) {
				var learned met
				server := c.start(c.ofEpoch(1, tc.to, now), nil, learned.watch(t, func() {}))
				echo(t, server, proto)
				client := c.start(c.ofEpoch(2, tc.from, now), nil, learned.watch(t, func() {}))
				conn, err := client.Dial(t.Context(), proto, server.Addr().String(), 1)
				if err == nil {
					conn.Close()
				}
				if !errors.Is(err, tc.err) || !strings.Contains(err.Error(), tc.text) {
					t.Fatalf("got %v, want %v with %q", err, tc.err, tc.text)
				}
				if tc.learns {
					learned.wait(t, 1)
				} else if ids := learned.list(); len(ids) > 0 {
					t.Errorf("the older one learned from %v", ids)
				}
			})
		}
	}
	t.Run("herald", func(t *testing.T) {
		var learned met
		old := c.start(c.ofEpoch(1, first, now.Add(-40*24*time.Hour)), nil, learned.watch(t, func() {})) // its certificate has expired, too
		echo(t, old, mux.RPC)
		herald := c.start(c.ofEpoch(4, second, now), nil)
		if err := herald.Herald(t.Context(), old.Addr().String()); err != nil {
			t.Fatal(err)
		}
		learned.wait(t, 4)
		same := c.start(c.ofEpoch(5, second, now), nil)
		if err := herald.Herald(t.Context(), same.Addr().String()); err == nil {
			t.Error("heralded to a member of the same epoch")
		}
	})
	t.Run("herald to one that ends at once", func(t *testing.T) {
		var learned met
		var ending atomic.Pointer[member]
		old := c.start(c.ofEpoch(1, first, now), nil, learned.watch(t, func() { ending.Load().CloseMember(4) }))
		ending.Store(old)
		echo(t, old, mux.RPC)
		herald := c.start(c.ofEpoch(4, second, now), nil)
		if err := herald.Herald(t.Context(), old.Addr().String()); err != nil {
			t.Fatal(err)
		}
		learned.wait(t, 4)
	})
}
