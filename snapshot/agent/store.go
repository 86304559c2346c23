package agent

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/rootd/rootd/snapshot"
)

// Store is where archives are kept.
type Store interface {
	// Put writes an archive under a name: wholly, or not at all. The function writes it, and may be called once.
	Put(ctx context.Context, name string, write func(io.Writer) error) error
	// Open reads one.
	Open(ctx context.Context, name string) (io.ReadCloser, error)
	// List lists all files, whatever they are.
	List(ctx context.Context) ([]File, error)
	Remove(ctx context.Context, name string) error
	// String names the store for people, without secrets.
	String() string
}

// File is a file in a store.
type File struct {
	Name string
	Size int64
}

const s3Scheme = "s3://"

// Open returns the store of a name: a directory, or s3://BUCKET/PREFIX, of which the options then say the rest.
func Open(where string, o S3Options) (Store, error) {
	bucket, ok := strings.CutPrefix(where, s3Scheme)
	if !ok {
		return NewDir(where), nil
	}
	o.Bucket, o.Prefix, _ = strings.Cut(bucket, "/")
	if o.Prefix = strings.Trim(o.Prefix, "/"); o.Bucket == "" {
		return nil, fmt.Errorf("%q names no bucket: want s3://BUCKET/PREFIX", where)
	}
	return NewS3(o)
}

const nameTime = "20060102T150405Z"

// Name returns the name of an archive in a store.
func Name(m *snapshot.Meta) string {
	return fmt.Sprintf("%s-%.8s-%s-i%d%s", plainName(m.Cluster.Name), m.Cluster.ID, m.Created.UTC().Format(nameTime), m.Index, suffix)
}

const suffix = ".rootd"

// plainName is the cluster's name with everything but letters, digits and dots made a dash.
func plainName(name string) string {
	s := strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '.' {
			return r
		}
		return '-'
	}, name)
	if s = strings.TrimLeft(s, ".-"); s == "" {
		return "cluster"
	}
	return s
}

// Backup is an archive in a store, as its name tells.
type Backup struct {
	File

	Cluster string // the first 8 digits of its ID
	Taken   time.Time
	Index   uint64
}

// Backups lists the archives in a store, the newest first. cluster is the ID of one; "": of all.
func Backups(ctx context.Context, s Store, cluster string) ([]Backup, error) {
	files, err := s.List(ctx)
	if err != nil {
		return nil, fmt.Errorf("list backups: %w", err)
	}
	var all []Backup
	for _, f := range files {
		if b, ok := parseName(f.Name); ok && (cluster == "" || strings.HasPrefix(cluster, b.Cluster)) {
			b.Size = f.Size
			all = append(all, b)
		}
	}
	slices.SortFunc(all, func(x, y Backup) int {
		return cmp.Or(y.Taken.Compare(x.Taken), cmp.Compare(y.Index, x.Index), cmp.Compare(y.Name, x.Name))
	})
	return all, nil
}

// parseName tells archives by their names.
func parseName(name string) (Backup, bool) {
	m := regexp.MustCompile(`^[A-Za-z0-9.-]+-([0-9a-f]{8})-([0-9]{8}T[0-9]{6}Z)-i([0-9]+)\.rootd$`).FindStringSubmatch(name)
	if m == nil {
		return Backup{}, false
	}
	taken, err := time.Parse(nameTime, m[2])
	if err != nil {
		return Backup{}, false
	}
	index, err := strconv.ParseUint(m[3], 10, 64)
	return Backup{File: File{Name: name}, Cluster: m[1], Taken: taken, Index: index}, err == nil
}
