package main

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rootd/rootd/cmd/internal/procs"
	"github.com/rootd/rootd/cmd/internal/variant"
	"github.com/rootd/rootd/packetpath/vl1"
)

// variant builds rootd and rootctl as a variant.
func (h *hands) variant(v variant.Variant) (rootd, rootctl string) {
	h.Helper()
	dir := h.TempDir()
	if err := variant.Build(h.ctx, dir, v, "./cmd/rootd", "./cmd/rootctl"); err != nil {
		h.Fatal(err)
	}
	return filepath.Join(dir, "rootd"), filepath.Join(dir, "rootctl")
}

// builds says what the commands of the fleet's file install.
func (h *hands) builds(upgrade, rollback string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.build = map[string]string{"upgrade": upgrade, "rollback": rollback}
}

// must runs rootctl, which has to succeed, or to fail, and to say so.
func (h *hands) must(code int, says string, args ...string) {
	h.Helper()
	if got, out := h.run(0, args...); got != code || !strings.Contains(out, says) {
		h.Fatalf("rootctl %s: exit code %d, not %d with %q:\n%s", strings.Join(args, " "), got, code, says, out)
	}
}

// equal waits until all members have applied as much and have the same; the members look for differences, too. Raft counts an entry as
// applied when it hands it over, so a member may have less for a moment.
func (h *hands) equal(when string) {
	h.Helper()
	end := time.Now().Add(30 * time.Second)
	for {
		var seen []string
		index := map[uint64]bool{}
		contents := map[string]bool{}
		for i := range h.members {
			s, err := h.admin(i).Status(h.ctx)
			if err != nil {
				seen = append(seen, err.Error())
				index[uint64(i)] = true // no agreement
				continue
			}
			for _, p := range s.Problems {
				if strings.Contains(p, "state") {
					h.Fatalf("%s: %s: %s", when, s.Name, p)
				}
			}
			index[s.Raft.AppliedIndex], contents[s.Cluster.Contents] = true, true
			seen = append(seen, fmt.Sprintf("%s has %.8s at %d", s.Name, s.Cluster.Contents, s.Raft.AppliedIndex))
		}
		switch {
		case len(index) == 1 && len(contents) == 1:
			h.Logf("%s: %s", when, seen[0])
			return
		case time.Now().After(end) || !wait(h.ctx, 20*time.Millisecond):
			h.Fatalf("%s: never the same at the same index: %v", when, seen)
		}
	}
}

// leads moves leadership to a member.
func (h *hands) leads(name string) {
	h.Helper()
	end := time.Now().Add(30 * time.Second)
	for {
		all, err := h.admin(0).Members(h.ctx)
		if err == nil && all.Leader == name {
			return
		}
		if err == nil && all.Leader != "" {
			_, err = h.admin(0).TransferLeadership(h.ctx, name)
		}
		if time.Now().After(end) || !wait(h.ctx, 100*time.Millisecond) {
			h.Fatalf("%s does not lead: %v", name, err)
		}
	}
}

// notes waits until the last note is beyond n.
func (h *hands) notes(n int) int {
	h.Helper()
	end := time.Now().Add(30 * time.Second)
	for {
		all, err := h.admin(0).Settings(h.ctx)
		for _, s := range all {
			if s.Key == "last_note" {
				if got, _ := strconv.Atoi(s.Value); got > n {
					return got
				}
			}
		}
		if time.Now().After(end) || !wait(h.ctx, 100*time.Millisecond) {
			h.Fatalf("no note after %d: %v", n, err)
		}
	}
}

// grow makes the state larger by some peers.
func (h *hands) grow() {
	h.Helper()
	ids, err := identities()
	if err != nil {
		h.Fatal(err)
	}
	var public []vl1.Identity
	for _, id := range ids {
		public = append(public, id.Identity)
	}
	if _, err := h.admin(1).ImportPeers(h.ctx, public); err != nil {
		h.Fatal(err)
	}
}

// TestNextVersion: a cluster goes to a version with a higher feature level, back, and there again, with rootctl upgrade and two real
// builds. Side by side they have the same state; what only the newer one understands is refused until the level is in use; after that
// the older one does not start any more.
func TestNextVersion(t *testing.T) {
	if testing.Short() {
		t.Skip("builds and starts processes")
	}
	t.Parallel()
	h := newHands(t, 0)
	next, nextctl := h.variant(variant.Next)
	fleet := h.fleet("60s")
	h.well(fleet)
	h.grow()
	h.builds(next, h.rootd)
	at := func(i int, args ...string) []string { return append(args, "--data-dir", h.members[i].DataDir) }

	h.must(0, "alice/m2: devel -> next", "upgrade", "--fleet", fleet, "--yes", "--canary", "m2", "--to", "next", "--save", "")
	h.mixed(at, nextctl)
	h.must(0, "alice/m2: next -> devel", "upgrade", "--fleet", fleet, "--yes", "--rollback", "--save", "")
	h.equal("taken back")

	h.must(0, "upgrade: 4 members", "upgrade", "--fleet", fleet, "--yes", "--save", "")
	h.equal("not finalized")
	h.must(1, "needs 3, the cluster uses 2", at(0, "config", "set", "last_note", "5")...)
	h.must(0, "feature level 2 -> 3", at(0, "upgrade", "finalize")...)
	n := h.notes(h.notes(0) + 2)
	h.equal("finalized")
	h.must(0, "", at(0, "config", "set", "last_note", strconv.Itoa(n+1000))...)
	h.notes(n + 1000)
	h.must(1, "the older version cannot serve it any more", "upgrade", "--fleet", fleet, "--yes", "--rollback", "--save", "")
	h.must(1, "cannot be lowered", at(0, "config", "set", "feature_level", "2")...)
	h.older(at, nextctl)
}

