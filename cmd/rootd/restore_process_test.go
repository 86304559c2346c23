package main_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rootd/rootd/cmd/internal/datadir"
	"github.com/rootd/rootd/cmd/internal/procs"
	"github.com/rootd/rootd/fsm"
	"github.com/rootd/rootd/fsm/replica"
	"github.com/rootd/rootd/snapshot"
	"github.com/rootd/rootd/transport/admin"
)

// TestRestore restores clusters of real processes, in the ways that docs/disaster-recovery.md has.
func TestRestore(t *testing.T) {
	if testing.Short() {
		t.Skip("builds and starts processes")
	}
	b := binaries{t.TempDir()}
	if err := procs.Build(longDeadline(t), b.dir, ".", "../rootctl"); err != nil {
		t.Fatal(err)
	}
	for name, run := range map[string]func(*testing.T){"last survivor": b.lastSurvivor, "new machines": b.newMachines, "running cluster": b.runningCluster} {
		t.Run(name, func(t *testing.T) {
			t.Parallel() // most of it is waiting until members are promoted
			run(t)
		})
	}
}

// peopled is a cluster of three members with a peer at each.
func peopled(t *testing.T, b binaries) (*fleet, []*device) {
	t.Helper()
	f := newFleet(t, b.rootd())
	f.grow()
	f.grow()
	f.waitMembers("m1 up voter", "m2 up voter", "m3 up voter")
	planet := readPlanet(t, f.members[0])
	var peers []*device
	for i, m := range f.members {
		d := devices(t, i+1, planet, m.UDP)[i]
		d.hello(t)
		peers = append(peers, d)
	}
	for _, d := range peers {
		for _, m := range f.members {
			waitKnown(t, m, d.id.Address)
		}
	}
	if _, err := f.admin(0).SetSetting(longDeadline(t), "peer_expiry", "48h"); err != nil {
		t.Fatal(err)
	}
	return f, peers
}

// waitAttached waits until member i has a device at the named member.
func (f *fleet) waitAttached(i int, d *device, name string) {
	f.Helper()
	eventually(f.T, d.id.Address.String()+" is at "+name, func() (found bool) {
		_ = f.admin(i).Peers(f.Context(), admin.PeerFilter{Prefix: d.id.Address.String(), Member: name}, func(*admin.Peer) error {
			found = true
			return nil
		})
		return found
	})
}

// contents waits until members agree, and returns the hash of what a restore keeps.
func (f *fleet) contents(members ...int) (hash string) {
	f.Helper()
	eventually(f.T, "members have the same contents", func() bool {
		hash = ""
		for _, i := range members {
			s, err := f.admin(i).Status(f.Context())
			if err != nil || hash != "" && s.Cluster.Contents != hash {
				return false
			}
			hash = s.Cluster.Contents
		}
		return true
	})
	return hash
}

// fenced starts a member of the epoch before: it must end, say why, and not serve; so must every later start.
func (f *fleet) fenced(i int) {
	f.Helper()
	for n := range 2 {
		f.start(i)
		p := f.members[i].Process()
		code, err := p.Wait(longDeadline(f.T))
		said := p.Output()
		if err != nil || code != 1 || !strings.Contains(said, "epoch 0") || !strings.Contains(said, "hint: the cluster was restored: move this data directory away") {
			f.Errorf("start %d of %s: exit code %d, %v; it said:\n%s", n+1, f.name(i), code, err, said)
		}
		if strings.Contains(said, "msg=serving") {
			f.Errorf("start %d of %s: it served", n+1, f.name(i))
		}
		if n == 0 {
			f.Logf("%s said:\n%s", f.name(i), said)
		}
	}
}

