package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/rootd/rootd/transport/admin"
)

func newMember(e *env) *cobra.Command {
	return group("member", "List, show, drain, remove, readmit, promote and demote members of the cluster",
		"A member is named by its name or its ID.", newMemberList(e), newMemberShow(e), newMemberRemove(e), newMemberPromote(e), newMemberDemote(e), newMemberAuto(e),
		newMemberDrain(e), newMemberUndrain(e), newMemberReadmit(e))
}

// ask runs f with a client, and with the time that a request gets.
func ask[T any](ctx context.Context, e *env, f func(context.Context, *admin.Client) (T, error)) (T, error) {
	c := e.client()
	defer c.Close()
	ctx, cancel := e.limit(ctx)
	defer cancel()
	return f(ctx, c)
}

func (e *env) members(ctx context.Context) (*admin.Members, error) {
	return ask(ctx, e, func(ctx context.Context, c *admin.Client) (*admin.Members, error) { return c.Members(ctx) })
}

func newMemberList(e *env) *cobra.Command {
	return &cobra.Command{
		Use:   "list",
		Short: "List members: status, role, version, endpoints, lag",
		Long: "list prints the members as the one that answers sees them.\n\n" +
			"STATUS is joining (admitted, was never up), up, suspect (silent for a moment) or down (declared so; its peers are elsewhere). " +
			"One that is down without its log runs, but waits to be readmitted. ROLE is leader, voter or nonvoter (catching up, or standing by). LAG is how many log entries it has yet to apply.",
		Example: "  rootctl member list\n  rootctl member list -o json | jq -r '.members[] | select(.status != \"up\").name'",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			m, err := e.members(cmd.Context())
			if err != nil {
				return err
			}
			if e.output == "json" {
				return e.printJSON(m)
			}
			e.printMembers(m)
			return nil
		},
	}
}

func (e *env) printMembers(m *admin.Members) {
	t := newTable(e.stdout, "NAME", "ID", "STATUS", "ROLE", "VERSION", "ADDRESS", "ENDPOINTS", "EPOCH", "APPLIED", "LAG", "LAST REPORT")
	for i := range m.Members {
		o := &m.Members[i]
		name, applied, lag := o.Name, "-", "-"
		if o.ID == m.Self {
			name += "*"
		}
		if o.AppliedIndex > 0 {
			applied, lag = count(o.AppliedIndex), count(o.Lag)
		}
		t.row(name, strconv.Itoa(int(o.ID)), statusText(o), orDash(o.Role), orDash(o.Version), orDash(o.Address), orDash(joinAddrs(o.Endpoints)),
			strconv.Itoa(int(o.Epoch)), applied, lag, ago(e.now(), o.LastReport))
	}
	t.flush()
	e.printRescues(m.Rescues)
	switch {
	case m.Leader == "":
		e.note("! no leader: nothing can be changed until a majority of voters is back")
	case !m.Quorum:
		e.note("! the leader %s does not hear from a majority of voters", m.Leader)
	}
}

// printRescues says what became of the peers of members that died in the last hour.
func (e *env) printRescues(all []admin.Rescue) {
	for i := range all {
		e.printf("%s\n", rescueText(&all[i], e.now()))
	}
}

func rescueText(r *admin.Rescue, now time.Time) string {
	what := r.Member + " died"
	if r.Restored {
		what = "restored"
	}
	return fmt.Sprintf("rescue: %s %s with %s: %s here, %s elsewhere, %s wait, %s given up", what, ago(now, r.At), plural(r.Peers, "peer", "peers"),
		count(r.Arrived), count(r.Elsewhere), count(r.Waiting), count(r.GivenUp))
}

// statusText is a member's status, and whether it drains.
func statusText(m *admin.Member) string {
	if m.LogGone {
		return m.Status + " without its log"
	}
	if m.Drain != "" {
		return m.Status + " " + m.Drain
	}
	return m.Status
}

func newMemberShow(e *env) *cobra.Command {
	return &cobra.Command{
		Use:               "show MEMBER",
		Short:             "Show one member: health, endpoints, who reaches them",
		Example:           "  rootctl member show ams1\n  rootctl member show 3 -o json",
		Args:              wantArgs("MEMBER"),
		RunE:              func(cmd *cobra.Command, args []string) error { return memberShow(cmd.Context(), e, args[0]) },
		ValidArgsFunction: e.completeMembers,
	}
}

func memberShow(ctx context.Context, e *env, name string) error {
	all, err := e.members(ctx)
	if err != nil {
		return err
	}
	m := findMember(all, name)
	if m == nil {
		for _, f := range all.Removed {
			if f.Name == name || strconv.Itoa(int(f.ID)) == name {
				return &userError{what: fmt.Sprintf("member %s was removed at %s", f.Name, stamp(f.At))}
			}
		}
		return &userError{what: fmt.Sprintf("there is no member %s", name), hint: "see rootctl member list"}
	}
	if e.output == "json" {
		return e.printJSON(m)
	}
	e.printMember(m)
	return nil
}

func findMember(all *admin.Members, name string) *admin.Member {
	for i := range all.Members {
		if m := &all.Members[i]; m.Name == name || strconv.Itoa(int(m.ID)) == name {
			return m
		}
	}
	return nil
}

