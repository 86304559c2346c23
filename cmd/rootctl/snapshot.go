package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/rootd/rootd/cmd/internal/datadir"
	"github.com/rootd/rootd/snapshot"
)

func newSnapshot(e *env) *cobra.Command {
	return group("snapshot", "Save, inspect, verify, compare and restore archives of a cluster",
		"An archive is the whole state of a cluster in one file that anyone can check: peers, members, settings, planet; and, sealed with age, the secrets "+
			"that a new cluster needs: the root's identity, the cluster's authority, the planet's signing key. Only save and restore talk to a running rootd.\n\n"+
			"Where a command wants FILE, \"-\" means standard input, for save standard output.",
		newSnapshotSave(e), newSnapshotInspect(e), newSnapshotVerify(e), newSnapshotDiff(e), newSnapshotDrill(e), newSnapshotRestore(e))
}

// keyOptions name what opens the secrets of an archive.
type keyOptions struct {
	key            string
	passphraseFile string
}

func (o *keyOptions) flags(c *cobra.Command) {
	c.Flags().StringVar(&o.key, "key", "", "file with the age secret key (AGE-SECRET-KEY-1...) that opens the secrets")
	c.Flags().StringVar(&o.passphraseFile, "passphrase-file", "", "file with the passphrase that opens the secrets, on its first line")
}

// given reports whether secrets are to be opened.
func (o *keyOptions) given() bool { return o.key != "" || o.passphraseFile != "" }

// open reads what opens the secrets.
func (o *keyOptions) open() (snapshot.Key, error) {
	switch {
	case o.key != "" && o.passphraseFile != "":
		return snapshot.Key{}, usageError("--key and --passphrase-file: give one of them")
	case o.key != "":
		text, err := datadir.ReadSecret(o.key)
		if err != nil {
			return snapshot.Key{}, err
		}
		k, err := snapshot.ParseKey(string(text))
		if err != nil {
			return k, &userError{what: o.key, err: err, hint: "age-keygen -o key.txt makes one; the archive needs the key of one of its recipients"}
		}
		return k, nil
	case o.passphraseFile != "":
		p, err := readPassphrase(o.passphraseFile)
		if err != nil {
			return snapshot.Key{}, err
		}
		return snapshot.Passphrase(p)
	}
	return snapshot.Key{}, nil
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

// archive opens the archive in a file, or on standard input.
func (e *env) archive(name string, watch io.Writer) (*snapshot.Archive, func(), error) {
	r, closer := e.stdin, func() {}
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return nil, nil, err
		}
		r, closer = f, func() { _ = f.Close() }
	} else {
		name = "standard input"
	}
	a, err := snapshot.Open(bufio.NewReaderSize(io.TeeReader(r, watch), 1<<18))
	if err != nil {
		closer()
		return nil, nil, fmt.Errorf("%s: %w", name, err)
	}
	return a, closer, nil
}

// fileSize is for progress: 0 where it is not known.
func fileSize(name string) int64 {
	if fi, err := os.Stat(name); err == nil && fi.Mode().IsRegular() {
		return fi.Size()
	}
	return 0
}
