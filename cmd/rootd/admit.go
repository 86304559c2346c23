package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/rootd/rootd/fsm"
	"github.com/rootd/rootd/fsm/replica"
	"github.com/rootd/rootd/transport/join"
	"github.com/rootd/rootd/transport/pki"
	"github.com/rootd/rootd/transport/rpc"
)

// admitter decides about machines that want to join: at the leader, to which the others pass them on.
type admitter struct{ c *cluster }

var _ join.Admitter = admitter{}

// Check implements [join.Admitter].
func (a admitter) Check(ctx context.Context, r *join.Request, note func(string)) (*join.Plan, error) {
	if a.c.m.replica.IsLeader() {
		return a.check(ctx, r, note)
	}
	b, err := a.pass(ctx, callCheck, r)
	if err != nil {
		return nil, err
	}
	var plan join.Plan
	return &plan, json.Unmarshal(b, &plan)
}

// Admit implements [join.Admitter].
func (a admitter) Admit(ctx context.Context, r *join.Request) (*join.Offer, error) {
	if a.c.m.replica.IsLeader() {
		return a.admit(ctx, r)
	}
	b, err := a.pass(ctx, callAdmit, r)
	if err != nil {
		return nil, err
	}
	return join.DecodeOffer(b)
}

// pass passes a request on to the leader. A refusal comes back as it was.
func (a admitter) pass(ctx context.Context, call string, r *join.Request) ([]byte, error) {
	body, err := json.Marshal(r)
	if err != nil {
		return nil, err
	}
	b, err := a.c.callLeader(ctx, call, body)
	if e, ok := errors.AsType[*rpc.Error](err); ok && e.Code == codeRefused {
		var refusal join.Refusal
		if json.Unmarshal([]byte(e.Text), &refusal) == nil {
			return nil, &refusal
		}
	}
	if err != nil {
		return nil, &join.Refusal{Code: join.CodeUnavailable, Why: "the leader of the cluster cannot be asked: " + err.Error(), Way: "look at rootctl member list, then run the same command again"}
	}
	return b, nil
}

// refusalError wraps a refusal for the way between members.
func refusalError(err error) error {
	r, ok := errors.AsType[*join.Refusal](err)
	if !ok {
		return err
	}
	text, jerr := json.Marshal(r)
	if jerr != nil {
		return err
	}
	return &rpc.Error{Code: codeRefused, Text: string(text)}
}

func (c *cluster) handleCheck(ctx context.Context, _ pki.Peer, body []byte) ([]byte, error) {
	var r join.Request
	if err := json.Unmarshal(body, &r); err != nil {
		return nil, err
	}
	plan, err := admitter{c}.check(ctx, &r, func(string) {})
	if err != nil {
		return nil, refusalError(err)
	}
	return json.Marshal(plan)
}

func (c *cluster) handleAdmit(ctx context.Context, _ pki.Peer, body []byte) ([]byte, error) {
	var r join.Request
	if err := json.Unmarshal(body, &r); err != nil {
		return nil, err
	}
	offer, err := admitter{c}.admit(ctx, &r)
	if err != nil {
		return nil, refusalError(err)
	}
	return offer.Encode()
}

func (a admitter) command(s *fsm.State, r *join.Request) *fsm.MemberJoin {
	id := s.NextMemberID()
	if m, ok := s.MemberByKeyHash(r.KeyHash); ok {
		id = m.ID // it was here before
	}
	return &fsm.MemberJoin{
		ID: id, Name: r.Name, Address: r.Address, Endpoints: r.Endpoints, KeyHash: r.KeyHash, Version: r.Version, Feature: r.Feature,
		Token: fsm.TokenID(r.Token),
	}
}

