package agent_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"github.com/rootd/rootd/fsm"
	"github.com/rootd/rootd/packetpath/vl1"
	"github.com/rootd/rootd/snapshot"
	"github.com/rootd/rootd/snapshot/agent"
)

const cluster = "07000000000000000000000000000000"

// source is a state machine to make backups of.
type source struct {
	*fsm.FSM
	t      testing.TB
	index  uint64
	mu     sync.Mutex // guards the following fields
	leads  bool
	noted  []snapshot.Meta
	failed error
}

func newSource(t testing.TB, peers int) *source {
	t.Helper()
	f, err := fsm.New(fsm.Options{})
	if err != nil {
		t.Fatal(err)
	}
	s := &source{FSM: f, t: t, leads: true}
	s.do(&fsm.Bootstrap{ID: [16]byte{7}, Name: "alice & bob", Root: vl1.Identity{Address: 5}, Created: 1})
	s.do(&fsm.MemberUp{ID: 1, Name: "m1"})
	s.addPeers(1, peers)
	return s
}

func (s *source) addPeers(first, n int) {
	for ; n > 0; first, n = first+1000, n-1000 {
		batch := make(fsm.Changes, min(n, 1000))
		for i := range batch {
			a := first + i
			batch[i] = fsm.Change{Address: vl1.Address(a), HasKey: true, Key: vl1.PublicKey{byte(a), byte(a >> 8), byte(a >> 16)}}
		}
		s.do(batch)
	}
}

func (s *source) do(c fsm.Command) {
	s.t.Helper()
	b, err := fsm.Encode(c)
	if err != nil {
		s.t.Fatal(err)
	}
	fsm.Stamp(b, 1_700_000_000_000)
	s.index++
	if r := s.Apply(&raft.Log{Index: s.index, Type: raft.LogCommand, Data: b}).(fsm.Response); r.Err != nil {
		s.t.Fatal(r.Err)
	}
}

func (s *source) state(context.Context) (*agent.State, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.failed != nil {
		return nil, s.failed
	}
	f, err := s.Freeze()
	if err != nil {
		return nil, err
	}
	return &agent.State{Meta: snapshot.Describe(f), Write: f.Write, Release: f.Release}, nil
}

// options are those of an agent that backs s up.
func (s *source) options(store agent.Store) agent.Options {
	return agent.Options{
		Store: store, Cluster: cluster, Every: time.Hour, Keep: agent.Keep{Last: 3},
		Leads: s.isLeader, State: s.state, Now: time.Now, Logger: slog.New(slog.DiscardHandler),
		Note: s.note,
	}
}

func (s *source) isLeader() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.leads
}

func (s *source) lead(leads bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.leads = leads
}

func (s *source) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.failed = err
}

func (s *source) note(_ context.Context, m *snapshot.Meta) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.noted = append(s.noted, *m)
	return nil
}

// backups is how many were noted.
func (s *source) backups() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.noted)
}

// memStore is a store in memory.
type memStore struct {
	mu     sync.Mutex // guards all
	files  map[string][]byte
	put    error // what the next puts fail with
	damage bool  // what is put is changed
	slow   time.Duration
}

func (m *memStore) Put(ctx context.Context, name string, write func(io.Writer) error) error {
	var b bytes.Buffer
	if err := write(&b); err != nil {
		return err
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(m.slow):
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.put != nil {
		return m.put
	}
	if m.damage {
		b.Bytes()[b.Len()/2] ^= 4
	}
	m.files[name] = b.Bytes()
	return nil
}

func (m *memStore) Open(_ context.Context, name string) (io.ReadCloser, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	b, ok := m.files[name]
	if !ok {
		return nil, errors.New("no such file")
	}
	return io.NopCloser(bytes.NewReader(b)), nil
}

func (m *memStore) List(context.Context) (files []agent.File, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for name, b := range m.files {
		files = append(files, agent.File{Name: name, Size: int64(len(b))})
	}
	return files, nil
}

func (m *memStore) Remove(_ context.Context, name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.files, name)
	return nil
}

func (m *memStore) fail(put error, damage bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.put, m.damage = put, damage
}

func (*memStore) String() string { return "memory" }

// restored is the state that an archive in a store gives.
func restored(t testing.TB, store agent.Store, name string) *fsm.FSM {
	t.Helper()
	r, err := store.Open(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	a, err := snapshot.Open(r)
	if err != nil {
		t.Fatal(err)
	}
	f, err := fsm.New(fsm.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Restore(io.NopCloser(a.State())); err != nil {
		t.Fatal(err)
	}
	return f
}
