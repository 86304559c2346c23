package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"

	"github.com/rootd/rootd/packetpath/vl1"
)

// readIdentities reads at most n secret identities, one a line; empty lines and those that begin with # are skipped.
func readIdentities(r io.Reader, n int) ([]*vl1.SecretIdentity, error) {
	var ids []*vl1.SecretIdentity
	seen := make(map[vl1.Address]bool, n)
	sc := bufio.NewScanner(r)
	for line := 1; len(ids) < n && sc.Scan(); line++ {
		text := strings.TrimSpace(sc.Text())
		if text == "" || text[0] == '#' {
			continue
		}
		id, err := vl1.ParseSecretIdentity(text)
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", line, err)
		}
		if !seen[id.Address] {
			seen[id.Address] = true
			ids = append(ids, id)
		}
	}
	return ids, sc.Err()
}

// loadIdentities returns n identities: from the file, and from new ones if the file is the cache.
func loadIdentities(file string, n int, progress io.Writer) ([]*vl1.SecretIdentity, error) {
	cache := file == ""
	if cache {
		dir, err := os.UserCacheDir()
		if err != nil {
			return nil, fmt.Errorf("no place for generated identities: %w: give -identities FILE", err)
		}
		file = filepath.Join(dir, "rootswarm", "identities.secret")
	}
	var ids []*vl1.SecretIdentity
	f, err := os.Open(file)
	switch {
	case err == nil:
		ids, err = readIdentities(f, n)
		f.Close()
		if err != nil {
			return nil, fmt.Errorf("read identities %s: %w", file, err)
		}
	case !cache || !errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("read identities: %w", err)
	}
	if missing := n - len(ids); missing > 0 {
		if !cache {
			return nil, fmt.Errorf("read identities %s: %d there, %d wanted: use fewer -clients, or -synthetic", file, len(ids), n)
		}
		fmt.Fprintf(progress, "making %d identities (each costs about a second of a core; kept in %s)\n", missing, file)
		fresh, err := generate(missing)
		if err != nil {
			return nil, err
		}
		if err := appendIdentities(file, fresh); err != nil {
			return nil, err
		}
		ids = append(ids, fresh...)
	}
	return ids, nil
}

func generate(n int) ([]*vl1.SecretIdentity, error) {
	ids := make([]*vl1.SecretIdentity, n)
	errs := make([]error, n)
	var wg sync.WaitGroup
	next := make(chan int)
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			h := vl1.NewHasher()
			for i := range next {
				ids[i], errs[i] = h.Generate()
			}
		})
	}
	for i := range n {
		next <- i
	}
	close(next)
	wg.Wait()
	return ids, errors.Join(errs...)
}

func appendIdentities(file string, ids []*vl1.SecretIdentity) error {
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return fmt.Errorf("keep identities: %w", err)
	}
	f, err := os.OpenFile(file, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("keep identities: %w", err)
	}
	for _, id := range ids {
		if _, err := fmt.Fprintln(f, id.SecretString()); err != nil {
			f.Close()
			return fmt.Errorf("keep identities: %w", err)
		}
	}
	return f.Close()
}
