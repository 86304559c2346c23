package main

import (
	"context"
	_ "embed"
	"fmt"
	"io"
	"math/rand/v2"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rootd/rootd/cmd/internal/procs"
	"github.com/rootd/rootd/packetpath/vl1"
	"github.com/rootd/rootd/transport/admin"
)

//go:embed reflector/reflector.c
var reflectorSource []byte

// server is one of those that are compared.
type server struct {
	name   string
	at     netip.AddrPort
	pid    int
	memory [2]int64 // resident bytes, before its clients came and after
}

// lab is the servers and the load on them.
type lab struct {
	c         *config
	dir       string
	root      *procs.Member
	more      []*procs.Member // of its cluster
	than      *procs.Member   // another build of it; nil: there is none
	reflector *procs.Process
	other     *procs.Process // nil: there is none
	servers   []server       // the reflector, rootd, the other
	load      *load
	gc        collections // of rootd
	empty     int64       // resident bytes of rootd before it knew anybody
}

func newLab(ctx context.Context, c *config, stderr io.Writer) (l *lab, err error) {
	l = &lab{c: c}
	if l.dir, err = os.MkdirTemp("", "bench"); err != nil {
		return nil, err
	}
	begun := l // an error returns nil
	defer func() {
		if err != nil {
			begun.close()
		}
	}()
	if err := pin(c.cores[0]); err != nil { // who is started inherits it
		return nil, err
	}
	if err := l.startReflector(ctx); err != nil {
		return nil, err
	}
	if err := l.startRoot(ctx); err != nil {
		return nil, err
	}
	if c.than != "" {
		if err := l.startThan(ctx); err != nil {
			return nil, err
		}
	}
	if c.other != "" {
		if err := l.startOther(); err != nil {
			return nil, err
		}
	}
	if err := pin(c.cores[1]); err != nil {
		return nil, err
	}
	if l.empty, err = resident(l.servers[rootd].pid); err != nil {
		return nil, err
	}
	if err := l.grow(ctx, stderr); err != nil {
		return nil, err
	}
	ids, err := l.identities(ctx, stderr)
	if err != nil {
		return nil, err
	}
	root, err := l.rootIdentity()
	if err != nil {
		return nil, err
	}
	if l.load, err = newLoad(ids, root); err != nil {
		return nil, err
	}
	for k := range l.servers[rootd:] {
		s := &l.servers[rootd+k]
		fmt.Fprintf(stderr, "%d clients introduce themselves to %s\n", len(ids), s.name)
		if s.memory[0], err = resident(s.pid); err != nil {
			return nil, err
		}
		if err := l.load.introduce(ctx, s.at, c.other != "" && rootd+k == another); err != nil {
			return nil, fmt.Errorf("%s: %w%s", s.name, err, l.said(rootd+k))
		}
		if err := calm(ctx, s, stderr); err != nil {
			return nil, err
		}
		if s.memory[1], err = resident(s.pid); err != nil {
			return nil, err
		}
	}
	return l, nil
}

func (l *lab) close() {
	if l.reflector != nil {
		l.reflector.Kill()
	}
	if l.root != nil {
		l.root.Kill()
	}
	for _, m := range l.more {
		m.Kill()
	}
	if l.than != nil {
		l.than.Kill()
	}
	if l.other != nil {
		l.other.Kill()
	}
	if l.load != nil {
		_ = l.load.conn.Close()
	}
	_ = os.RemoveAll(l.dir)
}

// pin ties all threads of this process to a core, if it is not -1.
func pin(core int) error {
	if core < 0 {
		return nil
	}
	var set unix.CPUSet
	set.Set(core)
	tasks, err := os.ReadDir("/proc/self/task")
	if err != nil {
		return err
	}
	for _, t := range tasks {
		id, err := strconv.Atoi(t.Name())
		if err != nil {
			return err
		}
		if err := unix.SchedSetaffinity(id, &set); err != nil && err != unix.ESRCH {
			return fmt.Errorf("use core %d alone: %w: choose others with -server-core and -load-core", core, err)
		}
	}
	return nil
}

func (l *lab) startReflector(ctx context.Context) error {
	source, binary := filepath.Join(l.dir, "reflector.c"), filepath.Join(l.dir, "reflector")
	if err := os.WriteFile(source, reflectorSource, 0o600); err != nil {
		return err
	}
	if out, err := exec.CommandContext(ctx, l.c.cc, "-O2", "-o", binary, source).CombinedOutput(); err != nil {
		return fmt.Errorf("compile the reflector: %w: it needs a C compiler, see -cc\n%s", err, out)
	}
	p, err := procs.Start(procs.Command{Path: binary})
	if err != nil {
		return err
	}
	l.reflector = p
	for deadline := time.Now().Add(10 * time.Second); ; {
		if port, err := strconv.ParseUint(strings.TrimSpace(p.Output()), 10, 16); err == nil {
			l.servers = append(l.servers, server{name: "the reflector", at: netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), uint16(port)), pid: p.PID()})
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("the reflector does not start: %s", p.Output())
		}
		if err := pause(ctx, 10*time.Millisecond); err != nil {
			return err
		}
	}
}

