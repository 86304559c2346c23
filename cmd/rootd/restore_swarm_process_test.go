package main_test

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rootd/rootd/cmd/internal/procs"
	"github.com/rootd/rootd/transport/admin"
)

// crowd is a swarm of clients that lives through a disaster, untouched.
type crowd struct {
	t       *testing.T
	p       *procs.Process
	report  string          // file
	clients map[string]bool // addresses
}

// patience is for how long the last client may look for a root: one that speaks to it rarely needs ten minutes and more to give a path up.
const crowdPatience = 30 * time.Minute

// swarm starts clients of several families, half of them known to send frames to each other by way of the members, and waits until all are online.
func (f *fleet) swarm(b binaries) *crowd {
	f.Helper()
	if err := procs.Build(longDeadline(f.T), b.dir, "../rootswarm"); err != nil {
		f.Fatal(err)
	}
	args := []string{"-synthetic", "-clients", "300", "-seed", "7"}
	list, err := exec.CommandContext(deadline(f.T), b.rootswarm(), append(args, "-list")...).Output()
	if err != nil {
		f.Fatal(err)
	}
	file := filepath.Join(f.TempDir(), "identities")
	if err := os.WriteFile(file, list, 0o600); err != nil {
		f.Fatal(err)
	}
	b.ctl(f.T, f.members[0], "peer", "import", file, "--unchecked", "--yes")
	c := &crowd{t: f.T, clients: map[string]bool{}, report: filepath.Join(f.TempDir(), "report.json")}
	for line := range bytes.Lines(list) {
		c.clients[string(line[:10])] = true
	}
	planet := filepath.Join(f.TempDir(), "planet")
	raw, err := os.ReadFile(filepath.Join(f.members[0].DataDir, "planet"))
	if err != nil || os.WriteFile(planet, raw, 0o600) != nil {
		f.Fatalf("planet: %v", err)
	}
	out, err := os.Create(c.report)
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { _ = out.Close() })
	c.p = procs.StartTest(f.T, procs.Command{Path: b.rootswarm(), Tee: out, Args: append(args, "-planet", planet, "-loopback", "-relay", "-frame-every", "1s",
		"-mix", "1.4=1,1.8=1,1.10.2=1,1.10.6=1,1.14=2", "-ramp", "5s", "-warmup", "20s", "-quiet", "-json")})
	eventually(f.T, "all clients are attached", func() bool { return len(c.attached(f, 0, "m1", "m2", "m3")) == len(c.clients) })
	for _, name := range []string{"m1", "m2", "m3"} {
		f.Logf("%d clients at %s", len(c.attached(f, 0, name)), name)
	}
	time.Sleep(20 * time.Second) //nolint:forbidigo // they live: no state to wait for
	return c
}

// attached are the clients that are at the named members, as member i knows.
func (c *crowd) attached(f *fleet, i int, names ...string) (found []string) {
	for _, name := range names {
		_ = f.admin(i).Peers(c.t.Context(), admin.PeerFilter{Member: name}, func(p *admin.Peer) error {
			if a := p.Address.String(); c.clients[a] {
				found = append(found, a)
			}
			return nil
		})
	}
	return found
}

// follow notes when each client is served again. The function that it returns waits for all, ends the swarm and says what it saw.
func (c *crowd) follow(f *fleet, disaster time.Time) (wait func()) {
	at, done := map[string]time.Duration{}, make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(time.Second)
		defer tick.Stop()
		for len(at) < len(c.clients) && time.Since(disaster) < crowdPatience {
			select {
			case <-c.t.Context().Done():
				return
			case <-tick.C:
			}
			now := time.Since(disaster)
			for _, a := range c.attached(f, 3, "r1", "n4", "n5") {
				if _, ok := at[a]; !ok {
					at[a] = now
				}
			}
		}
	}()
	return func() {
		<-done
		times := make([]time.Duration, 0, len(at))
		for _, d := range at {
			times = append(times, d.Round(time.Second))
		}
		slices.Sort(times)
		if len(times) < len(c.clients) {
			c.t.Errorf("%d of %d clients are served again after %v", len(times), len(c.clients), crowdPatience)
		}
		if n := len(times); n > 0 {
			c.t.Logf("clients served again after the disaster: p10 %v, p50 %v, p90 %v, p99 %v, the last %v", times[n/10], times[n/2], times[n*9/10], times[n*99/100], times[n-1])
		}
		time.Sleep(time.Minute) //nolint:forbidigo // they live on
		if err := c.p.Signal(syscall.SIGTERM); err != nil {
			c.t.Error(err)
		}
		if code, err := c.p.Wait(deadline(c.t)); err != nil || code != 0 {
			c.t.Errorf("rootswarm: exit code %d, %v", code, err)
		}
		text := c.p.Output()
		var report struct {
			Families map[string]int `json:"families"`
			Planets  int            `json:"planets_taken"`
			P50      int            `json:"longest_outage_p50_ms"`
			P99      int            `json:"longest_outage_p99_ms"`
			Max      int            `json:"longest_outage_ms"`
			Seconds  float64        `json:"seconds"`
			Sent     int            `json:"frames_sent"`
			Got      int            `json:"frames_received"`
		}
		if err := json.Unmarshal([]byte(text[max(0, strings.Index(text, "{")):]), &report); err != nil {
			c.t.Fatalf("%v:\n%s", err, text)
		}
		c.t.Logf("the swarm: in %.0f s %d frames sent, %d received", report.Seconds, report.Sent, report.Got)
		c.t.Logf("the swarm: %v; %d planets taken; longest wait for an answer of a root: p50 %d ms, p99 %d ms, max %d ms", report.Families, report.Planets, report.P50, report.P99, report.Max)
	}
}
