package main

import (
	"context"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/rootd/rootd/transport/admin"
)

func newToken(e *env) *cobra.Command {
	return group("token", "Make, list and revoke join tokens",
		"A token admits one machine to the cluster: it tells whom to dial, whom to believe, and a secret. It expires, works once, and is stored hashed.",
		newTokenCreate(e), newTokenList(e), newTokenRevoke(e))
}

func newTokenCreate(e *env) *cobra.Command {
	var life time.Duration
	var note string
	c := &cobra.Command{
		Use:   "create",
		Short: "Make a join token and print the command line to paste on the new machine",
		Long: "create makes a token for one machine and prints it, once: whoever has it can become a member and gets the root's secret. " +
			"Carry it over a channel that you trust, and revoke it if it went elsewhere.",
		Example: "  rootctl token create\n  rootctl token create --expires 1h --note ams1\n  rootctl token create -o json | jq -r .token | ssh ams1 rootctl join -",
		Args:    noArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return tokenCreate(cmd.Context(), e, life, note) },
	}
	c.Flags().DurationVar(&life, "expires", 24*time.Hour, "how long it is good")
	c.Flags().StringVar(&note, "note", "", "what it is for, up to 64 bytes")
	return c
}

func tokenCreate(ctx context.Context, e *env, life time.Duration, note string) error {
	if life < time.Minute || life > 30*24*time.Hour {
		return usageError("--expires %s: between 1m and 720h", life)
	}
	if len(note) > 64 {
		return usageError("--note: at most 64 bytes")
	}
	t, err := ask(ctx, e, func(ctx context.Context, c *admin.Client) (*admin.NewToken, error) {
		return c.CreateToken(ctx, admin.TokenRequest{Life: int64(life / time.Second), Note: note})
	})
	if err != nil {
		return err
	}
	if e.output == "json" {
		return e.printJSON(t)
	}
	e.fields(
		"token", t.ID,
		"expires", stamp(t.Expires)+", in "+span(t.Expires.Sub(e.now())),
		"note", t.Note,
		"dials", strings.Join(t.Addresses, " "),
		"trusts", t.CA,
	)
	e.printf("\nOn the new machine (once; whoever has this line can become a member):\n\n  rootctl join %s\n\n", t.Text)
	return nil
}

func newTokenList(e *env) *cobra.Command {
	return &cobra.Command{
		Use:     "list",
		Short:   "List join tokens: open, used, expired",
		Long:    "list prints the tokens that the log knows, without their secrets. Used and expired ones are forgotten after a week.",
		Example: "  rootctl token list\n  rootctl token list -o json",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			list, err := e.tokens(cmd.Context())
			if err != nil {
				return err
			}
			if e.output == "json" {
				if list == nil {
					list = []admin.Token{}
				}
				return e.printJSON(list)
			}
			if len(list) == 0 {
				e.note("no tokens")
				return nil
			}
			t := newTable(e.stdout, "ID", "STATE", "EXPIRES", "MEMBER", "NOTE")
			for _, k := range list {
				expires := "-"
				if k.State == admin.TokenOpen {
					expires = "in " + span(k.Expires.Sub(e.now()))
				}
				t.row(k.ID, k.State, expires, orDash(k.Member), orDash(k.Note))
			}
			t.flush()
			return nil
		},
	}
}

func (e *env) tokens(ctx context.Context) ([]admin.Token, error) {
	return ask(ctx, e, func(ctx context.Context, c *admin.Client) ([]admin.Token, error) { return c.Tokens(ctx) })
}

func newTokenRevoke(e *env) *cobra.Command {
	return &cobra.Command{
		Use:     "revoke ID",
		Short:   "Make a join token worthless",
		Long:    "revoke forgets a token: nobody can join with it any more. Who has joined with it stays a member; see member remove.",
		Example: "  rootctl token revoke 44061b4921ac9027",
		Args:    wantArgs("ID"),
		ValidArgsFunction: func(cmd *cobra.Command, args []string, typed string) ([]string, cobra.ShellCompDirective) {
			if len(args) > 0 || cmd.Context() == nil {
				return nil, cobra.ShellCompDirectiveNoFileComp
			}
			list, _ := e.tokens(cmd.Context()) // completion never complains
			var out []string
			for _, t := range list {
				if strings.HasPrefix(t.ID, typed) {
					out = append(out, t.ID+"\t"+t.State+" "+t.Note)
				}
			}
			return out, cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if strings.HasPrefix(args[0], "rootd-join-") {
				return usageError("that is a token itself: name its ID, see rootctl token list")
			}
			t, err := ask(cmd.Context(), e, func(ctx context.Context, c *admin.Client) (*admin.Token, error) { return c.RevokeToken(ctx, args[0]) })
			if err != nil {
				return err
			}
			if e.output == "json" {
				return e.printJSON(t)
			}
			e.printf("token %s is revoked\n", t.ID)
			if t.Member != "" {
				e.printf("member %s has joined with it, and stays; see rootctl member remove\n", t.Member)
			}
			return nil
		},
	}
}
