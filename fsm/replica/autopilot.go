package replica

import (
	"cmp"
	"context"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/hashicorp/raft"
	autopilot "github.com/hashicorp/raft-autopilot"

	"github.com/rootd/rootd/fsm"
)

// ServerStats is how far a server is, as it says itself.
type ServerStats struct {
	LastContact time.Duration // since it heard from the leader; 0 at the leader
	LastTerm    uint64        // of the last entry of its log
	LastIndex   uint64        // of the last entry of its log
}

// ServerStatus is what the leader knows about a server.
type ServerStatus struct {
	ID, Address string
	Voter       bool
	Leader      bool
	Healthy     bool
	Since       time.Time // since when it is healthy, or is not
	Stats       ServerStats
}

const (
	// maxTrailing is how many entries a server may lack and be healthy.
	maxTrailing = 4096
	// lostContact is how long a server may not have heard from the leader and be healthy, at least.
	lostContact = 10 * time.Second
)

// pilot runs raft-autopilot while this member leads: it promotes servers that have been healthy for long enough until as
// many vote as the setting says, and replaces voters that have been lost for long by standbys. It removes nobody.
type pilot struct {
	opts MembershipOptions
	auto *autopilot.Autopilot
	runs bool // belongs to the goroutine of Membership.Run
}

var (
	_ autopilot.ApplicationIntegration = (*pilot)(nil)
	_ autopilot.Promoter               = (*promoter)(nil)
)

func newPilot(o MembershipOptions) *pilot {
	p := &pilot{opts: o}
	p.auto = autopilot.New(&handle{o.Replica}, p,
		autopilot.WithPromoter(&promoter{opts: o}), autopilot.WithLogger(newHCLog(o.Logger)),
		autopilot.WithUpdateInterval(o.Interval), autopilot.WithReconcileInterval(o.Reconcile))
	return p
}

func (p *pilot) start(ctx context.Context) {
	if !p.runs {
		p.runs = true
		p.auto.Start(ctx)
	}
}

// stop ends it and waits until it has.
func (p *pilot) stop() {
	if p.runs {
		p.runs = false
		<-p.auto.Stop()
	}
}

func (p *pilot) status() []ServerStatus {
	st := p.auto.GetState()
	if st == nil || len(st.Servers) == 0 {
		return nil
	}
	out := make([]ServerStatus, 0, len(st.Servers))
	for id, s := range st.Servers {
		out = append(out, ServerStatus{
			ID: string(id), Address: string(s.Server.Address), Voter: s.HasVotingRights(), Leader: s.State == autopilot.RaftLeader,
			Healthy: s.Health.Healthy, Since: s.Health.StableSince, Stats: ServerStats(s.Stats),
		})
	}
	slices.SortFunc(out, func(a, b ServerStatus) int { return compareIDs(a.ID, b.ID) })
	return out
}

// better returns the voter that should rather lead than self, healthy for long enough; and whether self should not lead at
// all, so that any healthy voter is better at once.
func (p *pilot) better(self string, after time.Duration) (to string, unfit bool) {
	mine := p.opts.wish(self)
	unfit = !mine.leads()
	var best wish
	for _, s := range p.status() {
		w := p.opts.wish(s.ID)
		switch {
		case s.ID == self, !s.Voter, !s.Healthy, !w.leads(), !unfit && w.priority <= mine.priority, !unfit && time.Since(s.Since) < after:
		case to == "", w.priority > best.priority:
			to, best = s.ID, w
		}
	}
	return to, unfit
}

// AutopilotConfig implements [autopilot.ApplicationIntegration].
func (p *pilot) AutopilotConfig() *autopilot.Config {
	contact := lostContact
	if t := p.opts.Replica.now.Load(); t != nil {
		contact = max(contact, 2*t.Heartbeat)
	}
	return &autopilot.Config{LastContactThreshold: contact, MaxTrailingLogs: maxTrailing, ServerStabilizationTime: p.opts.StableAfter}
}

// NotifyState implements [autopilot.ApplicationIntegration].
func (*pilot) NotifyState(*autopilot.State) {}

// RemoveFailedServer implements [autopilot.ApplicationIntegration]: only the log removes members.
func (*pilot) RemoveFailedServer(*autopilot.Server) {}

// KnownServers implements [autopilot.ApplicationIntegration].
func (p *pilot) KnownServers() map[raft.ServerID]*autopilot.Server {
	st := p.opts.View.State()
	out := make(map[raft.ServerID]*autopilot.Server, len(st.Members))
	for i := range st.Members {
		m := &st.Members[i]
		id := raft.ServerID(serverID(m.ID))
		s := &autopilot.Server{ID: id, Name: m.Name, Address: raft.ServerAddress(m.Address), Version: m.Version, RaftVersion: 3, NodeStatus: autopilot.NodeFailed}
		if st.StatusOf(m.ID) == fsm.StatusUp {
			s.NodeStatus = autopilot.NodeAlive
		}
		s.IsLeader = string(id) == p.opts.Replica.opts.ID && p.opts.Replica.IsLeader()
		out[id] = s
	}
	return out
}

