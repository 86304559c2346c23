package main_test

import (
	"errors"

	"github.com/rootd/rootd/packetpath/vl1"
	"github.com/rootd/rootd/transport/admin"
)

// votes: the leader is made to stand by, so it hands over and votes no more; and it gets its vote back when that is left to
// the cluster. That it does not get it back by itself is tested in package replica, in virtual time.
func (f *fleet) votes(*vl1.World, *device) {
	ctx := longDeadline(f.T)
	leader := f.leader(0, "")
	other, third := (leader+1)%3, (leader+2)%3
	if _, err := f.admin(other).DemoteMember(ctx, f.name(leader), false); !errors.Is(err, admin.ErrRefused) {
		f.Errorf("demote one of three voters: %v", err)
	}
	if _, err := f.admin(other).PreferLeaders(ctx, []string{f.name(third), "m9"}); !errors.Is(err, admin.ErrNotFound) {
		f.Errorf("prefer a stranger: %v", err)
	}
	all, err := f.admin(other).PreferLeaders(ctx, []string{f.name(third), f.name(other)})
	if err != nil || all.Members[third].Priority <= all.Members[other].Priority || all.Members[other].Priority == 0 || all.Members[leader].Priority != 0 {
		f.Errorf("prefer: %+v, %v", all, err)
	}
	m, err := f.admin(other).DemoteMember(ctx, f.name(leader), true)
	if err != nil || m.Vote != admin.VoteStandby {
		f.Fatalf("%+v, %v", m, err)
	}
	eventually(f.T, "it votes no more, and another one leads", func() bool {
		all, err := f.admin(other).Members(ctx)
		return err == nil && all.Members[leader].Role == admin.RoleNonvoter && all.Leader != "" && all.Leader != f.name(leader)
	})
	if _, err := f.admin(leader).PreferLeaders(ctx, []string{f.name(leader)}); !errors.Is(err, admin.ErrRefused) {
		f.Errorf("prefer one that shall stand by: %v", err)
	}
	if m, err = f.admin(leader).PromoteMember(ctx, f.name(leader), false); err != nil || m.Vote != admin.VoteVoter {
		f.Errorf("%+v, %v", m, err)
	}
	if m, err = f.admin(leader).LeaveVote(ctx, f.name(leader)); err != nil || m.Vote != admin.VoteAuto {
		f.Errorf("%+v, %v", m, err)
	}
	if _, err := f.admin(other).PreferLeaders(ctx, nil); err != nil {
		f.Error(err)
	}
	f.waitMembers("m1 up voter", "m2 up voter", "m3 up voter")
}
