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
	t      testing.TB
	prefer []string
	rtt    func(a, b table.MemberID) time.Duration // between members; nil: none
	loss   float64                                 // share of messages that TCP has to send again

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
		Replica: r, View: m.fsm.View(), Logger: logger, Prefer: s.prefer,
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

func TestGrowFromOneToSix(t *testing.T) {
	inSim(t, func(t *testing.T, s *sim) {
		if got := s.leader().Stats().Timing.Heartbeat; got != 150*time.Millisecond {
			t.Errorf("heartbeat of a member alone: %s", got)
		}
		s.grow(6)
		if got := s.voters(); !slices.Equal(got, []string{"1", "2", "3", "4", "5"}) {
			t.Errorf("voters %v", got)
		}
		for _, v := range s.leader().fsm.View().State().Voters.Servers {
			if v.Address != "m"+v.ID+":9995" {
				t.Errorf("server %+v", v)
			}
		}
		if got := s.leader().Stats().Timing.Heartbeat; got != 2*time.Second {
			t.Errorf("heartbeat of a cluster with unknown round trips: %s", got)
		}
		// A voter that is lost for long is replaced by the standby, and is itself the standby when it comes back.
		dir := s.running("3").dir
		if err := s.stop(3); err != nil {
			t.Error(err)
		}
		time.Sleep(90 * time.Second)
		if got := s.voters(); !slices.Contains(got, "3") {
			t.Errorf("voters %v: it was lost for too short a time", got)
		}
		s.until("the standby took over", 2*time.Minute, func() bool { return slices.Equal(s.voters(), []string{"1", "2", "4", "5", "6"}) })
		s.start(3, dir, addressOf(3), false)
		s.up(3)
		time.Sleep(5 * time.Minute)
		if got := s.voters(); !slices.Equal(got, []string{"1", "2", "4", "5", "6"}) {
			t.Errorf("voters %v after it came back", got)
		}
		if s.running("3").fsm.View().State().Voters.Index == 0 {
			t.Error("the standby has no log")
		}
		hash := s.leader().fsm.Hash()
		for _, m := range s.members {
			if m.fsm.Hash() != hash {
				t.Errorf("member %d has another state", m.id)
			}
		}
	})
}

func TestServerIsPromotedOnlyWhenItHasBeenStable(t *testing.T) {
	inSim(t, func(t *testing.T, s *sim) {
		s.port()
		s.join(2)
		began := time.Now()
		s.until("it votes", time.Minute, func() bool { return len(s.voters()) == 2 })
		if took := time.Since(began); took < 10*time.Second || took > 25*time.Second {
			t.Errorf("promoted after %s", took)
		}
	})
}

