package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/rootd/rootd/packetpath/vl1"
	"github.com/rootd/rootd/transport/admin"
)

func newPeer(e *env) *cobra.Command {
	return group("peer", "List, show and import the peers that the root knows", "", newPeerList(e), newPeerShow(e), newPeerImport(e))
}

func newPeerList(e *env) *cobra.Command {
	var f admin.PeerFilter
	c := &cobra.Command{
		Use:   "list",
		Short: "List peers",
		Long: "list prints the peers that the log knows, in no order, as they arrive.\n\n" +
			"PLANET is current, old or unknown: what the peer said in its last HELLO. STATE is confirmed (it answered on its path), " +
			"unconfirmed (it spoke, but did not answer yet) or log (known from the log only). With -o json: one array of peers.",
		Example: "  rootctl peer list\n  rootctl peer list --prefix 8a --limit 20\n  rootctl peer list --member ams -o json | jq length",
		Args:    noArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return peerList(cmd.Context(), e, f) },
	}
	c.Flags().StringVar(&f.Prefix, "prefix", "", "only addresses that begin with these hexadecimal digits")
	c.Flags().StringVar(&f.Member, "member", "", "only peers attached to this member")
	c.Flags().IntVar(&f.Limit, "limit", 0, "stop after so many, 0 = all")
	c.Flags().BoolVar(&f.Unconfirmed, "unconfirmed", false, "only peers without a confirmed path at this member")
	return c
}

func peerList(ctx context.Context, e *env, f admin.PeerFilter) error {
	if f.Limit < 0 {
		return usageError("--limit %d: must not be negative", f.Limit)
	}
	c := e.client()
	defer c.Close()
	if e.output == "json" {
		return peerListJSON(ctx, e, c, f)
	}
	t := newTable(e.stdout, "ADDRESS", "VERSION", "MEMBER", "IPV4", "IPV6", "LAST SEEN", "PLANET", "STATE")
	n := 0
	err := c.Peers(ctx, f, func(p *admin.Peer) error {
		n++
		t.row(p.Address.String(), orDash(p.Version), orDash(members(p)), endpointOf(p, "v4"), endpointOf(p, "v6"),
			ago(e.now(), p.LastSeen), planetWord(p), stateWord(p))
		return nil
	})
	if n > 0 {
		t.flush()
	}
	if err == nil && n == 0 {
		e.note("no peers")
	}
	return err
}

func peerListJSON(ctx context.Context, e *env, c *admin.Client, f admin.PeerFilter) error {
	separator := "[\n"
	err := c.Peers(ctx, f, func(p *admin.Peer) error {
		b, err := marshalLine(p)
		if err != nil {
			return err
		}
		_, err = io.WriteString(e.stdout, separator+"  "+b)
		separator = ",\n"
		return err
	})
	if err != nil {
		return err
	}
	if separator == "[\n" {
		e.printf("[]\n")
	} else {
		e.printf("\n]\n")
	}
	return nil
}

func newPeerShow(e *env) *cobra.Command {
	return &cobra.Command{
		Use:     "show ADDRESS",
		Short:   "Show one peer: identity, paths, planet",
		Example: "  rootctl peer show 8056c2e21c\n  rootctl peer show 8056c2e21c -o json",
		Args:    wantArgs("ADDRESS"),
		RunE:    func(cmd *cobra.Command, args []string) error { return peerShow(cmd.Context(), e, args[0]) },
		ValidArgsFunction: func(cmd *cobra.Command, args []string, typed string) ([]string, cobra.ShellCompDirective) {
			if len(args) > 0 {
				return nil, cobra.ShellCompDirectiveNoFileComp
			}
			return completePeers(cmd.Context(), e, typed), cobra.ShellCompDirectiveNoFileComp
		},
	}
}

// completePeers offers addresses while the operator types; it never complains.
func completePeers(ctx context.Context, e *env, typed string) []string {
	if ctx == nil {
		return nil
	}
	c := e.client()
	defer c.Close()
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	var out []string
	_ = c.Peers(ctx, admin.PeerFilter{Prefix: typed, Limit: 50}, func(p *admin.Peer) error {
		out = append(out, p.Address.String())
		return nil
	})
	return out
}

func peerShow(ctx context.Context, e *env, text string) error {
	text, _, _ = strings.Cut(text, ":") // an identity names its peer, too
	a, err := vl1.ParseAddress(text)
	if err != nil {
		return &userError{err: err, usage: true}
	}
	c := e.client()
	defer c.Close()
	ctx, cancel := e.limit(ctx)
	defer cancel()
	p, err := c.Peer(ctx, a)
	if errors.Is(err, admin.ErrNotFound) && hintOf(err) == "" {
		return &userError{err: err, hint: "it never said HELLO to this root: does it have the planet file, and does UDP reach us? (rootctl status)"}
	}
	if err != nil {
		return err
	}
	if e.output == "json" {
		return e.printJSON(p)
	}
	planet := planetWord(p)
	if p.Planet != 0 {
		planet += ", of " + time.UnixMilli(int64(p.Planet)).UTC().Format("2006-01-02 15:04:05Z")
	}
	e.fields(
		"address", p.Address.String(),
		"identity", p.Identity,
		"version", fmt.Sprintf("%s, protocol %d", orDash(p.Version), p.Protocol),
		"last seen", ago(e.now(), p.LastSeen),
		"planet", planet,
		"state", stateWord(p),
	)
	if len(p.Paths) == 0 {
		e.printf("no paths\n")
		return nil
	}
	e.printf("\n")
	t := newTable(e.stdout, "FAMILY", "ENDPOINT", "MEMBER", "ATTACHED", "CONFIRMED", "LIVE", "LAST RECEIVED", "RTT")
	for _, path := range p.Paths {
		endpoint, last, rtt := "-", "-", "-"
		if path.Endpoint.IsValid() {
			endpoint = path.Endpoint.String()
		}
		if !path.LastReceived.IsZero() {
			last = ago(e.now(), path.LastReceived)
		}
		if path.RTTMillis > 0 {
			rtt = fmt.Sprintf("%.1f ms", path.RTTMillis)
		}
		t.row(path.Family, endpoint, orDash(path.Member), yesNo(path.Attached), yesNo(path.Confirmed), yesNo(path.Live), last, rtt)
	}
	t.flush()
	return nil
}

// members are those to which the peer is attached.
func members(p *admin.Peer) string {
	var names []string
	for _, path := range p.Paths {
		if path.Attached && path.Member != "" && !strings.Contains(strings.Join(names, "/"), path.Member) {
			names = append(names, path.Member)
		}
	}
	return strings.Join(names, "/")
}

// endpointOf prefers the path of a family where the peer is attached, which rootd lists first.
func endpointOf(p *admin.Peer, family string) string {
	for _, path := range p.Paths {
		if path.Family == family && path.Endpoint.IsValid() {
			return path.Endpoint.String()
		}
	}
	return "-"
}

func planetWord(p *admin.Peer) string {
	switch {
	case p.OnPlanet:
		return "current"
	case p.Planet != 0:
		return "old"
	}
	return "unknown"
}

func stateWord(p *admin.Peer) string {
	switch {
	case p.Confirmed:
		return "confirmed"
	case p.Session:
		return "unconfirmed"
	}
	return "log"
}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}
