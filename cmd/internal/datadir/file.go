package datadir

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// tempPrefix begins the names of files that are being written. What a crash leaves is removed at the next start.
const tempPrefix = ".tmp-"

// WriteFile replaces the file at path atomically and durably: a reader, or a crash at any moment, finds the old
// content or the new one, whole.
func WriteFile(path string, data []byte, mode fs.FileMode) error {
	tmp, err := writeTemp(path, data, mode)
	if err != nil {
		return err
	}
	if err := os.Rename(tmp, path); err != nil {
		_ = os.Remove(tmp)
		return err
	}
	return syncDir(filepath.Dir(path))
}

// CreateFile is [WriteFile] for what must never be replaced: it fails with [fs.ErrExist] if there is a file.
func CreateFile(path string, data []byte, mode fs.FileMode) error {
	tmp, err := writeTemp(path, data, mode)
	if err != nil {
		return err
	}
	defer os.Remove(tmp)
	if err := os.Link(tmp, path); err != nil { // unlike a rename, a link replaces nothing
		if errors.Is(err, fs.ErrExist) {
			return &fs.PathError{Op: "create", Path: path, Err: fs.ErrExist}
		}
		return err
	}
	return syncDir(filepath.Dir(path))
}

func writeTemp(path string, data []byte, mode fs.FileMode) (name string, err error) {
	f, err := os.CreateTemp(filepath.Dir(path), tempPrefix+filepath.Base(path)+"-")
	if err != nil {
		return "", err
	}
	defer func() {
		if err != nil {
			_ = f.Close()
			_ = os.Remove(f.Name())
		}
	}()
	if err := f.Chmod(mode); err != nil {
		return "", err
	}
	if _, err := f.Write(data); err != nil {
		return "", err
	}
	if err := f.Sync(); err != nil {
		return "", err
	}
	if err := f.Close(); err != nil {
		return "", err
	}
	return f.Name(), nil
}

func syncDir(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	defer d.Close()
	if err := d.Sync(); err != nil {
		return fmt.Errorf("sync directory %s: %w", path, err)
	}
	return nil
}

// ReadSecret reads a file that only its owner may read. A file that others could read is refused: its secret may be
// known already, and the operator must decide.
func ReadSecret(path string) ([]byte, error) {
	fi, err := os.Stat(path)
	if err != nil {
		return nil, fileError(path, err)
	}
	if !fi.Mode().IsRegular() {
		return nil, &Error{Path: path, Why: "is no regular file", Err: ErrBroken}
	}
	if fi.Mode().Perm()&0o077 != 0 {
		return nil, &Error{
			Path: path, Err: ErrPermission,
			Why: fmt.Sprintf("holds a secret but other users may open it (mode %04o)", fi.Mode().Perm()),
			Way: "chmod 600 " + path + "    (and think about who may have read it)",
		}
	}
	if fi.Size() > maxFile {
		return nil, &Error{Path: path, Why: fmt.Sprintf("is too large (%d bytes)", fi.Size()), Err: ErrBroken}
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, fileError(path, err)
	}
	return b, nil
}

// maxFile is more than any file of a data directory that is read whole.
const maxFile = 1 << 20

func fileError(path string, err error) error {
	if errors.Is(err, fs.ErrPermission) {
		return &Error{
			Path: path, Err: ErrPermission, Why: "permission denied",
			Way: "run as the user who owns it, or: chown " + currentUser() + " " + path,
		}
	}
	if pe, ok := errors.AsType[*fs.PathError](err); ok {
		return fmt.Errorf("%s: %w", path, pe.Err)
	}
	return err
}