func TestRemovedMemberIsNoServer(t *testing.T) {
	inSim(t, func(t *testing.T, s *sim) {
		s.grow(4)
		first := s.leader().id
		for _, id := range []table.MemberID{first, first%4 + 1} { // the leader hands over first
			s.do(&fsm.MemberRemove{ID: id, Force: true})
			s.until("it is no server", time.Minute, func() bool { return !slices.Contains(s.voters(), fmt.Sprint(id)) && s.leader().id != id })
			gone := s.running(fmt.Sprint(id))
			began := time.Now()
			err := <-gone.done
			if took := time.Since(began); !errors.Is(err, replica.ErrRemoved) || took < 20*time.Second || took > 40*time.Second {
				t.Errorf("Run of the removed member: %v, after %s", err, took)
			}
			gone.done <- err // for stop
		}
		if len(s.voters()) != 2 {
			t.Errorf("voters %v", s.voters())
		}
		// Those that were removed unsettle nothing: no other leader, no other term.
		term := s.leader().Stats().Term
		time.Sleep(time.Minute)
		if got := s.leader().Stats().Term; got != term {
			t.Errorf("term %d, was %d before the removed members were idle", got, term)
		}
	})
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

// One that is removed while nobody can reach it does not know, and unsettles nobody when it is back.
func TestRemovedBehindAPartition(t *testing.T) {
	inSim(t, func(t *testing.T, s *sim) {
		s.grow(4)
		leader := s.leader()
		x := s.running(fmt.Sprint(leader.id%4 + 1))
		for _, m := range s.members {
			if m != x {
				s.link(x, m, false)
			}
		}
		time.Sleep(time.Minute)
		s.do(&fsm.MemberRemove{ID: x.id, Force: true})
		s.until("it is no server", time.Minute, func() bool { return len(s.voters()) == 3 })
		term := s.leader().Stats().Term
		for _, m := range s.members {
			if m != x {
				s.link(x, m, true)
			}
		}
		time.Sleep(10 * time.Minute)
		if l := s.leader(); l != leader || l.Stats().Term != term {
			t.Errorf("member %d leads in term %d; it was %d in %d", l.id, l.Stats().Term, leader.id, term)
		}
	})
}

// A voter reaches all but the leader: it asks for an election again and again, and nobody grants one.
func TestPartialPartition(t *testing.T) {
	inSim(t, func(t *testing.T, s *sim) {
		s.grow(3)
		leader := s.leader()
		term := leader.Stats().Term
		x := s.running(fmt.Sprint(leader.id%3 + 1))
		s.link(x, leader, false)
		for range 10 {
			time.Sleep(time.Minute)
			s.do(&fsm.Health{})
		}
		s.link(x, leader, true)
		resp := s.do(&fsm.Health{})
		if err := x.WaitApplied(t.Context(), resp.Index); err != nil {
			t.Error(err)
		}
		if l := s.leader(); l != leader || l.Stats().Term != term {
			t.Errorf("member %d leads in term %d; it was %d in %d", l.id, l.Stats().Term, leader.id, term)
		}
	})
}

func TestCheckRemove(t *testing.T) {
	inSim(t, func(t *testing.T, s *sim) {
		s.grow(3)
		time.Sleep(20 * time.Second)
		l := s.leader()
		if err := l.membership.CheckRemove(fmt.Sprint(l.id%3 + 1)); err != nil {
			t.Error(err)
		}
		lost, other := l.id%3+1, (l.id+1)%3+1
		_ = s.stop(lost)
		time.Sleep(20 * time.Second)
		if err := l.membership.CheckRemove(fmt.Sprint(other)); !errors.Is(err, replica.ErrQuorum) {
			t.Errorf("a healthy one of two that are left: %v", err)
		}
		if err := l.membership.CheckRemove(fmt.Sprint(lost)); err != nil {
			t.Errorf("the lost one: %v", err)
		}
	})
}

func TestTransferLeadership(t *testing.T) {
	inSim(t, func(t *testing.T, s *sim) {
		if _, err := s.leader().TransferLeadership(t.Context(), ""); !errors.Is(err, replica.ErrNoTransfer) {
			t.Errorf("alone: %v", err)
		}
		s.grow(4)
		old := s.leader()
		if _, err := s.running(fmt.Sprint(old.id%4+1)).TransferLeadership(t.Context(), ""); !errors.Is(err, replica.ErrNotLeader) {
			t.Errorf("at a follower: %v", err)
		}
		to := old.id%4 + 1
		got, err := old.TransferLeadership(t.Context(), fmt.Sprint(to))
		if err != nil || got != fmt.Sprint(to) {
			t.Errorf("leader %q, %v; want %d", got, err, to)
		}
		// One that cannot take it: the next in the list does.
		old = s.running(got)
		s.until("it leads", time.Minute, old.IsLeader)
		deaf, next := old.id%4+1, (old.id+1)%4+1
		_ = s.stop(deaf)
		began := time.Now()
		got, err = old.TransferLeadership(t.Context(), fmt.Sprint(deaf), fmt.Sprint(next))
		if err != nil || got != fmt.Sprint(next) {
			t.Errorf("leader %q, %v; want %d", got, err, next)
		}
		if took := time.Since(began); took > 10*time.Second {
			t.Errorf("it took %s", took)
		}
		if _, err := s.leader().TransferLeadership(t.Context(), "9"); !errors.Is(err, replica.ErrNoTransfer) {
			t.Errorf("to a stranger: %v", err)
		}
	})
}

func TestPreferredLeader(t *testing.T) {
	inSim(t, func(t *testing.T, s *sim) {
		s.prefer = []string{"3", "2"}
		s.grow(3)
		began := time.Now()
		s.until("the preferred one leads", 30*time.Minute, func() bool { return s.leader().id == 3 })
		if took := time.Since(began); took < 8*time.Minute {
			t.Errorf("after %s: it must have been quiet for 10 minutes", took)
		}
		term := s.leader().Stats().Term
		time.Sleep(time.Hour)
		if l := s.leader(); l.id != 3 || l.Stats().Term != term {
			t.Errorf("leader %d in term %d, was 3 in %d", l.id, l.Stats().Term, term)
		}
	})
}

// Members report longer round trips: all become more patient, one by one, and somebody leads in the end.
func TestTimingFollowsTheRoundTrips(t *testing.T) {
	for i := range 4 { // who is first is left to chance
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			inSim(t, func(t *testing.T, s *sim) {
				s.grow(3)
				m, _ := s.leader().fsm.View().State().Member(1)
				s.do(&fsm.Health{Reports: []fsm.HealthReport{{Member: 1, Epoch: m.Epoch, Probes: []fsm.Probe{{Member: 2, RTT: 230_000}}}}})
				time.Sleep(2 * time.Minute)
				for _, m := range s.members {
					if got := m.Stats(); got.Timing != replica.TimingFor(230*time.Millisecond) || got.Restarts == 0 {
						t.Errorf("member %d: %+v, started anew %d times", m.id, got.Timing, got.Restarts)
					}
				}
				s.do(&fsm.Health{})
			})
		})
	}
}