// mixed is a cluster whose member m2 alone is of the next version.
func (h *hands) mixed(at func(int, ...string) []string, nextctl string) {
	h.Helper()
	h.must(0, "next     3", at(0, "upgrade", "status")...)
	for i := range h.members { // the old ones do not know it, the new one knows better
		why := `there is no setting "last_note"`
		if i == 1 {
			why = "setting last_note needs 3, the cluster uses 2: rootctl upgrade finalize"
		}
		h.must(1, why, at(i, "config", "set", "last_note", "5")...)
		h.must(1, "understands 2, not 3: upgrade it, or remove it", at(i, "config", "set", "feature_level", "3")...)
		h.must(0, "the highest that all members understand", at(i, "upgrade", "finalize")...)
	}
	h.leads("m2")
	if err := h.members[1].Process().WaitOutput(h.ctx, "a note entry needs 3, the cluster uses 2: rootctl upgrade finalize"); err != nil {
		h.Error(err)
	}
	h.must(0, "", at(0, "config", "set", "keep_alive", "5h")...)
	h.equal("the next version leads")

	// An old member gets the log from disk, the state from a snapshot of the new leader, and an archive.
	h.members[2].Kill()
	h.start(h.members[2])
	h.equal("an old member was killed")
	archive := filepath.Join(h.dir, "mixed.rootd")
	save := exec.CommandContext(h.ctx, nextctl, at(1, "snapshot", "save", archive, "--no-secrets")...)
	if out, err := save.CombinedOutput(); err != nil {
		h.Fatalf("%v: %s", err, out)
	}
	h.must(0, "", "snapshot", "verify", archive)
	h.must(0, "restored", at(1, "snapshot", "restore", archive, "--yes", "--force")...) // after that the leader's log begins with a snapshot
	m := h.machine("m4")
	if out, err := h.join(m, h.token()); err != nil {
		h.Fatalf("%v\n%s", err, out)
	}
	h.start(m)
	h.members = append(h.members, m)
	h.table("m1", "m2", "m3", "m4")
	h.equal("an old member has joined")
	if !strings.Contains(m.Process().Output(), "Installed remote snapshot") {
		h.Errorf("it did not get a snapshot:\n%s", m.Process().Output())
	}
}

// compacted waits for a member whose log begins with a snapshot after an index.
func (h *hands) compacted(index uint64) *procs.Member {
	h.Helper()
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end) && wait(h.ctx, 100*time.Millisecond); {
		for i, m := range h.members {
			if s, err := h.admin(i).Status(h.ctx); err == nil && s.Raft.SnapshotIndex > index {
				return m
			}
		}
	}
	h.Fatalf("no member has a snapshot after %d", index)
	return nil
}

// older are members of the old version after the level is in use: they do not start, be it in the log or in a snapshot that they find it,
// and no such machine is let in.
func (h *hands) older(at func(int, ...string) []string, nextctl string) {
	h.Helper()
	archive := filepath.Join(h.dir, "level3.rootd")
	if out, err := exec.CommandContext(h.ctx, nextctl, at(0, "snapshot", "save", archive, "--no-secrets")...).CombinedOutput(); err != nil {
		h.Fatalf("%v: %s", err, out)
	}
	h.must(1, "written by a newer version of rootd", "snapshot", "verify", archive)
	refuses := func(m *procs.Member) {
		h.Helper()
		if err := m.Stop(20 * time.Second); err != nil {
			h.Fatal(err)
		}
		newer := m.Binary
		m.Binary = h.rootd
		if err := m.Start(); err != nil {
			h.Fatal(err)
		}
		const hint = "hint: install the version of the other members"
		if err := m.Process().WaitOutput(h.ctx, hint); err != nil {
			h.Error(err)
		}
		<-m.Process().Done()
		m.Binary = newer
		h.start(m)
	}
	refuses(h.members[2])
	before, err := h.admin(0).Status(h.ctx)
	if err != nil {
		h.Fatal(err)
	}
	if out, err := exec.CommandContext(h.ctx, nextctl, at(0, "snapshot", "restore", archive, "--yes", "--force")...).CombinedOutput(); err != nil {
		h.Fatalf("%v: %s", err, out)
	}
	h.equal("restored")
	refuses(h.compacted(before.Raft.AppliedIndex))
	if out, err := h.join(h.machine("m5"), h.token()); err == nil || !strings.Contains(out.String(), "it knows feature level 2, the cluster uses 3") {
		h.Errorf("an older machine joins: %v\n%s", err, out)
	}
	h.equal("in the end")
}
