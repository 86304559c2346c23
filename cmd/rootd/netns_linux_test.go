package main_test

import (
	"bytes"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/rootd/rootd/cmd/internal/procs"
)

const (
	// insideEnv is set to the directory of the binaries in the copy of the test that runs in a network namespace.
	insideEnv = "ROOTD_TEST_INSIDE_NAMESPACE"
	// requireEnv makes a test fail, not skip, where there are no network namespaces.
	requireEnv = "ROOTD_TEST_NAMESPACES"
)

// TestAnswersFromTheAddressAsked: a host with several addresses and ports answers each client from the one that it
// asked; a client takes no answer from elsewhere. It needs addresses of its own, so it runs in a network namespace.
func TestAnswersFromTheAddressAsked(t *testing.T) {
	if dir := os.Getenv(insideEnv); dir != "" {
		binaries{dir}.answersFromTheAddressAsked(t)
		return
	}
	if testing.Short() {
		t.Skip("builds and starts processes")
	}
	if _, err := exec.LookPath("ip"); err != nil && os.Getenv(requireEnv) == "" {
		t.Skip("no ip command: install iproute2")
	}
	dir := t.TempDir()
	if err := procs.Build(deadline(t), dir, "."); err != nil {
		t.Fatal(err)
	}
	inside := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestAnswersFromTheAddressAsked$", "-test.v")
	inside.Env = append(os.Environ(), insideEnv+"="+dir)
	inside.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
	if os.Geteuid() != 0 { // as root of a namespace of its own
		inside.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUSER
		inside.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}}
		inside.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}}
	}
	var out bytes.Buffer
	inside.Stdout, inside.Stderr = &out, &out
	if err := inside.Start(); err != nil {
		if os.Getenv(requireEnv) != "" {
			t.Fatal(err)
		}
		t.Skipf("no network namespaces here: %v", err)
	}
	if err := inside.Wait(); err != nil {
		t.Errorf("in the namespace: %v\n%s", err, out.String())
	}
}

func (b binaries) answersFromTheAddressAsked(t *testing.T) {
	addrs := []string{"10.91.1.1", "10.91.2.1", "fd91:1::1", "fd91:2::1"}
	commands := []string{"link set lo up"}
	for _, a := range addrs {
		commands = append(commands, "addr add "+a+" dev lo")
	}
	for _, c := range commands {
		if said, err := exec.CommandContext(t.Context(), "ip", strings.Fields(c)...).CombinedOutput(); err != nil {
			t.Fatalf("ip %s: %v\n%s", c, err, said)
		}
	}
	m := procs.MemberTest(t, b.rootd(), "-listen", "0.0.0.0:9993,[::]:9993,0.0.0.0:443,[::]:443", "-endpoints", "10.91.1.1:9993")
	if err := m.Start(); err != nil {
		t.Fatal(err)
	}
	if err := m.WaitReady(deadline(t)); err != nil {
		t.Fatal(err)
	}
	planet := readPlanet(t, m)
	for _, a := range addrs {
		for _, port := range []uint16{9993, 443} {
			asked := netip.AddrPortFrom(netip.MustParseAddr(a), port)
			t.Run(asked.String(), func(t *testing.T) {
				d := devices(t, 1, planet, asked)[0] // its socket is connected, and so hears nobody else
				d.hello(t)
				d.whois(t, d.id.Address)
			})
		}
	}
}
