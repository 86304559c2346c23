package replica

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"time"

	"github.com/hashicorp/raft"
	raftboltdb "github.com/hashicorp/raft-boltdb/v2"
	"go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"
)

var (
	// ErrDamaged is wrapped when what is on the disk cannot be used.
	ErrDamaged = errors.New("damaged")
	// ErrForeign is wrapped when raft.db is a database of something else.
	ErrForeign = errors.New("not a raft log")
	// ErrInUse is wrapped when another process has the log open.
	ErrInUse = errors.New("in use by another process")
)

const (
	lockTimeout     = time.Second
	retainSnapshots = 2
	logCacheEntries = 512
)

// stores are Raft's files.
type stores struct {
	path      string // of raft.db
	bolt      *raftboltdb.BoltStore
	log       *commitLog
	snapshots *raft.FileSnapshotStore
	gauge     *diskGauge
	closed    bool
}

// stable is Raft's stable store.
func (s *stores) stable() raft.StableStore { return &gaugedStable{s.bolt, s.gauge} }

func (s *stores) close() error {
	if s.closed {
		return nil
	}
	s.closed = true
	if err := s.bolt.Close(); err != nil {
		return fmt.Errorf("close raft log %s: %w", s.path, err)
	}
	return nil
}

// openStores opens the files in o.Dir, making what is missing. A file that is not ours, or damaged, stays as it is.
func openStores(o Options) (*stores, error) {
	if err := os.MkdirAll(o.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("make raft directory: %w", err)
	}
	s := &stores{path: filepath.Join(o.Dir, "raft.db"), gauge: newDiskGauge()}
	if err := guard(s.path, func() error { return checkBolt(s.path) }); err != nil {
		return nil, err
	}
	err := guard(s.path, func() (err error) {
		s.bolt, err = raftboltdb.New(raftboltdb.Options{
			Path: s.path,
			BoltOptions: &bbolt.Options{
				Timeout:        lockTimeout,
				NoFreelistSync: true,
				FreelistType:   bbolt.FreelistMapType,
			},
			MsgpackUseNewTimeFormat: true,
		})
		return err
	})
	if err != nil {
		return nil, err
	}
	disk := raft.LogStore(s.bolt)
	if o.wrapLog != nil {
		disk = o.wrapLog(disk)
	}
	cache, err := raft.NewLogCache(logCacheEntries, disk)
	if err == nil {
		s.log = &commitLog{LogStore: cache, stable: s.bolt, gauge: s.gauge}
		s.snapshots, err = raft.NewFileSnapshotStoreWithLogger(o.Dir, retainSnapshots, newHCLog(o.Logger))
	}
	if err != nil {
		_ = s.bolt.Close()
		return nil, fmt.Errorf("open snapshots in %s: %w", o.Dir, err)
	}
	return s, nil
}

// claim makes the log this member's, for good: a log under another ID would vote twice.
func (s *stores) claim(id string) error {
	key := []byte("RootdMember")
	owner, err := s.bolt.Get(key)
	switch {
	case errors.Is(err, raftboltdb.ErrKeyNotFound):
		err = s.bolt.Set(key, []byte(id))
	case err == nil && string(owner) != id:
		err = fmt.Errorf("%w of member %q: it belongs to %q", ErrForeign, id, owner)
	}
	return explain(s.path, err)
}

// checkBolt looks at an existing database without changing it.
func checkBolt(path string) error {
	fi, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case !fi.Mode().IsRegular():
		return fmt.Errorf("%w: not a regular file", ErrForeign)
	case fi.Size() == 0: // a crash right after it was made
		return nil
	}
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{ReadOnly: true, Timeout: lockTimeout})
	if err != nil {
		return err
	}
	defer db.Close()
	return db.View(func(tx *bbolt.Tx) error {
		fi, err := os.Stat(path)
		if err != nil {
			return err
		}
		if tx.Size() > fi.Size() {
			return fmt.Errorf("%w: cut off at %d of %d bytes", ErrDamaged, fi.Size(), tx.Size())
		}
		return tx.ForEach(func(name []byte, b *bbolt.Bucket) error {
			if n := string(name); n != "logs" && n != "conf" {
				return fmt.Errorf("%w: it has a bucket %q", ErrForeign, n)
			}
			c := b.Cursor() // touches the pages that every start needs
			c.First()
			c.Last()
			return nil
		})
	})
}

// guard runs open, turns a panic or memory fault of bbolt over a damaged file into an error, and says what to do.
func guard(path string, open func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%w: %v", ErrDamaged, p)
		}
		err = explain(path, err)
	}()
	return open()
}

func explain(path string, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, bolterrors.ErrTimeout):
		return fmt.Errorf("open raft log %s: %w: stop the other rootd on this directory", path, ErrInUse)
	case errors.Is(err, ErrForeign):
		return fmt.Errorf("open raft log %s: %w: is this the right directory?", path, err)
	case errors.Is(err, ErrDamaged), errors.Is(err, bolterrors.ErrInvalid), errors.Is(err, bolterrors.ErrChecksum),
		errors.Is(err, bolterrors.ErrVersionMismatch), strings.Contains(err.Error(), "file size too small"):
		if !errors.Is(err, ErrDamaged) {
			err = fmt.Errorf("%w: %w", ErrDamaged, err)
		}
		return fmt.Errorf("open raft log %s: %w: %s", path, err, lostWay)
	}
	return fmt.Errorf("open raft log %s: %w", path, err)
}
