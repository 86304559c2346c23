package main

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/rootd/rootd/cmd/internal/greet"
	"github.com/rootd/rootd/cmd/internal/rollout"
	"github.com/rootd/rootd/packetpath/vl1"
	"github.com/rootd/rootd/transport/admin"
)

// fleetClients are the ways to the clusters of a fleet.
type fleetClients struct {
	fleet   *rollout.Fleet
	clients map[string][]*admin.Client // by cluster, in the order of the file
	greeter *greet.Greeter
}

func openFleet(e *env, path string) (*fleetClients, error) {
	f, err := rollout.Read(path)
	if err != nil {
		return nil, &userError{err: err, hint: "docs/fleet.md draws one"}
	}
	c := &fleetClients{fleet: f, clients: map[string][]*admin.Client{}, greeter: greet.New(nil)}
	for _, o := range f.Clusters {
		cert := o.Cert
		if cert == "" {
			cert = e.pass
		}
		for _, at := range o.Admin {
			client := admin.NewClient
			if rollout.IsAddress(at) {
				client = func(address string) *admin.Client { return remoteClient(address, cert) }
			}
			c.clients[o.Name] = append(c.clients[o.Name], client(at))
		}
	}
	return c, nil
}

func (c *fleetClients) close() {
	for _, all := range c.clients {
		for _, one := range all {
			one.Close()
		}
	}
}

// inCluster asks the members of a cluster one after the other until one does better than to be away or without a leader.
func inCluster[T any](ctx context.Context, e *env, c *fleetClients, cluster string, f func(context.Context, *admin.Client) (T, error)) (v T, err error) {
	for _, client := range c.clients[cluster] {
		limited, cancel := e.limit(ctx)
		v, err = f(limited, client)
		cancel()
		if err == nil || ctx.Err() != nil || !admin.Elsewhere(err) {
			return v, err
		}
	}
	return v, fmt.Errorf("cluster %s: %w", cluster, err)
}

// report is what one member says of its cluster.
type report struct {
	members   *admin.Members
	status    *admin.Status
	operation *admin.Operation
	settings  []admin.Setting
}

// ask asks one member everything. One without a leader is asked only if no other answers.
func (c *fleetClients) ask(ctx context.Context, e *env, cluster string) (best *report, err error) {
	_, err = inCluster(ctx, e, c, cluster, func(ctx context.Context, a *admin.Client) (r *report, err error) {
		r = new(report)
		if r.members, err = a.Members(ctx); err != nil {
			return nil, err
		}
		if r.status, err = a.Status(ctx); err != nil {
			return nil, err
		}
		if r.operation, err = a.Operation(ctx); err != nil {
			return nil, err
		}
		if r.settings, err = a.Settings(ctx); err != nil {
			return nil, err
		}
		if best == nil || r.members.Quorum {
			best = r
		}
		if !r.members.Quorum {
			return nil, &admin.Error{Status: http.StatusServiceUnavailable, Why: "there is no leader"}
		}
		return r, nil
	})
	if best != nil {
		return best, nil
	}
	return nil, err
}

// sight is what was seen of a cluster: for people, for plans, for gates.
type sight struct {
	rollout.View
	measures  rollout.Measures
	members   []admin.Member
	rescues   []admin.Rescue
	operation *admin.Operation
	root      vl1.Identity
	peers     int
	planet    string
}

// look looks at a cluster, from inside and from outside.
func (c *fleetClients) look(ctx context.Context, e *env, cluster string) (*sight, error) {
	r, err := c.ask(ctx, e, cluster)
	if err != nil {
		return nil, err
	}
	s := &sight{View: rollout.View{Cluster: cluster, Leader: r.members.Leader, Level: 1}, members: r.members.Members, rescues: r.members.Rescues, peers: r.status.Peers.Known}
	if s.root, err = vl1.ParseIdentity(r.status.Identity); err != nil {
		return nil, fmt.Errorf("cluster %s: root identity: %w", cluster, err)
	}
	if r.status.Planet != nil {
		s.planet = r.status.Planet.Fingerprint
	}
	if s.operation = r.operation; s.operation.Running {
		s.Busy = fmt.Sprintf("%s by %s is under way", s.operation.Kind, s.operation.By)
	}
	for _, k := range r.settings {
		if k.Key == featureKey {
			if s.Level, err = strconv.Atoi(k.Value); err != nil {
				return nil, fmt.Errorf("cluster %s: setting %s: %w", cluster, featureKey, err)
			}
		}
	}
	s.measures.Term, s.measures.Failed = r.status.Raft.Term, r.status.Cluster.HandoffsFailed
	problems := c.problems(ctx, e, cluster)
	for _, m := range s.members {
		v := rollout.Member{Name: m.Name, Status: m.Status, Role: m.Role, Version: m.Version, Epoch: m.Epoch, Lag: m.Lag, LogGone: m.LogGone, Problems: problems[m.Name]}
		for _, p := range v.Problems {
			s.measures.Problems = append(s.measures.Problems, fmt.Sprintf("%s: %s", m.Name, p))
		}
		s.View.Members = append(s.View.Members, v)
		if m.Status == admin.StatusUp && (m.Role == admin.RoleLeader || m.Role == admin.RoleVoter) {
			s.measures.Voters++
		}
	}
	c.greet(ctx, s)
	return s, nil
}

// problems asks all members that the file names what they complain of. Who does not answer says nothing: that others see.
func (c *fleetClients) problems(ctx context.Context, e *env, cluster string) map[string][]string {
	found := map[string][]string{}
	var mu sync.Mutex // guards found
	var wg sync.WaitGroup
	for _, client := range c.clients[cluster] {
		wg.Go(func() {
			ctx, cancel := context.WithTimeout(ctx, min(e.timeout, 3*time.Second))
			defer cancel()
			if s, err := client.Status(ctx); err == nil {
				mu.Lock()
				defer mu.Unlock()
				found[s.Name] = s.Problems
			}
		})
	}
	wg.Wait()
	return found
}

// greet says HELLO at every endpoint of the members that are up.
func (c *fleetClients) greet(ctx context.Context, s *sight) {
	s.measures.RoundTrips = map[string]time.Duration{}
	var mu sync.Mutex // guards what the greetings found
	var wg sync.WaitGroup
	for i, m := range s.members {
		if m.Status != admin.StatusUp {
			continue
		}
		for _, at := range m.Endpoints {
			wg.Go(func() {
				rtt, err := c.greeter.Greet(ctx, s.root, at)
				mu.Lock()
				defer mu.Unlock()
				if err == nil {
					s.measures.Answering++
					s.measures.RoundTrips[at.String()] = rtt
					return
				}
				v := &s.View.Members[i]
				v.Deaf = append(v.Deaf, at.String())
				slices.Sort(v.Deaf)
			})
		}
	}
	wg.Wait()
}

// active counts the peers that are attached to members that are up, and heard there.
func (c *fleetClients) active(ctx context.Context, e *env, s *sight) (n int, err error) {
	all, err := inCluster(ctx, e, c, s.Cluster, func(ctx context.Context, a *admin.Client) (map[string]int, error) { return a.Active(ctx) })
	for _, k := range all {
		n += k
	}
	return n, err
}
