package datadir

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// lock is an exclusive lock on a data directory, held until Close or the end of the process.
type lock struct{ f *os.File }

// acquire takes the lock and writes our process ID into its file. The file stays when the lock is released: removing
// it would let two processes lock two files of one name.
func acquire(dir string) (*lock, error) {
	path := filepath.Join(dir, FileLock)
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fileError(path, err)
	}
	held, err := tryLock(f)
	if err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
	if !held {
		who := "another process"
		if b, err := io.ReadAll(io.LimitReader(f, 32)); err == nil {
			if pid, err := strconv.Atoi(strings.TrimSpace(string(b))); err == nil {
				who = fmt.Sprintf("another rootd (pid %d)", pid)
			}
		}
		_ = f.Close()
		return nil, &Error{
			Path: dir, Err: ErrInUse, Why: who + " uses this directory",
			Way: "stop it first, or give this one a directory of its own with -data-dir",
		}
	}
	if err = f.Truncate(0); err == nil {
		_, err = f.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0)
	}
	if err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("write %s: %w", path, err)
	}
	return &lock{f: f}, nil
}

func (l *lock) release() error { return l.f.Close() }
