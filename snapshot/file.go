package snapshot

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// partialSuffix ends the name of a file that is being written.
const partialSuffix = ".partial"

// ErrBusy is returned by [Create] while somebody else writes the same archive.
var ErrBusy = errors.New("somebody else is writing this archive")

// File is an archive that is being written to a disk: under another name, .NAME.partial, until it is complete, verified and
// synchronised. So whatever happens, and at whatever moment, NAME is what it was or the whole new archive. What a crash leaves under the other
// name is overwritten by the next Create of the same archive. For one goroutine.
type File struct {
	path, partial string
	f             *os.File
	w             *bufio.Writer
}

// Create begins the archive at path. The directory must exist.
func Create(path string) (*File, error) {
	dir, name := filepath.Split(path)
	f := &File{path: path, partial: filepath.Join(dir, "."+name+partialSuffix)}
	var err error
	if f.f, err = os.OpenFile(f.partial, os.O_CREATE|os.O_RDWR, 0o600); err != nil {
		return nil, fmt.Errorf("create archive: %w", err)
	}
	if err := f.claim(); err != nil {
		_ = f.f.Close()
		return nil, fmt.Errorf("create archive %s: %w", path, err)
	}
	f.w = bufio.NewWriterSize(f.f, 1<<20)
	return f, nil
}

// claim makes the file ours alone, and empty.
func (f *File) claim() error {
	if err := lock(f.f); err != nil {
		return err
	}
	// Whoever had the lock before may have given the file its name just now: then it is not ours to empty.
	mine, err := f.f.Stat()
	if err != nil {
		return err
	}
	if there, err := os.Stat(f.partial); err != nil || !os.SameFile(mine, there) {
		return ErrBusy
	}
	return f.f.Truncate(0)
}

// Write implements [io.Writer].
func (f *File) Write(b []byte) (int, error) { return f.w.Write(b) }

// Sync brings what was written to the disk.
func (f *File) Sync() error {
	if err := f.w.Flush(); err != nil {
		return err
	}
	if err := f.f.Sync(); err != nil {
		return fmt.Errorf("synchronise archive: %w", err)
	}
	return nil
}

// Verify synchronises what was written with the disk, and reads it back from there, wholly. The observer may be nil; else it is shown
// every byte that is read.
func (f *File) Verify(observer io.Writer) (*Archive, error) {
	if err := f.Sync(); err != nil {
		return nil, err
	}
	if _, err := f.f.Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	if observer == nil {
		observer = io.Discard
	}
	a, err := Open(bufio.NewReaderSize(io.TeeReader(f.f, observer), 1<<18))
	if err != nil {
		return nil, err
	}
	return a, a.Verify()
}

// Commit gives the archive its name, durably. It replaces what had the name.
func (f *File) Commit() error {
	if err := f.Sync(); err != nil {
		return f.abandon(err)
	}
	if err := os.Rename(f.partial, f.path); err != nil {
		return f.abandon(err)
	}
	err := f.f.Close()
	f.f = nil
	if serr := syncDir(filepath.Dir(f.path)); err == nil {
		err = serr
	}
	return err
}

func (f *File) abandon(err error) error {
	f.Abandon()
	return err
}

// Abandon removes what was written. After Commit it does nothing.
func (f *File) Abandon() {
	if f.f == nil {
		return
	}
	_ = os.Remove(f.partial) // under the lock: it is ours
	_ = f.f.Close()
	f.f = nil
}

func syncDir(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	defer d.Close()
	if err := d.Sync(); err != nil && !errors.Is(err, fs.ErrInvalid) {
		return fmt.Errorf("synchronise directory %s: %w", path, err)
	}
	return nil
}

// Read opens the archive in a file. Close closes the file.
func Read(path string) (*Archive, io.Closer, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, nil, err
	}
	a, err := Open(bufio.NewReaderSize(f, 1<<18))
	if err != nil {
		_ = f.Close()
		return nil, nil, fmt.Errorf("%s: %w", path, err)
	}
	return a, f, nil
}
