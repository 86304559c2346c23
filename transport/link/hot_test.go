package link_test

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/rootd/rootd/packetpath/udp"
	"github.com/rootd/rootd/transport/link"
)

// sink is a socket that keeps the last batch it was given, if there is room.
type sink struct {
	addr netip.AddrPort
	kept []udp.Message
	n    int
}

func (s *sink) Read([]udp.Message) (int, error) { return 0, net.ErrClosed }
func (s *sink) SetReadDeadline(time.Time) error { return nil }
func (s *sink) NewSender(int) udp.Sender        { return s }
func (s *sink) LocalAddr() netip.AddrPort       { return s.addr }
func (s *sink) Stats() udp.Stats                { return udp.Stats{} }
func (s *sink) Close() error                    { return nil }
func (s *sink) Write(b []udp.Message) (int, error) {
	for i := range b {
		if s.n == len(s.kept) {
			break
		}
		k := &s.kept[s.n]
		k.N, k.Addr = copy(k.Buf, b[i].Buf[:b[i].N]), s.addr
		s.n++
	}
	return len(b), nil
}

// wired is two links with keys that do not run: what a sends stays in out, until b's reader is given it.
type wired struct {
	a, b    *link.Link
	out     *sink
	reader  *link.Reader
	inbound int
	bytes   int

	check    func(in link.Inbound)      // if it is not nil, for each packet
	onTheWay func(offer, answer []byte) // changes an offer, and says what to add to the bytes of the answer
}

func newWired(tb testing.TB, keep int) *wired {
	tb.Helper()
	w := &wired{out: &sink{addr: v4(1), kept: make([]udp.Message, keep)}}
	for i := range w.out.kept {
		w.out.kept[i].Buf = make([]byte, 1536)
	}
	make2 := func(id uint16, c udp.Conn, exchange link.Exchange) *link.Link {
		l, err := link.New(link.Options{
			Self: id, Conns: []udp.Conn{c}, Exchange: exchange, RotatePackets: 1 << 40, OfferInterval: 1,
			Handler: func(batch []link.Inbound) {
				w.inbound += len(batch)
				for _, in := range batch {
					w.bytes += len(in.Payload)
					if w.check != nil {
						w.check(in)
					}
				}
			},
			Asked: func(_ uint16, _ byte, body, answer []byte) ([]byte, error) { return append(answer, body...), nil },
		})
		if err != nil {
			tb.Fatal(err)
		}
		if err := l.SetMembers([]link.Member{{ID: 1, Endpoints: []netip.AddrPort{v4(1)}}, {ID: 2, Endpoints: []netip.AddrPort{v4(2)}}}); err != nil {
			tb.Fatal(err)
		}
		return l
	}
	w.b = make2(2, &sink{addr: v4(2)}, func(context.Context, uint16, []byte) ([]byte, error) { return nil, errUnreachable })
	w.a = make2(1, w.out, func(_ context.Context, _ uint16, offer []byte) ([]byte, error) {
		if w.onTheWay == nil {
			return w.b.HandleOffer(1, offer)
		}
		answer := make([]byte, 64)
		w.onTheWay(offer, answer)
		made, err := w.b.HandleOffer(1, offer)
		for i := range made {
			made[i] += answer[i]
		}
		return made, err
	})
	if err := w.a.Agree(tb.Context(), 2); err != nil {
		tb.Fatal(err)
	}
	w.reader = w.b.NewReader()
	return w
}

// change makes new keys by an exchange that is changed on its way.
func (w *wired) change(tb testing.TB, onTheWay func(offer, answer []byte)) {
	tb.Helper()
	w.onTheWay = onTheWay
	if err := w.a.Agree(tb.Context(), 2); err != nil {
		tb.Fatal(err)
	}
}

// deliver gives the reader what was sent.
func (w *wired) deliver() {
	w.reader.Take(w.out.kept[:w.out.n])
	w.out.n = 0
}

func TestNoAllocations(t *testing.T) {
	w := newWired(t, 256)
	s := w.a.NewSender()
	for _, size := range []int{0, 200, 1432, 1500, link.MaxPayload} {
		payload := make([]byte, size)
		n := testing.AllocsPerRun(100, func() {
			for range 20 {
				if err := s.Send(2, 7, payload); err != nil {
					t.Fatal(err)
				}
			}
			s.Flush()
			w.deliver()
		})
		if n != 0 {
			t.Errorf("%d bytes: %v allocations for 20 packets", size, n)
		}
	}
	body := make([]byte, 100)
	if n := testing.AllocsPerRun(100, func() {
		if err := s.Notify(2, 7, body); err != nil {
			t.Fatal(err)
		}
		s.Flush()
		w.deliver()
	}); n != 0 {
		t.Errorf("%v allocations for a notification", n)
	}
	if w.inbound != 5*20*101 || w.b.Stats().Malformed != 0 {
		t.Errorf("%d packets came, %+v", w.inbound, w.b.Stats())
	}
}

// More packets in pieces are completed in one batch than there are slots for: none overwrites another one.
func TestCompletePacketsStay(t *testing.T) {
	const n = 600
	w := newWired(t, 2*n)
	s := w.a.NewSender()
	for i := range uint64(n) {
		if err := s.Send(2, i, numbered(i, 1500)); err != nil {
			t.Fatal(err)
		}
	}
	s.Flush()
	w.check = func(in link.Inbound) {
		if !bytes.Equal(in.Payload, numbered(in.Peer, 1500)) {
			t.Errorf("packet %d is another one", in.Peer)
		}
	}
	w.deliver()
	if w.inbound != n {
		t.Errorf("%d packets came, want %d", w.inbound, n)
	}
}

