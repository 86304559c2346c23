package main

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/rootd/rootd/fsm"
	"github.com/rootd/rootd/fsm/table"
	"github.com/rootd/rootd/transport/admin"
)

// PromoteMember implements [admin.Membership].
func (s source) PromoteMember(ctx context.Context, name string, force bool) (*admin.Member, error) {
	const what = "promote member"
	state, o, err := s.find(what, name)
	if err != nil {
		return nil, err
	}
	if st := state.StatusOf(o.ID); st != fsm.StatusUp && !force {
		return nil, refused(what, fmt.Sprintf("member %s is %v: a voter that does not vote makes the quorum harder to reach", o.Name, st), "start it, or use --force")
	}
	wanted := 1
	for i := range state.Members {
		if x := &state.Members[i]; x.ID != o.ID && x.Vote == fsm.VoteAlways {
			wanted++
		}
	}
	if most := state.Settings.Voters; wanted > most {
		return nil, refused(what, fmt.Sprintf("%d members shall vote already, and no more may", most), "rootctl config set voters, or leave another one's vote to the cluster: rootctl member auto")
	}
	if err := s.setVote(ctx, what, o.ID, fsm.VoteAlways); err != nil {
		return nil, err
	}
	if err := s.m.change(ctx, changePromote, o.ID); err != nil {
		return nil, changed(what, fsm.Response{}, err)
	}
	return s.named(o.ID)
}

// DemoteMember implements [admin.Membership].
func (s source) DemoteMember(ctx context.Context, name string, force bool) (*admin.Member, error) {
	const what = "demote member"
	state, o, err := s.find(what, name)
	if err != nil {
		return nil, err
	}
	up, others := 0, 0
	for _, v := range state.Voters.Servers {
		if id, err := strconv.ParseUint(v.ID, 10, 16); err == nil && v.Voter && v.ID != fmt.Sprint(o.ID) {
			if others++; state.StatusOf(table.MemberID(id)) == fsm.StatusUp {
				up++
			}
		}
	}
	switch needed := others/2 + 1; {
	case up == 0:
		return nil, refused(what, "no other voter is up", "promote another member first: rootctl member promote")
	case up < needed:
		return nil, refused(what, fmt.Sprintf("only %d of the %d voters that would be left are up, %d are needed for a quorum", up, others, needed), "promote another member first: rootctl member promote")
	case up == needed && needed > 1 && !force:
		return nil, refused(what, fmt.Sprintf("all of the %d voters that would be up would be needed for a quorum", up), "promote another member first, or use --force")
	}
	if err := s.setVote(ctx, what, o.ID, fsm.VoteStandby); err != nil {
		return nil, err
	}
	if s.m.replica.Stats().LeaderID == fmt.Sprint(o.ID) {
		if _, err := s.TransferLeadership(ctx, ""); err != nil {
			return nil, err
		}
	}
	if err := s.m.change(ctx, changeDemote, o.ID); err != nil {
		return nil, changed(what, fsm.Response{}, err)
	}
	return s.named(o.ID)
}

// LeaveVote implements [admin.Membership].
func (s source) LeaveVote(ctx context.Context, name string) (*admin.Member, error) {
	const what = "leave the vote of a member to the cluster"
	_, o, err := s.find(what, name)
	if err != nil {
		return nil, err
	}
	if err := s.setVote(ctx, what, o.ID, fsm.VoteAuto); err != nil {
		return nil, err
	}
	return s.named(o.ID)
}

func (s source) setVote(ctx context.Context, what string, id table.MemberID, v fsm.Vote) error {
	if o, ok := s.m.fsm.View().State().Member(id); ok && o.Vote == v {
		return nil
	}
	answer, err := s.m.propose(ctx, &fsm.MemberSet{ID: id, SetVote: true, Vote: v})
	return changed(what, answer, err)
}

// topPriority is that of the first preferred leader; the following ones get less.
const topPriority = 100

// PreferLeaders implements [admin.Membership]. Each member is one entry: run again after it was interrupted, it ends as it
// should.
func (s source) PreferLeaders(ctx context.Context, names []string) (*admin.Members, error) {
	const what = "prefer leaders"
	if len(names) > topPriority {
		return nil, refused(what, fmt.Sprintf("more than %d members", topPriority), "")
	}
	var order []table.MemberID
	for _, name := range names {
		_, o, err := s.find(what, name)
		switch {
		case err != nil:
			return nil, err
		case slices.Contains(order, o.ID):
			return nil, refused(what, "member "+o.Name+" is named twice", "")
		case o.Vote == fsm.VoteStandby:
			return nil, refused(what, "member "+o.Name+" shall not vote, so it cannot lead", "rootctl member promote, or rootctl member auto")
		}
		order = append(order, o.ID)
	}
	for _, o := range s.m.fsm.View().State().Members {
		var p uint8
		if i := slices.Index(order, o.ID); i >= 0 {
			p = uint8(topPriority - i)
		}
		if o.Priority == p {
			continue
		}
		answer, err := s.m.propose(ctx, &fsm.MemberSet{ID: o.ID, SetPriority: true, Priority: p})
		if err := changed(what, answer, err); err != nil {
			return nil, err
		}
	}
	return s.Members(ctx)
}

// TransferLeadership implements [admin.Membership].
func (s source) TransferLeadership(ctx context.Context, to string) (*admin.Member, error) {
	const what = "transfer leadership"
	var id table.MemberID
	if to != "" {
		_, o, err := s.find(what, to)
		if err != nil {
			return nil, err
		}
		id = o.ID
	}
	before := s.m.replica.Stats().LeaderID
	if before == fmt.Sprint(id) {
		return s.named(id)
	}
	if err := s.m.change(ctx, changeTransfer, id); err != nil {
		return nil, changed(what, fsm.Response{}, err)
	}
	for tick := time.NewTicker(50 * time.Millisecond); ; {
		if now := s.m.replica.Stats().LeaderID; now != "" && now != before {
			tick.Stop()
			leader, err := strconv.ParseUint(now, 10, 16)
			if err != nil {
				return nil, err
			}
			return s.named(table.MemberID(leader))
		}
		select {
		case <-ctx.Done():
			return nil, changed(what, fsm.Response{}, ctx.Err())
		case <-tick.C:
		}
	}
}
