package replica_test

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"github.com/rootd/rootd/fsm"
	"github.com/rootd/rootd/fsm/table"
)

// farTransport is a network with round trips, of which some take longer because a segment was lost: TCP sends it again after
// at least 200 ms.
type farTransport struct {
	*raft.InmemTransport
	sim  *sim
	self table.MemberID
	mu   sync.Mutex
	rnd  *rand.Rand // guarded by mu
}

func (s *sim) far(id table.MemberID, tr *raft.InmemTransport) raft.Transport {
	if s.rtt == nil {
		return tr
	}
	return &farTransport{InmemTransport: tr, sim: s, self: id, rnd: rand.New(rand.NewPCG(uint64(id), 1))}
}

func (f *farTransport) travel(to raft.ServerID) {
	var id table.MemberID
	_, _ = fmt.Sscan(string(to), &id)
	rtt := f.sim.rtt(f.self, id)
	f.mu.Lock()
	lost := f.rnd.Float64() < f.sim.loss
	f.mu.Unlock()
	if lost {
		rtt += max(200*time.Millisecond, 2*rtt)
	}
	time.Sleep(rtt)
}

func (f *farTransport) AppendEntries(id raft.ServerID, to raft.ServerAddress, args *raft.AppendEntriesRequest, resp *raft.AppendEntriesResponse) error {
	f.travel(id)
	return f.InmemTransport.AppendEntries(id, to, args, resp)
}

func (*farTransport) AppendEntriesPipeline(raft.ServerID, raft.ServerAddress) (raft.AppendPipeline, error) {
	return nil, raft.ErrPipelineReplicationNotSupported
}

func (f *farTransport) RequestVote(id raft.ServerID, to raft.ServerAddress, args *raft.RequestVoteRequest, resp *raft.RequestVoteResponse) error {
	f.travel(id)
	return f.InmemTransport.RequestVote(id, to, args, resp)
}

func (f *farTransport) RequestPreVote(id raft.ServerID, to raft.ServerAddress, args *raft.RequestPreVoteRequest, resp *raft.RequestPreVoteResponse) error {
	f.travel(id)
	return f.InmemTransport.RequestPreVote(id, to, args, resp)
}

// Five voters on five continents with 1 % loss: nobody calls an election without need, and when the leader dies
// another one commits within eight heartbeat timeouts. In 360 runs it took 9.3 s (median), 13.9 s (p99), 17.3 s at most: candidates wait at
// random, and one in a thousand runs needs more than five.
func TestAFarClusterDoesNotFlap(t *testing.T) {
	rtts := [5][5]int{ // ms: Amsterdam, New York, San Francisco, Singapore, Sao Paulo
		{0, 82, 145, 160, 200}, {82, 0, 68, 230, 115}, {145, 68, 0, 170, 180}, {160, 230, 170, 0, 330}, {200, 115, 180, 330, 0},
	}
	inSim(t, func(t *testing.T, s *sim) {
		s.rtt = func(a, b table.MemberID) time.Duration { return time.Duration(rtts[a-1][b-1]) * time.Millisecond }
		s.loss = 0.01
		s.grow(5)
		s.do(healthOf(s, rtts))
		time.Sleep(5 * time.Minute)
		leader := s.leader()
		term := leader.Stats().Term
		if got := leader.Stats().Timing.Heartbeat; got != 4*time.Second {
			t.Errorf("heartbeat %s", got)
		}
		for range farMinutes {
			time.Sleep(time.Minute)
			s.do(healthOf(s, rtts))
		}
		if l := s.leader(); l != leader || l.Stats().Term != term {
			t.Errorf("member %d leads in term %d; it was %d in %d", l.id, l.Stats().Term, leader.id, term)
		}
		began := time.Now()
		_ = s.stop(leader.id)
		s.do(&fsm.Health{})
		if took := time.Since(began); took > 32*time.Second {
			t.Errorf("it took %s until another leader committed", took)
		} else {
			t.Logf("another leader committed after %s", took)
		}
	})
}

// farMinutes is how long the far cluster is watched: more does not find more.
const farMinutes = 30

// healthOf is a health entry in which all members report their round trips.
func healthOf(s *sim, rtts [5][5]int) *fsm.Health {
	h := new(fsm.Health)
	for _, m := range s.leader().fsm.View().State().Members {
		r := fsm.HealthReport{Member: m.ID, Epoch: m.Epoch}
		for other := range table.MemberID(5) {
			if other+1 != m.ID {
				r.Probes = append(r.Probes, fsm.Probe{Member: other + 1, RTT: uint32(rtts[m.ID-1][other]) * 1000})
			}
		}
		h.Reports = append(h.Reports, r)
	}
	return h
}
