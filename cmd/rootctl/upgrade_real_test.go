package main

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rootd/rootd/cmd/internal/procs"
	"github.com/rootd/rootd/packetpath/vl1"
	"github.com/rootd/rootd/transport/admin"
)

// rollKillsVariable is how often the test kills a rolling restart; see make soak-upgrade.
const rollKillsVariable = "ROOTD_UPGRADE_KILLS"

// hands are an operator's for the commands of a fleet file: a command leaves the member's name and what is to be done in the
// directory, and waits until the member was restarted.
type hands struct {
	*realCluster
	dir    string
	ctx    context.Context
	mu     sync.Mutex // guards the following
	broken string     // member that does not start again
	turns  []string
	build  map[string]string // rootd after an "upgrade" or a "rollback"; none: the one that it had
}

const askHands = `n=$(mktemp -u "$0/ask.XXXXXXXX"); echo "$1 $2" > "$n.new" && mv "$n.new" "$n"; while [ -e "$n" ]; do sleep 0.02; done; [ ! -e "$n.failed" ]`

// fleet writes a fleet file of one cluster.
func (h *hands) fleet(patience string) string {
	h.Helper()
	var sockets []string
	for _, m := range h.members {
		sockets = append(sockets, strconv.Quote(m.Socket()))
	}
	text := fmt.Sprintf("[rollout]\nsettle = \"100ms\"\nmax_elections = 20 # the machine is busy\nmax_slower = \"2s\"\npatience = %q\n\n[[cluster]]\nname = \"alice\"\nadmin = [%s]\n", patience, strings.Join(sockets, ", "))
	for _, kind := range []string{"restart", "upgrade", "rollback"} {
		text += fmt.Sprintf("%s = [\"sh\", \"-c\", '''%s''', %q, \"{member}\", %q]\n", kind, askHands, h.dir, kind)
	}
	path := filepath.Join(h.dir, "fleet-"+patience+".toml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		h.Fatal(err)
	}
	return path
}

// work restarts members as commands ask, and looks from outside that no other one is down then.
func (h *hands) work() error {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-h.ctx.Done():
			return nil
		case <-tick.C:
		}
		asked, err := filepath.Glob(filepath.Join(h.dir, "ask.????????"))
		if err != nil {
			return err
		}
		if len(asked) > 1 {
			return fmt.Errorf("commands for %d members at once", len(asked))
		}
		for _, file := range asked {
			if err := h.serve(file); err != nil && h.ctx.Err() == nil {
				return err
			}
		}
	}
}

func (h *hands) serve(file string) error {
	b, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	name, kind, _ := strings.Cut(strings.TrimSpace(string(b)), " ")
	h.mu.Lock()
	broken, binary := h.broken == name, h.build[kind]
	h.turns = append(h.turns, name)
	h.mu.Unlock()
	var member *procs.Member
	for _, m := range h.members {
		if m.Args[1] == name {
			member = m
		} else if err := h.up(m); err != nil {
			return fmt.Errorf("%s is to be restarted, but %w", name, err)
		}
	}
	if member.Running() {
		// One that was started a moment ago, for a command whose tool was killed, may not mind signals yet.
		if err := member.Stop(20 * time.Second); err != nil && member.Running() {
			return err
		}
	}
	if binary != "" {
		member.Binary = binary
	}
	if broken {
		if err := os.WriteFile(file+".failed", nil, 0o600); err != nil {
			return err
		}
	} else if err := member.Start(); err != nil {
		return err
	}
	return os.Remove(file)
}

// up reports what is wrong with a member, as it says itself.
func (h *hands) up(m *procs.Member) error {
	a := admin.NewClient(m.Socket())
	defer a.Close()
	s, err := a.Status(h.ctx)
	switch {
	case err != nil:
		return fmt.Errorf("%s does not answer: %w", m.Args[1], err)
	case !s.Ready:
		return fmt.Errorf("%s is not ready: %v", m.Args[1], s.Problems)
	}
	return nil
}

// rootctl runs it, and kills it after a while unless that is 0. It returns the exit code, -1 if it was killed.
func (h *hands) run(killAfter time.Duration, args ...string) (code int, out string) {
	h.Helper()
	var said bytes.Buffer
	cmd := exec.CommandContext(h.ctx, h.rootctl, args...)
	cmd.Stdout, cmd.Stderr = &said, &said
	cmd.WaitDelay = time.Second // its command may live on
	if err := cmd.Start(); err != nil {
		h.Fatal(err)
	}
	if killAfter > 0 {
		defer time.AfterFunc(killAfter, func() { _ = cmd.Process.Kill() }).Stop()
	}
	_ = cmd.Wait() // the code says it
	return cmd.ProcessState.ExitCode(), said.String()
}

func newHands(t *testing.T, kills int) *hands {
	t.Helper()
	c := newRealCluster(t, 3, time.Duration(kills)*30*time.Second+4*time.Minute)
	c.table("m1", "m2", "m3")
	ctx, cancel := context.WithCancel(c.ctx)
	h := &hands{realCluster: c, dir: t.TempDir(), ctx: ctx}
	done := make(chan error)
	go func() { done <- h.work() }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return h
}

