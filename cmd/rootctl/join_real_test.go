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
	"testing"
	"time"

	"github.com/rootd/rootd/cmd/internal/datadir"
	"github.com/rootd/rootd/cmd/internal/procs"
	"github.com/rootd/rootd/transport/admin"
)

// killsVariable is how often the test kills rootctl join; see make soak-join.
const killsVariable = "ROOTD_JOIN_KILLS"

// realCluster is a cluster of real processes, to which machines join with the real rootctl.
type realCluster struct {
	*testing.T
	rootctl string
	rootd   string
	members []*procs.Member
	ctx     context.Context
}

func newRealCluster(t *testing.T, members int, limit time.Duration) *realCluster {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	t.Cleanup(cancel)
	bin := t.TempDir()
	if err := procs.Build(ctx, bin, ".", "../rootd"); err != nil {
		t.Fatal(err)
	}
	c := &realCluster{T: t, rootctl: filepath.Join(bin, "rootctl"), rootd: filepath.Join(bin, "rootd"), ctx: ctx}
	first := procs.MemberTest(t, c.rootd, "-name", "m1")
	c.start(first)
	c.members = append(c.members, first)
	for i := 2; i <= members; i++ {
		m := c.machine(fmt.Sprint("m", i))
		if out, err := c.join(m, c.token()); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		c.start(m)
		c.members = append(c.members, m)
	}
	return c
}

// machine is one that may join.
func (c *realCluster) machine(name string) *procs.Member {
	c.Helper()
	m := procs.MemberTest(c.T, c.rootd, "-name", name)
	m.DataDir = filepath.Join(m.DataDir, "new")
	return m
}

func (c *realCluster) start(m *procs.Member) {
	c.Helper()
	if err := m.Start(); err != nil {
		c.Fatal(err)
	}
	if err := m.WaitReady(c.ctx); err != nil {
		c.Fatal(err)
	}
}

func (c *realCluster) admin(i int) *admin.Client {
	a := admin.NewClient(c.members[i].Socket())
	c.Cleanup(a.Close)
	return a
}

func (c *realCluster) token() string {
	c.Helper()
	t, err := c.admin(0).CreateToken(c.ctx, admin.TokenRequest{})
	if err != nil {
		c.Fatal(err)
	}
	return t.Text
}

// command is rootctl join for a machine: its endpoint is probed by all members.
func (c *realCluster) command(m *procs.Member, token string) (*exec.Cmd, *bytes.Buffer) {
	out := new(bytes.Buffer)
	cmd := exec.CommandContext(c.ctx, c.rootctl, "join", token, "--data-dir", m.DataDir, "--name", m.Args[1], "--address", m.Cluster.String(), "--endpoint", m.UDP.String())
	cmd.Stdout, cmd.Stderr = out, out
	return cmd, out
}

func (c *realCluster) join(m *procs.Member, token string) (*bytes.Buffer, error) {
	cmd, out := c.command(m, token)
	return out, cmd.Run()
}

// table waits until all members that run have the members with these names, and returns them; whatever else somebody has in
// the end is an error.
func (c *realCluster) table(want ...string) []admin.Member {
	c.Helper()
	slices.Sort(want)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	end := time.Now().Add(30 * time.Second)
	for i := 0; ; {
		all, err := c.admin(i).Members(c.ctx)
		if err == nil {
			var got []string
			for _, m := range all.Members {
				got = append(got, m.Name)
			}
			if slices.Sort(got); slices.Equal(got, want) {
				if i++; i == len(c.members) {
					return all.Members
				}
				continue
			}
			err = fmt.Errorf("it has %v", got)
		}
		if time.Now().After(end) {
			c.Fatalf("member %d: want %v: %v", i+1, want, err)
		}
		<-tick.C
	}
}

// kills is how many times join is killed: few but in a soak.
func kills(t *testing.T) int {
	t.Helper()
	text := os.Getenv(killsVariable)
	if text == "" {
		return 10
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		t.Fatalf("%s=%s", killsVariable, text)
	}
	return n
}

// TestJoinKilledForReal kills rootctl join at random moments of a join to a cluster of three real members, and runs it again:
// always exactly one member more, on all members, the one whose directory it is. Every fifth machine starts its rootd, is killed
// in turn, and comes up as the same member.
func TestJoinKilledForReal(t *testing.T) {
	if testing.Short() {
		t.Skip("builds and starts processes")
	}
	n := kills(t)
	c := newRealCluster(t, 3, time.Duration(n)*10*time.Second+3*time.Minute)
	old := []string{"m1", "m2", "m3"}
	c.table(old...)
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	longest, killed, rerun, early, late := 300*time.Millisecond, 0, 0, 0, 0
	for round := 0; killed < n; round++ {
		m, token := c.machine(fmt.Sprint("k", round)), c.token()
		for range 1 + r.IntN(3) {
			cmd, _ := c.command(m, token)
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			timer := time.AfterFunc(time.Duration(r.Int64N(int64(longest))), func() { _ = cmd.Process.Kill() })
			if cmd.Wait() != nil {
				killed++
			}
			timer.Stop()
		}
		if all, err := c.admin(0).Members(c.ctx); err != nil {
			t.Fatal(err)
		} else if len(all.Members) == len(old) {
			early++ // killed before it was admitted
		} else {
			late++
		}
		began := time.Now()
		out, err := c.join(m, token)
		if err != nil {
			t.Fatalf("round %d: %v\n%s", round, err, out)
		}
		longest = (3*longest + 5*time.Since(began)) / 8 // a rerun may have less left to do than a join
		rerun++
		dir, err := datadir.Read(m.DataDir)
		if err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
		members := c.table(append([]string{m.Args[1]}, old...)...)
		at := slices.IndexFunc(members, func(o admin.Member) bool { return o.Name == m.Args[1] })
		if got := members[at]; uint16(dir.Meta.Member) != got.ID || uint16(dir.Keys.Credential.Self().ID) != got.ID || got.Address != m.Cluster.String() {
			t.Fatalf("round %d: the directory is of member %d, the log has %+v", round, dir.Meta.Member, got)
		}
		if round%5 == 4 {
			c.live(m, r)
		}
		if _, err := c.admin(0).RemoveMember(c.ctx, m.Args[1], admin.RemoveOptions{Force: true}); err != nil {
			t.Fatal(err)
		}
		c.table(old...)
	}
	t.Logf("killed %d times, %d machines joined; %d times before it was admitted, %d times after that", killed, rerun, early, late)
}

// live starts the machine's rootd, kills it at a random moment, and starts it again.
func (c *realCluster) live(m *procs.Member, r *rand.Rand) {
	c.Helper()
	if err := m.Start(); err != nil {
		c.Fatal(err)
	}
	timer := time.NewTimer(time.Duration(r.Int64N(int64(time.Second))))
	defer timer.Stop()
	<-timer.C
	m.Kill()
	c.start(m)
	all, err := c.admin(0).Members(c.ctx)
	if err != nil {
		c.Fatal(err)
	}
	if len(all.Members) != len(c.members)+1 {
		c.Fatalf("members %s", names(all.Members))
	}
	m.Kill()
}
