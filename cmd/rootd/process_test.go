package main_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/rootd/rootd/cmd/internal/procs"
	"github.com/rootd/rootd/packetpath/vl1"
	"github.com/rootd/rootd/transport/admin"
)

// grace is how long a rootd may take to stop when asked to.
const grace = 10 * time.Second

// binaries are the real ones, built for a test and its subtests.
type binaries struct{ dir string }

func (b binaries) rootd() string     { return filepath.Join(b.dir, "rootd") }
func (b binaries) rootswarm() string { return filepath.Join(b.dir, "rootswarm") }
func (b binaries) rootctl() string   { return filepath.Join(b.dir, "rootctl") }

// ctl runs rootctl for the member, which must succeed, and returns what it printed.
func (b binaries) ctl(t *testing.T, m *procs.Member, args ...string) string {
	t.Helper()
	p := procs.StartTest(t, procs.Command{Path: b.rootctl(), Args: append(args, "--data-dir", m.DataDir)})
	if code, err := p.Wait(deadline(t)); err != nil || code != 0 {
		t.Fatalf("rootctl %q: exit code %d, %v:\n%s", args, code, err, p.Output())
	}
	return p.Output()
}

func deadline(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	t.Cleanup(cancel)
	return ctx
}

func isClosed(err error) bool { return errors.Is(err, net.ErrClosed) }

// TestProcess runs real binaries: what an operator meets, and what a power cut does.
func TestProcess(t *testing.T) {
	if testing.Short() {
		t.Skip("builds and starts processes")
	}
	b := binaries{t.TempDir()}
	if err := procs.Build(deadline(t), b.dir, ".", "../rootctl", "../rootswarm"); err != nil {
		t.Fatal(err)
	}
	t.Run("starts with nothing", b.startsWithNothing)
	t.Run("refuses", b.refuses)
	t.Run("second on the same directory", b.second)
	t.Run("kill under load", b.killUnderLoad)
	t.Run("kill at any moment of the first start", b.killAtBirth)
	t.Run("restart", b.restart)
	t.Run("new planet", b.newPlanet)
	t.Run("backups", b.backups)
	t.Run("imported identities", b.imported)
}

// startsWithNothing is the first thing that anybody does.
func (b binaries) startsWithNothing(t *testing.T) {
	m := start(t, b.rootd())
	planet := readPlanet(t, m)
	if len(planet.Roots) != 1 || len(planet.Roots[0].Endpoints) != 1 || planet.Roots[0].Endpoints[0] != m.UDP {
		t.Errorf("planet with roots %v, want one at %s", planet.Roots, m.UDP)
	}
	for file, mode := range map[string]fs.FileMode{"identity.secret": 0o600, "planet.key": 0o600, "identity.public": 0o644, "planet": 0o644} {
		if info, err := os.Stat(filepath.Join(m.DataDir, file)); err != nil || info.Mode() != mode {
			t.Errorf("%s: mode %v, %v; want %v", file, info.Mode(), err, mode)
		}
	}
	said := m.Process().Output()
	for _, want := range []string{
		planet.Roots[0].Identity.Address.String(), // what it made
		filepath.Join(m.DataDir, "planet"),        // what a client needs
		"zerotier-one",                            // and where it goes
	} {
		if !strings.Contains(said, want) {
			t.Errorf("the first start does not mention %q:\n%s", want, said)
		}
	}
	secret, err := os.ReadFile(filepath.Join(m.DataDir, "identity.secret"))
	if err != nil {
		t.Fatal(err)
	}
	if private := strings.Split(strings.TrimSpace(string(secret)), ":")[3]; strings.Contains(said, private) {
		t.Error("the secret is in the output")
	}
	devices(t, 1, planet, m.UDP)[0].hello(t)
}

// second starts another rootd on the directory of one that runs.
func (b binaries) second(t *testing.T) {
	m := start(t, b.rootd())
	other, err := procs.NewMember(b.rootd(), m.DataDir)
	if err != nil {
		t.Fatal(err)
	}
	if err := other.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(other.Kill)
	refused(t, other.Process(), m.DataDir, "uses this directory", "hint:", strconv.Itoa(m.Process().PID()))

	if err := m.WaitReady(deadline(t)); err != nil {
		t.Errorf("the first one suffered: %v", err)
	}
	devices(t, 1, readPlanet(t, m), m.UDP)[0].hello(t)
}

