package udp_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"testing"

	"github.com/rootd/rootd/packetpath/udp"
)

// sized returns a message of n bytes that tell its number.
func sized(number, n int, to netip.AddrPort) udp.Message {
	m := udp.Message{Buf: make([]byte, n), N: n, Addr: to}
	for i := range m.Buf {
		m.Buf[i] = byte(number + i)
	}
	return m
}

// offloads runs a test for the kinds of sockets that matter to runs: both families, bound to one address and to all,
// with and without joint receipt.
func offloads(t *testing.T, test func(t *testing.T, bind netip.Addr, to func(udp.Conn) netip.AddrPort, o udp.Options)) {
	for _, host := range []string{"127.0.0.1", "0.0.0.0", "::1", "::"} {
		for _, coalesce := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s coalesce=%v", host, coalesce), func(t *testing.T) {
				bind := netip.MustParseAddr(host)
				test(t, bind, func(c udp.Conn) netip.AddrPort {
					if bind.Is6() {
						return netip.AddrPortFrom(v6, c.LocalAddr().Port())
					}
					return netip.AddrPortFrom(v4, c.LocalAddr().Port())
				}, udp.Options{RecvBuffer: 4 << 20, Coalesce: coalesce})
			})
		}
	}
}

// Whatever the sizes, each message arrives as it was, in order, from the right address; and those that can leave in
// runs do.
func TestRuns(t *testing.T) {
	repeat := func(n int, sizes ...int) (all []int) {
		for range n {
			all = append(all, sizes...)
		}
		return all
	}
	for _, tc := range []struct {
		name  string
		sizes []int
		runs  uint64 // messages that leave in runs
	}{
		{"one", []int{200}, 0},
		{"equal", repeat(20, 200), 20},
		{"last shorter", append(repeat(5, 200), 199, 200, 200), 8},
		{"longer", []int{200, 200, 201, 201}, 4},
		{"rising", []int{1, 2, 3, 4, 5}, 0},
		{"falling", []int{5, 4, 3, 2, 1}, 4},
		{"empty ones", []int{0, 0, 7, 0, 7, 7}, 2},
		{"more than a run", repeat(300, 100), 300},
		{"more bytes than a run", repeat(100, 1400), 100},
		{"too large for a run", repeat(4, 1453), 0},
		{"largest in a run", repeat(4, 1452), 4},
		{"alternating", repeat(10, 1400, 60), 20},
	} {
		t.Run(tc.name, func(t *testing.T) {
			offloads(t, func(t *testing.T, bind netip.Addr, to func(udp.Conn) netip.AddrPort, o udp.Options) {
				a := listen(t, udp.Listen, netip.AddrPortFrom(bind, 0), o)
				b := listen(t, udp.Listen, netip.AddrPortFrom(bind, 0), o)
				var batch []udp.Message
				for i, n := range tc.sizes {
					m := sized(i, n, to(b))
					if bind.IsUnspecified() {
						m.Local = to(a).Addr()
					}
					batch = append(batch, m)
				}
				send(t, a, batch...)
				for i, m := range receive(t, b, len(batch)) {
					if !bytes.Equal(m.Buf[:m.N], batch[i].Buf) || m.Addr != to(a) || m.Local != to(b).Addr() {
						t.Fatalf("message %d: %d bytes from %v at %v, want %d from %v at %v, and the same ones",
							i, m.N, m.Addr, m.Local, batch[i].N, to(a), to(b).Addr())
					}
				}
				if got := a.Stats().Segmented; got != tc.runs {
					t.Errorf("%d messages left in runs, want %d", got, tc.runs)
				}
				if got := b.Stats().Coalesced; o.Coalesce && got != tc.runs || !o.Coalesce && got != 0 {
					t.Errorf("%d datagrams came in runs, %d left", got, tc.runs)
				}
			})
		})
	}
}

