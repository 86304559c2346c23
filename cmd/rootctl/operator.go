package main

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/rootd/rootd/transport/admin"
	"github.com/rootd/rootd/transport/pki"
)

func newOperator(e *env) *cobra.Command {
	return group("operator", "Let people and tools use rootctl from afar",
		"An operator has a certificate of the cluster, short-lived and revocable, with which rootctl --address HOST:PORT --cert FILE asks any member over its cluster port.",
		newOperatorCreate(e), newOperatorList(e), newOperatorRevoke(e))
}

type operatorOptions struct {
	life     time.Duration
	readOnly bool
	out      string
}

func newOperatorCreate(e *env) *cobra.Command {
	var o operatorOptions
	c := &cobra.Command{
		Use:   "create NAME",
		Short: "Make a certificate for an operator",
		Long: "create makes a key and has the member sign a certificate for it, in one file that its owner must keep secret. It is good for the admin API of all members, not for anything that members do " +
			"among themselves, until its time is over or it is revoked. It can only be run on a member, as the user that runs rootd.\n\n" +
			"Where somebody only watches, --read-only: then nothing can be changed with it.",
		Example: "  rootctl operator create ann --out ann.pem\n  rootctl operator create watch --read-only --life 720h\n" +
			"  rootctl member list --address ams1.example.net:9995 --cert ann.pem",
		Args: wantArgs("NAME"),
		RunE: func(cmd *cobra.Command, args []string) error { return operatorCreate(cmd.Context(), e, args[0], &o) },
	}
	f := c.Flags()
	f.DurationVar(&o.life, "life", pki.OperatorLife, "how long it is good, up to "+pki.OperatorLifeMax.String())
	f.BoolVar(&o.readOnly, "read-only", false, "it may look, and change nothing")
	f.StringVar(&o.out, "out", "", "file to write, default NAME.pem; it must not be there yet")
	return c
}

func operatorCreate(ctx context.Context, e *env, name string, o *operatorOptions) (err error) {
	if err := pki.CheckOperatorName(name); err != nil {
		return &userError{err: err, usage: true}
	}
	if o.life < time.Minute || o.life > pki.OperatorLifeMax {
		return usageError("--life %s: from a minute to %s", o.life, pki.OperatorLifeMax)
	}
	out := o.out
	if out == "" {
		out = name + ".pem"
	}
	file, err := os.OpenFile(out, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return &userError{what: out + " is there already", hint: "name another file: --out"}
	}
	if err != nil {
		return err
	}
	defer func() {
		if err = errors.Join(err, file.Close()); err != nil {
			_ = os.Remove(out)
		}
	}()
	key, err := pki.NewKey()
	if err != nil {
		return err
	}
	request, err := pki.NewRequest(key)
	if err != nil {
		return err
	}
	made, err := ask(ctx, e, func(ctx context.Context, c *admin.Client) (*admin.NewOperator, error) {
		return c.CreateOperator(ctx, admin.OperatorRequest{Name: name, Request: request, Life: int64(o.life / time.Second), ReadOnly: o.readOnly})
	})
	if err != nil {
		return err
	}
	cas, err := pki.ParseBundle(made.CAs)
	if err != nil {
		return err
	}
	pass, err := pki.NewPass(key, made.Chain, cas)
	if err != nil {
		return err
	}
	b, err := pass.PEM()
	if err != nil {
		return err
	}
	if _, err := file.Write(b); err != nil {
		return err
	}
	if err := file.Sync(); err != nil {
		return err
	}
	if e.output == "json" {
		return e.printJSON(operatorJSON{made.Operator, out, made.Addresses})
	}
	e.printf("wrote %s: operator %s, %s, until %s\n", out, name, mayText(made.ReadOnly), stamp(made.Expires))
	if len(made.Addresses) > 0 {
		e.note("next: take it to the operator's machine, and try  rootctl status --address %s --cert %s", made.Addresses[0], out)
	}
	return nil
}

// operatorJSON is what -o json prints of a new operator: no secret.
type operatorJSON struct {
	admin.Operator
	File      string   `json:"file"`
	Addresses []string `json:"addresses"`
}

func mayText(readOnly bool) string {
	if readOnly {
		return "may look"
	}
	return "may do everything"
}

func newOperatorList(e *env) *cobra.Command {
	return &cobra.Command{
		Use:     "list",
		Short:   "List who may use rootctl from afar",
		Example: "  rootctl operator list\n  rootctl operator list -o json",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			list, err := e.operators(cmd.Context())
			if err != nil {
				return err
			}
			if e.output == "json" {
				return e.printJSON(list)
			}
			if len(list) == 0 {
				e.note("no operators")
				return nil
			}
			t := newTable(e.stdout, "NAME", "MAY", "EXPIRES", "KEY")
			for _, o := range list {
				expires := "expired"
				if left := o.Expires.Sub(e.now()); left > 0 {
					expires = "in " + span(left)
				}
				t.row(o.Name, strings.TrimPrefix(mayText(o.ReadOnly), "may "), expires, o.Key[:min(16, len(o.Key))])
			}
			t.flush()
			return nil
		},
	}
}

func (e *env) operators(ctx context.Context) ([]admin.Operator, error) {
	return ask(ctx, e, func(ctx context.Context, c *admin.Client) ([]admin.Operator, error) { return c.Operators(ctx) })
}

func newOperatorRevoke(e *env) *cobra.Command {
	return &cobra.Command{
		Use:     "revoke NAME",
		Short:   "Let somebody in no longer",
		Long:    "revoke makes all certificates of a name worthless at all members, at once: open connections are closed.",
		Example: "  rootctl operator revoke ann",
		Args:    wantArgs("NAME"),
		ValidArgsFunction: func(cmd *cobra.Command, args []string, typed string) ([]string, cobra.ShellCompDirective) {
			if len(args) > 0 || cmd.Context() == nil {
				return nil, cobra.ShellCompDirectiveNoFileComp
			}
			list, _ := e.operators(cmd.Context()) // completion never complains
			var out []string
			for _, o := range list {
				if strings.HasPrefix(o.Name, typed) {
					out = append(out, o.Name)
				}
			}
			return out, cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			gone, err := ask(cmd.Context(), e, func(ctx context.Context, c *admin.Client) ([]admin.Operator, error) {
				return c.RevokeOperator(ctx, args[0])
			})
			if errors.Is(err, admin.ErrNotFound) {
				return &userError{what: "there is no operator " + args[0], hint: "see rootctl operator list"}
			}
			if err != nil {
				return err
			}
			if e.output == "json" {
				return e.printJSON(gone)
			}
			e.printf("operator %s is revoked (%s)\n", args[0], plural(len(gone), "certificate", "certificates"))
			return nil
		},
	}
}
