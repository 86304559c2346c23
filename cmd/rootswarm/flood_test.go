package main

import (
	"bytes"
	"context"
	"math/rand/v2"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/rootd/rootd/cmd/internal/client"
	"github.com/rootd/rootd/packetpath/vl1"
)

// What a flood sends is what it says: HELLOs whose MAC is right for strangers and wrong otherwise, from many addresses.
func TestFlood(t *testing.T) {
	root, err := client.Synthetic(rand.NewPCG(7, 7))
	if err != nil {
		t.Fatal(err)
	}
	for _, as := range []string{"strangers", "noise", "clients"} {
		conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		f := &flood{
			to: conn.LocalAddr().(*net.UDPAddr).AddrPort(), root: root.Identity, as: as, source: netip.MustParsePrefix("127.32.0.0/11"),
			rate: 1000, clients: 50, seed: 3, packets: 64,
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- f.run(ctx, new(bytes.Buffer)) }()
		from := map[netip.Addr]bool{}
		buf := make([]byte, 2048)
		for range 40 {
			if err := conn.SetReadDeadline(time.Now().Add(20 * time.Second)); err != nil {
				t.Fatal(err)
			}
			n, at, err := conn.ReadFromUDPAddrPort(buf)
			if err != nil {
				t.Fatal(err)
			}
			from[at.Addr()] = true
			p, err := vl1.ParsePacket(buf[:n])
			if err != nil || p.Verb() != vl1.VerbHello {
				t.Fatalf("as %s: a %v, %v", as, p.Verb(), err)
			}
			_, id, err := vl1.PeekHello(p)
			if err != nil {
				t.Fatal(err)
			}
			key, err := root.Agree(&id.Key)
			if err != nil {
				t.Fatal(err)
			}
			if genuine := vl1.Dearmor(p, &key) == nil; genuine != (as == "strangers") {
				t.Fatalf("as %s: MAC right: %v", as, genuine)
			}
		}
		if len(from) < 40 {
			t.Errorf("as %s: from %d addresses", as, len(from))
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

func TestFloodFlags(t *testing.T) {
	for _, tc := range []struct{ args, want string }{
		{"flood", "-planet is required"},
		{"flood -planet main.go", "not a planet file"},
		{"flood -rate x", "invalid value"},
	} {
		var out bytes.Buffer
		if code := command(t.Context(), strings.Fields(tc.args), &out, &out); code != exitError || !strings.Contains(out.String(), tc.want) {
			t.Errorf("%s: exit %d, %s", tc.args, code, out.String())
		}
	}
}