// A blocking socket hands out everything too, in order, be it waited for or found, and Close ends a Read that waits.
func TestBlocking(t *testing.T) {
	offloads(t, func(t *testing.T, bind netip.Addr, to func(udp.Conn) netip.AddrPort, o udp.Options) {
		o.Blocking = true
		a := listen(t, udp.Listen, netip.AddrPortFrom(bind, 0), udp.Options{})
		b := listen(t, udp.Listen, netip.AddrPortFrom(bind, 0), o)
		got, ended := make(chan int, 1000), make(chan error)
		go func() {
			batch := newBatch(32, 2048)
			for {
				n, err := b.Read(batch)
				if err != nil {
					ended <- err
					return
				}
				for _, m := range batch[:n] {
					got <- int(binary.BigEndian.Uint32(m.Buf)) // of numbered
				}
			}
		}()
		for _, n := range []int{1, 1, 2, 31, 32, 33, 1, 100, 1} {
			send(t, a, numbered(n, to(b))...)
			for want := range n {
				if number := <-got; number != want {
					t.Fatalf("of %d messages number %d came when %d was due", n, number, want)
				}
			}
		}
		if err := b.Close(); err != nil {
			t.Fatal(err)
		}
		if err := <-ended; !errors.Is(err, net.ErrClosed) {
			t.Errorf("Read ended with %v, want %v", err, net.ErrClosed)
		}
	})
}

// Messages to several destinations, or from several addresses, that take turns: one run for each, in order.
func TestRunsOfInterleavedDestinations(t *testing.T) {
	const ends, each = 12, 12
	a := listen(t, udp.Listen, netip.MustParseAddrPort("0.0.0.0:0"), udp.Options{})
	var sinks []udp.Conn
	for range ends {
		sinks = append(sinks, listen(t, udp.Listen, netip.AddrPortFrom(v4, 0), udp.Options{}))
	}
	var batch []udp.Message
	for i := range each {
		for k, sink := range sinks {
			m := numbered(1, sink.LocalAddr())[0]
			binary.BigEndian.PutUint32(m.Buf, uint32(i))
			m.Local = netip.AddrFrom4([4]byte{127, 0, 0, byte(1 + (i+k)%2)})
			batch = append(batch, m)
		}
	}
	send(t, a, batch...)
	for k, sink := range sinks {
		for i, m := range receive(t, sink, each) {
			want := netip.AddrFrom4([4]byte{127, 0, 0, byte(1 + (i+k)%2)})
			if binary.BigEndian.Uint32(m.Buf) != uint32(i) || m.Addr.Addr() != want {
				t.Errorf("destination %d, message %d: %x from %v, want from %v", k, i, m.Buf[:m.N], m.Addr, want)
			}
		}
	}
	if got := a.Stats().Segmented; got != 0 {
		t.Errorf("%d messages left in runs although their local address alternates", got)
	}
	for i := range batch {
		batch[i].Local = netip.Addr{}
	}
	send(t, a, batch...)
	for k, sink := range sinks {
		for i, m := range receive(t, sink, each) {
			if binary.BigEndian.Uint32(m.Buf) != uint32(i) {
				t.Errorf("destination %d, message %d: %x", k, i, m.Buf[:m.N])
			}
		}
	}
	if got := a.Stats().Segmented; got < ends/3*each { // those that share an entry of the table do not
		t.Errorf("%d of %d messages left in runs", got, ends*each)
	}
}

// A run to a destination that the kernel rejects is lost whole, and nothing else is.
func TestRejectedRun(t *testing.T) {
	offloads(t, func(t *testing.T, bind netip.Addr, to func(udp.Conn) netip.AddrPort, o udp.Options) {
		a := listen(t, udp.Listen, netip.AddrPortFrom(bind, 0), o)
		b := listen(t, udp.Listen, netip.AddrPortFrom(bind, 0), o)
		var batch []udp.Message
		batch = append(batch, numbered(3, netip.AddrPortFrom(to(b).Addr(), 0))...)
		batch = append(batch, numbered(3, to(b))...)
		n, err := a.NewSender(1).Write(batch)
		if s := a.Stats(); n != 3 || err != nil || s.Rejected != 3 || s.Segmented != 3 {
			t.Errorf("Write says %d, %v; want 3, nil; %+v", n, err, s)
		}
		receive(t, b, 3)
	})
}

