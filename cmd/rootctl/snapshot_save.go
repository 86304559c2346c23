package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/rootd/rootd/cmd/internal/datadir"
	"github.com/rootd/rootd/snapshot"
	"github.com/rootd/rootd/transport/admin"
)

type saveOptions struct {
	recipients     []string
	recipientsFile string
	passphraseFile string
	noSecrets      bool
	planetKey      string
	stale          bool
}

func newSnapshotSave(e *env) *cobra.Command {
	var o saveOptions
	c := &cobra.Command{
		Use:   "save FILE|-",
		Short: "Save the cluster to an archive",
		Long: "save takes the state from the leader, wherever it is, while packets and changes go on, and the secrets from the data directory here, " +
			"seals them, and writes one file. What was written is read back from the disk and verified before it gets its name; a file that was there is " +
			"replaced only then, and only if it is an archive of the same cluster. So save may be interrupted at any moment and run again.\n\n" +
			"The secrets are sealed to recipients (public keys of age: make a pair with age-keygen, and keep the secret one away from here) or with a passphrase. To leave them " +
			"out, say so with --no-secrets: a new cluster cannot be made from such an archive alone.\n\n" +
			"Without a leader, --stale takes the state of this member, which may lack what was committed last.",
		Example: "  rootctl snapshot save /backup/alice.rootd -r age1qe...\n" +
			"  rootctl snapshot save alice.rootd --passphrase-file /root/passphrase\n" +
			"  rootctl snapshot save - -r age1qe... | ssh backup 'cat > alice.rootd && rootctl snapshot verify alice.rootd'",
		Args: wantArgs("FILE"),
		RunE: func(cmd *cobra.Command, args []string) error { return snapshotSave(cmd.Context(), e, args[0], o) },
	}
	f := c.Flags()
	f.StringArrayVarP(&o.recipients, "recipient", "r", nil, "seal the secrets to this public key of age (age1...); may be repeated")
	f.StringVar(&o.recipientsFile, "recipients-file", "", "file with such public keys, one a line")
	f.StringVar(&o.passphraseFile, "passphrase-file", "", "seal the secrets with the passphrase on the first line of this file")
	f.BoolVar(&o.noSecrets, "no-secrets", false, "leave all secrets out")
	f.StringVar(&o.planetKey, "key", "", "the planet's signing key, where it is not kept in the data directory")
	f.BoolVar(&o.stale, "stale", false, "take the state of this member, leader or not")
	return c
}

// saved is what save prints.
type saved struct {
	File     string        `json:"file"`
	Meta     snapshot.Meta `json:"meta"`
	Bytes    int64         `json:"bytes"`
	State    int64         `json:"state_bytes"`
	Seconds  float64       `json:"seconds"`
	Verified bool          `json:"verified"` // read back from the disk
	Noted    bool          `json:"noted"`    // in the log, as a backup
	Warnings []string      `json:"warnings,omitzero"`
}

func snapshotSave(ctx context.Context, e *env, file string, o saveOptions) error {
	seal, err := o.seal()
	if err != nil {
		return err
	}
	out := &saved{File: file}
	var secrets snapshot.Secrets
	var dir *datadir.Dir
	if !o.noSecrets {
		if dir, err = datadir.Read(e.dataDir); err != nil {
			return &userError{what: "take the secrets", err: err, hint: hintOr(err, "name the data directory with --data-dir, or leave the secrets out with --no-secrets")}
		}
		if secrets, err = o.secrets(dir); err != nil {
			return err
		}
		out.Warnings = missingSecrets(&secrets)
	} else {
		out.Warnings = []string{"it holds no secrets: without the root's identity and the planet's signing key from elsewhere nothing can be restored from it on new machines"}
	}
	client := e.client()
	defer client.Close()
	if err := e.saveFrom(ctx, client, file, o.stale, dir, secrets, seal, out); err != nil {
		return err
	}
	return out.print(e)
}

