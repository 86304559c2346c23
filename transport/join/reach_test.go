package join_test

import (
	"bytes"
	"context"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rootd/rootd/packetpath/vl1"
	"github.com/rootd/rootd/transport/join"
)

// freeUDP is an endpoint on loopback that nobody uses.
func freeUDP(t *testing.T, host string) netip.AddrPort {
	t.Helper()
	c, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr(host), 0)))
	if err != nil {
		t.Skip(err)
	}
	defer c.Close()
	return c.LocalAddr().(*net.UDPAddr).AddrPort()
}

// respond runs a responder at the endpoints until the test ends.
func respond(t *testing.T, endpoints ...netip.AddrPort) *join.Responder {
	t.Helper()
	r := must(join.NewResponder())
	if err := r.Listen(endpoints); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { _ = r.Run(ctx) })
	t.Cleanup(func() { cancel(); wg.Wait() })
	return r
}

func TestProbeEndpoints(t *testing.T) {
	v4, v6, dead := freeUDP(t, "127.0.0.1"), freeUDP(t, "::1"), freeUDP(t, "127.0.0.2")
	r := respond(t, v4, v6)
	silent, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	endpoints := []netip.AddrPort{v4, v6, dead, silent.LocalAddr().(*net.UDPAddr).AddrPort()}
	got, err := join.ProbeEndpoints(t.Context(), "m1", must(join.NewProbeIdentity()), r.Identity(), endpoints)
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []bool{true, true, false, false} {
		p := got[i]
		if p.Endpoint != endpoints[i] || p.OK != want || p.Member != "m1" || want != (p.Why == "") || want != (p.RTTMillis > 0) {
			t.Errorf("%+v, want OK %v", p, want)
		}
	}
	if !strings.Contains(got[2].Why, "nothing listens there") || got[3].Why != "no answer" {
		t.Errorf("%+v", got[2:])
	}
	// Another identity at the same endpoint does not count.
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if got, err = join.ProbeEndpoints(ctx, "m1", must(join.NewProbeIdentity()), &must(join.NewProbeIdentity()).Identity, endpoints[:1]); err != nil || got[0].OK {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestResponderRefusesPortInUse(t *testing.T) {
	ap := freeUDP(t, "127.0.0.1")
	respond(t, ap)
	second := must(join.NewResponder())
	if err := second.Listen([]netip.AddrPort{freeUDP(t, "127.0.0.1"), ap}); err == nil || !strings.Contains(err.Error(), "in use") {
		t.Errorf("two at one port: %v", err)
	}
	// An address that is not ours: the port on all of our addresses.
	far := must(join.NewResponder())
	if err := far.Listen([]netip.AddrPort{netip.AddrPortFrom(netip.MustParseAddr("192.0.2.77"), freeUDP(t, "127.0.0.1").Port())}); err != nil {
		t.Errorf("behind NAT: %v", err)
	}
	_ = far.Close()
}

// TestResponderIsSilent: what is no good HELLO is not answered.
func TestResponderIsSilent(t *testing.T) {
	ap := freeUDP(t, "127.0.0.1")
	r := respond(t, ap)
	from := must(join.NewProbeIdentity())
	key := must(from.Agree(&r.Identity().Key))
	hello := vl1.NewPacket(make([]byte, 2048), 7, r.Identity().Address, from.Address, vl1.VerbHello)
	hello = vl1.AppendHello(hello, &vl1.Hello{Protocol: 11, Clock: 1, Identity: from.Identity}, &key)
	vl1.Armor(hello, &key, vl1.SuitePoly1305)
	c := must(net.Dial("udp", ap.String()))
	defer c.Close()
	for i := range hello { // any bit
		bad := bytes.Clone(hello)
		bad[i] ^= 0x40
		if i == 18 { // flags: the hop count is free, the suite is not; bit 0x40 says fragmented
			bad = bad[:20]
		}
		if _, err := c.Write(bad); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := c.Write(hello); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 2048)
	_ = c.SetReadDeadline(time.Now().Add(5 * time.Second))
	n, err := c.Read(b)
	if err != nil || vl1.Dearmor(b[:n], &key) != nil {
		t.Fatalf("the good one: %v", err)
	}
	_, id, _, err := vl1.DecodeOK(b[:n])
	if err != nil || id != 7 {
		t.Errorf("the first answer is to packet %d (%v), want the good one", id, err)
	}
	if n > len(hello) {
		t.Errorf("an answer of %d bytes to a question of %d", n, len(hello))
	}
}