func (e *env) printMember(m *admin.Member) {
	up := ""
	if !m.Up.IsZero() {
		up = fmt.Sprintf("%s (epoch %d)", stamp(m.Up), m.Epoch)
	}
	pairs := []string{
		"member", fmt.Sprintf("%s, ID %d", m.Name, m.ID),
		"status", statusText(m) + ", last report " + ago(e.now(), m.LastReport),
		"role", orDash(m.Role) + voteWanted(m),
		"version", fmt.Sprintf("%s, feature level %d", orDash(m.Version), m.Feature),
		"address", orDash(m.Address),
		"joined", stamp(m.Joined),
		"up since", up,
		"log", fmt.Sprintf("applied %s, lag %s", count(m.AppliedIndex), count(m.Lag)),
		"node key", m.KeyHash,
	}
	if h := m.Health; h != nil {
		pairs = append(pairs,
			"load", fmt.Sprintf("%.0f %%, CPU %.0f %%, %s/s, %s", h.Load*100, h.CPU*100, plural(int(h.PacketsPerSecond), "packet", "packets"), plural(int(h.Sessions), "session", "sessions")),
			"memory", bytesText(h.Memory), "disk free", bytesText(h.DiskFree))
	}
	e.fields(pairs...)
	if len(m.Endpoints) == 0 {
		return
	}
	e.printf("\n")
	t := newTable(e.stdout, "ENDPOINT", "IN PLANET", "REACHED BY OTHERS")
	for _, ap := range m.Endpoints {
		reached := "unknown"
		for _, r := range m.Reach {
			if r.Endpoint == ap && r.Asked {
				reached = yesNo(r.OK)
			}
		}
		t.row(ap.String(), yesNo(slices.Contains(m.Published, ap)), reached)
	}
	t.flush()
}

// stamp is a time in UTC, "" if there is none.
func stamp(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format("2006-01-02 15:04:05Z")
}

func newMemberRemove(e *env) *cobra.Command {
	var o admin.RemoveOptions
	var yes bool
	c := &cobra.Command{
		Use:   "remove MEMBER",
		Short: "Take a member out of the cluster for good",
		Long: "remove takes a member out of the cluster: its certificate stops working at once, its peers are given to others, its ID is never used again. " +
			"To come back, its machine joins with a new token and an empty data directory.\n\n" +
			"Stop its rootd first. A member that is alive, or whose removal would lose the quorum, is refused without --force; --dry-run says what would come of it. " +
			"Its endpoints stay in the planet until the next one is published.",
		Example: "  rootctl member remove ams1 --dry-run\n  rootctl member remove ams1\n  rootctl member remove 3 --force --yes",
		Args:    wantArgs("MEMBER"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return memberRemove(cmd.Context(), e, args[0], o, yes)
		},
		ValidArgsFunction: e.completeMembers,
	}
	c.Flags().BoolVar(&o.Force, "force", false, "even if it is alive, or the quorum is lost")
	aloneFlag(c, &o.Alone)
	c.Flags().BoolVar(&o.DryRun, "dry-run", false, "only say what would come of it")
	c.Flags().BoolVar(&yes, "yes", false, "do not ask")
	return c
}

// aloneFlag is for what takes something away from the cluster.
func aloneFlag(c *cobra.Command, alone *bool) {
	c.Flags().BoolVar(alone, "alone", false, "although no other root of the planet answers well enough to carry the clients")
}

func memberRemove(ctx context.Context, e *env, name string, o admin.RemoveOptions, yes bool) error {
	remove := func(o admin.RemoveOptions) (*admin.Removal, error) {
		return ask(ctx, e, func(ctx context.Context, c *admin.Client) (*admin.Removal, error) {
			return c.RemoveMember(ctx, name, o)
		})
	}
	if !o.DryRun && !yes && e.terminal() {
		plan, err := remove(admin.RemoveOptions{DryRun: true})
		if err != nil {
			return err
		}
		e.printRemoval(plan)
		if err := e.confirm("Remove " + plan.Member.Name + " for good?"); err != nil {
			return err
		}
	}
	r, err := remove(o)
	if err != nil {
		return err
	}
	if e.output == "json" {
		return errors.Join(e.printJSON(r), refusedRemoval(r, o))
	}
	e.printRemoval(r)
	if r.Done {
		e.planetHint(ctx, nil)
	}
	return refusedRemoval(r, o)
}

// refusedRemoval is the error of a dry run that found a reason to refuse.
func refusedRemoval(r *admin.Removal, o admin.RemoveOptions) error {
	if r.Done || o.Force || len(r.Problems) == 0 {
		return nil
	}
	return &userError{what: "remove member " + r.Member.Name + ": would be refused", hint: "--force removes it all the same"}
}

func (e *env) printRemoval(r *admin.Removal) {
	verb := "would be removed"
	if r.Done {
		verb = "is removed"
	}
	e.printf("member %s (ID %d, %s) %s; %s attached to it; %s of %s voters that a quorum needs\n", r.Member.Name, r.Member.ID, r.Member.Status, verb,
		plural(r.Peers, "peer was", "peers were"), count(r.VotersLeft), count(r.VotersNeeded))
	for _, p := range r.Problems {
		e.printf("! %s\n", p)
	}
}

// completeMembers offers names while the operator types; it never complains.
func (e *env) completeMembers(cmd *cobra.Command, args []string, typed string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 || cmd.Context() == nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	c := e.client()
	defer c.Close()
	ctx, cancel := context.WithTimeout(cmd.Context(), time.Second)
	defer cancel()
	m, err := c.Members(ctx)
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	var out []string
	for _, o := range m.Members {
		if strings.HasPrefix(o.Name, typed) {
			out = append(out, o.Name+"\t"+o.Status+" "+o.Role)
		}
	}
	return out, cobra.ShellCompDirectiveNoFileComp
}
