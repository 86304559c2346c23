package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing/synctest"
	"time"

	"github.com/rootd/rootd/cmd/internal/build"
	"github.com/rootd/rootd/cmd/internal/datadir"
	"github.com/rootd/rootd/fsm"
	"github.com/rootd/rootd/packetpath/udp"
	"github.com/rootd/rootd/transport/admin"
	"github.com/rootd/rootd/transport/join"
)

// host is the machine of a member.
type host struct {
	place
	w      *world
	name   string
	v4, v6 netip.Addr
	dir    string
	lives  int
	said   *tail
	isDown func() // ends the trouble of being down; nil: it is not

	mu   sync.Mutex // guards life
	life *presence  // nil: nothing runs here
}

// presence is one life of a member, from its start to its end.
type presence struct {
	*member
	host   *host
	cancel context.CancelFunc
	done   chan error // what it returned, once

	mu    sync.Mutex // guards the following
	dead  bool
	socks []udp.Conn
}

const (
	clientPort  = 9993
	clusterPort = 9995
	adminPort   = 9996
)

func (h *host) endpoints() []netip.AddrPort {
	return []netip.AddrPort{netip.AddrPortFrom(h.v4, clientPort), netip.AddrPortFrom(h.v6, clientPort)}
}

func (h *host) address() string { return netip.AddrPortFrom(h.v4, clusterPort).String() }

// running returns the member that runs here, or nil.
func (h *host) running() *presence {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.life
}

// hostAt is the machine of the n-th member of a root.
func hostAt(root, n int) *host {
	return &host{
		name: fmt.Sprintf("%s%d", string("mb"[root]), n),
		v4:   netip.AddrFrom4([4]byte{10, byte(100 * root), byte(n), 1}), v6: netip.AddrFrom16([16]byte{0: 0xfd, 12: byte(root), 13: byte(n), 15: 1}),
	}
}

// addMember makes a machine in a city and its member: the first one of the cluster, or one that joins with a token.
func (w *world) addMember(city int) *host {
	w.Helper()
	n := len(w.hosts) + 1
	h := hostAt(w.number, n)
	h.w, h.dir, h.said = w, filepath.Join(w.TempDir(), "0"), new(tail)
	h.place = w.place(city, true, h.v4, h.v6)
	if n == 1 {
		d, err := datadir.Create(h.dir, datadir.Options{
			Name: h.name, Cluster: w.name, Endpoints: h.endpoints(), Identity: w.identity, Planet: w.planet, Key: w.signs, Now: time.Now(),
		})
		if err != nil {
			w.Fatal(err)
		}
		if err := d.Close(); err != nil {
			w.Fatal(err)
		}
	} else {
		w.join(h)
	}
	w.hosts = append(w.hosts, h)
	h.start()
	w.until(h.name+" is up", time.Minute, func() bool { return h.life.sightings.epoch.Load() != 0 })
	return h
}

// join does what rootctl join does.
func (w *world) join(h *host) {
	w.Helper()
	ctx, cancel := context.WithTimeout(w.Context(), time.Minute)
	defer cancel()
	made, err := source{w.leader().member}.CreateToken(ctx, admin.TokenRequest{Note: h.name})
	if err != nil {
		w.Fatal(err)
	}
	token, err := join.ParseToken(made.Text)
	if err != nil {
		w.Fatal(err)
	}
	dir, err := datadir.BeginJoin(h.dir, token.CA, time.Now())
	if err != nil {
		w.Fatal(err)
	}
	defer dir.Close()
	b := build.Current()
	r, err := join.Join(ctx, join.Options{
		Token: token, Key: dir.Key, Name: h.name, Address: h.address(), Endpoints: h.endpoints(),
		Version: b.Version, Feature: uint16(b.FeatureLevel), Dial: w.tcp.Host(h.v4).Dial,
	})
	if err != nil {
		w.Fatal(err)
	}
	joined, err := dir.Finish(datadir.Joined{
		Name: h.name, Address: h.address(), Endpoints: h.endpoints(), ClusterName: r.Offer.ClusterName, Keys: r.Keys,
		Authority: r.Authority, Identity: r.Identity, Planet: r.Offer.Planet, PlanetKey: r.PlanetKey, Now: time.Now(),
	})
	if err != nil {
		w.Fatal(err)
	}
	if err := joined.Close(); err != nil {
		w.Fatal(err)
	}
}

