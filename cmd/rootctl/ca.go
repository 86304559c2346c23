package main

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/rootd/rootd/transport/admin"
)

func newCA(e *env) *cobra.Command {
	return group("ca", "Look at the cluster's certificate authority, and replace it",
		"The authority (CA) signs the certificates by which members know each other; see docs/transport.md.", newCAStatus(e), newCARotate(e))
}

func newCAStatus(e *env) *cobra.Command {
	return &cobra.Command{
		Use:   "status",
		Short: "Show who trusts and uses which CA, and when certificates end",
		Long: "status asks all members which CAs they trust, which one signed their certificate, and which one they sign with. Usually it is one; while the CA is rotated there are two. " +
			"CAs are named by the first digits of their fingerprints.",
		Example: "  rootctl ca status\n  rootctl ca status -o json",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			st, err := ask(cmd.Context(), e, func(ctx context.Context, c *admin.Client) (*admin.CAStatus, error) { return c.CAStatus(ctx) })
			if err != nil {
				return err
			}
			if e.output == "json" {
				return e.printJSON(st)
			}
			e.printCA(st)
			return nil
		},
	}
}

func (e *env) printCA(st *admin.CAStatus) {
	t := newTable(e.stdout, "CA", "MADE", "EXPIRES", "")
	for _, ca := range st.CAs {
		note := ""
		if ca.Fingerprint == st.Next {
			note = "takes over"
		}
		t.row(shortCA(ca.Fingerprint), stamp(ca.Made), stamp(ca.Expires), note)
	}
	t.flush()
	e.printf("\n")
	t = newTable(e.stdout, "MEMBER", "CERTIFICATE BY", "EXPIRES", "TRUSTS", "SIGNS WITH")
	for _, m := range st.Members {
		if m.Error != "" {
			t.row(m.Name, "-", "-", "-", "-")
			continue
		}
		var trusts []string
		for _, f := range m.Trusts {
			trusts = append(trusts, shortCA(f))
		}
		t.row(m.Name, shortCA(m.Certificate), stamp(m.Expires), strings.Join(trusts, " "), orDash(shortCA(m.Signs)))
	}
	t.flush()
	for _, m := range st.Members {
		if m.Error != "" {
			e.note("! %s", m.Error)
		}
	}
	if st.Step != admin.CAStepNone {
		e.note("! a rotation is under way: %s; rootctl ca rotate goes on", caStepText(st.Step))
	}
}

// shortCA names a CA for people.
func shortCA(fingerprint string) string {
	digits := strings.TrimPrefix(fingerprint, "sha256:")
	return digits[:min(16, len(digits))]
}

func caStepText(step string) string {
	switch step {
	case admin.CAStepTrust:
		return "not all members trust the new CA yet"
	case admin.CAStepRenew:
		return "not all members have a certificate of the new CA yet"
	case admin.CAStepForget:
		return "not all members have forgotten the old CA yet"
	}
	return "done"
}

func newCARotate(e *env) *cobra.Command {
	var force, yes bool
	c := &cobra.Command{
		Use:   "rotate",
		Short: "Replace the CA, step by step",
		Long: "rotate makes a new CA and puts it in the place of the old one: all members trust both; all get certificates of the new one; all forget the old one. No step begins before all members have taken " +
			"the one before, connections stay, clients notice nothing. Every member must be up: one that misses a step would have to join again.\n\n" +
			"It is safe to interrupt at any point and to run again, on the same member: it goes on where it was. Join tokens and operators' certificates end with the old CA: make new ones. " +
			"Save a new backup afterwards, the CA's key in the old ones is of no use.",
		Example: "  rootctl ca rotate\n  rootctl ca status",
		Args:    noArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return caRotate(cmd.Context(), e, force, yes) },
	}
	c.Flags().BoolVar(&force, "force", false, "even if the CA has just been made")
	c.Flags().BoolVar(&yes, "yes", false, "do not ask")
	return c
}

func caRotate(ctx context.Context, e *env, force, yes bool) error {
	rotate := func(o admin.RotateOptions) (*admin.CAStatus, error) {
		limited, cancel := context.WithTimeout(ctx, max(e.timeout, 2*time.Minute)) // it asks all members, one step after the other
		defer cancel()
		c := e.client()
		defer c.Close()
		return c.RotateCA(limited, o)
	}
	st, err := ask(ctx, e, func(ctx context.Context, c *admin.Client) (*admin.CAStatus, error) { return c.CAStatus(ctx) })
	if err != nil {
		return err
	}
	switch {
	case st.Step != admin.CAStepNone:
		e.note("a rotation goes on: %s", caStepText(st.Step))
	case !yes && e.terminal():
		e.printCA(st)
		if err := e.confirm("Make a new CA and put it in the place of this one?"); err != nil {
			return err
		}
	}
	const steps = 3 // and as many again if members change meanwhile
	for i := range 2*steps + 1 {
		if st, err = rotate(admin.RotateOptions{Begin: i == 0, Force: force}); err != nil {
			return err
		}
		if st.Step == admin.CAStepNone {
			break
		}
		e.note("%s", map[string]string{admin.CAStepRenew: "all members trust the new CA", admin.CAStepForget: "all members have certificates of the new CA"}[st.Step])
	}
	if st.Step != admin.CAStepNone {
		return &userError{what: "the rotation does not end", err: errors.New(caStepText(st.Step)), hint: "see rootctl ca status, then run it again"}
	}
	if e.output == "json" {
		return e.printJSON(st)
	}
	e.printCA(st)
	e.note("next: new join tokens (rootctl token create), new operators' certificates, and a new backup (rootctl snapshot save)")
	return nil
}
