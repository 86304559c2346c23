package agent

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"

	"github.com/rootd/rootd/snapshot"
)

// Dir is a store in a directory, better one of another disk or machine.
type Dir struct{ path string }

var _ Store = (*Dir)(nil)

// NewDir returns a store in the directory, which is made when something is put into it and it is missing. Its parent must exist.
func NewDir(path string) *Dir { return &Dir{path} }

// Put implements [Store].
func (d *Dir) Put(_ context.Context, name string, write func(io.Writer) error) error {
	if err := os.Mkdir(d.path, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	f, err := snapshot.Create(filepath.Join(d.path, name))
	if err != nil {
		return err
	}
	defer f.Abandon()
	if err := write(f); err != nil {
		return err
	}
	if _, err := f.Verify(nil); err != nil {
		return err
	}
	return f.Commit()
}

// Open implements [Store].
func (d *Dir) Open(_ context.Context, name string) (io.ReadCloser, error) {
	return os.Open(filepath.Join(d.path, name))
}

// List implements [Store].
func (d *Dir) List(context.Context) (files []File, err error) {
	es, err := os.ReadDir(d.path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	for _, e := range es {
		if e.Type().IsRegular() {
			fi, err := e.Info()
			if err != nil {
				continue // it is gone
			}
			files = append(files, File{e.Name(), fi.Size()})
		}
	}
	return files, err
}

// Remove implements [Store].
func (d *Dir) Remove(_ context.Context, name string) error {
	return os.Remove(filepath.Join(d.path, name))
}

// String implements [Store].
func (d *Dir) String() string { return d.path }