// check says what would come of a request, at the leader.
func (a admitter) check(ctx context.Context, r *join.Request, note func(string)) (*join.Plan, error) {
	m := a.c.m
	s, now := m.fsm.View().State(), time.Now().UnixMilli()
	_, again := s.MemberByKeyHash(r.KeyHash)
	if err := s.TokenValid(fsm.TokenID(r.Token), r.SecretHash, now); err != nil && !(again && errors.Is(err, fsm.ErrTokenUsed)) {
		refusal := refusalOf(err)
		refusal.Known = again
		return nil, refusal
	}
	plan := &join.Plan{
		Cluster: pki.ClusterID(s.Cluster.ID).String(), ClusterName: s.Cluster.Name, Root: s.Cluster.Root.Address, Again: again,
		Members: joinMembers(s), Voters: s.Settings.Voters, ServerName: m.name,
	}
	if s.Planet != nil {
		plan.Planet = s.Planet.Raw
	}
	plan.AutoPublish = m.dir.SigningKey != nil && s.Settings.PlanetAuto
	c := a.command(s, r)
	plan.Member = pki.MemberID(c.ID)
	if _, err := s.CheckJoin(c, now); err != nil {
		plan.Problems = append(plan.Problems, refusalOf(err))
		return plan, nil
	}
	if refusal := differs(s, r); refusal != nil {
		plan.Problems = append(plan.Problems, refusal)
		return plan, nil
	}
	if r.Probe != nil && len(r.Endpoints) > 0 {
		note("the members try to reach its endpoints")
		plan.Probes = a.c.probe(ctx, r)
		for _, p := range plan.Probes {
			if !p.OK {
				plan.Problems = append(plan.Problems, &join.Refusal{
					Code: join.CodeUnreachable, Why: fmt.Sprintf("member %s does not reach %v: %s", p.Member, p.Endpoint, p.Why),
					Way: "open the UDP port in the firewalls, or forward it; --force joins all the same", Forceable: true,
				})
			}
		}
	}
	return plan, nil
}

// admit makes the machine a member, at the leader: by one entry of the log, which everything else follows. Done twice,
// as after a crash of either side, it is done once.
func (a admitter) admit(ctx context.Context, r *join.Request) (*join.Offer, error) {
	m := a.c.m
	s := m.fsm.View().State()
	if a.c.signer() == nil {
		return nil, &join.Refusal{Code: join.CodeUnavailable, Why: "the leader does not keep the key of the cluster's CA", Way: "move leadership to a member that does: rootctl leader transfer"}
	}
	if refusal := differs(s, r); refusal != nil {
		return nil, refusal
	}
	answer, err := m.propose(ctx, a.command(s, r))
	switch {
	case answer.Err != nil:
		return nil, refusalOf(answer.Err)
	case errors.Is(err, replica.ErrNotLeader), errors.Is(err, replica.ErrNotRunning):
		return nil, &join.Refusal{Code: join.CodeUnavailable, Why: "leadership has just changed", Way: "run the same command again"}
	case err != nil:
		return nil, err
	}
	s = m.fsm.View().State()
	o, ok := s.Member(answer.Member)
	if !ok {
		return nil, refusalOf(fsm.ErrMemberRemoved) // meanwhile
	}
	id := pki.MemberID(o.ID)
	chain, err := a.c.signer().Sign(r.CSR, pki.Member{Cluster: a.c.signer().Cluster(), Epoch: pki.Epoch(s.Cluster.Epoch), ID: id, Name: o.Name}, time.Now(), 0)
	if err != nil {
		return nil, err
	}
	authority, err := a.c.signer().PEM()
	if err != nil {
		return nil, err
	}
	offer := &join.Offer{
		Member: id, Cluster: a.c.signer().Cluster(), ClusterName: s.Cluster.Name, Chain: chain, Bundle: a.c.keychain.Load().Bundle.PEM(),
		Planet: m.dir.PlanetRaw, Members: joinMembers(s), Identity: join.Hide([]byte(m.dir.Identity.SecretString())), Authority: join.Hide(authority),
	}
	if s.Planet != nil {
		offer.Planet = s.Planet.Raw
	}
	if m.dir.SigningKey != nil {
		offer.PlanetKey = join.Hide([]byte(m.dir.SigningKey.SecretString()))
	}
	return offer, nil
}

