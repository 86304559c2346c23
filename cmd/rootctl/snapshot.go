package main

import (
	"bufio"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/rootd/rootd/snapshot"
)

func newSnapshot(e *env) *cobra.Command {
	return group("snapshot", "Save, fetch, inspect, verify, compare and restore archives of a cluster",
		"An archive is the whole state of a cluster in one file that anyone can check: peers, members, settings, planet; and, sealed with age, the secrets "+
			"that a new cluster needs: the root's identity, the cluster's authority, the planet's signing key. Only save and restore talk to a running rootd.\n\n"+
			"Where a command wants FILE, \"-\" means standard input, for save standard output.",
		newSnapshotSave(e), newSnapshotList(e), newSnapshotFetch(e), newSnapshotInspect(e), newSnapshotVerify(e), newSnapshotDiff(e), newSnapshotDrill(e), newSnapshotRestore(e))
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
