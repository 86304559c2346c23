package procs_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/rootd/rootd/cmd/internal/procs"
)

// roleEnv makes the test binary play a process instead of running tests.
const roleEnv = "PROCS_TEST_ROLE"

func TestMain(m *testing.M) {
	if role := os.Getenv(roleEnv); role != "" {
		os.Exit(play(role, os.Args[1:], os.Stdout))
	}
	goleak.VerifyTestMain(m)
}

// play is the child's side of the tests.
func play(role string, args []string, out io.Writer) int {
	switch role {
	case "exit":
		fmt.Fprintln(out, "leaving")
		code, _ := strconv.Atoi(args[0])
		return code
	case "polite": // ends on SIGTERM
		stop := make(chan os.Signal, 1)
		signal.Notify(stop, syscall.SIGTERM)
		fmt.Fprintln(out, "at your service")
		<-stop
		fmt.Fprintln(out, "goodbye")
		return 0
	case "stubborn": // does not
		signal.Ignore(syscall.SIGTERM)
		fmt.Fprintln(out, "at your service")
		select {}
	case "ready": // answers 503, then 200
		asked := 0
		err := http.ListenAndServe(args[0], http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			if asked++; asked < 3 {
				w.WriteHeader(http.StatusServiceUnavailable)
			}
		}))
		fmt.Fprintln(out, err)
		return 1
	case "parent": // starts a stubborn child and waits
		p, err := procs.Start(procs.Command{Path: os.Args[0], Env: []string{roleEnv + "=stubborn"}})
		if err != nil {
			fmt.Fprintln(out, err)
			return 1
		}
		fmt.Fprintf(out, "child %d\n", p.PID())
		select {}
	case "chatty":
		for i := range 80_000 {
			fmt.Fprintf(out, "line %d\n", i)
		}
		return 0
	case "member": // stands in for rootd: prints its flags, answers /readyz
		fmt.Fprintln(out, strings.Join(args, " "))
		for i, a := range args {
			if a == "-http-listen" {
				fmt.Fprintln(out, http.ListenAndServe(args[i+1], http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})))
			}
		}
		return 1
	}
	fmt.Fprintln(out, "unknown role", role)
	return 2
}

func command(role string, args ...string) procs.Command {
	return procs.Command{Path: os.Args[0], Args: args, Env: []string{roleEnv + "=" + role}}
}

