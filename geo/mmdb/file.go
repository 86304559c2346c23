package mmdb

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rootd/rootd/geo"
)

// maxSize is the largest file that is read, in bytes.
const maxSize = 2 << 30

// DefaultInterval is the time between two looks at a file.
const DefaultInterval = 10 * time.Second

// Options are how a [File] is followed.
type Options struct {
	Path     string
	Interval time.Duration // between two looks; 0: [DefaultInterval]
	Logger   *slog.Logger  // nil: none
	Changed  func()        // called after another database came into use; may be nil
}

// File holds the last good database of a file, if there was one.
type File struct {
	opts Options
	db   atomic.Pointer[DB] // nil: none yet
	look chan struct{}

	mu      sync.Mutex // guards the following
	seen    stamp      // of the file as it was last read, good or not
	refused error      // why that was refused; nil: it is in use
}

var _ geo.Locator = (*File)(nil)

// stamp tells versions of a file apart.
type stamp struct {
	size  int64
	mtime time.Time
	file  fs.FileInfo // to notice that another file took its place
}

func (s stamp) same(o stamp) bool {
	return s.file != nil && o.file != nil && s.size == o.size && s.mtime.Equal(o.mtime) && os.SameFile(s.file, o.file)
}

// NewFile returns a follower of a file that has read nothing yet.
func NewFile(o Options) *File {
	if o.Interval == 0 {
		o.Interval = DefaultInterval
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return &File{opts: o, look: make(chan struct{}, 1)}
}

// Run reads the file, and again whenever it has changed or [File.Reload] was called, until ctx ends. It returns nil.
func (f *File) Run(ctx context.Context) error {
	tick := time.NewTicker(f.opts.Interval)
	defer tick.Stop()
	force := true
	for {
		f.check(force)
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			force = false
		case <-f.look:
			force = true
		}
	}
}

// Reload has the file read again soon, whether or not it seems to have changed.
func (f *File) Reload() {
	select {
	case f.look <- struct{}{}:
	default:
	}
}

// check reads the file if it is another one than last time.
func (f *File) check(force bool) {
	now, err := stampOf(f.opts.Path)
	f.mu.Lock()
	known := f.seen.same(now) || err != nil && f.refused != nil
	f.mu.Unlock()
	if known && !force {
		return
	}
	var db *DB
	if err == nil {
		db, err = Open(f.opts.Path)
	}
	held := f.db.Load()
	f.mu.Lock()
	again := err != nil && f.refused != nil && err.Error() == f.refused.Error()
	f.seen, f.refused = now, err
	f.mu.Unlock()
	switch {
	case err != nil && !again:
		f.opts.Logger.Warn("geo database refused", "path", f.opts.Path, "error", err, "in_use", held != nil)
	case err != nil, held != nil && held.SHA256 == db.SHA256:
	default:
		f.db.Store(db)
		f.opts.Logger.Info("geo database in use", "path", f.opts.Path, "type", db.Type, "built", db.Built.Format(time.DateOnly), "hash", db.Short())
		if f.opts.Changed != nil {
			f.opts.Changed()
		}
	}
}

func stampOf(path string) (stamp, error) {
	fi, err := os.Stat(path)
	if err != nil {
		return stamp{}, fmt.Errorf("open geo database: %w", err)
	}
	return stamp{fi.Size(), fi.ModTime(), fi}, nil
}

// Open reads a file and checks it.
func Open(path string) (*DB, error) {
	fi, err := os.Stat(path)
	switch {
	case err != nil:
		return nil, fmt.Errorf("open geo database: %w", err)
	case !fi.Mode().IsRegular():
		return nil, fmt.Errorf("open geo database %s: not a file", path)
	case fi.Size() > maxSize:
		return nil, fmt.Errorf("open geo database %s: %d bytes, at most %d", path, fi.Size(), maxSize)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("open geo database: %w", err)
	}
	db, err := Parse(b)
	if err != nil {
		return nil, fmt.Errorf("open geo database %s: %w", path, err)
	}
	return db, nil
}

// DB returns the database in use, nil if there is none.
func (f *File) DB() *DB { return f.db.Load() }

// Refused returns why the file as it is now is not in use, nil if it is.
func (f *File) Refused() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.refused
}

// Missing reports whether the file is not there.
func (f *File) Missing() bool { return errors.Is(f.Refused(), fs.ErrNotExist) }

// Locate implements [geo.Locator].
func (f *File) Locate(a netip.Addr) (geo.Place, bool) {
	if db := f.db.Load(); db != nil {
		return db.Locate(a)
	}
	return geo.Place{}, false
}
