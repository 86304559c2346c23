package agent

import (
	"context"
	"fmt"
	"io"
	"regexp"
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
	// List lists all names, whatever they are.
	List(ctx context.Context) ([]string, error)
	Remove(ctx context.Context, name string) error
	// String names the store for people, without secrets.
	String() string
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

// entry is an archive in a store.
type entry struct {
	name  string
	taken time.Time
	index uint64
}

// parseName tells the archives of a cluster by their names.
func parseName(name, cluster string) (entry, bool) {
	m := regexp.MustCompile(`^[A-Za-z0-9.-]+-([0-9a-f]{8})-([0-9]{8}T[0-9]{6}Z)-i([0-9]+)\.rootd$`).FindStringSubmatch(name)
	if m == nil || len(cluster) < 8 || m[1] != cluster[:8] {
		return entry{}, false
	}
	taken, err := time.Parse(nameTime, m[2])
	if err != nil {
		return entry{}, false
	}
	index, err := strconv.ParseUint(m[3], 10, 64)
	return entry{name, taken, index}, err == nil
}
