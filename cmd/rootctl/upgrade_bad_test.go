package main

import (
	"context"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rootd/rootd/cmd/internal/variant"
	"github.com/rootd/rootd/transport/admin"
)

// TestBadVersions: an upgrade to a build that crashes, that answers no HELLO, or that loses its log, stops at the first member, with the
// others serving; a rollback brings it back, also if it is killed and run again.
func TestBadVersions(t *testing.T) {
	if testing.Short() {
		t.Skip("builds and starts processes")
	}
	t.Parallel()
	h := newHands(t, 0)
	h.grow()
	stop := h.watch()
	for v, how := range map[variant.Variant]struct{ patience, why string }{
		variant.Crash:  {"6s", "it did not come back within 6s: "},
		variant.Deaf:   {"20s", "it does not answer a HELLO at "}, // it takes its time on a busy machine
		variant.Forget: {"60s", "its log is gone; a rollback readmits it"},
	} {
		if v == variant.Forget {
			h.leads("m2") // so the turn is m1's, which once began the log
		}
		bad, _ := h.variant(v)
		h.builds(bad, h.rootd)
		fleet := h.fleet("60s")
		h.well(fleet)
		code, out := h.run(0, "upgrade", "--fleet", h.fleet(how.patience), "--yes", "--save", "")
		if code != 1 || !strings.Contains(out, "stopped at member ") || !strings.Contains(out, how.why) || !strings.Contains(out, "--rollback") {
			t.Fatalf("%s: exit code %d:\n%s", v, code, out)
		}
		t.Logf("%s: %s", v, out)
		if _, out = h.run(0, "fleet", "status", "--fleet", fleet); strings.Count(out, "  yes") != 2 {
			t.Errorf("%s: the others do not serve:\n%s", v, out)
		}
		back := []string{"upgrade", "--fleet", fleet, "--yes", "--rollback", "--save", ""}
		if v == variant.Forget {
			h.forgotten(back)
		}
		code, out = h.run(0, back...)
		if code != 0 || strings.Count(out, "devel -> devel")+strings.Count(out, string(v)+" -> devel") != 1 {
			t.Fatalf("%s: rollback: exit code %d:\n%s", v, code, out)
		}
		h.well(fleet)
		h.equal("taken back from " + string(v))
	}
	t.Logf("from outside: %s", stop())
}

// forgotten: one member has lost its log. Whoever has not cannot be readmitted; who has waits until somebody says so, which is what a
// rollback does, here one that is killed when it has.
func (h *hands) forgotten(back []string) {
	h.Helper()
	look := func(is func(*admin.Member) bool) *admin.Member {
		all, err := h.admin(0).Members(h.ctx)
		if err != nil {
			all, err = h.admin(1).Members(h.ctx)
		}
		if err != nil {
			h.Fatal(err)
		}
		if i := slices.IndexFunc(all.Members, func(m admin.Member) bool { return is(&m) }); i >= 0 {
			return &all.Members[i]
		}
		return nil
	}
	var lost *admin.Member
	for end := time.Now().Add(time.Minute); lost == nil; lost = look(func(m *admin.Member) bool { return m.LogGone && m.Role == admin.RoleVoter }) {
		if time.Now().After(end) || !wait(h.ctx, 20*time.Millisecond) {
			h.Fatal("no voter has lost its log")
		}
	}
	for _, m := range h.members {
		if m.Args[1] != lost.Name {
			h.must(1, "it does not say that its log is gone", "member", "readmit", m.Args[1], "--data-dir", m.DataDir)
		}
	}
	ctx, cancel := context.WithCancel(h.ctx)
	cmd := exec.CommandContext(ctx, h.rootctl, back...)
	if err := cmd.Start(); err != nil {
		h.Fatal(err)
	}
	defer func() {
		cancel()
		_ = cmd.Wait()
	}()
	// It gets its vote back after it has been stable for 10 s; the rollback waits for that.
	readmitted := func(m *admin.Member) bool { return m.Name == lost.Name && m.Role == admin.RoleNonvoter }
	for end := time.Now().Add(time.Minute); look(readmitted) == nil; {
		if time.Now().After(end) || !wait(h.ctx, 20*time.Millisecond) {
			h.Fatalf("%s was not readmitted", lost.Name)
		}
	}
}
