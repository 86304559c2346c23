package datadir

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/rootd/rootd/transport/pki"
)

// dirRaftNew is where a recovery makes the log that replaces the old one.
const dirRaftNew = "raft.new"

// Recovery is what a recovery changes in a directory.
type Recovery struct {
	Chain  []byte    `json:"chain"`  // the member's certificate in the new epoch, and the CA's (PEM)
	Former []Contact `json:"former"` // the other members of the epoch that ends
	Old    string    `json:"old"`    // the directory that the old log is kept in
}

// NewRaftDir returns an empty directory for the log that is to replace the one of this member.
func (d *Dir) NewRaftDir() (string, error) {
	path := filepath.Join(d.Path, dirRaftNew)
	if err := os.RemoveAll(path); err != nil {
		return "", fmt.Errorf("remove what an interrupted recovery has left: %w", err)
	}
	if err := os.Mkdir(path, 0o700); err != nil {
		return "", fmt.Errorf("make directory for the new log: %w", err)
	}
	return path, nil
}

// DropRaftDir removes what NewRaftDir made.
func (d *Dir) DropRaftDir() { _ = os.RemoveAll(filepath.Join(d.Path, dirRaftNew)) } // harmless if it stays

// Recover replaces log and certificate of this member, in a way that is either done or not: once its plan is on the disk, whoever
// opens the directory next finishes what was interrupted; until then nothing has changed. The old log is kept; Recover returns where.
func (d *Dir) Recover(r Recovery, before pki.Epoch) (kept string, err error) {
	if d.lock == nil {
		return "", errors.New("recover: the directory is not locked")
	}
	c, err := pki.NewCredential(d.Keys.Credential.Key(), r.Chain)
	if err != nil {
		return "", err
	}
	if err := checkKeys(d.Path, &d.Meta, pki.Keys{Credential: c, Bundle: d.Keys.Bundle}); err != nil {
		return "", err
	}
	r.Old = DirRaft + ".old-" + before.String()
	if exists(filepath.Join(d.Path, r.Old)) {
		return "", &Error{Path: filepath.Join(d.Path, r.Old), Err: fs.ErrExist, Why: "is there already", Way: "move it away: it is the log of an earlier recovery"}
	}
	b, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return "", err
	}
	if err := WriteFile(filepath.Join(d.Path, FileRecover), append(b, '\n'), 0o600); err != nil {
		return "", fmt.Errorf("write %s: %w", FileRecover, err)
	}
	if err := finishRecovery(d.Path); err != nil {
		return "", err
	}
	return filepath.Join(d.Path, r.Old), nil
}

// finishRecovery does what the plan of a recovery says, if there is one, wherever it was interrupted.
func finishRecovery(path string) error {
	file := filepath.Join(path, FileRecover)
	b, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	} else if err != nil {
		return fileError(file, err)
	}
	var r Recovery
	if err := json.Unmarshal(b, &r); err != nil || !strings.HasPrefix(r.Old, DirRaft+".old-") || len(r.Chain) == 0 {
		return &Error{Path: file, Err: ErrBroken, Why: "damaged", Way: "keep a copy of the directory; then restore the cluster from an archive: rootctl init --from"}
	}
	raft, next, old := filepath.Join(path, DirRaft), filepath.Join(path, dirRaftNew), filepath.Join(path, r.Old)
	if exists(next) {
		if exists(raft) {
			if err := os.Rename(raft, old); err != nil {
				return fmt.Errorf("keep the old log: %w", err)
			}
		}
		if err := os.Rename(next, raft); err != nil {
			return fmt.Errorf("put the new log in place: %w", err)
		}
		if err := syncDir(path); err != nil {
			return err
		}
	}
	if err := WriteFile(filepath.Join(path, FileNode), r.Chain, 0o644); err != nil {
		return fmt.Errorf("write %s: %w", FileNode, err)
	}
	m, err := readMeta(filepath.Join(path, FileMeta))
	if err != nil {
		return err
	}
	m.Former = r.Former
	if err := m.write(path); err != nil {
		return err
	}
	if err := os.Remove(file); err != nil {
		return fmt.Errorf("remove %s: %w", FileRecover, err)
	}
	return syncDir(path)
}
