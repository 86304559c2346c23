package replica_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/raft"

	"github.com/rootd/rootd/fsm"
	"github.com/rootd/rootd/fsm/replica"
	"github.com/rootd/rootd/fsm/table"
)

// sim is a cluster of members in one process and, in a bubble, in virtual time. Members join as the design has it: an
// entry of the log, after which Raft follows.
type sim struct {
	t    testing.TB
	rtt  func(a, b table.MemberID) time.Duration // between members; nil: none
	loss float64                                 // share of messages that TCP has to send again

	mu      sync.Mutex
	members map[table.MemberID]*simMember // those that run; guarded by mu
}

type simMember struct {
	*replica.Replica
	id         table.MemberID
	dir        string
	fsm        *fsm.FSM
	tr         *raft.InmemTransport
	membership *replica.Membership
	log        *syncBuffer
	cancel     func()
	done       chan error // of Replica.Run
	wg         sync.WaitGroup
}

var errUnreachable = errors.New("no answer")

// inSim runs f in a bubble with a cluster of one member, which has no cluster port yet.
func inSim(t *testing.T, f func(t *testing.T, s *sim)) {
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(25 * 365 * 24 * time.Hour) // a bubble begins in 2000, before the log's epoch
		s := &sim{t: t, members: map[table.MemberID]*simMember{}}
		defer s.stopAll()
		s.start(1, t.TempDir(), "1", true)
		s.do(bootstrap())
		s.do(&fsm.MemberUp{ID: 1, Name: "m1"})
		f(t, s)
	})
}

// addressOf is where a member is reached once there is a cluster.
func addressOf(id table.MemberID) string { return fmt.Sprintf("m%d:9995", id) }

// start starts a member at a Raft address.
func (s *sim) start(id table.MemberID, dir, addr string, first bool) *simMember {
	s.t.Helper()
	_, tr := raft.NewInmemTransportWithTimeout(raft.ServerAddress(addr), 500*time.Millisecond)
	m := &simMember{id: id, dir: dir, fsm: newFSM(s.t), tr: tr, log: new(syncBuffer), done: make(chan error, 1)}
	logger := slog.New(slog.NewTextHandler(m.log, &slog.HandlerOptions{Level: slog.LevelInfo}))
	r, err := replica.Open(replica.Options{Dir: dir, ID: fmt.Sprint(id), FSM: m.fsm, Transport: s.far(id, tr), Logger: logger, Bootstrap: first})
	if err != nil {
		s.t.Fatal(err)
	}
	m.Replica = r
	m.membership = replica.NewMembership(replica.MembershipOptions{
		Replica: r, View: m.fsm.View(), Logger: logger,
		Stats: func(_ context.Context, id, _ string) (replica.ServerStats, error) {
			if other := s.running(id); other != nil {
				return other.ServerStats(), nil
			}
			return replica.ServerStats{}, errUnreachable
		},
	})
	s.mu.Lock()
	for _, other := range s.members {
		other.tr.Connect(tr.LocalAddr(), tr)
		tr.Connect(other.tr.LocalAddr(), other.tr)
	}
	s.members[id] = m
	s.mu.Unlock()
	ctx, cancel := context.WithCancel(context.Background())
	m.cancel = cancel
	m.wg.Go(func() { m.done <- r.Run(ctx) })
	m.wg.Go(func() { _ = m.membership.Run(ctx) })
	return m
}

// stop ends a member and returns what its Run returned.
func (s *sim) stop(id table.MemberID) error {
	s.mu.Lock()
	m := s.members[id]
	delete(s.members, id)
	for _, other := range s.members {
		other.tr.Disconnect(m.tr.LocalAddr())
	}
	s.mu.Unlock()
	m.tr.DisconnectAll()
	m.cancel()
	m.wg.Wait()
	return <-m.done
}

func (s *sim) stopAll() {
	for id, m := range s.members {
		_ = s.stop(id)
		if s.t.Failed() {
			s.t.Logf("log of member %d:\n%s", id, m.log.String())
		}
	}
}

func (s *sim) priority(id table.MemberID, p uint8) {
	s.t.Helper()
	s.do(&fsm.MemberSet{ID: id, SetPriority: true, Priority: p})
}

func (s *sim) vote(id table.MemberID, v fsm.Vote) {
	s.t.Helper()
	s.do(&fsm.MemberSet{ID: id, SetVote: true, Vote: v})
}

func (s *sim) running(id string) *simMember {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, m := range s.members {
		if fmt.Sprint(m.id) == id {
			return m
		}
	}
	return nil
}

// leader waits for a member that leads and commits.
func (s *sim) leader() (leader *simMember) {
	s.t.Helper()
	s.until("a leader", time.Minute, func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		for _, m := range s.members {
			if m.IsLeader() {
				leader = m
				return true
			}
		}
		return false
	})
	return leader
}

// do proposes at the leader until the log has it.
func (s *sim) do(c fsm.Command) (resp fsm.Response) {
	s.t.Helper()
	s.until("committed", 2*time.Minute, func() bool {
		r, err := s.leader().Apply(context.Background(), encode(c))
		if r.Err != nil {
			s.t.Fatal(r.Err)
		}
		resp = r
		return err == nil
	})
	return resp
}

// join makes a machine a member: token, entry, start, up.
func (s *sim) join(id table.MemberID) *simMember {
	s.t.Helper()
	token := fsm.TokenID{byte(id)}
	s.do(&fsm.TokenCreate{ID: token, Expires: time.Now().Add(time.Hour).UnixMilli()})
	j := &fsm.MemberJoin{ID: id, Name: fmt.Sprintf("m%d", id), Address: addressOf(id), KeyHash: fsm.KeyHash{byte(id)}, Token: token}
	s.do(j)
	m := s.start(id, s.t.TempDir(), j.Address, false)
	s.up(id)
	return m
}

func (s *sim) up(id table.MemberID) {
	s.t.Helper()
	s.do(&fsm.MemberUp{ID: id, Name: fmt.Sprintf("m%d", id), Address: addressOf(id), KeyHash: fsm.KeyHash{byte(id)}})
}

// grow makes it a cluster of n members that all vote, as far as they may.
func (s *sim) grow(n table.MemberID) {
	s.t.Helper()
	s.port()
	for id := table.MemberID(2); id <= n; id++ {
		s.join(id)
	}
	s.until("all vote", 2*time.Minute, func() bool { return len(s.voters()) == min(int(n), 5) })
}

// port restarts member 1 with a cluster port.
func (s *sim) port() {
	s.t.Helper()
	dir := s.running("1").dir
	if err := s.stop(1); err != nil {
		s.t.Fatal(err)
	}
	s.start(1, dir, addressOf(1), false)
	s.up(1)
}

// voters returns the IDs of the voters, as the leader's log has them.
func (s *sim) voters() (ids []string) {
	for _, v := range s.leader().fsm.View().State().Voters.Servers {
		if v.Voter {
			ids = append(ids, v.ID)
		}
	}
	slices.Sort(ids)
	return ids
}

func (s *sim) until(what string, limit time.Duration, cond func() bool) {
	s.t.Helper()
	for end := time.Now().Add(limit); !cond(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			s.t.Fatalf("timed out: %s", what)
		}
	}
}

// link makes or breaks the connection between two members.
func (s *sim) link(a, b *simMember, up bool) {
	if up {
		a.tr.Connect(b.tr.LocalAddr(), b.tr)
		b.tr.Connect(a.tr.LocalAddr(), a.tr)
		return
	}
	a.tr.Disconnect(b.tr.LocalAddr())
	b.tr.Disconnect(a.tr.LocalAddr())
}