// What one Read has no room for is there for the next, without another datagram to wake it.
func TestJointReceiptIsKept(t *testing.T) {
	offloads(t, func(t *testing.T, bind netip.Addr, to func(udp.Conn) netip.AddrPort, o udp.Options) {
		a := listen(t, udp.Listen, netip.AddrPortFrom(bind, 0), o)
		b := listen(t, udp.Listen, netip.AddrPortFrom(bind, 0), o)
		send(t, a, numbered(150, to(b))...)
		next := uint32(0)
		for _, want := range []int{1, 7, 100, 42} {
			batch := newBatch(want, 8)
			if n, err := b.Read(batch); n != want || err != nil {
				t.Fatalf("Read: %d messages and error %v, want %d", n, err, want)
			}
			for _, m := range batch {
				if got := binary.BigEndian.Uint32(m.Buf); got != next {
					t.Fatalf("message %d where %d should be", got, next)
				}
				next++
			}
		}
	})
}

// BenchmarkRuns sends batches of 64 to one socket that reads them, with messages that can leave in runs and, as their
// sizes rise, with ones that cannot. The CPU time is that of both ends.
func BenchmarkRuns(b *testing.B) {
	for _, tc := range []struct {
		name     string
		runs     bool
		coalesce bool
	}{{"alone", false, false}, {"runs", true, false}, {"runs, joint receipt", true, true}, {"alone, joint receipt", false, true}} {
		b.Run(tc.name, func(b *testing.B) {
			o := udp.Options{RecvBuffer: 4 << 20, Coalesce: tc.coalesce}
			from := listen(b, udp.Listen, netip.AddrPortFrom(v4, 0), udp.Options{})
			to := listen(b, udp.Listen, netip.AddrPortFrom(v4, 0), o)
			const batch = 64
			out, in := newBatch(batch, 300), newBatch(batch, 300)
			for i := range out {
				out[i].N, out[i].Addr = 230, to.LocalAddr()
				if !tc.runs {
					out[i].N = 200 + i
				}
			}
			s := from.NewSender(batch)
			cpu := cpuTime(b)
			b.ReportAllocs()
			b.ResetTimer()
			for done := 0; done < b.N; done += batch {
				if n, err := s.Write(out); n != batch || err != nil {
					b.Fatal(n, err)
				}
				for got := 0; got < batch; {
					n, err := to.Read(in[got:])
					if err != nil {
						b.Fatal(err)
					}
					got += n
				}
			}
			b.ReportMetric(float64(cpuTime(b)-cpu)/float64(b.N), "cpu-ns/packet")
		})
	}
}

// A socket that is told to sends nothing in runs, and says what it can do.
func TestAlone(t *testing.T) {
	a := listen(t, udp.Listen, netip.AddrPortFrom(v4, 0), udp.Options{Alone: true})
	b := listen(t, udp.Listen, netip.AddrPortFrom(v4, 0), udp.Options{Coalesce: true})
	send(t, a, numbered(20, b.LocalAddr())...)
	for i, m := range receive(t, b, 20) {
		if binary.BigEndian.Uint32(m.Buf) != uint32(i) {
			t.Errorf("message %d: %x", i, m.Buf[:m.N])
		}
	}
	if s := a.Stats(); s.Segmented != 0 || s.CanSegment {
		t.Errorf("%d messages left in runs, can: %v; want none, and no", s.Segmented, s.CanSegment)
	}
	if s := b.Stats(); s.Coalesced != 0 || !s.CanCoalesce {
		t.Errorf("%d messages came in runs, can: %v; want none, and yes", s.Coalesced, s.CanCoalesce)
	}
}
