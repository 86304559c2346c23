package main

import (
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/rootd/rootd/packetpath/vl1"
	"github.com/rootd/rootd/snapshot"
)

func newSnapshotInspect(e *env) *cobra.Command {
	return &cobra.Command{
		Use:   "inspect FILE|-",
		Short: "Say what is in an archive",
		Long: "inspect reads an archive to its end, verifies it, and says what is in it: counts, sizes, fingerprints, which secrets, and who can open them. It shows no " +
			"secrets, and needs neither rootd nor a key.",
		Example: "  rootctl snapshot inspect alice.rootd\n  rootctl snapshot inspect alice.rootd -o json",
		Args:    wantArgs("FILE"),
		RunE: func(_ *cobra.Command, args []string) error {
			v, err := e.verify(args[0], keyOptions{})
			if err != nil {
				return err
			}
			return v.inspect(e)
		},
	}
}

func newSnapshotVerify(e *env) *cobra.Command {
	var o keyOptions
	c := &cobra.Command{
		Use:   "verify FILE|-",
		Short: "Check every byte of an archive",
		Long: "verify reads an archive to its end and checks all of it: checksums, every record, the state hash. With a key or passphrase it also opens the secrets, " +
			"and checks that they are those of this root and this planet. It changes nothing, shows no secrets, and needs no rootd.",
		Example: "  rootctl snapshot verify alice.rootd\n  rootctl snapshot verify alice.rootd --archive-key key.txt",
		Args:    wantArgs("FILE"),
		RunE: func(_ *cobra.Command, args []string) error {
			v, err := e.verify(args[0], o)
			if err != nil {
				return err
			}
			if e.output == "json" {
				return e.printJSON(v)
			}
			secrets := "none in it"
			if v.Meta.Secrets.Any() {
				secrets = "sealed, not opened"
			}
			if v.Opened {
				secrets = "opened, and right: " + secretsText(v.Meta)
			}
			e.fields("Verified", fmt.Sprintf("%s  %s", v.File, bytesText(v.Bytes)), "State hash", v.Meta.StateHash, "Peers", count(v.Meta.Counts.Peers), "Secrets", secrets,
				"Took", fmt.Sprintf("%s, %s", v.took.Round(time.Millisecond), throughput(v.Bytes, v.took)))
			return nil
		},
	}
	o.flags(c, "")
	return c
}

// verified is an archive that was read to its end and found right.
type verified struct {
	File     string             `json:"file"`
	Bytes    int64              `json:"bytes"`
	Meta     *snapshot.Meta     `json:"meta"`
	Sections []snapshot.Section `json:"sections"`
	Opened   bool               `json:"secrets_opened"`

	took time.Duration
}

func (e *env) verify(file string, o keyOptions) (*verified, error) {
	began := time.Now()
	p := e.newProgress("verifying", fileSize(file))
	defer p.done()
	a, closer, err := e.archive(file, p)
	if err != nil {
		return nil, err
	}
	defer closer()
	if err := a.Verify(); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	v := &verified{File: file, Meta: a.Meta(), Sections: a.Sections(), Bytes: p.n}
	if o.given() {
		key, err := e.unseal(a.Meta(), &o)
		if err != nil {
			return nil, err
		}
		s, err := a.OpenSecrets(key)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		if err := checkSecrets(a.Meta(), s); err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		v.Opened = true
	}
	v.took = time.Since(began)
	return v, nil
}

// checkSecrets complains about secrets that do not belong to the state beside them.
func checkSecrets(m *snapshot.Meta, s *snapshot.Secrets) error {
	if s.Identity != nil {
		if s.Identity.Identity.String() != m.Cluster.Root {
			return errors.New("the identity in it is another root's than the state's")
		}
		if err := vl1.NewHasher().Validate(&s.Identity.Identity); err != nil {
			return fmt.Errorf("the identity in it: %w", err)
		}
	}
	if s.PlanetKey != nil && !m.HoldsPlanetKey() {
		return errors.New("the planet key in it signs another planet than the state's")
	}
	if s.Authority != nil && s.Authority.Cluster().String() != m.Cluster.ID {
		return errors.New("the authority in it is another cluster's")
	}
	return nil
}

func (v *verified) inspect(e *env) error {
	if e.output == "json" {
		return e.printJSON(v)
	}
	m := v.Meta
	planet := "none"
	if p := m.Planet; p != nil {
		planet = fmt.Sprintf("%s of %s, %s, %s", p.WorldID, time.UnixMilli(int64(p.Timestamp)).UTC().Format(time.DateTime), plural(p.Roots, "root", "roots"), plural(p.Endpoints, "endpoint", "endpoints"))
	}
	root := m.Cluster.Root
	if id, err := vl1.ParseIdentity(root); err == nil {
		root = id.Address.String()
	}
	e.fields(
		"Archive", fmt.Sprintf("%s  %s, format %d, whole", v.File, bytesText(v.Bytes), m.Format),
		"Made", fmt.Sprintf("%s by rootd %s, from %s", m.Created.Format(time.DateTime), orDash(m.Software), fromText(m)),
		"Cluster", fmt.Sprintf("%s  %s, epoch %s", m.Cluster.Name, m.Cluster.ID, m.Cluster.Epoch),
		"Root", root,
		"Index", fmt.Sprintf("%d, term %d, at %s", m.Index, m.Term, m.Time.Format(time.DateTime)),
		"State hash", m.StateHash,
		"Peers", count(m.Counts.Peers),
		"Members", fmt.Sprintf("%d, %d of them vote; %d former", m.Counts.Members, m.Counts.Voters, m.Counts.Removed),
		"Settings", fmt.Sprintf("%d set", m.Counts.Settings),
		"Tokens", fmt.Sprint(m.Counts.Tokens),
		"Planet", planet,
		"Secrets", secretsText(m),
	)
	if m.Planet != nil && !m.HoldsPlanetKey() {
		e.note("warning: the planet's signing key is not in it")
	}
	e.printf("\n")
	t := newTable(e.stdout, "SECTION", "BYTES", "PLAIN")
	for _, s := range v.Sections {
		t.row(s.Name, count(s.Bytes), count(s.Plain))
	}
	t.flush()
	return nil
}
