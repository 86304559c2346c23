package main_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rootd/rootd/cmd/internal/procs"
)

// imported: identities that no root would believe are in the log, so their clients are served from their first HELLO on,
// without a single validation.
func (b binaries) imported(t *testing.T) {
	m := start(t, b.rootd())
	swarm := []string{"-synthetic", "-clients", "200", "-seed", "5"}
	list, err := exec.CommandContext(deadline(t), b.rootswarm(), append(swarm, "-list")...).Output()
	if err != nil || bytes.Count(list, []byte("\n")) != 200 {
		t.Fatalf("rootswarm -list: %v, %d lines", err, bytes.Count(list, []byte("\n")))
	}
	file := filepath.Join(t.TempDir(), "identities")
	if err := os.WriteFile(file, list, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"200 peers made known, 0 known before", "0 peers made known, 200 known before"} {
		if out := b.ctl(t, m, "peer", "import", file, "--unchecked", "--yes"); !strings.Contains(out, want) {
			t.Errorf("rootctl peer import printed %q, want %q", out, want)
		}
	}
	p := procs.StartTest(t, procs.Command{Path: b.rootswarm(), Args: append(swarm,
		"-planet", filepath.Join(m.DataDir, "planet"), "-loopback", "-relay", "-frame-every", "100ms",
		"-ramp", "500ms", "-warmup", "1500ms", "-duration", "1s", "-min-online", "1", "-quiet")})
	if code, err := p.Wait(deadline(t)); err != nil || code != 0 {
		t.Errorf("swarm of imported identities: exit code %d, %v:\n%s", code, err, p.Output())
	}
	if s := status(t, m); s.Totals.Validated != 0 || s.Peers.Known != 200 {
		t.Errorf("%d identities validated, %d peers known; want 0 and 200", s.Totals.Validated, s.Peers.Known)
	}
	if err := m.Stop(grace); err != nil {
		t.Error(err)
	}
}
