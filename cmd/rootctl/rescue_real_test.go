package main

import (
	"bytes"
	"context"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rootd/rootd/cmd/internal/procs"
	"github.com/rootd/rootd/transport/admin"
)

// Variables of make rescue: how many clients, and for how long to wait for those whom nobody rescues.
const (
	rescueClientsVariable = "ROOTD_RESCUE_CLIENTS"
	rescueAloneVariable   = "ROOTD_RESCUE_ALONE"
)

// realFleet is two clusters of three in one planet, and a swarm of clients that know both roots.
type realFleet struct {
	*testing.T
	ctx        context.Context
	bin, dir   string
	alice, bob *realCluster
	planet     string
	clients    int
	trace      *swarmTrace
}

func newRealFleet(t *testing.T, clients int, limit time.Duration) *realFleet {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	t.Cleanup(cancel)
	f := &realFleet{T: t, ctx: ctx, bin: t.TempDir(), dir: t.TempDir(), clients: clients}
	if err := procs.Build(ctx, f.bin, ".", "../rootd", "../rootswarm"); err != nil {
		t.Fatal(err)
	}
	f.planet = filepath.Join(f.dir, "planet")
	ready, err := os.ReadFile("../internal/demo/identities.txt")
	if err != nil {
		t.Fatal(err)
	}
	args := []string{"planet", "make", "--key", filepath.Join(f.dir, "planet.key"), "--out", f.planet}
	for i, c := range []struct {
		name string
		into **realCluster
	}{{"alice", &f.alice}, {"bob", &f.bob}} {
		r := &realCluster{T: t, rootctl: f.tool("rootctl"), rootd: f.tool("rootd"), ctx: ctx}
		identity := filepath.Join(f.dir, c.name)
		if err := os.WriteFile(identity, append(bytes.Split(ready, []byte("\n"))[i], '\n'), 0o600); err != nil {
			t.Fatal(err)
		}
		var endpoints []string
		members := 3
		if i == 1 && clients < 1000 {
			members = 1 // Bob only relays
		}
		for k := range members {
			m := r.machine(fmt.Sprintf("%c%d", c.name[0], k+1))
			// Clients tell members apart by their addresses.
			at, err := procs.NewMemberAt(m.Binary, m.DataDir, netip.AddrFrom4([4]byte{127, 0, byte(210 + i), byte(k + 1)}))
			if err != nil {
				t.Fatal(err)
			}
			m.UDP, m.HTTP, m.Cluster = at.UDP, at.HTTP, at.Cluster
			r.members = append(r.members, m)
			endpoints = append(endpoints, m.UDP.String())
		}
		args = append(args, "--root", identity+"="+strings.Join(endpoints, ","))
		*c.into = r
	}
	f.run("rootctl", nil, args...)
	for _, r := range []*realCluster{f.bob, f.alice} { // Bob first: Alice finds him there
		f.found(r)
	}
	f.know()
	return f
}

func (f *realFleet) tool(name string) string { return filepath.Join(f.bin, name) }

// run runs a program to its end and returns what it printed.
func (f *realFleet) run(program string, stdin []byte, args ...string) []byte {
	f.Helper()
	var wrong bytes.Buffer
	cmd := exec.CommandContext(f.ctx, f.tool(program), args...)
	cmd.Stdin, cmd.Stderr = bytes.NewReader(stdin), &wrong
	out, err := cmd.Output()
	if err != nil {
		f.Fatalf("%s %v: %v\n%s", program, args, err, wrong.String())
	}
	return out
}

// found starts a cluster: the planet lists all of its members from the beginning.
func (f *realFleet) found(r *realCluster) {
	f.Helper()
	name := map[bool]string{true: "alice", false: "bob"}[r == f.alice]
	first := r.members[0]
	f.run("rootctl", nil, "init", "--data-dir", first.DataDir, "--name", first.Args[1], "--cluster", name, "--identity", filepath.Join(f.dir, name),
		"--planet", f.planet, "--key", filepath.Join(f.dir, "planet.key"))
	r.start(first)
	for _, key := range []string{"planet_auto", "steering"} { // whoever is redirected is rescued
		if _, err := r.admin(0).SetSetting(f.ctx, key, "off"); err != nil {
			f.Fatal(err)
		}
	}
	for _, m := range r.members[1:] {
		if out, err := r.join(m, r.token()); err != nil {
			f.Fatalf("%v\n%s", err, out)
		}
		r.start(m)
	}
}

// know makes both clusters know the clients, who have identities that cost nothing.
func (f *realFleet) know() {
	f.Helper()
	list := f.run("rootswarm", nil, "-synthetic", "-clients", strconv.Itoa(f.clients), "-list")
	for _, r := range []*realCluster{f.alice, f.bob} {
		f.run("rootctl", list, "--data-dir", r.members[0].DataDir, "peer", "import", "-", "--unchecked", "--yes")
	}
}