// lastSurvivor: two of three machines are lost for ever.
func (b binaries) lastSurvivor(t *testing.T) {
	f, peers := peopled(t, b)
	refused := func(want string, args ...string) {
		t.Helper()
		p := procs.StartTest(t, procs.Command{Path: b.rootctl(), Args: append([]string{"recover", "--data-dir", f.members[2].DataDir}, args...)})
		code, err := p.Wait(deadline(t))
		if err != nil || code != 1 || !strings.Contains(p.Output(), want) {
			t.Errorf("recover %q: exit code %d, %v:\n%s", args, code, err, p.Output())
		}
	}
	refused("rootd runs on it", "--yes")
	f.members[2].Kill()
	refused("is alive: [m1 m2] answer, 2 of 3 voters are a quorum", "--yes")
	f.members[0].Kill()
	f.members[1].Kill()
	refused("no terminal")
	if out := b.ctl(t, f.members[2], "recover", "--dry-run"); !strings.Contains(out, "Nothing was changed") {
		t.Errorf("dry run:\n%s", out)
	}
	var plan struct {
		Contents string `json:"contents_hash"`
	}
	if err := json.Unmarshal([]byte(b.ctl(t, f.members[2], "recover", "--dry-run", "-o", "json")), &plan); err != nil || len(plan.Contents) != 64 {
		t.Fatalf("%+v, %v", plan, err)
	}
	out := b.ctl(t, f.members[2], "recover", "--yes")
	t.Logf("rootctl recover:\n%s", out)
	refused("is the only member of its cluster already", "--yes")

	peers[2].deaf.Store(true)
	f.start(2)
	if err := f.members[2].WaitReady(longDeadline(t)); err != nil {
		t.Fatal(err)
	}
	if after := f.contents(2); after != plan.Contents { // nobody has spoken to it yet
		t.Errorf("contents %s, before %s", after, plan.Contents)
	}
	peers[2].deaf.Store(false)
	f.waitAttached(2, peers[2], "m3") // it is asked: it has no reason to speak
	if got := peers[2].whois(t, peers[0].id.Address); got != peers[0].id.Identity {
		t.Errorf("WHOIS: %v", got)
	}
	f.fenced(0)
	s, err := f.admin(2).Status(t.Context())
	if err != nil || s.Cluster.Members != 1 || !strings.HasPrefix(s.Cluster.Epoch, "1.") {
		t.Errorf("%+v, %v", s, err)
	}
	f.joinAfter(2)
}

// joinAfter lets another machine join a restored cluster: it begins with the snapshot.
func (f *fleet) joinAfter(at int) {
	f.Helper()
	made, err := f.admin(at).CreateToken(longDeadline(f.T), admin.TokenRequest{Note: "new"})
	if err != nil {
		f.Fatal(err)
	}
	name := fmt.Sprint("n", len(f.members))
	m := procs.MemberTest(f.T, f.binary, "-name", name)
	if err := joinWith(longDeadline(f.T), m, name, made.Text); err != nil {
		f.Fatal(err)
	}
	f.members = append(f.members, m)
	n := len(f.members) - 1
	f.start(n)
	if err := m.WaitReady(longDeadline(f.T)); err != nil {
		f.Fatal(err)
	}
	f.contents(at, n)
	if s, err := f.admin(n).Status(f.Context()); err != nil || s.Raft.SnapshotIndex == 0 {
		f.Errorf("it has no snapshot: %+v, %v", s, err)
	}
}

