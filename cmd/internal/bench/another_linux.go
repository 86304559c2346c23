package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/rootd/rootd/cmd/internal/client"
	"github.com/rootd/rootd/cmd/internal/procs"
	"github.com/rootd/rootd/packetpath/vl1"
)

// startOther starts the other root server with rootd's identity. Whether it serves shows when the clients greet it.
func (l *lab) startOther() error {
	dir := filepath.Join(l.dir, "other")
	if err := l.giveIdentity(dir); err != nil {
		return err
	}
	at, err := procs.FreePort(netip.AddrFrom4([4]byte{127, 0, 0, 1}))
	if err != nil {
		return err
	}
	command := strings.NewReplacer("{port}", strconv.Itoa(int(at.Port())), "{dir}", dir, "{identity}", filepath.Join(dir, "identity.secret")).Replace(l.c.other)
	p, err := procs.Start(procs.Command{Path: "/bin/sh", Args: []string{"-c", command}})
	if err != nil {
		return fmt.Errorf("start the other root: %w", err)
	}
	l.other = p
	l.servers = append(l.servers, server{name: "the other root", at: at, pid: p.PID()})
	return nil
}

// giveIdentity makes a directory with rootd's identity in it.
func (l *lab) giveIdentity(dir string) error {
	if err := os.Mkdir(dir, 0o700); err != nil {
		return err
	}
	for _, name := range []string{"identity.secret", "identity.public"} {
		b, err := os.ReadFile(filepath.Join(l.root.DataDir, name))
		if err != nil {
			return fmt.Errorf("give the other root our identity: %w", err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
			return err
		}
	}
	return nil
}

// said is what the other root wrote, for errors about it.
func (l *lab) said(server int) string {
	if server != another || l.other == nil {
		return ""
	}
	return ": it says:\n" + l.other.Output()
}

// clients returns the identities of the clients: from the file, or synthetic.
func (l *lab) clients(src rand.Source) (ids []*vl1.SecretIdentity, err error) {
	if l.c.file == "" {
		for len(ids) < l.c.clients {
			id, err := client.Synthetic(src)
			if err != nil {
				return nil, err
			}
			ids = append(ids, id)
		}
		return ids, nil
	}
	f, err := os.Open(l.c.file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan() && len(ids) < l.c.clients; {
		id, err := vl1.ParseSecretIdentity(strings.TrimSpace(lines.Text()))
		if err != nil {
			return nil, fmt.Errorf("%s, line %d: %w", l.c.file, len(ids)+1, err)
		}
		ids = append(ids, id)
	}
	if len(ids) < 100 {
		return nil, fmt.Errorf("%s: %d identities are too few", l.c.file, len(ids))
	}
	return ids, nil
}

// calm waits until a server has digested what its clients told it: some check identities afterwards, which takes them minutes
// of CPU time.
func calm(ctx context.Context, s *server, stderr io.Writer) error {
	const busy = 50 * time.Millisecond
	for since := time.Now(); ; {
		before, err := cpu(s.pid)
		if err != nil {
			return err
		}
		if err := pause(ctx, time.Second); err != nil {
			return err
		}
		after, err := cpu(s.pid)
		if err != nil || time.Duration(after-before) < busy {
			return err
		}
		if time.Since(since) > 10*time.Minute {
			fmt.Fprintf(stderr, "%s is still busy, without any load: the figures include that\n", s.name)
			return nil
		}
	}
}

// resident is the memory that a process has, in bytes.
func resident(pid int) (int64, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
	if err != nil {
		return 0, fmt.Errorf("the server is gone: %w", err)
	}
	fields := strings.Fields(string(b))
	if len(fields) < 2 {
		return 0, fmt.Errorf("/proc/%d/statm: %q", pid, b)
	}
	pages, err := strconv.ParseInt(fields[1], 10, 64)
	return pages * int64(os.Getpagesize()), err
}