// What is refused costs no memory either.
func TestNoAllocationsForStrangers(t *testing.T) {
	w := newWired(t, 64)
	s := w.a.NewSender()
	for range 64 {
		if err := s.Send(2, 7, make([]byte, 200)); err != nil {
			t.Fatal(err)
		}
	}
	s.Flush()
	damaged := make([]udp.Message, 64)
	for i, m := range w.out.kept {
		m.Buf[5+i%100] ^= 1 << (i % 8)
	}
	n := testing.AllocsPerRun(100, func() {
		copy(damaged, w.out.kept)
		w.reader.Take(damaged)
	})
	if n != 0 {
		t.Errorf("%v allocations for 64 forged datagrams", n)
	}
	if w.inbound != 0 {
		t.Errorf("%d packets came", w.inbound)
	}
}

func BenchmarkSend(b *testing.B) {
	for _, size := range []int{200, 1432, 1500} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			w := newWired(b, 0)
			s := w.a.NewSender()
			payload := make([]byte, size)
			b.SetBytes(int64(size))
			b.ReportAllocs()
			for b.Loop() {
				if err := s.Send(2, 7, payload); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// The time of Send is in it: compare with BenchmarkSend.
func BenchmarkSendReceive(b *testing.B) {
	for _, size := range []int{200, 1432, 1500} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			w := newWired(b, 64)
			s := w.a.NewSender()
			payload := make([]byte, size)
			b.SetBytes(int64(size))
			b.ReportAllocs()
			n := 0
			for b.Loop() {
				if err := s.Send(2, 7, payload); err != nil {
					b.Fatal(err)
				}
				if n++; n%32 == 0 {
					s.Flush()
					w.deliver()
				}
			}
		})
	}
}

// What a stranger can make us do: a lookup for most, a decryption if he has seen a datagram of ours.
func BenchmarkRefuse(b *testing.B) {
	for _, tt := range []struct {
		name string
		at   int
	}{{"unknown session", 5}, {"forged", 100}} {
		b.Run(tt.name, func(b *testing.B) {
			w := newWired(b, 1)
			s := w.a.NewSender()
			if err := s.Send(2, 7, make([]byte, 200)); err != nil {
				b.Fatal(err)
			}
			s.Flush()
			d := w.out.kept
			d[0].Buf[tt.at] ^= 1
			for b.Loop() {
				w.reader.Take(d)
			}
		})
	}
}

// BenchmarkLoopback moves packets of 200 bytes through real sockets: by the link, and plain, with the same batches.
func BenchmarkLoopback(b *testing.B) {
	const batch = 32
	payload := make([]byte, 200)
	b.Run("plain", func(b *testing.B) {
		from, to := loopback(b), loopback(b)
		out, in := make([]udp.Message, batch), make([]udp.Message, batch)
		for i := range out {
			out[i] = udp.Message{Buf: payload, N: len(payload), Addr: to.LocalAddr()}
			in[i].Buf = make([]byte, 1536)
		}
		s := from.NewSender(batch)
		n := 0
		for b.Loop() {
			if n++; n%batch != 0 {
				continue
			}
			if _, err := s.Write(out); err != nil {
				b.Fatal(err)
			}
			for got := 0; got < batch; {
				k, err := to.Read(in)
				if err != nil {
					b.Fatal(err)
				}
				got += k
			}
		}
	})
	b.Run("link", func(b *testing.B) {
		w := newWired(b, 0)
		from, to := loopback(b), loopback(b)
		w.reconnect(b, from, to)
		in := make([]udp.Message, batch)
		for i := range in {
			in[i].Buf = make([]byte, 1536)
		}
		s := w.a.NewSender()
		n := 0
		for b.Loop() {
			if err := s.Send(2, 7, payload); err != nil {
				b.Fatal(err)
			}
			if n++; n%batch != 0 {
				continue
			}
			s.Flush()
			for got := 0; got < batch; {
				k, err := to.Read(in)
				if err != nil {
					b.Fatal(err)
				}
				w.reader.Take(in[:k])
				got += k
			}
		}
		if w.inbound < n-batch {
			b.Fatalf("%d of %d packets came", w.inbound, n)
		}
	})
}

// reconnect replaces the links by ones on real sockets that the benchmark reads itself.
func (w *wired) reconnect(tb testing.TB, from, to udp.Conn) {
	tb.Helper()
	o := link.Options{
		Self: 2, Conns: []udp.Conn{to}, Handler: func(batch []link.Inbound) { w.inbound += len(batch) },
		Exchange: func(context.Context, uint16, []byte) ([]byte, error) { return nil, errUnreachable },
	}
	var err error
	if w.b, err = link.New(o); err != nil {
		tb.Fatal(err)
	}
	o.Self, o.Conns = 1, []udp.Conn{from}
	o.Exchange = func(_ context.Context, _ uint16, offer []byte) ([]byte, error) { return w.b.HandleOffer(1, offer) }
	if w.a, err = link.New(o); err != nil {
		tb.Fatal(err)
	}
	all := []link.Member{{ID: 1, Endpoints: []netip.AddrPort{from.LocalAddr()}}, {ID: 2, Endpoints: []netip.AddrPort{to.LocalAddr()}}}
	for _, l := range []*link.Link{w.a, w.b} {
		if err := l.SetMembers(all); err != nil {
			tb.Fatal(err)
		}
	}
	if err := w.a.Agree(tb.Context(), 2); err != nil {
		tb.Fatal(err)
	}
	w.reader = w.b.NewReader()
}

func loopback(tb testing.TB) udp.Conn {
	tb.Helper()
	c, err := udp.Listen(netip.MustParseAddrPort("127.0.0.1:0"), udp.Options{RecvBuffer: 4 << 20})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { c.Close() })
	return c
}