// saveFrom saves what a member answers, and fills out. dir is where the secrets are from; nil: there are none.
func (e *env) saveFrom(ctx context.Context, client *admin.Client, file string, stale bool, dir *datadir.Dir, secrets snapshot.Secrets, seal snapshot.Seal, out *saved) error {
	began := time.Now()
	head, state, err := client.Snapshot(ctx, stale)
	if err != nil {
		return err
	}
	defer state.Close()
	var meta snapshot.Meta
	if err := json.Unmarshal(head.Meta, &meta); err != nil {
		return fmt.Errorf("take snapshot: answer not understood: %w", err)
	}
	meta.Created = e.now()
	if dir != nil && dir.Meta.Cluster != meta.Cluster.ID {
		return &userError{
			what: fmt.Sprintf("%s is of cluster %s, the rootd that answers of %s", e.dataDir, dir.Meta.Cluster, meta.Cluster.ID),
			hint: "give --data-dir and --socket of the same rootd",
		}
	}
	p := e.newProgress("saving", head.Bytes)
	defer p.done()
	job := saveJob{e: e, meta: meta, secrets: secrets, seal: seal, progress: p, state: func(w io.Writer) error {
		_, err := io.CopyBuffer(struct{ io.Writer }{io.MultiWriter(w, p)}, struct{ io.Reader }{state}, make([]byte, 1<<18))
		return err
	}}
	var written *snapshot.Written
	if file == "-" {
		written, err = job.toStdout()
	} else {
		written, err = job.toFile(file)
	}
	if err != nil {
		return err
	}
	p.done()
	out.Meta, out.Bytes, out.State, out.Seconds = written.Meta, written.Bytes, written.StateBytes, time.Since(began).Seconds()
	out.Verified = file != "-"
	out.note(ctx, e, client)
	return nil
}

func (o *saveOptions) seal() (snapshot.Seal, error) {
	if o.recipientsFile != "" {
		b, err := os.ReadFile(o.recipientsFile)
		if err != nil {
			return snapshot.Seal{}, err
		}
		for line := range strings.Lines(string(b)) {
			if line = strings.TrimSpace(line); line != "" && line[0] != '#' {
				o.recipients = append(o.recipients, line)
			}
		}
	}
	switch {
	case o.noSecrets && (len(o.recipients) > 0 || o.passphraseFile != ""):
		return snapshot.Seal{}, usageError("--no-secrets with something to seal them with: choose")
	case o.noSecrets:
		return snapshot.Seal{}, nil
	case len(o.recipients) > 0 && o.passphraseFile != "":
		return snapshot.Seal{}, usageError("recipients and a passphrase: choose one kind")
	case o.passphraseFile != "":
		p, err := readPassphrase(o.passphraseFile)
		if err != nil {
			return snapshot.Seal{}, err
		}
		return snapshot.SealWith(p)
	case len(o.recipients) > 0:
		return snapshot.SealTo(o.recipients...)
	}
	return snapshot.Seal{}, &userError{
		what: "the secrets have nothing to be sealed with", usage: true,
		hint: "seal them with -r age1... or --passphrase-file FILE; or leave them out, knowingly, with --no-secrets",
	}
}

func (o *saveOptions) secrets(d *datadir.Dir) (snapshot.Secrets, error) {
	s := snapshot.Secrets{Identity: d.Identity, Authority: d.Authority, PlanetKey: d.SigningKey}
	if o.planetKey != "" {
		k, err := datadir.ReadKey(o.planetKey)
		if err != nil {
			return s, err
		}
		if k.Public() != d.Planet.UpdateKey {
			return s, &userError{what: o.planetKey + " is not the key that signs this planet", hint: "name the key that signs the planet in " + d.Path}
		}
		s.PlanetKey = k
	}
	return s, nil
}

func missingSecrets(s *snapshot.Secrets) (warnings []string) {
	if s.PlanetKey == nil {
		warnings = append(warnings, "the planet's signing key is not in it: it is not kept in this data directory. Give it with --key, or keep it safe yourself: without it every client must be touched")
	}
	if s.Authority == nil {
		warnings = append(warnings, "the cluster authority's key is not in it: it is not kept in this data directory")
	}
	return warnings
}

// saveJob writes one archive.
type saveJob struct {
	e        *env
	meta     snapshot.Meta
	secrets  snapshot.Secrets
	seal     snapshot.Seal
	state    func(io.Writer) error
	progress *progress
}

func (j *saveJob) toStdout() (*snapshot.Written, error) {
	if isTerminal(j.e.stdout) {
		return nil, usageError("an archive is not for a terminal: redirect the output, or name a file")
	}
	return snapshot.Write(j.e.stdout, j.meta, j.state, j.secrets, j.seal)
}

func (j *saveJob) toFile(path string) (*snapshot.Written, error) {
	if err := mayReplaceArchive(path, j.meta.Cluster.ID); err != nil {
		return nil, err
	}
	f, err := snapshot.Create(path)
	if err != nil {
		return nil, err
	}
	defer f.Abandon()
	written, err := snapshot.Write(f, j.meta, j.state, j.secrets, j.seal)
	if err != nil {
		return nil, err
	}
	j.progress.done()
	check := j.e.newProgress("verifying", written.Bytes)
	defer check.done()
	if err := f.Sync(); err != nil {
		return nil, fmt.Errorf("write archive: %w", err)
	}
	if _, err := f.Verify(check); err != nil {
		return nil, &userError{what: "what was written does not verify", err: err, hint: "the disk may be failing; nothing was replaced"}
	}
	return written, f.Commit()
}