// differs refuses a machine that has been up as a member and joins again as another one: the log would keep what it has,
// and the machine store what it asked for. One that has never been up may still change its mind.
func differs(s *fsm.State, r *join.Request) *join.Refusal {
	o, ok := s.MemberByKeyHash(r.KeyHash)
	if !ok || o.Status == fsm.StatusJoining {
		return nil
	}
	refusal := func(code join.Code, what, flags string) *join.Refusal {
		return &join.Refusal{
			Code: code, Known: true, Why: fmt.Sprintf("this machine is member %d already, with %s", o.ID, what),
			Way: fmt.Sprintf("run the same command again with %s; a different member begins with an empty data directory and a new token", flags),
		}
	}
	order := func(e []netip.AddrPort) []netip.AddrPort {
		return slices.SortedFunc(slices.Values(e), netip.AddrPort.Compare)
	}
	switch {
	case r.Name != o.Name:
		return refusal(join.CodeName, "the name "+o.Name, "--name "+o.Name)
	case r.Address != o.Address:
		return refusal(join.CodeAddress, "the address "+o.Address, "--address "+o.Address)
	case !slices.Equal(order(r.Endpoints), order(o.Endpoints)):
		return refusal(join.CodeEndpoint, fmt.Sprintf("the endpoints %v", o.Endpoints), "these endpoints: --endpoint")
	}
	return nil
}

func joinMembers(s *fsm.State) []join.Member {
	var all []join.Member
	for i := range s.Members {
		o := &s.Members[i]
		all = append(all, join.Member{
			ID: pki.MemberID(o.ID), Name: o.Name, Address: o.Address, Endpoints: o.Endpoints, Version: o.Version, Status: s.StatusOf(o.ID).String(),
		})
	}
	return all
}

// refusalOf turns what the state machine says into what the operator of the new machine is told.
func refusalOf(err error) *join.Refusal {
	r := &join.Refusal{Code: join.CodeInternal, Why: err.Error()}
	for _, row := range []struct {
		err  error
		code join.Code
		way  string
	}{
		{fsm.ErrTokenUnknown, join.CodeToken, "make a new one on a member: rootctl token create"},
		{fsm.ErrTokenSecret, join.CodeToken, "make a new one on a member: rootctl token create"},
		{fsm.ErrTokenExpired, join.CodeTokenExpired, "make a new one on a member: rootctl token create"},
		{fsm.ErrTokenUsed, join.CodeTokenUsed, "a token is good for one machine; make a new one: rootctl token create"},
		{fsm.ErrMemberName, join.CodeName, "choose another one: --name"},
		{fsm.ErrMemberAddress, join.CodeAddress, "choose another one: --address"},
		{fsm.ErrMemberEndpoint, join.CodeEndpoint, "choose another one: --endpoint"},
		{fsm.ErrMemberRemoved, join.CodeRemoved, "a removed member comes back as a new one: empty the data directory and use a new token"},
		{fsm.ErrMemberKey, join.CodeRequest, "empty the data directory and use a new token"},
	} {
		if errors.Is(err, row.err) {
			r.Code, r.Way = row.code, row.way
			if row.code == join.CodeToken {
				r.Why = fsm.ErrTokenUnknown.Error() // which of the two it is, is not told
			}
			break
		}
	}
	return r
}

// probe has all members that are up greet the endpoints of a machine that joins.
func (c *cluster) probe(ctx context.Context, r *join.Request) []join.Probe {
	var all []join.Probe
	s := c.m.fsm.View().State()
	for i := range s.Members {
		o := &s.Members[i]
		if s.StatusOf(o.ID) != fsm.StatusUp {
			continue
		}
		var found []join.Probe
		if o.ID == c.m.id {
			found = c.m.prober.probe(ctx, *r.Probe, r.Endpoints)
		} else {
			found = c.askProbe(ctx, o.ID, *r.Probe, r.Endpoints)
		}
		for j := range found {
			found[j].Member = o.Name
		}
		all = append(all, found...)
	}
	return all
}
