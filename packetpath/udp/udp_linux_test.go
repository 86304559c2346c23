package udp_test

import (
	"fmt"
	"net"
	"net/netip"
	"syscall"
	"testing"

	"github.com/rootd/rootd/packetpath/udp"
)

// A wildcard socket answers from the address that was asked, not from the one the route suggests.
func TestReplyFromTheAddressAsked(t *testing.T) {
	server := listen(t, udp.Listen, netip.MustParseAddrPort("0.0.0.0:0"), udp.Options{})
	client := listen(t, udp.Listen, netip.AddrPortFrom(v4, 0), udp.Options{})
	port := server.LocalAddr().Port()
	var ask []udp.Message
	for i := 1; i <= 100; i++ {
		host := netip.AddrFrom4([4]byte{127, 0, byte(i % 3), byte(i)})
		ask = append(ask, text(host.String(), netip.AddrPortFrom(host, port)))
	}
	send(t, client, ask...)
	asked := receive(t, server, len(ask))
	for i, m := range asked {
		if m.Local != ask[i].Addr.Addr() || payload(m) != m.Local.String() {
			t.Fatalf("message %d to %v came to %v with %q", i, ask[i].Addr, m.Local, payload(m))
		}
	}
	send(t, server, asked...)
	for i, m := range receive(t, client, len(ask)) {
		if m.Addr != ask[i].Addr {
			t.Errorf("asked %v, answered by %v", ask[i].Addr, m.Addr)
		}
	}

	// Without Local, or with one of the other family, the route decides. It decides anew for each message: nothing of
	// the message that used the slot before is left.
	s := server.NewSender(1)
	for _, local := range []netip.Addr{netip.MustParseAddr("127.0.0.9"), {}, v6} {
		m := text("x", client.LocalAddr())
		m.Local = local
		if n, err := s.Write([]udp.Message{m}); n != 1 || err != nil {
			t.Fatalf("from %v: %d, %v", local, n, err)
		}
		want := v4
		if local.Is4() {
			want = local
		}
		if got := receive(t, client, 1)[0].Addr.Addr(); got != want {
			t.Errorf("Local %v: left from %v, want %v", local, got, want)
		}
	}
}

func TestReplyFromTheAddressAskedIPv6(t *testing.T) {
	server := listen(t, udp.Listen, netip.MustParseAddrPort("[::]:0"), udp.Options{})
	client := listen(t, udp.Listen, netip.AddrPortFrom(v6, 0), udp.Options{})
	send(t, client, text("ask", netip.AddrPortFrom(v6, server.LocalAddr().Port())))
	asked := receive(t, server, 1)[0]
	if asked.Local != v6 {
		t.Fatalf("came to %v, want %v", asked.Local, v6)
	}
	// ::1 may be the only address here. That the kernel refuses one that is not ours shows that it was told.
	foreign := asked
	foreign.Local = netip.MustParseAddr("2001:db8::99")
	n, err := server.NewSender(2).Write([]udp.Message{foreign, asked})
	if n != 1 || err != nil || server.Stats().Rejected != 1 {
		t.Errorf("Write says %d, %v, %d rejected; want 1, nil, 1", n, err, server.Stats().Rejected)
	}
	if m := receive(t, client, 1)[0]; m.Addr.Addr() != v6 {
		t.Errorf("answered by %v", m.Addr)
	}
}

// A socket per family on one port: the IPv6 one is V6ONLY.
func TestFamiliesShareAPort(t *testing.T) {
	six := listen(t, udp.Listen, netip.MustParseAddrPort("[::]:0"), udp.Options{})
	four := listen(t, udp.Listen, netip.AddrPortFrom(netip.IPv4Unspecified(), six.LocalAddr().Port()), udp.Options{})
	send(t, four, text("x", netip.AddrPortFrom(v4, six.LocalAddr().Port())))
	if m := receive(t, four, 1)[0]; m.Addr.Addr() != v4 {
		t.Errorf("came from %v", m.Addr)
	}
}

