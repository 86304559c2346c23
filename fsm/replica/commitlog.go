package replica

import (
	"encoding/binary"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"
	raftboltdb "github.com/hashicorp/raft-boltdb/v2"
)

// commitLog is the log store that Raft sees: it remembers with the log how far it is committed, so that a member
// that restarts alone knows what it may serve.
//
// Two places hold the index. With every append, the last entry carries in its Extensions the index that was committed
// by then, in the same transaction:
//
//	size
//	1    1, the version
//	8    index, big-endian
//
// That misses the last append, whose commit comes after it. So while the log is idle, the index is also noted
// under its own key in the same file. Both are facts that stay true: a committed entry is never removed or replaced,
// and an entry that came from another member carries what that one knew to be committed.
//
// It is the outermost wrapper of the store, because Raft asks the store that it is given for the interface. Raft
// calls all methods from its own goroutines as it does for any log store; note and persisted may be called by any.
type commitLog struct {
	raft.LogStore
	stable *raftboltdb.BoltStore
	gauge  *diskGauge

	staged uint64        // by Raft's main goroutine, for the next append of the same goroutine
	known  atomic.Uint64 // the highest index that is on disk as committed
	writes atomic.Uint64 // appends
}

var _ raft.CommitTrackingLogStore = (*commitLog)(nil)

const (
	extensionVersion = 1
	extensionSize    = 9

	// noteInterval is how long the log must be idle before the commit index is noted on its own.
	noteInterval = 250 * time.Millisecond

	// searchBack is how many entries from the end are searched for a commit index: more than one append holds.
	searchBack = 2048
)

// noteKey is where the commit index is noted in the stable store.
func noteKey() []byte { return []byte("RootdCommitIndex") }

// StageCommitIndex implements [raft.CommitTrackingLogStore].
func (c *commitLog) StageCommitIndex(index uint64) error {
	c.staged = max(c.staged, index)
	return nil
}

// GetCommitIndex implements [raft.CommitTrackingLogStore]. It says that nothing is known: what is known was replayed
// before Raft started (recover.go). Raft v1.8.0's own replay has two traps: it never returns if more than 128
// batches are to be replayed, because nobody takes them yet, and it forgets a configuration that is among the
// replayed entries. Told 0, it hands the entries to the state machine once more when it knows of their commit, where they
// are skipped.
func (c *commitLog) GetCommitIndex() (uint64, error) { return 0, nil }

// StoreLog implements [raft.LogStore].
func (c *commitLog) StoreLog(l *raft.Log) error { return c.StoreLogs([]*raft.Log{l}) }

// StoreLogs implements [raft.LogStore]. The entries are the caller's, and other goroutines may be reading them: the
// one that carries the index is a copy.
func (c *commitLog) StoreLogs(logs []*raft.Log) error {
	staged := c.staged
	if n := len(logs); n > 0 && staged > 0 {
		last := *logs[n-1]
		last.Extensions = binary.BigEndian.AppendUint64([]byte{extensionVersion}, staged)
		logs = append(append(make([]*raft.Log, 0, n), logs[:n-1]...), &last)
	}
	if err := c.gauge.write(func() error { return c.LogStore.StoreLogs(logs) }); err != nil {
		return err
	}
	c.writes.Add(1)
	c.raise(staged)
	return nil
}

// note puts the commit index on disk unless it is there already.
func (c *commitLog) note(index uint64) error {
	if index <= c.known.Load() {
		return nil
	}
	if err := c.gauge.write(func() error { return c.stable.SetUint64(noteKey(), index) }); err != nil {
		return err
	}
	c.raise(index)
	return nil
}

func (c *commitLog) raise(index uint64) {
	for {
		old := c.known.Load()
		if index <= old || c.known.CompareAndSwap(old, index) {
			return
		}
	}
}

// persisted returns the index that a restart would find.
func (c *commitLog) persisted() uint64 { return c.known.Load() }

// load reads the commit index from the disk: never more than the last entry's.
func (c *commitLog) load() (uint64, error) {
	first, last, err := c.bounds()
	if err != nil {
		return 0, err
	}
	noted, err := c.stable.GetUint64(noteKey())
	if err != nil && !errors.Is(err, raftboltdb.ErrKeyNotFound) {
		return 0, fmt.Errorf("read noted commit index: %w", err)
	}
	index := noted
	for i, n := last, 0; i >= max(first, 1) && n < searchBack; i, n = i-1, n+1 {
		var l raft.Log
		if err := c.GetLog(i, &l); errors.Is(err, raft.ErrLogNotFound) {
			break // a gap, as a restored snapshot leaves
		} else if err != nil {
			return 0, fmt.Errorf("read log entry %d: %w", i, err)
		}
		if e := l.Extensions; len(e) == extensionSize && e[0] == extensionVersion {
			index = max(index, binary.BigEndian.Uint64(e[1:]))
			break
		}
	}
	index = min(index, last)
	c.raise(index)
	return index, nil
}

func (c *commitLog) bounds() (first, last uint64, err error) {
	if first, err = c.FirstIndex(); err == nil {
		last, err = c.LastIndex()
	}
	if err != nil {
		return 0, 0, fmt.Errorf("read log: %w", err)
	}
	return first, last, nil
}