func (l *lab) startRoot(ctx context.Context) error {
	m, err := procs.NewMember(filepath.Join(l.c.bin, "rootd"), filepath.Join(l.dir, "root"))
	if err != nil {
		return err
	}
	l.root = m
	m.Args = l.c.args
	if l.c.fill {
		m.Tee = &l.gc
	}
	if l.c.members == 1 {
		m.Args = append([]string{"-cluster-listen", "off"}, m.Args...)
	}
	return l.serve(ctx, m, "rootd")
}

// startThan starts another build of rootd, with the same identity.
func (l *lab) startThan(ctx context.Context) error {
	dir := filepath.Join(l.dir, "than")
	if err := l.giveIdentity(dir); err != nil {
		return err
	}
	m, err := procs.NewMember(filepath.Join(l.c.than, "rootd"), dir)
	if err != nil {
		return err
	}
	l.than = m
	m.Args = append([]string{"-cluster-listen", "off"}, l.c.args...)
	return l.serve(ctx, m, "the other rootd")
}

// serve starts a rootd and waits until it serves.
func (l *lab) serve(ctx context.Context, m *procs.Member, name string) error {
	if err := m.Start(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	if err := m.WaitReady(ctx); err != nil {
		return err
	}
	l.servers = append(l.servers, server{name: name, at: m.UDP, pid: m.Process().PID()})
	return nil
}

func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}

// identities makes the clients, and puts them into rootd's log among others.
func (l *lab) identities(ctx context.Context, stderr io.Writer) ([]*vl1.SecretIdentity, error) {
	src := rand.NewPCG(1, 2)
	secret, err := l.clients(src)
	if err != nil {
		return nil, err
	}
	others := l.c.peers - len(secret)
	if l.c.fill {
		others = 0 // they come later
	}
	fmt.Fprintf(stderr, "%d peers go into the log\n", len(secret)+others)
	known := make([]vl1.Identity, len(secret))
	for i, id := range secret {
		known[i] = id.Identity
	}
	for _, m := range []*procs.Member{l.root, l.than} {
		if m == nil {
			continue
		}
		a := admin.NewClient(m.Socket())
		for batch := range slices.Chunk(known, admin.MaxImport) {
			if _, err = a.ImportPeers(ctx, batch); err != nil {
				break
			}
		}
		if err == nil {
			err = importNoise(ctx, a, others)
		}
		a.Close()
		if err != nil {
			return nil, err
		}
	}
	return secret, nil
}

func (l *lab) rootIdentity() (vl1.Identity, error) {
	b, err := os.ReadFile(filepath.Join(l.root.DataDir, "identity.public"))
	if err != nil {
		return vl1.Identity{}, err
	}
	return vl1.ParseIdentity(strings.TrimSpace(string(b)))
}

// round runs a scenario against all servers.
func (l *lab) round(r *result) error {
	i := slices.IndexFunc(scenarios(), func(s scenario) bool { return s.name == r.Name })
	s := scenarios()[i]
	var ns [servers]float64
	for k, srv := range l.servers {
		time.Sleep(s.rest) //nolint:forbidigo // nothing is to be waited for
		before, err := cpu(srv.pid)
		if err != nil {
			return err
		}
		l.load.at(srv.at)
		asked := l.load.asked
		sent, back := s.run(l.load, srv.at, l.c.length)
		after, err := cpu(srv.pid)
		if err != nil {
			return err
		}
		if back < sent/10 {
			return fmt.Errorf("%d of %d packets came back from %s: the machine is too busy, or -clients is too small%s", back, sent, srv.name, l.said(k))
		}
		// What the root itself asks, to keep NAT mappings open, is a packet out and one in, as a relay is.
		ns[k] = float64(after-before) / float64(back+l.load.asked-asked)
		switch k {
		case rootd:
			r.Lost += sent - back
		case another:
			r.OtherLost += sent - back
		}
		if late := l.load.late; len(late) > 0 {
			slices.Sort(late)
			r.P50[k] = append(r.P50[k], float64(late[len(late)/2])/1e3)
			r.P99[k] = append(r.P99[k], float64(late[len(late)*99/100])/1e3)
		}
	}
	r.Reflector, r.Root, r.Ratios = append(r.Reflector, ns[reflector]), append(r.Root, ns[rootd]), append(r.Ratios, ns[rootd]/ns[reflector])
	if len(l.servers) > another {
		r.Other, r.OtherRatios = append(r.Other, ns[another]), append(r.OtherRatios, ns[rootd]/ns[another])
	}
	return nil
}

// cpu is the CPU time of all threads of a process, ns.
func cpu(pid int) (sum int64, err error) {
	dir := fmt.Sprintf("/proc/%d/task", pid)
	tasks, err := os.ReadDir(dir)
	if err != nil {
		return 0, fmt.Errorf("the server is gone: %w", err)
	}
	for _, t := range tasks {
		b, err := os.ReadFile(filepath.Join(dir, t.Name(), "schedstat"))
		if err != nil {
			continue // a thread that has just ended
		}
		text, _, _ := strings.Cut(string(b), " ")
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return 0, fmt.Errorf("%s/%s/schedstat: %w", dir, t.Name(), err)
		}
		sum += n
	}
	return sum, nil
}