// FetchServerStats implements [autopilot.ApplicationIntegration].
func (p *pilot) FetchServerStats(ctx context.Context, servers map[raft.ServerID]*autopilot.Server) map[raft.ServerID]*autopilot.ServerStats {
	var mu sync.Mutex
	out := make(map[raft.ServerID]*autopilot.ServerStats, len(servers))
	var wg sync.WaitGroup
	for id, s := range servers {
		wg.Go(func() {
			stats := ServerStats{LastContact: -1} // nobody answers: not healthy, whatever it said before
			if string(id) == p.opts.Replica.opts.ID {
				stats = p.opts.Replica.ServerStats()
			} else if got, err := p.opts.Stats(ctx, string(id), string(s.Address)); err == nil {
				stats = got
			}
			mu.Lock()
			defer mu.Unlock()
			out[id] = (*autopilot.ServerStats)(&stats)
		})
	}
	wg.Wait()
	return out
}

// promoter decides who votes. It is a pure function of the settings and of what autopilot knows.
type promoter struct{ opts MembershipOptions }

// CalculatePromotionsAndDemotions implements [autopilot.Promoter].
func (p *promoter) CalculatePromotionsAndDemotions(_ *autopilot.Config, s *autopilot.State) autopilot.RaftChanges {
	now := time.Now()
	limit := p.opts.View.State().Settings.Voters
	var voters, standbys []*autopilot.ServerState
	spare := 0 // voters whose place is free for another one
	for _, x := range s.Servers {
		switch {
		case x.HasVotingRights():
			voters = append(voters, x)
			if p.lost(x, now) || p.unwanted(x) {
				spare++
			}
		case x.Health.IsStable(now, p.opts.StableAfter) && !p.unwanted(x):
			standbys = append(standbys, x)
		}
	}
	p.sort(standbys)
	p.sort(voters)

	var c autopilot.RaftChanges
	room := max(0, limit-len(voters)+spare)
	for i, x := range standbys {
		if i < room || p.wish(x).vote == fsm.VoteAlways && p.replaceable(voters, i-room, now) {
			c.Promotions = append(c.Promotions, x.Server.ID)
		}
	}
	// Whoever is lost loses its vote only to another: a smaller quorum of those that are left is no safer. Whoever shall stand
	// by goes as soon as a healthy one is left.
	excess := len(voters) + len(c.Promotions) - limit
	rank := func(x *autopilot.ServerState) int {
		switch {
		case p.unwanted(x):
			return 0
		case p.lost(x, now):
			return 1
		}
		return 2
	}
	slices.Reverse(voters) // the least preferred first
	slices.SortStableFunc(voters, func(a, b *autopilot.ServerState) int { return cmp.Compare(rank(a), rank(b)) })
	healthy := slices.ContainsFunc(voters, func(x *autopilot.ServerState) bool { return !p.unwanted(x) && x.Health.Healthy })
	for _, x := range voters {
		if x.State != autopilot.RaftLeader && (excess > 0 || p.unwanted(x) && healthy) {
			c.Demotions = append(c.Demotions, x.Server.ID)
			excess--
		}
	}
	return c
}

// replaceable reports whether more than n voters are left to the cluster, and so can make room for those that shall vote.
func (p *promoter) replaceable(voters []*autopilot.ServerState, n int, now time.Time) bool {
	for _, x := range voters {
		if p.wish(x).vote == fsm.VoteAuto && !p.lost(x, now) && x.State != autopilot.RaftLeader {
			n--
		}
	}
	return n < 0
}

func (p *promoter) lost(x *autopilot.ServerState, now time.Time) bool {
	return !x.Health.Healthy && now.Sub(x.Health.StableSince) >= p.opts.LostAfter
}

func (p *promoter) unwanted(x *autopilot.ServerState) bool { return p.wish(x).vote == fsm.VoteStandby }

func (p *promoter) wish(x *autopilot.ServerState) wish { return p.opts.wish(string(x.Server.ID)) }

// sort puts those first that shall vote, then those of the greatest priority, then the others by ID.
func (p *promoter) sort(servers []*autopilot.ServerState) {
	slices.SortFunc(servers, func(a, b *autopilot.ServerState) int {
		v, w := p.wish(a), p.wish(b)
		return cmp.Or(cmp.Compare(bit(w.vote == fsm.VoteAlways), bit(v.vote == fsm.VoteAlways)), cmp.Compare(w.priority, v.priority),
			compareIDs(string(a.Server.ID), string(b.Server.ID)))
	})
}

// GetServerExt implements [autopilot.Promoter].
func (*promoter) GetServerExt(*autopilot.Config, *autopilot.ServerState) any { return nil }

// GetStateExt implements [autopilot.Promoter].
func (*promoter) GetStateExt(*autopilot.Config, *autopilot.State) any { return nil }

// GetNodeTypes implements [autopilot.Promoter].
func (*promoter) GetNodeTypes(*autopilot.Config, *autopilot.State) map[raft.ServerID]autopilot.NodeType {
	return nil
}

// FilterFailedServerRemovals implements [autopilot.Promoter].
func (*promoter) FilterFailedServerRemovals(*autopilot.Config, *autopilot.State, *autopilot.FailedServers) *autopilot.FailedServers {
	return &autopilot.FailedServers{}
}

// IsPotentialVoter implements [autopilot.Promoter].
func (*promoter) IsPotentialVoter(autopilot.NodeType) bool { return true }

func bit(b bool) int {
	if b {
		return 1
	}
	return 0
}

// compareIDs orders IDs as numbers where they are numbers.
func compareIDs(a, b string) int {
	x, errA := strconv.Atoi(a)
	y, errB := strconv.Atoi(b)
	if errA == nil && errB == nil {
		return cmp.Compare(x, y)
	}
	return cmp.Compare(a, b)
}
