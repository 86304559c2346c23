package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/rootd/rootd/cmd/internal/datadir"
	"github.com/rootd/rootd/packetpath/vl1"
)

func newIdentity(e *env) *cobra.Command {
	return group("identity", "Make, show and validate identities",
		"An identity is a ZeroTier address and the keys behind it. Files are the ones that zerotier-idtool writes.",
		newIdentityNew(e), newIdentityShow(e), newIdentityValidate(e))
}

// identityJSON is what -o json prints of an identity. The secret is never among it.
type identityJSON struct {
	Source   string      `json:"source"`
	Address  vl1.Address `json:"address"`
	Identity string      `json:"identity"` // public text form
	Secret   bool        `json:"has_secret"`
	Valid    *bool       `json:"valid,omitempty"`
	Why      string      `json:"why,omitempty"`
}

func newIdentityNew(e *env) *cobra.Command {
	var dir string
	c := &cobra.Command{
		Use:   "new",
		Short: "Make a new identity: identity.secret and identity.public",
		Long: "new makes an identity, which takes a second of computing, and writes identity.secret (mode 0600) and identity.public " +
			"into the directory. It refuses to replace an identity that is there. The secret is not printed.",
		Example: "  rootctl identity new\n  rootctl identity new --dir alice",
		Args:    noArgs,
		RunE:    func(*cobra.Command, []string) error { return identityNew(e, dir) },
	}
	c.Flags().StringVar(&dir, "dir", ".", "directory for the two files, made if missing")
	return c
}

func identityNew(e *env, dir string) error {
	secret, public := filepath.Join(dir, datadir.FileSecret), filepath.Join(dir, datadir.FilePublic)
	for _, path := range []string{secret, public} {
		if _, err := os.Lstat(path); err == nil {
			return &userError{what: path + " is there already", hint: "choose another directory with --dir; an identity is never replaced"}
		}
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	id, err := vl1.NewHasher().Generate()
	if err != nil {
		return err
	}
	if err := datadir.CreateFile(secret, []byte(id.SecretString()+"\n"), 0o600); err != nil {
		return err
	}
	if err := datadir.CreateFile(public, []byte(id.Identity.String()+"\n"), 0o644); err != nil {
		return err
	}
	if e.output == "json" {
		return e.printJSON(identityJSON{Source: secret, Address: id.Address, Identity: id.Identity.String(), Secret: true})
	}
	e.fields("address", id.Address.String(), "secret", secret, "public", public)
	return nil
}

func newIdentityShow(e *env) *cobra.Command {
	return &cobra.Command{
		Use:     "show FILE|IDENTITY|-",
		Short:   "Show the public half of an identity",
		Long:    "show prints the address and the public text form, whether it is given a public or a secret identity. The secret is never printed.",
		Example: "  rootctl identity show /var/lib/rootd/identity.secret\n  rootctl identity show identity.public -o json",
		Args:    wantArgs("FILE or IDENTITY"),
		RunE: func(_ *cobra.Command, args []string) error {
			id, secret, err := e.readIdentity(args[0])
			if err != nil {
				return err
			}
			if e.output == "json" {
				return e.printJSON(identityJSON{Source: source(args[0]), Address: id.Address, Identity: id.String(), Secret: secret})
			}
			e.fields("address", id.Address.String(), "identity", id.String(), "secret", map[bool]string{true: "in the file, not shown", false: "none"}[secret])
			return nil
		},
	}
}

func newIdentityValidate(e *env) *cobra.Command {
	return &cobra.Command{
		Use:   "validate FILE|IDENTITY|- ...",
		Short: "Check that identities are genuine",
		Long: "validate runs the memory-hard check that ties an address to its keys (some 50 ms each), and for secret identities " +
			"also checks that both halves of the keys belong together. Exit code 1 if any is invalid.",
		Example: "  rootctl identity validate identity.public\n  zerotier-cli info -j | jq -r .publicIdentity | rootctl identity validate -",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usageError("FILE or IDENTITY is missing")
			}
			return nil
		},
		RunE: func(_ *cobra.Command, args []string) error { return identityValidate(e, args) },
	}
}

func identityValidate(e *env, args []string) error {
	hasher := vl1.NewHasher()
	results := make([]identityJSON, 0, len(args))
	bad := 0
	for _, arg := range args {
		id, secret, err := e.readIdentity(arg)
		if err == nil {
			err = hasher.Validate(&id)
		}
		r := identityJSON{Source: source(arg), Address: id.Address, Secret: secret, Valid: new(err == nil)}
		if id.Address != 0 {
			r.Identity = id.String()
		}
		if err != nil {
			bad++
			r.Why = err.Error()
		}
		results = append(results, r)
	}
	if e.output == "json" {
		if err := e.printJSON(results); err != nil {
			return err
		}
	} else {
		for _, r := range results {
			if *r.Valid {
				e.printf("%s  valid\n", r.Address)
			} else {
				e.printf("%s  INVALID: %s\n", r.Source, r.Why)
			}
		}
	}
	if bad > 0 {
		return &userError{what: fmt.Sprintf("%d of %s", bad, plural(len(args), "identity", "identities")), err: errors.New("invalid")}
	}
	return nil
}

// readIdentity reads a file with an identity, an identity as text, or standard input ("-"). It returns the public
// half and whether there was a secret. A file with a secret that others may read is refused.
func (e *env) readIdentity(arg string) (id vl1.Identity, secret bool, err error) {
	var text []byte
	if arg == "-" {
		text, err = io.ReadAll(io.LimitReader(e.stdin, 4096))
	} else if isText(arg) {
		text = []byte(arg)
	} else if text, err = os.ReadFile(arg); err == nil && bytes.Count(text, []byte(":")) > 2 {
		text, err = datadir.ReadSecret(arg)
	}
	if err != nil {
		return id, false, err
	}
	s := string(bytes.TrimSpace(text))
	if strings.Count(s, ":") > 2 {
		sid, err := vl1.ParseSecretIdentity(s)
		if err != nil {
			return id, true, fmt.Errorf("%s: %w", source(arg), err)
		}
		return sid.Identity, true, nil
	}
	if id, err = vl1.ParseIdentity(s); err != nil {
		return id, false, fmt.Errorf("%s: %w", source(arg), err)
	}
	return id, false, nil
}

// source names where an identity came from; of an identity given as text, the address is enough (and holds no secret).
func source(arg string) string {
	if arg == "-" {
		return "standard input"
	}
	if isText(arg) {
		return arg[:2*vl1.AddressLen]
	}
	return arg
}

// isText reports whether arg is meant as an identity, not as the name of a file.
func isText(arg string) bool {
	address, rest, ok := strings.Cut(arg, ":")
	return ok && len(address) == 2*vl1.AddressLen && strings.Contains(rest, ":")
}
