package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/rootd/rootd/cmd/internal/client"
	"github.com/rootd/rootd/cmd/internal/client/sim"
	"github.com/rootd/rootd/packetpath/udp"
	"github.com/rootd/rootd/packetpath/vl1"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// startRoot runs a naive root on loopback until the test ends and returns a planet file that names it.
func startRoot(t *testing.T, change func(*sim.Member)) string {
	t.Helper()
	id, err := client.Synthetic(rand.NewPCG(7, 7))
	if err != nil {
		t.Fatal(err)
	}
	conn, err := udp.Listen(netip.MustParseAddrPort("127.0.0.1:0"), udp.Options{RecvBuffer: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	m := sim.NewRoot(id, 1).NewMember("m1", conn.LocalAddr())
	out := conn.NewSender(1)
	msg := make([]udp.Message, 1)
	m.Send = func(_, to netip.AddrPort, b []byte) {
		msg[0] = udp.Message{Buf: b, N: len(b), Addr: to}
		_, _ = out.Write(msg) // the end of the test closes the socket
	}
	if change != nil {
		change(m)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		in := make([]udp.Message, 64)
		for i := range in {
			in[i].Buf = make([]byte, 2048)
		}
		for {
			n, err := conn.Read(in)
			if errors.Is(err, net.ErrClosed) {
				return
			}
			if err != nil {
				t.Error(err)
				return
			}
			for _, d := range in[:n] {
				m.Handle(time.Now().UnixMilli(), conn.LocalAddr(), d.Addr, d.Buf[:d.N])
			}
		}
	}()
	t.Cleanup(func() {
		conn.Close()
		<-done
	})
	w := vl1.World{Type: vl1.WorldPlanet, ID: 0xdeadbeef, Timestamp: 1, Roots: []vl1.Root{{
		Identity: id.Identity, Endpoints: []netip.AddrPort{conn.LocalAddr()},
	}}}
	file := filepath.Join(t.TempDir(), "planet")
	if err := os.WriteFile(file, w.AppendBinary(nil), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestSwarmOnLoopback(t *testing.T) {
	for _, tc := range []struct {
		name   string
		flags  string
		code   int
		stderr string
		check  func(t *testing.T, r *Report)
	}{
		{
			name: "relayed", flags: "-relay -frame-every 50ms -max-loss 0.2 -max-p99 20s -min-online 1",
			check: func(t *testing.T, r *Report) {
				if r.FramesGot < 40 || r.FramesDirect != 0 {
					t.Errorf("%d frames, %d directly: want one of each client at least, all relayed", r.FramesGot, r.FramesDirect)
				}
			},
		},
		{
			name: "direct", flags: "-frame-every 50ms -max-loss 0.2",
			check: func(t *testing.T, r *Report) {
				if r.Rendezvous == 0 || r.FramesDirect < r.FramesGot/2 {
					t.Errorf("%d of %d frames directly after %d RENDEZVOUS: want most", r.FramesDirect, r.FramesGot, r.Rendezvous)
				}
			},
		},
		{
			name: "large frames", flags: "-relay -frame-every 100ms -frame-size 5000 -max-loss 0.2",
			check: func(t *testing.T, r *Report) {
				if r.FramesGot < 40 {
					t.Errorf("%d frames of 5,000 bytes arrived: want one of each client at least", r.FramesGot)
				}
			},
		},
		{
			name: "script and bulk", flags: "-relay -frame-every 100ms -bulk 2 -bulk-rate 300",
			check: func(t *testing.T, r *Report) {
				if r.FramesGot < 40 || r.FramesGot < r.FramesSent*4/10 {
					t.Errorf("%d of %d frames arrived: want most", r.FramesGot, r.FramesSent)
				}
				if hellos := uint64(40 + 20); r.Hellos < hellos {
					t.Errorf("%d HELLOs: want at least %d, half of the clients were restarted", r.Hellos, hellos)
				}
			},
		},
		{
			name: "behind NATs that let everybody in", flags: "-nat full-cone -frame-every 50ms -max-loss 0.3 -min-online 1",
			check: func(t *testing.T, r *Report) {
				if r.NATs["full-cone"] != 40 || r.FramesDirect < r.FramesGot/2 {
					t.Errorf("%d of %d frames directly, NATs %v: want most, as the root introduces them", r.FramesDirect, r.FramesGot, r.NATs)
				}
			},
		},
		{
			// Who receives a frame does not know its sender yet when the root introduces them: it opens its NAT later.
			name: "behind NATs that let only asked ones in", flags: "-nat port-restricted -frame-every 50ms -max-loss 0.3 -min-online 1",
			check: func(t *testing.T, r *Report) {
				if r.NATs["port-restricted"] != 40 || r.Filtered == 0 {
					t.Errorf("%d datagrams filtered, NATs %v: want some", r.Filtered, r.NATs)
				}
			},
		},
		{
			name: "behind symmetric NATs", flags: "-nat symmetric -frame-every 50ms -max-loss 0.3 -min-online 1",
			check: func(t *testing.T, r *Report) {
				if r.NATs["symmetric"] != 40 || r.FramesDirect != 0 || r.Filtered == 0 {
					t.Errorf("%d frames directly, %d datagrams filtered, NATs %v: want all relayed, and some filtered", r.FramesDirect, r.Filtered, r.NATs)
				}
			},
		},
		{
			name: "NATs of all kinds", flags: "-nat none=2,full-cone=1,address-restricted=1,symmetric=1 -frame-every 50ms -min-online 1",
			check: func(t *testing.T, r *Report) {
				if r.NATs["symmetric"] != 8 || r.NATs["full-cone"] != 8 || r.FramesGot < 40 {
					t.Errorf("%d frames, NATs %v: want one of each client, and eight NATs of each kind", r.FramesGot, r.NATs)
				}
			},
		},
		{
			name: "loopback refused", flags: "-loopback=false -min-online 0.5 -frame-every 0", code: exitLimit,
			stderr: "limit exceeded: 0.0000 of all clients found a path",
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			planet := startRoot(t, nil)
			args := []string{
				"-planet", planet, "-synthetic", "-loopback", "-clients", "40", "-json", "-quiet",
				"-mix", "1.14=2,1.10.2=1,1.8=1,1.6.0=1,1.4=1,1.0=1", "-ramp", "100ms", "-warmup", "1s", "-duration", "1s",
			}
			var stdout, stderr bytes.Buffer
			args = append(args, strings.Fields(tc.flags)...)
			if tc.name == "script and bulk" {
				args = append(args, "-at", "100ms storm 0.6", "-at", "300ms roam 0.5", "-at", "200ms sleep 0.1 200ms")
			}
			code := command(t.Context(), args, &stdout, &stderr)
			if code != tc.code || !strings.Contains(stderr.String(), tc.stderr) {
				t.Fatalf("exit code %d, want %d; stderr:\n%s\nstdout:\n%s", code, tc.code, &stderr, &stdout)
			}
			var r Report
			if err := json.Unmarshal(stdout.Bytes(), &r); err != nil {
				t.Fatal(err)
			}
			if r.BadMAC != 0 {
				t.Errorf("%d packets with a bad MAC", r.BadMAC)
			}
			if tc.check != nil {
				tc.check(t, &r)
			}
		})
	}
}

func TestLossIsReported(t *testing.T) {
	planet := startRoot(t, func(m *sim.Member) {
		send, n := m.Send, 0
		m.Send = func(from, to netip.AddrPort, b []byte) {
			if n++; len(b) < 150 || n%4 != 0 { // a quarter of the frames is lost
				send(from, to, b)
			}
		}
	})
	var stdout, stderr bytes.Buffer
	code := command(t.Context(), []string{
		"-planet", planet, "-synthetic", "-loopback", "-clients", "20", "-ports", "4", "-relay", "-frame-every", "20ms",
		"-ramp", "50ms", "-warmup", "600ms", "-duration", "600ms", "-max-loss", "0.1", "-quiet",
	}, &stdout, &stderr)
	if code != exitLimit || !strings.Contains(stderr.String(), "limit exceeded: lost 0.") {
		t.Fatalf("exit code %d, stderr:\n%s\nstdout:\n%s", code, &stderr, &stdout)
	}
}

func TestInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var stdout, stderr bytes.Buffer
	code := command(ctx, []string{"-planet", startRoot(t, nil), "-synthetic", "-loopback", "-clients", "4", "-ports", "4"}, &stdout, &stderr)
	if code != 0 || !strings.Contains(stdout.String(), "clients") {
		t.Errorf("exit code %d; stdout:\n%s\nstderr:\n%s", code, &stdout, &stderr)
	}
}

func TestList(t *testing.T) {
	var stdout, stderr bytes.Buffer
	if code := command(t.Context(), []string{"-synthetic", "-clients", "3", "-list"}, &stdout, &stderr); code != 0 {
		t.Fatalf("exit code %d, stderr:\n%s", code, &stderr)
	}
	lines := strings.Fields(stdout.String())
	if len(lines) != 3 {
		t.Fatalf("%d identities, want 3:\n%s", len(lines), &stdout)
	}
	for _, l := range lines {
		if _, err := vl1.ParseIdentity(l); err != nil {
			t.Errorf("%s: %v", l, err)
		}
	}
}

func TestBadFlags(t *testing.T) {
	planet := startRoot(t, nil)
	for _, tc := range []struct{ args, want string }{
		{"", "-planet is required"},
		{"-planet /nowhere", "no such file"},
		{"-planet swarm_test.go", "not a planet file"},
		{"-planet " + planet + " -mix 9.9", `client family "9.9": unknown; one of 1.0, 1.2.4, 1.4`},
		{"-planet " + planet + " -clients 0", "-clients 0"},
		{"-planet " + planet + " -ports 1", "-ports 1: need 2"},
		{"-planet " + planet + " -poll 1s", "-poll 1s: 100"},
		{"-planet " + planet + " -nat carrier", `NAT "carrier": unknown`},
		{"-planet " + planet + " -nat none=0", "all weights are 0"},
		{"-planet " + planet + " -nat-timeout 1ms", "-nat-timeout 1ms: 1s"},
		{"-planet " + planet + " -fresh 0", "-fresh 0: need"},
		{"-planet " + planet + " -source 10.0.0.0/99", "-source: netip"},
		{"-planet " + planet + " -frame-size 3", "-frame-size 3: 20 to"},
		{"-planet " + planet + " -source 127.0.0.1,::1", "are of two families"},
		{"-planet " + planet + " -bulk 500", "-bulk 500"},
		{"-planet " + planet + " -at kill", "wrong number of words"},
		{"-planet " + planet + " extra", `unexpected argument "extra"`},
		{"-planet " + planet + " -identities /nowhere", "read identities"},
	} {
		var stdout, stderr bytes.Buffer
		if code := command(t.Context(), strings.Fields(tc.args), &stdout, &stderr); code != exitError || !strings.Contains(stderr.String(), tc.want) {
			t.Errorf("rootswarm %s: exit code %d, stderr %q; want %d and %q", tc.args, code, &stderr, exitError, tc.want)
		}
	}
}