// When fewer may vote than do, the preferred ones keep their votes, and so does the leader.
func TestFewerVoters(t *testing.T) {
	inSim(t, func(t *testing.T, s *sim) {
		s.prefer = []string{"5", "4"}
		s.grow(5)
		s.do(&fsm.Set{Key: "voters", Value: "3"})
		s.until("three vote", time.Minute, func() bool { return len(s.voters()) == 3 })
		time.Sleep(time.Minute)
		got, leader := s.voters(), fmt.Sprint(s.leader().id)
		if len(got) != 3 || !slices.Contains(got, "5") || !slices.Contains(got, "4") || !slices.Contains(got, leader) {
			t.Errorf("voters %v, %s leads", got, leader)
		}
	})
}

func TestServersAreIdempotent(t *testing.T) {
	inSim(t, func(t *testing.T, s *sim) {
		s.grow(2)
		l := s.leader()
		other := fmt.Sprint(l.id%2 + 1)
		for _, c := range []struct {
			name string
			do   func() error
			want error
		}{
			{"add again", func() error { return l.AddNonvoter(t.Context(), other, addressOf(l.id%2+1)) }, nil},
			{"promote again", func() error { return l.Promote(t.Context(), other) }, nil},
			{"promote a stranger", func() error { return l.Promote(t.Context(), "9") }, replica.ErrNoServer},
			{"demote", func() error { return l.Demote(t.Context(), other) }, nil},
			{"demote again", func() error { return l.Demote(t.Context(), other) }, nil},
			{"demote the last", func() error { return l.Demote(t.Context(), fmt.Sprint(l.id)) }, replica.ErrLastVoter},
			{"promote", func() error { return l.Promote(t.Context(), other) }, nil},
			{"remove", func() error { return l.Remove(t.Context(), other) }, nil},
			{"remove again", func() error { return l.Remove(t.Context(), other) }, nil},
			{"remove the last", func() error { return l.Remove(t.Context(), fmt.Sprint(l.id)) }, replica.ErrLastVoter},
		} {
			if err := c.do(); !errors.Is(err, c.want) {
				t.Errorf("%s: %v, want %v", c.name, err, c.want)
			}
		}
	})
}