// killUnderLoad kills rootd while a swarm talks. Afterwards it knows who it knew: somebody who asks for a peer gets
// the answer without either of the two having said HELLO again.
func (b binaries) killUnderLoad(t *testing.T) {
	m := start(t, b.rootd())
	planet := readPlanet(t, m)
	d := devices(t, 2, planet, m.UDP)
	known, asker := d[0], d[1]
	known.hello(t)
	asker.hello(t)
	waitKnown(t, m, known.id.Address)
	waitKnown(t, m, asker.id.Address)

	swarm := procs.StartTest(t, procs.Command{Path: b.rootswarm(), Args: []string{
		"-planet", filepath.Join(m.DataDir, "planet"), "-identities", swarmIdentities(t), "-loopback",
		"-clients", "60", "-frame-every", "20ms", "-relay", "-ramp", "1s", "-warmup", "1s",
	}})
	before := waitRelaying(t, m, 60)
	m.Kill()
	if err := m.Start(); err != nil {
		t.Fatal(err)
	}
	if err := m.WaitReady(deadline(t)); err != nil {
		t.Fatal(err)
	}
	if got := asker.whois(t, known.id.Address); got != known.id.Identity {
		t.Errorf("WHOIS %s answered with %v", known.id.Address, got)
	}
	if now := status(t, m).Peers.Known; now < before {
		t.Errorf("knew %d peers before it was killed, knows %d", before, now)
	}
	waitRelaying(t, m, 60) // it serves the swarm again
	swarm.Kill()
	if err := m.Stop(grace); err != nil {
		t.Error(err)
	}
}

// killAtBirth kills rootd in the middle of making its data directory, again and again in the same directory. What was
// made is kept, what was not is made by the next start.
func (b binaries) killAtBirth(t *testing.T) {
	m := procs.MemberTest(t, b.rootd())
	var identity []byte
	for i := range 25 {
		if err := m.Start(); err != nil {
			t.Fatal(err)
		}
		select {
		case <-time.After(time.Duration(i*i) * time.Millisecond):
		case <-m.Process().Done():
			t.Fatalf("start %d: it ended by itself", i)
		}
		m.Kill()
		now, err := os.ReadFile(filepath.Join(m.DataDir, "identity.secret"))
		if err == nil && identity != nil && string(now) != string(identity) {
			t.Fatalf("start %d: the identity is another one", i)
		} else if err == nil {
			identity = now
		}
	}
	if err := m.Start(); err != nil {
		t.Fatal(err)
	}
	if err := m.WaitReady(deadline(t)); err != nil {
		t.Fatal(err)
	}
	devices(t, 1, readPlanet(t, m), m.UDP)[0].hello(t)
}

// restart ends rootd as an operator does.
func (b binaries) restart(t *testing.T) {
	m := start(t, b.rootd())
	d := devices(t, 1, readPlanet(t, m), m.UDP)[0]
	d.hello(t)
	waitKnown(t, m, d.id.Address)
	planet, err := os.ReadFile(filepath.Join(m.DataDir, "planet"))
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := m.Stop(grace); err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat(m.Socket()); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("the admin socket is left behind: %v", err)
		}
		if err := m.Start(); err != nil {
			t.Fatal(err)
		}
		if err := m.WaitReady(deadline(t)); err != nil {
			t.Fatal(err)
		}
		waitKnown(t, m, d.id.Address)
		d.hello(t)
	}
	if again, err := os.ReadFile(filepath.Join(m.DataDir, "planet")); err != nil || string(again) != string(planet) {
		t.Errorf("the planet changed by a restart (%v)", err)
	}
}

// newPlanet publishes a new version of the planet with rootctl: clients with the old one get it with the answer to
// their next HELLO, the file for new clients is the new one, and a restart changes nothing about that.
func (b binaries) newPlanet(t *testing.T) {
	m := start(t, b.rootd())
	old := readPlanet(t, m)
	d := devices(t, 1, old, m.UDP)[0]
	d.hello(t)
	waitKnown(t, m, d.id.Address)
	if said := b.ctl(t, m, "peer", "list"); !strings.Contains(said, d.id.Address.String()) {
		t.Errorf("rootctl peer list does not list %s:\n%s", d.id.Address, said)
	}

	file := filepath.Join(t.TempDir(), "planet.new")
	b.ctl(t, m, "planet", "make", "--from", "current", "--add", "198.51.100.7:9993", "--out", file)
	b.ctl(t, m, "planet", "publish", file)
	eventually(t, "the planet's file is the new one", func() bool { return readPlanet(t, m).Timestamp > old.Timestamp })
	for range 2 {
		var got *vl1.World
		eventually(t, "the client gets the planet", func() bool {
			ok := d.hello(t)
			if len(ok.Worlds) > 0 {
				var err error
				if got, _, err = vl1.DecodeWorld(ok.Worlds); err != nil {
					t.Fatal(err)
				}
			}
			return got != nil
		})
		if err := old.ReplacedBy(got); err != nil {
			t.Errorf("a client would not take it: %v", err)
		}
		if n := len(got.Roots[0].Endpoints); n != 2 {
			t.Errorf("%d endpoints, want the old and the new", n)
		}
		m.Kill()
		if err := m.Start(); err != nil {
			t.Fatal(err)
		}
		if err := m.WaitReady(deadline(t)); err != nil {
			t.Fatal(err)
		}
	}
}

