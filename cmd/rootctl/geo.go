package main

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/rootd/rootd/transport/admin"
)

func newGeo(e *env) *cobra.Command {
	return group("geo", "Show where addresses are, and what members know that from",
		"Positions come from places of prefixes in a member's rootd.toml (geo.overrides), from those in the cluster's settings (rootctl config set geo/PREFIX PLACE), and from a "+
			"database of each member's (geo.database), in this order.",
		newGeoLookup(e), newGeoStatus(e))
}

func newGeoLookup(e *env) *cobra.Command {
	var member string
	c := &cobra.Command{
		Use:   "lookup IP",
		Short: "Say where an address is, and what knew it",
		Long:  "lookup asks a member where it thinks that an address is. For a peer what counts is the position in the log: see rootctl explain.",
		Example: "  rootctl geo lookup 203.0.113.7\n  rootctl geo lookup 2001:db8::1 --member ams\n" +
			"  rootctl config set geo/203.0.113.0/24 \"52.37,4.89,25 Amsterdam, NL\"",
		Args: wantArgs("IP"),
		RunE: func(cmd *cobra.Command, args []string) error {
			ip, err := netip.ParseAddr(args[0])
			if err != nil {
				return usageError("%q is not an IP address", args[0])
			}
			p, err := ask(cmd.Context(), e, func(ctx context.Context, c *admin.Client) (*admin.GeoPlace, error) {
				return c.GeoLookup(ctx, ip, member)
			})
			if err != nil {
				return err
			}
			if e.output == "json" {
				return e.printJSON(p)
			}
			if !p.Known {
				return &userError{
					what: fmt.Sprintf("member %s does not know where %s is", p.Member, p.IP),
					hint: fmt.Sprintf("say it: rootctl config set geo/%s \"LAT,LON\"", netip.PrefixFrom(p.IP, p.IP.BitLen())),
				}
			}
			where := p.Position
			if p.RadiusKm > 0 {
				where += fmt.Sprintf(", within %s km", count(p.RadiusKm))
			}
			source := p.Source
			if p.Network != "" {
				source += ", of " + p.Network
			}
			e.fields("address", p.IP.String(), "position", where, "place", orDash(strings.Trim(p.City+", "+p.Country, ", ")), "known from", source, "member", p.Member)
			return nil
		},
	}
	c.Flags().StringVar(&member, "member", "", "ask this member (default: the one that rootctl talks to)")
	return c
}

func newGeoStatus(e *env) *cobra.Command {
	return &cobra.Command{
		Use:   "status",
		Short: "List the members' positions and databases, and which differ",
		Long: "status prints where each member is and which database of positions it has, by its last report. Members should have the same one: a peer is located by the member " +
			"that it attaches to. Exit code 1 if members differ, or if this member's database is refused.",
		Example: "  rootctl geo status\n  rootctl geo status -o json",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, err := ask(cmd.Context(), e, func(ctx context.Context, c *admin.Client) (*admin.GeoStatus, error) { return c.GeoStatus(ctx) })
			if err != nil {
				return err
			}
			if e.output == "json" {
				err = e.printJSON(s)
			} else {
				geoTable(e, s)
			}
			switch {
			case err != nil:
				return err
			case s.Refused != "":
				return &userError{what: s.Refused, hint: "put a good file there: it is taken without a restart"}
			case s.Differ:
				return &userError{what: "members have different databases of positions", hint: "put the same file on all of them: it is taken without a restart"}
			}
			return nil
		},
	}
}

func geoTable(e *env, s *admin.GeoStatus) {
	file := s.Path
	if file == "" {
		file = "none (geo.database)"
	}
	e.fields("database here", file, "places", fmt.Sprintf("%s in this member's configuration, %s in the cluster's settings", count(s.Overrides), count(s.Settings)),
		"peers located", fmt.Sprintf("%s of %s", count(s.Located), count(s.Peers)))
	e.printf("\n")
	t := newTable(e.stdout, "MEMBER", "POSITION", "DATABASE", "BUILT", "AGE", "TYPE", "")
	for _, m := range s.Members {
		built, age, note := "-", "-", ""
		if !m.Built.IsZero() {
			built, age = m.Built.UTC().Format(time.DateOnly), days(e.now().Sub(m.Built))
		}
		if m.Differs {
			note = "differs"
		}
		t.row(m.Name, orDash(m.Position), orDash(m.Hash), built, age, orDash(m.Type), note)
	}
	t.flush()
}

func days(d time.Duration) string { return fmt.Sprintf("%d days", max(0, int(d.Hours()/24))) }
