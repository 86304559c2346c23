package datadir

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

type state int

const (
	stateMissing   state = iota // no directory
	stateEmpty                  // nothing of ours in it yet
	statePartial                // files of ours, but Create did not come to its end
	stateJoining                // a join was begun, and did not come to its end
	stateRestoring              // a restore was begun, and did not come to its end
	stateReady
)

// ours are the names that Create may find before it is done.
var ours = [...]string{FileSecret, FilePublic, FilePlanet, FileKey, FileCA, FileCAKey, FileNode, FileNodeKey}

// inspect says how far the directory is, and refuses one that is not ours. It changes nothing.
func inspect(path string) (state, error) {
	fi, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return stateMissing, nil
	} else if err != nil {
		return 0, fileError(path, err)
	}
	if !fi.IsDir() {
		return 0, &Error{Path: path, Err: ErrForeign, Why: "is no directory", Way: "name another with -data-dir"}
	}
	if fi.Mode().Perm()&0o002 != 0 {
		return 0, &Error{
			Path: path, Err: ErrPermission, Why: fmt.Sprintf("any user may put files into it (mode %04o)", fi.Mode().Perm()),
			Way: "chmod 700 " + path,
		}
	}
	entries, err := os.ReadDir(path)
	if err != nil {
		return 0, fileError(path, err)
	}
	found, joining, restoring, log := stateEmpty, false, false, false
	var foreign []string
	for _, e := range entries {
		name := e.Name()
		switch {
		case name == FileMeta:
			return stateReady, nil
		case name == FileJoin:
			joining = true
		case name == FileRestore:
			restoring = true
		case name == DirRaft:
			log = true
		case slices.Contains(ours[:], name):
			found = statePartial
		case name == FileLock, strings.HasPrefix(name, tempPrefix), name == "lost+found":
		default:
			foreign = append(foreign, name)
		}
	}
	if log && !restoring {
		foreign = append(foreign, DirRaft)
	}
	if len(foreign) > 0 {
		e := &Error{
			Path: path, Err: ErrForeign, Why: fmt.Sprintf("is not a rootd data directory: it holds %s", someOf(foreign)),
			Way: "name an empty or a new directory with -data-dir",
		}
		if slices.Contains(foreign, "controller.d") || slices.Contains(foreign, "zerotier-one.port") {
			e.Way = "it looks like the home of zerotier-one: take its identity over with rootctl init --data-dir NEW --identity " + filepath.Join(path, FileSecret)
		}
		return 0, e
	}
	switch {
	case restoring:
		found = stateRestoring
	case joining:
		found = stateJoining
	}
	return found, nil
}

func someOf(names []string) string {
	if len(names) > 3 {
		return fmt.Sprintf("%s and %d more", strings.Join(names[:3], ", "), len(names)-3)
	}
	return strings.Join(names, ", ")
}

// removeTemp removes what a crash left half written. Only the holder of the lock may call it.
func removeTemp(path string) {
	names, err := filepath.Glob(filepath.Join(path, tempPrefix+"*"))
	if err != nil {
		return
	}
	for _, n := range names {
		_ = os.Remove(n) // harmless if it stays
	}
}