// start starts the member from its files.
func (h *host) start() {
	w := h.w
	w.Helper()
	cfg := DefaultConfig()
	cfg.DataDir, cfg.Name, cfg.Listen, cfg.Endpoints = h.dir, h.name, h.endpoints(), h.endpoints()
	cfg.Cluster.Listen = netip.AddrPortFrom(h.v4, clusterPort)
	cfg.HTTP.Listen = netip.AddrPort{}
	cfg.UDP.Workers, cfg.Limits.ValidationWorkers = 1, 1
	cfg.Peers.HugePages, cfg.Peers.MaxSessions = false, 20_000
	l := &presence{host: h, done: make(chan error, 1)}
	log := slog.New(slog.NewTextHandler(h.said, &slog.HandlerOptions{Level: slog.LevelInfo})).With("life", h.lives)
	h.lives++
	l.member = newMember(&cfg, l.platform(), log)
	l.prober.greeter.Become(identities(w, identityOfProbers+h.number, 1)[0])
	ctx, cancel := context.WithCancel(context.Background())
	l.cancel = cancel
	if err := l.open(ctx, io.Discard); err != nil {
		cancel()
		_ = l.close()
		w.Fatalf("start %s: %v", h.name, err)
	}
	go func() {
		err := l.serve(ctx)
		l.done <- errors.Join(err, l.close())
	}()
	h.mu.Lock()
	h.life = l
	h.mu.Unlock()
	if h.isDown != nil {
		h.isDown()
		h.isDown = nil
	}
}

// platform is the machine in memory, for as long as this life lasts.
func (l *presence) platform() *platform {
	h := l.host
	listen := func(a netip.AddrPort, o udp.Options) (udp.Conn, error) {
		l.mu.Lock()
		defer l.mu.Unlock()
		if l.dead {
			return nil, syscall.ENETDOWN
		}
		c, err := h.w.udp.Listen(a, o)
		if err == nil {
			l.socks = append(l.socks, c)
		}
		return c, err
	}
	return &platform{
		listenUDP: listen,
		dialUDP: func(to netip.AddrPort) (net.Conn, error) {
			from := h.v4
			if to.Addr().Is6() {
				from = h.v6
			}
			c, err := listen(netip.AddrPortFrom(from, 0), udp.Options{})
			if err != nil {
				return nil, err
			}
			return &dialed{l, c, c.NewSender(1), to}, nil
		},
		listenTCP: func(_ context.Context, address string) (net.Listener, error) {
			at, err := netip.ParseAddrPort(address)
			if err != nil {
				return nil, err
			}
			return h.w.tcp.Host(h.v4).Listen(at.Port())
		},
		dialTCP: func(ctx context.Context, address string) (net.Conn, error) {
			l.mu.Lock()
			dead := l.dead
			l.mu.Unlock()
			if dead {
				return nil, syscall.ENETDOWN
			}
			return h.w.tcp.Host(h.v4).Dial(ctx, address)
		},
		listenAdmin: func(string) (net.Listener, error) { return h.w.tcp.Host(h.v4).Listen(adminPort) },
		usage:       func() usage { return usage{} }, // the processor's time is not the bubble's
	}
}

// dialed is a UDP socket with one other end.
type dialed struct {
	life *presence
	udp.Conn
	sender udp.Sender
	to     netip.AddrPort
}

func (d *dialed) Read(b []byte) (int, error) {
	batch := [1]udp.Message{{Buf: b}}
	n, err := d.Conn.Read(batch[:])
	if err != nil || n == 0 {
		return 0, err
	}
	return batch[0].N, nil
}

func (d *dialed) Write(b []byte) (int, error) {
	_, err := d.sender.Write([]udp.Message{{Buf: b, N: len(b), Addr: d.to}})
	return len(b), err
}

func (d *dialed) Close() error {
	d.life.mu.Lock()
	defer d.life.mu.Unlock()
	d.life.socks = slices.DeleteFunc(d.life.socks, func(c udp.Conn) bool { return c == d.Conn })
	return d.Conn.Close()
}

func (d *dialed) LocalAddr() net.Addr                { return net.UDPAddrFromAddrPort(d.Conn.LocalAddr()) }
func (d *dialed) RemoteAddr() net.Addr               { return net.UDPAddrFromAddrPort(d.to) }
func (d *dialed) SetDeadline(t time.Time) error      { return d.SetReadDeadline(t) }
func (d *dialed) SetWriteDeadline(t time.Time) error { return nil }