func deadline(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func TestWaitReturnsTheExitCode(t *testing.T) {
	for _, want := range []int{0, 3} {
		p := procs.StartTest(t, command("exit", strconv.Itoa(want)))
		code, err := p.Wait(deadline(t))
		if err != nil || code != want {
			t.Errorf("exit code %d, %v; want %d", code, err, want)
		}
		if got := p.Output(); got != "leaving\n" {
			t.Errorf("output %q", got)
		}
	}
}

func TestStartOfNothing(t *testing.T) {
	if _, err := procs.Start(procs.Command{Path: filepath.Join(t.TempDir(), "rootd")}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("error %v, want one that says that there is no such file", err)
	}
}

func TestStop(t *testing.T) {
	t.Run("polite", func(t *testing.T) {
		p := procs.StartTest(t, command("polite"))
		if err := p.WaitOutput(deadline(t), "at your service"); err != nil {
			t.Fatal(err)
		}
		if err := p.Stop(10 * time.Second); err != nil {
			t.Error(err)
		}
		if !strings.HasSuffix(p.Output(), "goodbye\n") {
			t.Errorf("output %q", p.Output())
		}
		if err := p.Stop(10 * time.Second); err != nil {
			t.Errorf("second stop: %v", err)
		}
	})
	t.Run("stubborn", func(t *testing.T) {
		p := procs.StartTest(t, command("stubborn"))
		if err := p.WaitOutput(deadline(t), "at your service"); err != nil {
			t.Fatal(err)
		}
		if err := p.Stop(50 * time.Millisecond); err == nil || !strings.Contains(err.Error(), "was killed") {
			t.Errorf("error %v, want one that says it was killed", err)
		}
		gone(t, p.PID())
	})
	t.Run("unhappy", func(t *testing.T) {
		p := procs.StartTest(t, command("exit", "7"))
		<-p.Done()
		if err := p.Stop(time.Second); err == nil || !strings.Contains(err.Error(), "exit status 7") {
			t.Errorf("error %v, want the exit status", err)
		}
	})
}

func TestKill(t *testing.T) {
	p := procs.StartTest(t, command("stubborn"))
	p.Kill()
	p.Kill() // nothing more to do
	if code, err := p.Wait(deadline(t)); code != -1 || err != nil {
		t.Errorf("exit code %d, %v; want -1", code, err)
	}
	gone(t, p.PID())
}

func TestWaitReady(t *testing.T) {
	ap, err := procs.FreePort(netip.MustParseAddr("127.0.0.1"))
	if err != nil {
		t.Fatal(err)
	}
	p := procs.StartTest(t, command("ready", ap.String()))
	if err := p.WaitReady(deadline(t), "http://"+ap.String()+"/readyz"); err != nil {
		t.Error(err)
	}

	p = procs.StartTest(t, command("exit", "1"))
	err = p.WaitReady(deadline(t), "http://"+ap.String()+"0/")
	if err == nil || !strings.Contains(err.Error(), "it ended (exit status 1)") || !strings.Contains(err.Error(), "leaving") {
		t.Errorf("error %v, want how it ended and what it said", err)
	}
}

func TestWaitOutputGivesUp(t *testing.T) {
	p := procs.StartTest(t, command("stubborn"))
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := p.WaitOutput(ctx, "what it never says"); err == nil || !strings.Contains(err.Error(), "deadline exceeded") {
		t.Errorf("error %v, want the deadline", err)
	}
}

// A starter that is killed takes its children along, so that nothing is left running.
func TestChildDiesWithItsStarter(t *testing.T) {
	if !hasParentDeathSignal {
		t.Skip("this system cannot tie a process to its starter")
	}
	parent := procs.StartTest(t, command("parent"))
	if err := parent.WaitOutput(deadline(t), "\n"); err != nil {
		t.Fatal(err)
	}
	var child int
	if _, err := fmt.Sscanf(parent.Output(), "child %d", &child); err != nil {
		t.Fatalf("%v in %q", err, parent.Output())
	}
	parent.Kill()
	gone(t, child)
}

func TestOutputIsBounded(t *testing.T) {
	var all bytes.Buffer
	c := command("chatty")
	c.Tee = &all
	p := procs.StartTest(t, c)
	if _, err := p.Wait(deadline(t)); err != nil {
		t.Fatal(err)
	}
	got := p.Output()
	if len(got) > 256<<10 || !strings.HasPrefix(got, "line ") || !strings.HasSuffix(got, "line 79999\n") {
		t.Errorf("%d bytes, from %.20q to %.20q", len(got), got, got[len(got)-20:])
	}
	if !strings.HasSuffix(all.String(), got) || !strings.HasPrefix(all.String(), "line 0\n") {
		t.Errorf("the copy of %d bytes is not complete", all.Len())
	}
}

func TestFreePort(t *testing.T) {
	for _, host := range []string{"127.0.0.1", "::1"} {
		ap, err := procs.FreePort(netip.MustParseAddr(host))
		if err != nil {
			if host == "::1" {
				t.Skip("no IPv6 here")
			}
			t.Fatal(err)
		}
		l, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(ap))
		if err != nil {
			t.Fatalf("%s is not free: %v", ap, err)
		}
		l.Close()
	}
	if _, err := procs.FreePort(netip.MustParseAddr("203.0.113.1")); err == nil {
		t.Error("found a free port on an address that is not ours")
	}
}

func TestMemberLives(t *testing.T) {
	m := procs.MemberTest(t, os.Args[0], "-log-level", "debug")
	t.Setenv(roleEnv, "member")
	if err := m.WaitReady(deadline(t)); err == nil {
		t.Error("ready before it was started")
	}
	for range 2 {
		if err := m.Start(); err != nil {
			t.Fatal(err)
		}
		if err := m.Start(); err == nil {
			t.Error("started twice")
		}
		if err := m.WaitReady(deadline(t)); err != nil {
			t.Fatal(err)
		}
		want := fmt.Sprintf("-data-dir %s -listen %s -endpoints %[2]s -http-listen %s -cluster-listen %s -peers-drain-at-stop 0s -log-level debug\n", m.DataDir, m.UDP, m.HTTP, m.Cluster)
		if got := m.Process().Output(); got != want {
			t.Errorf("flags %q, want %q", got, want)
		}
		m.Kill()
		if m.Running() {
			t.Error("running after it was killed")
		}
	}
}

// gone waits until no process has the ID, or only one that waits to be reaped.
func gone(t *testing.T, pid int) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for ctx := deadline(t); ; {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		_, rest, _ := bytes.Cut(stat, []byte(") "))
		if os.IsNotExist(err) && syscall.Kill(pid, 0) == syscall.ESRCH || bytes.HasPrefix(rest, []byte("Z")) {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("process %d is still there", pid)
		}
	}
}