// start starts a member in an empty directory and waits until it serves.
func start(t *testing.T, binary string) *procs.Member {
	t.Helper()
	m := procs.MemberTest(t, binary)
	if err := m.Start(); err != nil {
		t.Fatal(err)
	}
	if err := m.WaitReady(deadline(t)); err != nil {
		t.Fatal(err)
	}
	return m
}

func readPlanet(t *testing.T, m *procs.Member) *vl1.World {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(m.DataDir, "planet"))
	if err != nil {
		t.Fatal(err)
	}
	w, _, err := vl1.DecodeWorld(raw)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// swarmIdentities writes a file of ready-made identities that devices does not use.
func swarmIdentities(t *testing.T) string {
	t.Helper()
	all, err := os.ReadFile("../internal/demo/identities.txt")
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.SplitAfter(string(all), "\n")
	file := filepath.Join(t.TempDir(), "identities")
	if err := os.WriteFile(file, []byte(strings.Join(lines[10:], "")), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func status(t *testing.T, m *procs.Member) *admin.Status {
	t.Helper()
	c := admin.NewClient(m.Socket())
	defer c.Close()
	s, err := c.Status(deadline(t))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// eventually polls until met says yes.
func eventually(t *testing.T, what string, met func() bool) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for ctx := deadline(t); !met(); {
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("waited in vain: %s", what)
		}
	}
}

// waitKnown waits until the log knows the peer: a list shows what the log says, while the member itself may know
// somebody a moment earlier.
func waitKnown(t *testing.T, m *procs.Member, a vl1.Address) {
	t.Helper()
	c := admin.NewClient(m.Socket())
	defer c.Close()
	eventually(t, a.String()+" is known", func() (known bool) {
		err := c.Peers(t.Context(), admin.PeerFilter{Prefix: a.String()}, func(*admin.Peer) error {
			known = true
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		return known
	})
}

// waitRelaying waits until the root knows enough peers and relays for them, and returns how many it knows.
func waitRelaying(t *testing.T, m *procs.Member, peers int) (known int) {
	t.Helper()
	eventually(t, fmt.Sprintf("%d peers known and packets relayed", peers), func() bool {
		s := status(t, m)
		known = s.Peers.Known
		return known >= peers && s.Totals.Relayed > 1000
	})
	return known
}

// refused waits for the process to refuse: it ends with a code that is not 0 and says all that is wanted, as "rootd:
// what: why" and "hint:", in no more than a few lines.
func refused(t *testing.T, p *procs.Process, want ...string) {
	t.Helper()
	code, err := p.Wait(deadline(t))
	if err != nil {
		t.Fatal(err)
	}
	if code <= 0 {
		t.Errorf("exit code %d, want one that says that it refused", code)
	}
	said := p.Output()
	for _, w := range want {
		if !strings.Contains(said, w) {
			t.Errorf("does not mention %q", w)
		}
	}
	if !regexp.MustCompile(`(?m)^rootd: `).MatchString(said) || strings.Count(said, "\n") > 8 || strings.Contains(said, "goroutine ") {
		t.Errorf("not a short and clear refusal")
	}
	if t.Failed() {
		t.Logf("it said:\n%s", said)
	}
}

// tree is what is in a directory: mode and content of each file. Sockets and times are left out, and what the lock
// says of who holds it.
func tree(t *testing.T, dir string) map[string]string {
	t.Helper()
	files := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		} else if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil || info.Mode()&fs.ModeSocket != 0 {
			return err
		}
		entry := info.Mode().String()
		if info.Mode().IsRegular() && d.Name() != "lock" {
			content, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			entry += fmt.Sprintf(" %d bytes %x", len(content), sha256.Sum256(content))
		}
		name, err := filepath.Rel(dir, path)
		files[name] = entry
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func unchanged(t *testing.T, dir string, before map[string]string) {
	t.Helper()
	if diff := cmp.Diff(before, tree(t, dir)); diff != "" {
		t.Errorf("the refusal changed the disk (-before +after):\n%s", diff)
	}
}

func occupy(t *testing.T, ap netip.AddrPort) {
	t.Helper()
	udp, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(ap))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { udp.Close() })
}