// kill is kill -9: from this moment nothing that the member does leaves the machine or reaches its files. What it leaves
// behind is what it had handed to the system.
func (h *host) kill() {
	h.w.Helper()
	h.mu.Lock()
	l := h.life
	h.life = nil
	h.mu.Unlock()
	if l == nil {
		return
	}
	h.isDown = h.w.truth.trouble(down, h.number, -1)
	synctest.Wait() // nobody is in the middle of writing a file
	next := filepath.Join(filepath.Dir(h.dir), fmt.Sprint(h.lives))
	if err := copyDir(h.dir, next); err != nil {
		h.w.Fatal(err)
	}
	old := h.dir
	h.dir = next
	l.mu.Lock()
	l.dead = true
	for _, c := range l.socks {
		_ = c.Close()
	}
	l.mu.Unlock()
	h.w.tcp.Reset(h.v4)
	l.cancel()
	h.w.ending.Go(func() { // it goes on for a moment, on files that nobody sees again
		<-l.done
		_ = os.RemoveAll(old)
	})
}

// copyDir copies a directory with its modes.
func copyDir(from, to string) error {
	return filepath.WalkDir(from, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		at := filepath.Join(to, strings.TrimPrefix(path, from))
		info, err := e.Info()
		if err != nil {
			return err
		}
		if e.IsDir() {
			return os.Mkdir(at, info.Mode().Perm())
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return os.WriteFile(at, b, info.Mode().Perm())
	})
}

// stop ends the member as SIGTERM does.
func (h *host) stop() {
	h.w.Helper()
	h.mu.Lock()
	l := h.life
	h.life = nil
	h.mu.Unlock()
	if l == nil {
		return
	}
	h.isDown = h.w.truth.trouble(down, h.number, -1)
	l.cancel()
	if err := <-l.done; err != nil {
		h.w.Errorf("%s ended: %v", h.name, err)
	}
}

// stopAll ends the world.
func (w *world) stopAll() {
	if w.Failed() {
		for _, h := range w.hosts {
			w.Logf("%s said at last:\n%s", h.name, h.said.String())
		}
	}
	for _, end := range slices.Backward(w.closers) {
		end()
	}
	var wg sync.WaitGroup
	for _, h := range w.hosts {
		wg.Go(h.stop)
	}
	wg.Wait()
	w.ending.Wait()
}

// leader waits for a member that leads.
func (w *world) leader() (leader *presence) {
	w.Helper()
	w.until("there is a leader", 2*time.Minute, func() bool {
		leader = w.leads()
		return leader != nil
	})
	return leader
}

// leads returns the member that leads, or nil.
func (w *world) leads() *presence {
	for _, h := range w.hosts {
		if l := h.running(); l != nil && l.replica.IsLeader() {
			return l
		}
	}
	return nil
}

// settle waits until all members run, are up and vote, and all agree on what the log says.
func (w *world) settle() {
	w.Helper()
	w.until("the cluster is whole", 5*time.Minute, w.whole)
}

func (w *world) whole() bool {
	l := w.leads()
	if l == nil {
		return false
	}
	index := l.fsm.View().State().Index
	for _, h := range w.hosts {
		m := h.running()
		if m == nil {
			return false
		}
		s := m.fsm.View().State()
		if s.Index < index || m.fenced.Load() || len(s.Members) < len(w.hosts) {
			return false
		}
		for i := range s.Members {
			if s.StatusOf(s.Members[i].ID) != fsm.StatusUp {
				return false
			}
		}
		voters := 0
		for _, v := range s.Voters.Servers {
			if v.Voter {
				voters++
			}
		}
		if voters < min(len(w.hosts), s.Settings.Voters) {
			return false
		}
	}
	return true
}

// tail keeps the last that a member logged.
type tail struct {
	mu    sync.Mutex // guards lines
	lines [][]byte
}

func (t *tail) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.lines = append(t.lines, bytes.Clone(b)); len(t.lines) > 400 {
		t.lines = slices.Delete(t.lines, 0, 200)
	}
	return len(b), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(bytes.Join(t.lines[max(0, len(t.lines)-120):], nil))
}
