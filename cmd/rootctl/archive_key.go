package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/rootd/rootd/cmd/internal/datadir"
	"github.com/rootd/rootd/snapshot"
)

// passphraseVariable is the environment variable that the passphrase of an archive may be in.
const passphraseVariable = "ROOTD_PASSPHRASE"

// keyOptions name what opens the secrets of an archive. Every command that opens them has these flags.
type keyOptions struct {
	keyFile        string
	passphraseFile string
}

func (o *keyOptions) flags(c *cobra.Command, prefix string) {
	f := c.Flags()
	f.StringVar(&o.keyFile, "archive-key", "", prefix+"file with the age secret key (AGE-SECRET-KEY-1...) that opens the secrets of the archive")
	f.StringVar(&o.passphraseFile, "passphrase-file", "", prefix+"file with the passphrase of the archive on its first line, default "+passphraseVariable+", else it is asked for")
	c.MarkFlagsMutuallyExclusive("archive-key", "passphrase-file")
}

// given reports whether secrets are to be opened.
func (o *keyOptions) given() bool { return *o != keyOptions{} }

// unseal returns what opens the secrets of an archive.
func (e *env) unseal(m *snapshot.Meta, o *keyOptions) (snapshot.Key, error) {
	switch m.Secrets.Seal {
	case snapshot.SealRecipients:
		return unsealKey(m, o)
	case snapshot.SealPassphrase:
		text, err := e.passphrase(o)
		if err != nil {
			return snapshot.Key{}, err
		}
		return snapshot.Passphrase(text)
	}
	if o.given() {
		return snapshot.Key{}, &userError{what: "the archive holds no secrets: there is nothing to open", hint: "leave out --archive-key and --passphrase-file"}
	}
	return snapshot.Key{}, nil
}

// unsealKey reads the secret key of a recipient.
func unsealKey(m *snapshot.Meta, o *keyOptions) (snapshot.Key, error) {
	if o.keyFile == "" {
		what := "the secrets of the archive are sealed to " + strings.Join(m.Secrets.Recipients, ", ")
		if o.passphraseFile != "" {
			what += ", not with a passphrase"
		}
		return snapshot.Key{}, &userError{what: what, hint: "name the file with the secret key of one of them: --archive-key FILE"}
	}
	text, err := datadir.ReadSecret(o.keyFile)
	if err != nil {
		return snapshot.Key{}, err
	}
	k, err := snapshot.ParseKey(string(text))
	if err != nil {
		return k, &userError{what: o.keyFile, err: err, hint: "age-keygen -o key.txt makes one; the archive needs the key of one of its recipients"}
	}
	return k, nil
}

// passphrase finds the passphrase of an archive: in a file, in the environment, or in the head of whoever sits there.
func (e *env) passphrase(o *keyOptions) (string, error) {
	switch text := e.getenv(passphraseVariable); {
	case o.keyFile != "":
		return "", &userError{what: "the secrets of the archive are sealed with a passphrase, not to a key", hint: "give it with --passphrase-file or " + passphraseVariable}
	case o.passphraseFile != "":
		return readPassphrase(o.passphraseFile)
	case text != "":
		return text, nil
	case e.terminal():
		text, err := e.readHidden("passphrase of the archive: ")
		if err != nil || text != "" {
			return text, err
		}
	}
	return "", &userError{what: "the secrets of the archive are sealed with a passphrase", hint: "give it with --passphrase-file or " + passphraseVariable}
}

// readPassphrase reads the first line of a file that only its owner may read.
func readPassphrase(path string) (string, error) {
	b, err := datadir.ReadSecret(path)
	if err != nil {
		return "", err
	}
	line, _, _ := strings.Cut(string(b), "\n")
	if line = strings.TrimSuffix(line, "\r"); line == "" {
		return "", &userError{what: path, err: errors.New("its first line is empty"), hint: "put the passphrase there"}
	}
	return line, nil
}

// readHidden asks for a line that is not shown.
func (e *env) readHidden(prompt string) (string, error) {
	f, ok := e.stdin.(*os.File)
	if !ok {
		return "", io.ErrUnexpectedEOF
	}
	fmt.Fprint(e.stderr, prompt)
	b, err := term.ReadPassword(int(f.Fd()))
	fmt.Fprintln(e.stderr)
	return string(b), err
}
