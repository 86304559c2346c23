package main

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rootd/rootd/cmd/internal/procs"
	"github.com/rootd/rootd/transport/admin"
)

const (
	drained       = 50            // clients
	drainVariable = "ROOTD_DRAIN" // set: the test runs. It wants a machine that is not too busy
)

// drains is a real cluster with clients.
type drains struct{ *realCluster }

// ctl runs rootctl on the first member's machine. Killed after a time that is not 0, it has exit code -1.
func (d *drains) ctl(kill time.Duration, args ...string) (code int, stdout, stderr string) {
	d.Helper()
	ctx := d.ctx
	if kill > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, kill)
		defer cancel()
	}
	var out, said strings.Builder
	cmd := exec.CommandContext(ctx, d.rootctl, append([]string{"--data-dir", d.members[0].DataDir}, args...)...)
	cmd.Stdout, cmd.Stderr = &out, &said
	err := cmd.Run()
	var ended *exec.ExitError
	if err != nil && !errors.As(err, &ended) {
		d.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), out.String(), said.String()
}

// well runs rootctl, which must succeed.
func (d *drains) well(args ...string) string {
	d.Helper()
	code, out, said := d.ctl(0, args...)
	if code != 0 {
		d.Fatalf("rootctl %q: exit code %d\n%s%s", args, code, out, said)
	}
	return out
}

// fails runs rootctl, which must fail and say why.
func (d *drains) fails(why string, args ...string) {
	d.Helper()
	code, out, said := d.ctl(0, args...)
	if code <= 0 || out != "" || !strings.Contains(said, why) {
		d.Errorf("rootctl %q: exit code %d\n%s%s", args, code, out, said)
	}
}

// at counts the clients of each member, by the log.
func (d *drains) at() map[string]int {
	d.Helper()
	var peers []admin.Peer
	if err := json.Unmarshal([]byte(d.well("peer", "list", "-o", "json")), &peers); err != nil {
		d.Fatal(err)
	}
	n := map[string]int{}
	for i := range peers {
		for _, p := range peers[i].Paths {
			if p.Attached {
				n[p.Member]++
				break
			}
		}
	}
	return n
}

// until waits for the clients to be where they should.
func (d *drains) until(what string, met func(map[string]int) bool) map[string]int {
	d.Helper()
	for tick := time.NewTicker(200 * time.Millisecond); ; {
		n := d.at()
		if met(n) {
			return n
		}
		select {
		case <-tick.C:
		case <-d.ctx.Done():
			d.Fatalf("%s: %v", what, n)
		}
	}
}

func total(n map[string]int) int { return n["m1"] + n["m2"] + n["m3"] }

// TestDrain drains members of a real cluster, of real processes with clients, as an operator does, and does wrong.
func TestDrain(t *testing.T) {
	if os.Getenv(drainVariable) == "" {
		t.Skip("a real cluster with 50 clients: run it with " + drainVariable + "=1, or make drain")
	}
	d := &drains{newRealCluster(t, 3, 2*time.Minute)}
	d.table("m1", "m2", "m3")
	bin := t.TempDir()
	if err := procs.Build(d.ctx, bin, "../rootswarm"); err != nil {
		t.Fatal(err)
	}
	d.well("config", "set", "steering", "off") // nobody moves but by a drain
	for tick := time.NewTicker(200 * time.Millisecond); ; {
		all, err := d.admin(0).Members(d.ctx)
		listed := d.well("planet", "inspect", filepath.Join(d.members[0].DataDir, "planet")) // the clients' one
		for _, m := range d.members {
			if !strings.Contains(listed, m.UDP.String()) {
				err = errors.New("not in the planet yet")
			}
		}
		if err == nil && len(all.Members) == 3 && len(all.Members[0].Published)*len(all.Members[1].Published)*len(all.Members[2].Published) > 0 {
			break
		}
		select {
		case <-tick.C:
		case <-d.ctx.Done():
			t.Fatal("not published")
		}
	}
	procs.StartTest(t, procs.Command{Path: filepath.Join(bin, "rootswarm"), Args: []string{
		"-planet", filepath.Join(d.members[0].DataDir, "planet"), "-identities", "../internal/demo/identities.txt", "-loopback", "-quiet", "-clients", "50", "-mix", "1.14=3,1.10.6=1,1.4=1",
		"-ramp", "1s", "-frame-every", "1s", "-relay",
	}})
	before := d.until("all attached", func(n map[string]int) bool { return total(n) == drained && n["m1"] > 0 && n["m2"] > 0 && n["m3"] > 0 })
	t.Logf("at first: %v", before)

	// Wrong, or only asked: nothing changes.
	d.fails("nobody", "member", "drain", "nobody")
	d.fails("nobody", "member", "drain", "nobody", "--plan")
	d.fails("nobody", "member", "undrain", "nobody")
	d.fails("MEMBER", "member", "drain")
	d.fails("invalid argument", "member", "drain", "m1", "--wait", "soon")
	var plan admin.Drain
	if err := json.Unmarshal([]byte(d.well("member", "drain", "m1", "--plan", "-o", "json")), &plan); err != nil {
		t.Fatal(err)
	}
	shares := 0
	for _, s := range plan.Plan {
		if shares += s.Peers; s.Target != "m2" && s.Target != "m3" {
			t.Errorf("%d peers would go to %q", s.Peers, s.Target)
		}
	}
	if plan.State != admin.DrainNone || plan.Attached != before["m1"] || shares != plan.Attached {
		t.Errorf("plan %+v, with %d peers there", plan, before["m1"])
	}

	// The leader is drained; the command is killed, and run again.
	if code, _, _ := d.ctl(700*time.Millisecond, "member", "drain", "m1"); code == 0 {
		t.Log("drained before it was killed")
	}
	// Run again it says how far it is, or that all is done already.
	if code, out, said := d.ctl(0, "member", "drain", "m1", "--wait", "1ns"); code != 0 && !strings.Contains(said, "not drained") {
		t.Errorf("exit code %d\n%s%s", code, out, said)
	}
	t.Log(d.well("member", "drain", "m1"))
	t.Log(d.well("member", "drain", "m1")) // again: it is drained
	after := d.until("all elsewhere", func(n map[string]int) bool { return n["m1"] == 0 && total(n) == drained })
	t.Logf("leader drained: %v", after)

	// The last one that takes peers is not drained.
	d.well("member", "drain", "m2", "--no-wait")
	d.fails("no other member", "member", "drain", "m3")
	for range 2 {
		d.well("member", "undrain", "m1")
		d.well("member", "undrain", "m2")
	}

	// A clean stop drains first, but no longer than it may: peers that were moved a moment ago take no push yet.
	m3 := d.members[2]
	m3.Kill()
	m3.Args = append(m3.Args, "-peers-drain-at-stop", "4s")
	d.start(m3)
	d.until("heard at m3 again", func(map[string]int) bool {
		heard, err := d.admin(2).Active(d.ctx)
		return err == nil && heard["m3"] > 0
	})
	began, rootd := time.Now(), m3.Process()
	if err := m3.Stop(30 * time.Second); err != nil {
		t.Error(err)
	}
	if said := rootd.Output(); !strings.Contains(said, "msg=drained") && !strings.Contains(said, "before all peers were handed off") {
		t.Errorf("it did not drain:\n%s", said)
	}
	t.Logf("m3 stopped after %v", time.Since(began).Round(100*time.Millisecond))
}
