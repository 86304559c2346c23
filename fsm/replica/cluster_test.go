package replica_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/rootd/rootd/fsm"
	"github.com/rootd/rootd/fsm/replica"
	"github.com/rootd/rootd/fsm/table"
)

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
		s.grow(3)
		s.priority(3, 9)
		s.priority(2, 5)
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

// Who shall stand by gives up its vote, and the leadership first, and gets neither back by itself; who shall vote does, before
// those for which it is left to the cluster.
func TestWhoShallVote(t *testing.T) {
	inSim(t, func(t *testing.T, s *sim) {
		s.grow(5)
		s.vote(5, fsm.VoteStandby)
		s.do(&fsm.Set{Key: "voters", Value: "3"})
		s.until("three vote", time.Minute, func() bool { return len(s.voters()) == 3 })
		if got := s.voters(); slices.Contains(got, "5") {
			t.Fatalf("voters %v", got)
		}
		leader := s.leader().id
		s.vote(leader, fsm.VoteStandby)
		s.until("the leader stands by", time.Minute, func() bool { return s.leader().id != leader && !slices.Contains(s.voters(), fmt.Sprint(leader)) })
		s.vote(5, fsm.VoteAlways)
		s.until("who shall vote does", time.Minute, func() bool { return slices.Contains(s.voters(), "5") && len(s.voters()) == 3 })
		want := s.voters()
		time.Sleep(30 * time.Minute)
		if got := s.voters(); !slices.Equal(got, want) || slices.Contains(got, fmt.Sprint(leader)) {
			t.Errorf("voters %v, were %v", got, want)
		}
		for id := table.MemberID(1); id <= 5; id++ { // nobody is left who may vote: those that do go on
			s.vote(id, fsm.VoteStandby)
		}
		time.Sleep(10 * time.Minute)
		if got := s.voters(); len(got) == 0 {
			t.Error("nobody votes")
		}
		s.do(&fsm.Health{})
		for id := table.MemberID(1); id <= 5; id++ {
			s.vote(id, fsm.VoteAuto)
		}
		s.until("three vote again", 2*time.Minute, func() bool { return len(s.voters()) == 3 })
	})
}

// A leader that drains hands over at once, to whom leads best.
func TestDrainingLeaderHandsOver(t *testing.T) {
	inSim(t, func(t *testing.T, s *sim) {
		s.grow(3)
		leader := s.leader().id
		best := leader%3 + 1
		s.priority(best, 1)
		time.Sleep(20 * time.Second)
		s.do(&fsm.MemberSet{ID: leader, SetDrain: true, Drain: fsm.DrainOperator})
		s.until("the best one leads", 30*time.Second, func() bool { return s.leader().id == best })
		term := s.leader().Stats().Term
		time.Sleep(30 * time.Minute)
		if l := s.leader(); l.id != best || l.Stats().Term != term {
			t.Errorf("leader %d in term %d, was %d in %d", l.id, l.Stats().Term, best, term)
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
				term := s.leader().Stats().Term
				s.do(&fsm.Health{Reports: []fsm.HealthReport{{Member: 1, Epoch: m.Epoch, Probes: []fsm.Probe{{Member: 2, RTT: 230_000}}}}})
				time.Sleep(2 * time.Minute)
				for _, m := range s.members {
					if got := m.Stats(); got.Timing != replica.TimingFor(230*time.Millisecond) || got.Restarts == 0 {
						t.Errorf("member %d: %+v, started anew %d times", m.id, got.Timing, got.Restarts)
					}
				}
				if got := s.leader().Stats().Term; got > term+1 { // the old leader comes last
					t.Errorf("term %d, was %d: more than one handed over", got, term)
				}
				s.do(&fsm.Health{})
			})
		})
	}
}

// When fewer may vote than do, the preferred ones keep their votes, and so does the leader.
func TestFewerVoters(t *testing.T) {
	inSim(t, func(t *testing.T, s *sim) {
		s.grow(5)
		s.priority(5, 9)
		s.priority(4, 5)
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