// newMachines: all machines are lost; there is an archive.
func (b binaries) newMachines(t *testing.T) {
	f, peers := peopled(t, b)
	archive := filepath.Join(t.TempDir(), "m1.rootd-snapshot")
	passphrase := filepath.Join(t.TempDir(), "passphrase")
	if err := os.WriteFile(passphrase, []byte("correct horse\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	m := procs.MemberTest(t, b.rootd())
	m.DataDir, m.UDP = filepath.Join(t.TempDir(), "new"), f.members[0].UDP // made by rootctl; an address of before
	initFrom := []string{
		"init", "--from", archive, "--passphrase-file", passphrase, "--name", "r1", "--endpoint", m.UDP.String(), "--address", m.Cluster.String(),
		"--data-dir", m.DataDir, "--yes",
	}
	refused := func(want string, args ...string) {
		t.Helper()
		p := procs.StartTest(t, procs.Command{Path: b.rootctl(), Args: append(slices.Clone(initFrom), args...)})
		code, err := p.Wait(deadline(t))
		if err != nil || code != 1 || !strings.Contains(p.Output(), want) {
			t.Errorf("init --from: exit code %d, %v, want %q:\n%s", code, err, want, p.Output())
		}
	}
	f.members[0].Kill()
	before := save(t, f.members[0].DataDir, archive, "correct horse")
	refused("is alive: [m2 m3] answer")
	f.members[1].Kill()
	f.members[2].Kill()
	if err := os.WriteFile(passphrase, []byte("wrong\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	refused("the passphrase is wrong")
	if err := os.WriteFile(passphrase, []byte("correct horse\n"), 0o600); err != nil {
		t.Fatal(err)
	}

	// An old member is up, and does not know where the new cluster is: that tells it.
	f.start(2)
	old := f.members[2].Process()
	if err := old.WaitOutput(deadline(t), "msg=serving"); err != nil {
		t.Fatal(err)
	}
	p := procs.StartTest(t, procs.Command{Path: b.rootctl(), Args: initFrom})
	if code, err := p.Wait(deadline(t)); err != nil || code != 0 {
		t.Fatalf("exit code %d, %v", code, err)
	}
	t.Logf("rootctl init --from:\n%s", p.Output())
	f.members = append(f.members, m)
	began := time.Now()
	peers[0].deaf.Store(true)
	f.start(3)
	if err := m.WaitReady(longDeadline(t)); err != nil {
		t.Fatal(err)
	}
	t.Logf("serves after %v", time.Since(began).Round(time.Millisecond))
	if after := f.contents(3); after != before {
		t.Errorf("contents %s, before %s", after, before)
	}
	peers[0].deaf.Store(false)
	f.waitAttached(3, peers[0], "r1")
	code, err := old.Wait(longDeadline(t))
	if err != nil || code != 1 || !strings.Contains(old.Output(), "epoch 0 of the cluster; member 4 (r1) is of epoch 1.") {
		t.Errorf("the old member: exit code %d, %v; it said:\n%s", code, err, old.Output())
	}
	if err := m.Process().WaitOutput(deadline(t), "it was told to stop"); err != nil {
		t.Error(err)
	}

	f.joinAfter(3)
	f.joinAfter(3)
	planet := readPlanet(t, m)
	if err := readPlanet(t, f.members[0]).ReplacedBy(planet); err != nil {
		t.Errorf("clients would not take the new planet: %v", err)
	}
	d := devices(t, 4, planet, m.UDP)[3]
	d.hello(t)
	for _, other := range peers {
		if got := d.whois(t, other.id.Address); got != other.id.Identity {
			t.Errorf("WHOIS: %v", got)
		}
	}
}

// save makes an archive of the directory of a member that does not run, and returns the hash of its contents.
func save(t *testing.T, dir, archive, passphrase string) string {
	t.Helper()
	d, err := datadir.Read(dir)
	if err != nil {
		t.Fatal(err)
	}
	m, err := fsm.New(fsm.Options{})
	if err != nil {
		t.Fatal(err)
	}
	survey, err := replica.Examine(replica.Options{Dir: d.RaftDir(), FSM: m})
	if err != nil {
		t.Fatal(err)
	}
	frozen, err := m.Freeze()
	if err != nil {
		t.Fatal(err)
	}
	defer frozen.Release()
	seal, err := snapshot.SealWith(passphrase)
	if err != nil {
		t.Fatal(err)
	}
	file, err := os.Create(archive)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	meta := snapshot.Describe(frozen)
	meta.Term, meta.Member = survey.Term, d.Meta.Name
	if _, err := snapshot.Write(file, meta, frozen.Write, snapshot.Secrets{Identity: d.Identity, Authority: d.Authority, PlanetKey: d.SigningKey}, seal); err != nil {
		t.Fatal(err)
	}
	return frozen.State().Contents().String()
}
