package main_test

import (
	"strings"
	"testing"

	"github.com/rootd/rootd/cmd/internal/procs"
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
	t.Run("last survivor", b.lastSurvivor)
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
	before := f.contents(0, 1, 2)
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
	if out := b.ctl(t, f.members[2], "recover", "--dry-run"); !strings.Contains(out, "Nothing was changed") || !strings.Contains(out, before) {
		t.Errorf("dry run:\n%s", out)
	}
	out := b.ctl(t, f.members[2], "recover", "--yes")
	t.Logf("rootctl recover:\n%s", out)
	refused("is the only member of its cluster already", "--yes")

	f.start(2)
	if err := f.members[2].WaitReady(longDeadline(t)); err != nil {
		t.Fatal(err)
	}
	if after := f.contents(2); after != before { // nobody has spoken to it yet
		t.Errorf("contents %s, before %s", after, before)
	}
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
	m := procs.MemberTest(f.T, f.binary, "-name", "n1")
	if err := joinWith(longDeadline(f.T), m, "n1", made.Text); err != nil {
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
