package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/rootd/rootd/transport/admin"
)

func newMemberPromote(e *env) *cobra.Command {
	var force bool
	c := &cobra.Command{
		Use:   "promote MEMBER",
		Short: "Make a member a voter, for good",
		Long: "promote makes a member that stands by a voter, and it stays one: if more would vote than the setting voters allows, one for which it is left to the cluster " +
			"stands by instead. Usually the cluster sees to all that by itself; member auto leaves it to the cluster again. " +
			"A member that is not up is refused without --force.",
		Example:           "  rootctl member promote ams1",
		Args:              wantArgs("MEMBER"),
		ValidArgsFunction: e.completeMembers,
		RunE: func(cmd *cobra.Command, args []string) error {
			return e.roleChange(cmd.Context(), func(ctx context.Context, c *admin.Client) (*admin.Member, error) {
				return c.PromoteMember(ctx, args[0], force)
			})
		},
	}
	c.Flags().BoolVar(&force, "force", false, "even if it is not up")
	return c
}

func newMemberDemote(e *env) *cobra.Command {
	var force bool
	c := &cobra.Command{
		Use:   "demote MEMBER",
		Short: "Make a member stand by, for good",
		Long: "demote takes a member's vote, and it does not get it back by itself: member auto leaves it to the cluster again. The leader hands leadership on first. It is refused " +
			"if there would be no quorum, and without --force if the remaining voters would not survive the loss of one.",
		Example:           "  rootctl member demote ams1",
		Args:              wantArgs("MEMBER"),
		ValidArgsFunction: e.completeMembers,
		RunE: func(cmd *cobra.Command, args []string) error {
			return e.roleChange(cmd.Context(), func(ctx context.Context, c *admin.Client) (*admin.Member, error) {
				return c.DemoteMember(ctx, args[0], force)
			})
		},
	}
	c.Flags().BoolVar(&force, "force", false, "even if no loss would be survived")
	return c
}

func newMemberAuto(e *env) *cobra.Command {
	return &cobra.Command{
		Use:   "auto MEMBER",
		Short: "Leave it to the cluster whether a member votes",
		Long: "auto takes back member promote and member demote: the cluster decides, as for all members for which nothing was said. It promotes standbys that have been stable " +
			"until as many vote as the setting voters says, and replaces voters that are lost for long.",
		Example:           "  rootctl member auto ams1",
		Args:              wantArgs("MEMBER"),
		ValidArgsFunction: e.completeMembers,
		RunE: func(cmd *cobra.Command, args []string) error {
			return e.roleChange(cmd.Context(), func(ctx context.Context, c *admin.Client) (*admin.Member, error) {
				return c.LeaveVote(ctx, args[0])
			})
		},
	}
}

func newMemberReadmit(e *env) *cobra.Command {
	return &cobra.Command{
		Use:   "readmit MEMBER",
		Short: "Let a member whose log is gone begin with an empty one",
		Long: "A member that has lost its log (raft/ in its data directory) waits when it is started: it has forgotten what it voted for, so it must not vote. " +
			"readmit takes its vote. It then begins with an empty log, gets everything from the leader, and votes again once it has been stable for a while. " +
			"Its name, ID, certificate and endpoints stay what they are. Refused while it does not wait for that, or if most of the other voters are not well.",
		Example:           "  rootctl member list\n  rootctl member readmit ams1",
		Args:              wantArgs("MEMBER"),
		ValidArgsFunction: e.completeMembers,
		RunE: func(cmd *cobra.Command, args []string) error {
			m, err := ask(cmd.Context(), e, func(ctx context.Context, c *admin.Client) (*admin.Member, error) {
				return c.ReadmitMember(ctx, args[0])
			})
			if err != nil {
				return err
			}
			if e.output == "json" {
				return e.printJSON(m)
			}
			e.printf("member %s begins with an empty log now; it votes again once it has been stable for a while\n", m.Name)
			return nil
		},
	}
}

func (e *env) roleChange(ctx context.Context, f func(context.Context, *admin.Client) (*admin.Member, error)) error {
	m, err := ask(ctx, e, f)
	if err != nil {
		return err
	}
	if e.output == "json" {
		return e.printJSON(m)
	}
	e.printf("member %s is %s now%s\n", m.Name, strings.TrimSpace("a "+orDash(m.Role)), voteWanted(m))
	return nil
}

// voteWanted says what an operator wants of a member's vote, and of its leading.
func voteWanted(m *admin.Member) string {
	var s string
	switch m.Vote {
	case admin.VoteVoter:
		s = ", shall vote"
	case admin.VoteStandby:
		s = ", shall stand by"
	case admin.VoteAuto:
		s = ", left to the cluster"
	}
	if m.Priority > 0 {
		s += fmt.Sprintf(", priority as leader %d", m.Priority)
	}
	return s
}

func newLeader(e *env) *cobra.Command {
	return group("leader", "Move leadership of the log, and say who should lead", "", newLeaderTransfer(e), newLeaderPrefer(e))
}

func newLeaderPrefer(e *env) *cobra.Command {
	var none bool
	c := &cobra.Command{
		Use:   "prefer MEMBER... | --none",
		Short: "Say which members should lead, the best first",
		Long: "prefer says which members should lead: those with short round trips to the others, or on the best machines. The leadership moves by itself to the first of them that votes and " +
			"has been healthy for ten minutes, after the present leader has led for as long; so it does not flap. Members that are not named lead when none of these can. " +
			"The list replaces the one before; --none forgets it.",
		Example: "  rootctl leader prefer fra1 ams1\n  rootctl leader prefer --none",
		Args: func(_ *cobra.Command, args []string) error {
			switch {
			case none && len(args) > 0:
				return usageError("--none and members exclude each other")
			case !none && len(args) == 0:
				return usageError("MEMBER is missing")
			}
			return nil
		},
		ValidArgsFunction: func(cmd *cobra.Command, _ []string, typed string) ([]string, cobra.ShellCompDirective) {
			return e.completeMembers(cmd, nil, typed)
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			all, err := ask(cmd.Context(), e, func(ctx context.Context, c *admin.Client) (*admin.Members, error) { return c.PreferLeaders(ctx, args) })
			if err != nil {
				return err
			}
			if e.output == "json" {
				return e.printJSON(all)
			}
			if none {
				e.printf("any voter may lead; %s does now\n", orDash(all.Leader))
				return nil
			}
			e.printf("preferred leaders: %s; %s leads now\n", strings.Join(args, ", "), orDash(all.Leader))
			return nil
		},
	}
	c.Flags().BoolVar(&none, "none", false, "prefer nobody")
	return c
}

func newLeaderTransfer(e *env) *cobra.Command {
	return &cobra.Command{
		Use:   "transfer [MEMBER]",
		Short: "Hand leadership to another voter",
		Long: "transfer makes another voter the leader, the one that is furthest if none is named. Clients notice nothing. " +
			"A leader that is stopped (SIGTERM) does this by itself.",
		Example: "  rootctl leader transfer\n  rootctl leader transfer ams1",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 1 {
				return usageError("unexpected argument %q", args[1])
			}
			return nil
		},
		ValidArgsFunction: e.completeMembers,
		RunE: func(cmd *cobra.Command, args []string) error {
			to := strings.Join(args, "")
			m, err := ask(cmd.Context(), e, func(ctx context.Context, c *admin.Client) (*admin.Member, error) {
				return c.TransferLeadership(ctx, to)
			})
			if err != nil {
				return err
			}
			if e.output == "json" {
				return e.printJSON(m)
			}
			e.printf("member %s is the leader now\n", m.Name)
			return nil
		},
	}
}
