package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/rootd/rootd/cmd/internal/procs"
)

// written is a fleet that was made with the commands of docs/fleet.md: machines are directories and loopback addresses.
type written struct {
	*testing.T
	ctx   context.Context
	bin   string
	dir   string
	net   string                    // of the machines' addresses
	rootd map[string]*procs.Process // by "MACHINE/CLUSTER"
	token map[string]string         // by cluster
}

// commands returns the commands of docs/fleet.md that come after a comment.
func (w *written) commands(after string) (lines []string) {
	w.Helper()
	b, err := os.ReadFile("../../docs/fleet.md")
	if err != nil {
		w.Fatal(err)
	}
	_, rest, found := strings.Cut(string(b), "    # "+after)
	if !found {
		w.Fatalf("docs/fleet.md has no block %q", after)
	}
	for i, line := range strings.Split(rest, "\n") {
		if i == 0 {
			continue
		}
		command, indented := strings.CutPrefix(line, "    ")
		if !indented || strings.HasPrefix(command, "#") {
			break
		}
		lines = append(lines, command)
	}
	if len(lines) == 0 {
		w.Fatalf("docs/fleet.md has no commands after %q", after)
	}
	return lines
}

// on runs commands on a machine. What they print comes back.
func (w *written) on(machine int, commands ...string) (out string) {
	w.Helper()
	n := fmt.Sprint(machine)
	at := filepath.Join(w.dir, n)
	if err := os.MkdirAll(at, 0o700); err != nil {
		w.Fatal(err)
	}
	here := strings.NewReplacer("203.0.113.$N", w.net+n, "203.0.113.", w.net, "127.0.0.1:", w.net+n+":", "/srv/", at+"/", "$N", n,
		"ALICE-TOKEN", w.token["alice"], "BOB-TOKEN", w.token["bob"], "fleet.toml", w.dir+"/fleet.toml")
	for _, c := range commands {
		args := strings.Fields(here.Replace(c))
		if args[0] == "rootd" { // "rootd ... &"
			p := procs.StartTest(w, procs.Command{Path: filepath.Join(w.bin, "rootd"), Args: args[1 : len(args)-1], Dir: at})
			if err := p.WaitOutput(w.ctx, "msg=\"member is up\""); err != nil {
				w.Fatal(err)
			}
			w.rootd[n+"/"+filepath.Base(args[2])] = p
			continue
		}
		cmd := exec.CommandContext(w.ctx, filepath.Join(w.bin, args[0]), args[1:]...)
		cmd.Dir = at
		said, err := cmd.CombinedOutput()
		if err != nil {
			w.Fatalf("machine %d: %s: %v\n%s", machine, c, err, said)
		}
		out += string(said)
	}
	return out
}

// eventually runs a command until it succeeds, and returns what it printed then.
func (w *written) eventually(args ...string) string {
	w.Helper()
	for end := time.Now().Add(2 * time.Minute); ; {
		out, err := w.try(args...)
		if err == nil {
			return out
		}
		if time.Now().After(end) || strings.Contains(out, "unknown") || !wait(w.ctx, 250*time.Millisecond) {
			w.Fatalf("rootctl %s: %v\n%s", strings.Join(args, " "), err, out)
		}
	}
}

func (w *written) try(args ...string) (string, error) {
	out, err := exec.CommandContext(w.ctx, filepath.Join(w.bin, "rootctl"), args...).CombinedOutput()
	return string(out), err
}

// refused runs a command that must fail, and say why.
func (w *written) refused(why string, args ...string) {
	w.Helper()
	if out, err := w.try(args...); err == nil || !strings.Contains(out, why) {
		w.Errorf("rootctl %s: %v, not because %q:\n%s", strings.Join(args, " "), err, why, out)
	}
}

