package main

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rootd/rootd/cmd/internal/datadir"
	"github.com/rootd/rootd/transport/admin"
)

// rounds is how many machines join: few in a hurry.
func rounds(t *testing.T) int {
	t.Helper()
	if testing.Short() {
		return 5
	}
	return 40
}

// TestJoinKilled kills rootctl join with SIGKILL at random moments, some more than once, and runs it again: always one member,
// whose directory is whole. The cluster must not have heard of any other.
func TestJoinKilled(t *testing.T) {
	ids, err := identities()
	if err != nil {
		t.Fatal(err)
	}
	d, err := datadir.Create(filepath.Join(t.TempDir(), "data"), datadir.Options{
		Name: "m1", Identity: ids[0], Now: time.Now(), Endpoints: []netip.AddrPort{netip.MustParseAddrPort("5.6.7.8:9993"), netip.MustParseAddrPort("[2a00::8]:9993")},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	c := newFakeCluster(d)
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	defer running.Wait()
	defer cancel()
	if err := c.serve(ctx, &running); err != nil {
		t.Fatal(err)
	}
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	longest, killed := 100*time.Millisecond, 0
	for i := range rounds(t) {
		name, dir := fmt.Sprintf("k%d", i), filepath.Join(t.TempDir(), "new")
		token, err := c.token("")
		if err != nil {
			t.Fatal(err)
		}
		c.mu.Lock()
		before := len(c.members)
		c.mu.Unlock()
		start := func() (*exec.Cmd, *bytes.Buffer) {
			cmd, out := exec.Command("rootctl", "join", token.Text(), "--data-dir", dir, "--name", name, "--address", fmt.Sprintf("192.0.2.9:%d", 10000+i),
				"--endpoint", fmt.Sprintf("5.6.9.1:%d", 10000+i), "--force"), new(bytes.Buffer)
			cmd.Stdout, cmd.Stderr = out, out
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			return cmd, out
		}
		for range r.IntN(3) {
			cmd, _ := start()
			timer := time.AfterFunc(rand.N(longest), func() { _ = cmd.Process.Kill() })
			if cmd.Wait() != nil {
				killed++
			}
			timer.Stop()
		}
		begun := time.Now()
		cmd, out := start()
		if err := cmd.Wait(); err != nil {
			t.Fatalf("round %d: %v\n%s", i, err, out)
		}
		longest = max(longest/2, time.Since(begun))
		got, err := datadir.Read(dir)
		if err != nil {
			t.Fatalf("round %d: %v", i, err)
		}
		c.mu.Lock()
		after := slices.Clone(c.members)
		c.mu.Unlock()
		if len(after) != before+1 || after[before].Name != name || uint16(got.Meta.Member) != after[before].ID || uint16(got.Keys.Credential.Self().ID) != after[before].ID {
			t.Fatalf("round %d: member %d in the directory, members %v", i, got.Meta.Member, names(after))
		}
	}
	t.Logf("killed %d times", killed)
}

func names(members []admin.Member) string {
	var out []string
	for _, m := range members {
		out = append(out, fmt.Sprintf("%d:%s", m.ID, m.Name))
	}
	return strings.Join(out, " ")
}
