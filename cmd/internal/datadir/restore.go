package datadir

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/rootd/rootd/transport/pki"
)

// restoring is the content of restore.json.
type restoring struct {
	Cluster string    `json:"cluster"`
	Begun   time.Time `json:"begun"`
}

// CheckRestore refuses a directory in which no restore may begin, and changes nothing: one that is not empty, unless a
// restore was interrupted there.
func CheckRestore(path string) error {
	s, err := inspect(path)
	switch {
	case err != nil:
		return err
	case s == stateMissing, s == stateEmpty, s == stateRestoring:
		return nil
	case s == stateJoining:
		return joinUnfinished(path)
	}
	return &Error{
		Path: path, Err: ErrForeign, Why: "holds a root already, or the beginning of one",
		Way: "name an empty or a new directory with --data-dir; to restore into a cluster that runs: rootctl snapshot restore",
	}
}

// BeginRestore prepares a directory for the first member of a restored cluster: it takes the lock, leaves a mark that keeps
// everybody from making a root there, and makes the node key. What an interrupted restore has left is removed: nobody has ever
// seen it. The log is made in [Dir.RaftDir] before [Joining.Finish], which makes the directory one that can be started.
func BeginRestore(path string, cluster pki.ClusterID, now time.Time) (_ *Joining, err error) {
	if err := CheckRestore(path); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(path, 0o700); err != nil {
		return nil, fmt.Errorf("create data directory: %w", err)
	}
	l, err := acquire(path)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, l.release())
		}
	}()
	if err := CheckRestore(path); err != nil { // again: now nobody else changes it
		return nil, err
	}
	j := &Joining{Path: path, mark: FileRestore, lock: l}
	defer func() {
		if err != nil {
			err = errors.Join(err, j.Undo())
		}
	}()
	b, err := json.MarshalIndent(restoring{Cluster: cluster.String(), Begun: now.UTC().Truncate(time.Second)}, "", "  ")
	if err != nil {
		return nil, err
	}
	if err := WriteFile(filepath.Join(path, FileRestore), append(b, '\n'), 0o644); err != nil {
		return nil, fmt.Errorf("create %s: %w", FileRestore, err)
	}
	if err := j.clear(); err != nil {
		return nil, err
	}
	j.Key, err = nodeKey(path)
	return j, err
}

// RaftDir is where the log is to be made.
func (j *Joining) RaftDir() string { return filepath.Join(j.Path, DirRaft) }

// Undo removes everything that the restore has made, the mark last.
func (j *Joining) Undo() error {
	if err := j.clear(); err != nil {
		return err
	}
	if err := os.Remove(filepath.Join(j.Path, FileRestore)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("undo restore: %w", err)
	}
	return nil
}

// clear removes what an interrupted restore has made. There was nothing else when it began.
func (j *Joining) clear() error {
	removeTemp(j.Path)
	for _, name := range append(ours[:], DirRaft) {
		if err := os.RemoveAll(filepath.Join(j.Path, name)); err != nil {
			return fmt.Errorf("remove what an interrupted restore has left: %w", err)
		}
	}
	return nil
}

func restoreUnfinished(path string) error {
	return &Error{
		Path: path, Err: ErrMissing, Why: "a restore was begun here and is not finished",
		Way: "run the same rootctl init --from again; it begins anew",
	}
}

// over is the content of superseded.json.
type over struct {
	Since time.Time `json:"since"`
	Why   string    `json:"why"`
}

// SetSuperseded notes that the cluster was restored without this member: nobody can open the directory any more.
func (d *Dir) SetSuperseded(why string, now time.Time) error {
	b, err := json.MarshalIndent(over{Since: now.UTC().Truncate(time.Second), Why: why}, "", "  ")
	if err != nil {
		return err
	}
	if err := WriteFile(filepath.Join(d.Path, FileOver), append(b, '\n'), 0o644); err != nil {
		return fmt.Errorf("write %s: %w", FileOver, err)
	}
	return nil
}

func checkOver(path string) error {
	file := filepath.Join(path, FileOver)
	b, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	} else if err != nil {
		return fileError(file, err)
	}
	o := over{Why: "the cluster was restored without this member"}
	_ = json.Unmarshal(b, &o) // whatever it says, it is there
	return &Error{
		Path: path, Err: ErrSuperseded, Why: fmt.Sprintf("must not serve any more, since %s: %s", o.Since.Format(time.RFC3339), o.Why),
		Way: SupersededWay,
	}
}

// SupersededWay is what to do with a member whose epoch of the cluster is over.
const SupersededWay = "the cluster was restored: move this data directory away, then join with a new token (on a member: rootctl token create)"