// swarm starts the clients, a third each of releases 1.4, 1.10.2 and 1.14, and waits until all are served by Alice and the
// members' logs have them.
func (f *realFleet) swarm() {
	f.Helper()
	file := filepath.Join(f.dir, "trace")
	ramp := max(time.Second, time.Duration(f.clients)*4*time.Millisecond)
	procs.StartTest(f.T, procs.Command{Path: f.tool("rootswarm"), Args: []string{
		"-planet", f.planet, "-loopback", "-synthetic", "-clients", strconv.Itoa(f.clients), "-mix", "1.4=1,1.10.2=1,1.14=1", "-frame-every", "0",
		"-poll", "5ms", "-ramp", ramp.String(), "-quiet", "-trace", file,
	}})
	identity, err := os.ReadFile(filepath.Join(f.dir, "alice"))
	if err != nil {
		f.Fatal(err)
	}
	root, _, _ := strings.Cut(string(identity), ":")
	f.trace = newSwarmTrace(root, f.alice.members)
	end := time.Now().Add(ramp + time.Minute)
	a := f.alice.admin(0)
	f.until(end, func() string {
		f.trace.read(f.T, file)
		served, known := f.trace.served(), 0
		all, err := a.Active(f.ctx)
		for _, n := range all {
			known += n
		}
		// Bob is a peer of Alice, too.
		if served == f.clients && known >= f.clients {
			return ""
		}
		return fmt.Sprintf("of %d clients %d are served, %v are heard (%v)", f.clients, served, all, err)
	})
	// Nobody can rescue a client that the log does not have yet at the member that it uses. Older ones use many members.
	f.until(end, func() string {
		f.trace.read(f.T, file)
		at := map[string]netip.AddrPort{}
		err := a.Peers(f.ctx, admin.PeerFilter{}, func(p *admin.Peer) error {
			for _, path := range p.Paths {
				if i := slices.IndexFunc(f.alice.members, func(m *procs.Member) bool { return m.Args[1] == path.Member }); path.Attached && i >= 0 {
					at[p.Address.String()] = f.alice.members[i].UDP
				}
			}
			return nil
		})
		astray := 0
		for address, c := range f.trace.clients {
			if c.family == "1.14" && at[address] != c.uses {
				astray++
			}
		}
		if err == nil && astray == 0 {
			return ""
		}
		return fmt.Sprintf("the log has %d clients elsewhere than they are (%v)", astray, err)
	})
}

// until waits for what says "" when it is true, else how it is.
func (f *realFleet) until(end time.Time, is func() string) {
	f.Helper()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for how := is(); how != ""; how = is() {
		if time.Now().After(end) {
			f.Fatalf("not in time: %s", how)
		}
		<-tick.C
	}
}

// victim is a member of Alice that does not lead.
func (f *realFleet) victim() *procs.Member {
	f.Helper()
	all, err := f.alice.admin(0).Members(f.ctx)
	if err != nil {
		f.Fatal(err)
	}
	i := slices.IndexFunc(f.alice.members, func(m *procs.Member) bool {
		at := findMember(all, m.Args[1])
		return at.Role != admin.RoleLeader
	})
	return f.alice.members[i]
}

// lose kills a member and waits until all of its clients are served by another one, or until a time has passed.
func (f *realFleet) lose(limit time.Duration) outcome {
	f.Helper()
	dead := f.victim()
	f.trace.read(f.T, "")
	f.trace.kill(dead.UDP)
	dead.Kill()
	began := time.Now()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for f.trace.away() > 0 && time.Since(began) < limit {
		<-tick.C
		f.trace.read(f.T, "")
	}
	if f.clients >= 1000 {
		limit = max(limit, 30*time.Second) // in which pushes are counted
	} else {
		limit = time.Since(began) + 2*time.Second
	}
	for time.Since(began) < limit {
		<-tick.C
	}
	f.trace.read(f.T, "")
	return f.trace.outcome()
}

// shown checks what operators are told of a rescue. The log has some clients elsewhere than they think.
func (f *realFleet) shown(o outcome) {
	f.Helper()
	i := slices.IndexFunc(f.alice.members, (*procs.Member).Running)
	all, err := f.alice.admin(i).Members(f.ctx)
	if err != nil {
		f.Fatal(err)
	}
	f.Logf("%s", f.run("rootctl", nil, "--data-dir", f.alice.members[i].DataDir, "member", "list"))
	if len(all.Rescues) != 1 {
		f.Fatalf("rescues %+v", all.Rescues)
	}
	r := all.Rescues[0]
	if r.Peers == 0 || r.Arrived+r.Elsewhere+r.Waiting+r.GivenUp != r.Peers || time.Since(r.At) > 5*time.Minute {
		f.Errorf("%d clients lost their member; shown: %+v", o.lost, r)
	}
}

// TestRescueForReal kills a member of Alice: her clients are at other members within seconds, by way of Bob, while those of
// 1.14 would take minutes by themselves. In a long run it also measures that.
func TestRescueForReal(t *testing.T) {
	if testing.Short() {
		t.Skip("builds and starts processes")
	}
	text := os.Getenv(rescueClientsVariable)
	if text == "" {
		t.Skip("needs the machine for itself: make rescue; the rescues of whole members in virtual time run always")
	}
	clients, err := strconv.Atoi(text)
	if err != nil {
		t.Fatal(err)
	}
	if text := os.Getenv(rescueAloneVariable); text != "" {
		alone, err := time.ParseDuration(text)
		if err != nil {
			t.Fatal(err)
		}
		t.Run("alone", func(t *testing.T) {
			f := newRealFleet(t, clients, alone+5*time.Minute)
			if _, err := f.alice.admin(0).SetSetting(f.ctx, "rescue_rate", "0"); err != nil {
				t.Fatal(err)
			}
			f.swarm()
			t.Log(f.lose(alone))
		})
	}
	f := newRealFleet(t, clients, 4*time.Minute)
	f.swarm()
	o := f.lose(time.Minute)
	t.Log(o)
	f.shown(o)
	if o.lost == 0 {
		t.Error("nobody lost his member: nothing was shown")
	}
	if o.away > 0 {
		t.Errorf("%d of %d clients of the dead member are not served by another one after a minute", o.away, o.lost)
	}
	if o.pushes > 8 || o.refused > 0 {
		t.Errorf("%d pushes of one client, %d refused: want at most 8, all taken", o.pushes, o.refused)
	}
}