// TestRollingRestart restarts a real cluster member by member. The tool is killed again and again and goes on where it was; a member
// that does not come back stops it, and a rollback brings that one back. At no time are two members down.
func TestRollingRestart(t *testing.T) {
	if testing.Short() {
		t.Skip("builds and starts processes")
	}
	t.Parallel()
	kills := 2
	if text := os.Getenv(rollKillsVariable); text != "" {
		var err error
		if kills, err = strconv.Atoi(text); err != nil {
			t.Fatal(err)
		}
	}
	h := newHands(t, kills)
	fleet := h.fleet("60s")
	h.well(fleet)

	stop := h.watch()

	// Killed at random moments.
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	args := []string{"restart", "--fleet", fleet, "--yes"}
	killed, rounds := 0, 0
	for began := false; killed < kills || began; {
		after := time.Duration(0)
		if killed < kills {
			after = time.Duration(r.Int64N(int64(8 * time.Second)))
		}
		run := args
		if began {
			run = append(slices.Clip(args), "--resume")
		}
		code, out := h.run(after, run...)
		switch {
		case began && strings.Contains(out, "there is nothing to resume"): // its last step was taken when it was killed, and whom we asked did not know
			rounds++
			began = false
		case !began && code == 1 && strings.Contains(out, "is under way"): // it had begun, and whom we asked did not know yet
			began = true
		case code == -1:
			killed++
			o, err := h.operation()
			if err != nil {
				t.Fatal(err)
			}
			began = o.Running
		case code == 0:
			rounds++
			began = false
		default:
			t.Fatalf("exit code %d after %d kills:\n%s", code, killed, out)
		}
	}
	if rounds == 0 {
		rounds = 1
		if code, out := h.run(0, args...); code != 0 {
			t.Fatal(out)
		}
	}
	h.well(fleet)
	h.mu.Lock()
	seen := fmt.Sprint(h.turns)
	h.mu.Unlock()
	for _, m := range h.members {
		if !strings.Contains(seen, m.Args[1]) {
			t.Errorf("%s was not restarted: %s", m.Args[1], seen)
		}
	}
	t.Logf("killed %d times, %d rounds, turns %s", killed, rounds, seen)
	t.Logf("from outside: %s", stop())

	h.stops(fleet)
}

// watch watches the members from outside.
func (h *hands) watch() (stop func() string) {
	h.Helper()
	s, err := h.admin(0).Status(h.ctx)
	if err != nil {
		h.Fatal(err)
	}
	root, err := vl1.ParseIdentity(s.Identity)
	if err != nil {
		h.Fatal(err)
	}
	return watch(h.T, root, h.members)
}

// stops: a member that does not come back.
func (h *hands) stops(fleet string) {
	h.Helper()
	h.mu.Lock()
	h.broken, h.turns = "m2", nil
	h.mu.Unlock()
	code, out := h.run(0, "upgrade", "--fleet", fleet, "--yes", "--canary", "m2", "--save", h.dir)
	if code != 1 || !strings.Contains(out, "stopped at member m2 of alice") || !strings.Contains(out, "hint: the other members serve; when it is mended, --resume goes on, --rollback takes it back") {
		h.Fatalf("exit code %d:\n%s", code, out)
	}
	archives, err := filepath.Glob(filepath.Join(h.dir, "alice-*.rootd"))
	if err != nil || len(archives) != 1 {
		h.Fatalf("archives %v, %v", archives, err)
	}
	if code, out := h.run(0, "snapshot", "verify", archives[0]); code != 0 {
		h.Errorf("the archive: exit code %d:\n%s", code, out)
	}
	if code, out := h.run(0, "fleet", "status", "--fleet", fleet); code != 1 || !strings.Contains(out, "! alice: upgrade by ") {
		h.Errorf("fleet status: exit code %d:\n%s", code, out)
	}
	if code, out := h.run(0, "upgrade", "--fleet", fleet, "--yes", "--save", ""); code != 1 || !strings.Contains(out, "is under way since") {
		h.Errorf("another one begins: exit code %d:\n%s", code, out)
	}
	if _, err := h.admin(0).RemoveMember(h.ctx, "m2", admin.RemoveOptions{}); err == nil || !strings.Contains(err.Error(), "upgrade by") {
		h.Errorf("a member is removed meanwhile: %v", err)
	}
	h.mu.Lock()
	h.broken = ""
	h.mu.Unlock()
	if code, out := h.run(0, "upgrade", "--fleet", fleet, "--yes", "--rollback", "--save", ""); code != 0 {
		h.Fatalf("rollback: exit code %d:\n%s", code, out)
	}
	h.well(fleet)
	h.mu.Lock()
	turns := fmt.Sprint(h.turns)
	h.mu.Unlock()
	if turns != "[m2 m2]" {
		h.Errorf("turns %s", turns)
	}
	_, out = h.run(0, "upgrade", "history", "--data-dir", h.members[0].DataDir)
	for _, want := range []string{"begin alice/m2 ", "stopped at alice/m2: ", "taken back alice/m2 ", "rollback is through"} {
		if !strings.Contains(out, want) {
			h.Errorf("the history lacks %q:\n%s", want, out)
		}
	}
}

// well waits until fleet status is content.
func (h *hands) well(fleet string) {
	h.Helper()
	var out string
	for end := time.Now().Add(time.Minute); time.Now().Before(end); {
		code := 0
		if code, out = h.run(0, "fleet", "status", "--fleet", fleet); code == 0 {
			return
		}
	}
	h.Fatalf("the fleet is not well:\n%s", out)
}

func (h *hands) operation() (o *admin.Operation, err error) {
	for i := range h.members {
		if o, err = h.admin(i).Operation(h.ctx); err == nil {
			return o, nil
		}
	}
	return nil, err
}