// TestDocumentedFleet makes the small fleet of docs/fleet.md with the commands that are written there: three machines, each with a
// member of both clusters. Then what takes something away from one cluster is refused while the other one could not carry its clients.
func TestDocumentedFleet(t *testing.T) {
	if testing.Short() {
		t.Skip("builds and starts processes")
	}
	t.Parallel()
	w := &written{T: t, ctx: t.Context(), bin: t.TempDir(), dir: t.TempDir(), net: freeNet(t), rootd: map[string]*procs.Process{}, token: map[string]string{}}
	if err := procs.Build(w.ctx, w.bin, ".", "../rootd"); err != nil {
		t.Fatal(err)
	}
	w.on(1, w.commands("on machine 1: ")...)
	for n := 2; n <= 3; n++ {
		for i, c := range w.commands("again on machine 1, ") {
			w.token[[]string{"alice", "bob"}[i]] = regexp.MustCompile(`rootd-join-[0-9]+\.[A-Za-z0-9_-]+`).FindString(w.on(1, c))
		}
		w.on(n, w.commands("on machine N=2, ")...)
	}
	text := "[rollout]\nsettle = '1s'\nbake = '1s'\n"
	for _, c := range []string{"alice", "bob"} {
		text += "[[cluster]]\nname = '" + c + "'\nadmin = ["
		for n := 1; n <= 3; n++ {
			text += fmt.Sprintf("'%s/%d/%s/admin.sock', ", w.dir, n, c)
		}
		text += "]\nrestart = ['true']\n"
	}
	fleet := filepath.Join(w.dir, "fleet.toml")
	if err := os.WriteFile(fleet, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	for i, c := range w.commands("anywhere, ") {
		args := strings.Fields(c)[1:]
		args[len(args)-1] = fleet
		t.Logf("%s\n%s", c, w.eventually(args...))
		if i == 0 {
			w.publish(fleet)
		}
	}
	w.guarded(fleet)
}

// publish hands all clusters the planet of the fleet. They would come to it by themselves in two minutes, and may be faster.
func (w *written) publish(fleet string) {
	w.Helper()
	key, next := filepath.Join(w.dir, "1", "planet.key"), filepath.Join(w.dir, "planet.new")
	for end := time.Now().Add(time.Minute); ; {
		if _, err := w.try("fleet", "planet", "show", "--fleet", fleet); err == nil {
			return
		}
		if err := os.Remove(next); err != nil && !errors.Is(err, fs.ErrNotExist) {
			w.Fatal(err)
		}
		if out := w.eventually("fleet", "planet", "prepare", "--fleet", fleet, "--out", next); strings.Contains(out, "nothing to prepare") {
			continue
		}
		w.refused("signed by the key it names", "fleet", "planet", "publish", next, "--fleet", fleet)
		w.eventually("planet", "sign", next, "--key", key)
		out, err := w.try("fleet", "planet", "publish", next, "--fleet", fleet)
		if err == nil {
			w.Logf("%s", out)
			return
		}
		if time.Now().After(end) || !wait(w.ctx, time.Second) {
			w.Fatalf("%v\n%s", err, out)
		}
	}
}

// guarded: Bob loses two members, then all.
func (w *written) guarded(fleet string) {
	w.Helper()
	alice := []string{"--data-dir", filepath.Join(w.dir, "1", "alice")}
	drain := append([]string{"member", "drain", "a2", "--wait", "10s"}, alice...)
	archive := filepath.Join(w.dir, "alice.rootd")
	w.eventually(append([]string{"snapshot", "save", archive, "--no-secrets"}, alice...)...)
	w.eventually(drain...)
	w.eventually(append([]string{"member", "undrain", "a2"}, alice...)...)
	w.rootd["3/bob"].Kill()
	w.eventually(drain...) // two of three carry
	w.eventually(append([]string{"member", "undrain", "a2"}, alice...)...)
	w.rootd["2/bob"].Kill()
	const why = "no other root of the planet could carry the clients: root "
	w.refused(why, drain...)
	w.refused("answers at 1 of 3 endpoints, not at "+w.net+"2:9983, "+w.net+"3:9983", drain...)
	w.refused("--alone does it all the same", drain...)
	w.refused(why, append([]string{"snapshot", "restore", archive, "--yes"}, alice...)...)
	w.refused(" (--alone removes it all the same)", append([]string{"member", "remove", "a3", "--dry-run"}, alice...)...)
	w.refused("bob: member b3 is down", "fleet", "status", "--fleet", fleet)
	w.rootd["3/alice"].Kill()
	w.refused("not begun: ", "restart", "--fleet", fleet, "--yes")
	w.eventually(append([]string{"snapshot", "restore", archive, "--yes", "--alone", "--force"}, alice...)...)
	w.eventually(append([]string{"member", "remove", "a3", "--yes", "--alone"}, alice...)...)
	w.eventually(append(drain, "--alone")...)
}

// freeNet returns the first part of loopback addresses that nobody uses: "127.0.200.".
func freeNet(t *testing.T) string {
	t.Helper()
	at, err := procs.FreePort(netip.MustParseAddr("127.0.0.1"))
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("127.%d.%d.", 100+at.Port()%100, at.Port()/100%250)
}