// mayReplaceArchive refuses to write over anything but an archive of the same cluster.
func mayReplaceArchive(path, cluster string) error {
	fi, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	} else if err != nil {
		return err
	}
	refuse := func(why string) error {
		return &userError{what: path + " " + why, hint: "choose another name, or move it away first"}
	}
	if !fi.Mode().IsRegular() {
		return refuse("exists and is no file")
	}
	a, closer, err := snapshot.Read(path)
	if err != nil {
		return refuse("exists and is not an archive that may be replaced")
	}
	defer closer.Close()
	if id := a.Meta().Cluster.ID; id != cluster {
		return refuse("is an archive of another cluster, " + id)
	}
	return nil
}

// note puts the backup into the log, so that everybody knows of it.
func (s *saved) note(ctx context.Context, e *env, c *admin.Client) {
	switch {
	case !s.Verified:
		s.Warnings = append(s.Warnings, "written to standard output, so nobody has verified it, and the cluster does not count it as a backup: rootctl snapshot verify, where it ends up")
		return
	case s.Meta.Stale:
		s.Warnings = append(s.Warnings, "it may lack what was committed last, and the cluster does not count it as a backup")
		return
	}
	ctx, cancel := e.limit(ctx)
	defer cancel()
	m := &s.Meta
	_, err := c.NoteBackup(ctx, admin.Backup{
		Taken: m.Created, Index: m.Index, Where: backupName(s.File),
		Identity: m.Secrets.Identity != "", Authority: m.Secrets.Authority != "", PlanetKey: m.Secrets.PlanetKey,
	})
	if s.Noted = err == nil; err != nil {
		s.Warnings = append(s.Warnings, "the archive is whole, but the cluster does not know of it: "+err.Error())
	}
}

// backupName is a file's name as the log keeps it: the last part, and short.
func backupName(path string) string {
	name := []rune(strings.ToValidUTF8(filepath.Base(path), "?"))
	for len(string(name)) > 64 {
		name = name[1:]
	}
	return string(name)
}

func (s *saved) print(e *env) error {
	for _, w := range s.Warnings {
		e.note("warning: %s", w)
	}
	if s.File == "-" {
		e.note("saved index %d, %s, %s", s.Meta.Index, plural(s.Meta.Counts.Peers, "peer", "peers"), bytesText(s.Bytes))
		return nil
	}
	if e.output == "json" {
		return e.printJSON(s)
	}
	took := time.Duration(s.Seconds * float64(time.Second))
	e.fields(
		"Saved", fmt.Sprintf("%s  %s, verified", s.File, bytesText(s.Bytes)),
		"Cluster", fmt.Sprintf("%s  %s", s.Meta.Cluster.Name, s.Meta.Cluster.ID),
		"Index", fmt.Sprintf("%d, term %d, from %s", s.Meta.Index, s.Meta.Term, fromText(&s.Meta)),
		"Peers", count(s.Meta.Counts.Peers),
		"State hash", s.Meta.StateHash,
		"Secrets", secretsText(&s.Meta),
		"Took", fmt.Sprintf("%s, %s of state", took.Round(time.Millisecond), throughput(s.State, took)),
	)
	return nil
}

func fromText(m *snapshot.Meta) string {
	if m.Stale {
		return "member " + m.Member + ", which did not lead"
	}
	return "the leader, " + m.Member
}

func secretsText(m *snapshot.Meta) string {
	s := &m.Secrets
	var list []string
	for _, x := range []struct{ what, held string }{{"identity", s.Identity}, {"authority", s.Authority}, {"planet key", s.PlanetKey}} {
		if x.held != "" {
			list = append(list, x.what)
		}
	}
	switch s.Seal {
	case snapshot.SealRecipients:
		return fmt.Sprintf("%s; sealed to %s", strings.Join(list, ", "), plural(len(s.Recipients), "recipient", "recipients"))
	case snapshot.SealPassphrase:
		return strings.Join(list, ", ") + "; sealed with a passphrase"
	}
	return "none"
}

// hintOr is the hint of an error, or another where it has none.
func hintOr(err error, other string) string {
	if h := hintOf(err); h != "" {
		return h
	}
	return other
}