func TestBuffers(t *testing.T) {
	small := listen(t, udp.Listen, netip.AddrPortFrom(v4, 0), udp.Options{RecvBuffer: 16 << 10, SendBuffer: 32 << 10})
	large := listen(t, udp.Listen, netip.AddrPortFrom(v4, 0), udp.Options{RecvBuffer: 128 << 10, SendBuffer: 64 << 10})
	if s := small.Stats(); s.RecvBuffer != 32<<10 || s.SendBuffer != 64<<10 {
		t.Errorf("small: got %d, %d", s.RecvBuffer, s.SendBuffer)
	}
	if s := large.Stats(); s.RecvBuffer != 256<<10 || s.SendBuffer != 128<<10 {
		t.Errorf("large: got %d, %d", s.RecvBuffer, s.SendBuffer)
	}

	// What does not fit is lost at the receiver, and counted there.
	const n = 500
	send(t, large, numbered(n, small.LocalAddr())...)
	got, err := small.Read(newBatch(n, 8))
	if err != nil || got == n || got == 0 {
		t.Fatalf("read %d of %d, %v", got, n, err)
	}
	if lost := small.Stats().Overflowed; lost != uint64(n-got) {
		t.Errorf("lost %d, counted %d", n-got, lost)
	}
	send(t, large, numbered(n, small.LocalAddr())...)
	small.Close()
	if lost := small.Stats().Overflowed; lost <= uint64(n-got) {
		t.Errorf("after more losses and Close: counted %d as before", lost)
	}
}

// Reading and writing allocate nothing, on any kind of socket.
func TestNoAllocs(t *testing.T) {
	offloads(t, func(t *testing.T, bind netip.Addr, to func(udp.Conn) netip.AddrPort, o udp.Options) {
		c := listen(t, udp.Listen, netip.AddrPortFrom(bind, 0), o)
		const n = 100
		s, batch := c.NewSender(n), numbered(n, to(c))
		allocs := testing.AllocsPerRun(200, func() {
			if sent, err := s.Write(batch); sent != n || err != nil {
				t.Fatal(sent, err)
			}
			for got := 0; got < n; {
				k, err := c.Read(batch[got:])
				if err != nil {
					t.Fatal(err)
				}
				got += k
			}
		})
		if allocs != 0 {
			t.Errorf("%v allocations per batch, want 0", allocs)
		}
		if got := c.Stats().Segmented; got < n {
			t.Errorf("%d messages left in runs, want most", got)
		}
	})
}

// BenchmarkReflector sends every packet back to where it came from, as a root that answers does, and reports the cost
// of one round (two packets received, two sent, half of each by the client) in wall and CPU time of the process.
func BenchmarkReflector(b *testing.B) {
	for _, batch := range []int{1, 8, 32, 64, 128} {
		b.Run(fmt.Sprintf("batch=%d", batch), func(b *testing.B) {
			reflector := listen(b, udp.Listen, netip.MustParseAddrPort("0.0.0.0:0"), udp.Options{RecvBuffer: 4 << 20})
			go func() {
				s, msgs := reflector.NewSender(batch), newBatch(batch, 2048)
				for {
					n, err := reflector.Read(msgs)
					if err != nil {
						return
					}
					if _, err := s.Write(msgs[:n]); err != nil {
						return
					}
				}
			}()
			benchmarkClient(b, netip.AddrPortFrom(v4, reflector.LocalAddr().Port()))
			reflector.Close()
		})
	}
	b.Run("net.UDPConn", func(b *testing.B) {
		reflector, err := net.ListenUDP("udp4", nil)
		if err != nil {
			b.Fatal(err)
		}
		go func() {
			buf := make([]byte, 2048)
			for {
				n, from, err := reflector.ReadFromUDPAddrPort(buf)
				if err != nil {
					return
				}
				if _, err := reflector.WriteToUDPAddrPort(buf[:n], from); err != nil {
					return
				}
			}
		}()
		benchmarkClient(b, netip.AddrPortFrom(v4, uint16(reflector.LocalAddr().(*net.UDPAddr).Port)))
		reflector.Close()
	})
}

// benchmarkClient keeps 256 packets of 200 bytes on their way to a reflector and back, four batches of 64.
func benchmarkClient(b *testing.B, to netip.AddrPort) {
	client := listen(b, udp.Listen, netip.AddrPortFrom(v4, 0), udp.Options{RecvBuffer: 4 << 20})
	const window, size = 256, 200
	s, msgs := client.NewSender(64), newBatch(64, size)
	for i := range msgs {
		msgs[i].N, msgs[i].Addr = size, to
	}
	cpu := cpuTime(b)
	b.ReportAllocs()
	b.ResetTimer()
	for range window / 64 {
		send(b, client, msgs...)
	}
	for done := 0; done < b.N; {
		n, err := client.Read(msgs)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := s.Write(msgs[:n]); err != nil {
			b.Fatal(err)
		}
		done += n
	}
	b.StopTimer()
	b.ReportMetric(float64(cpuTime(b)-cpu)/float64(b.N), "cpu-ns/packet")
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N), "ns/packet")
}

// cpuTime is the CPU time of the process in nanoseconds.
func cpuTime(b *testing.B) int64 {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return u.Utime.Nano() + u.Stime.Nano()
}
