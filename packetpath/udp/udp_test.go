package udp_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/rootd/rootd/packetpath/udp"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// world is a kind of network that a Conn may live in. All of them must behave alike.
type world struct {
	name   string
	listen udp.ListenFunc
	host   netip.Addr
}

var (
	v4 = netip.MustParseAddr("127.0.0.1")
	v6 = netip.IPv6Loopback()
)

// worlds runs a test in each of them.
func worlds(t *testing.T, test func(t *testing.T, w world)) {
	for _, w := range []world{
		{"ipv4", udp.Listen, v4},
		{"ipv6", udp.Listen, v6},
		{"memory ipv4", udp.NewNetwork().Listen, netip.MustParseAddr("192.0.2.1")},
		{"memory ipv6", udp.NewNetwork().Listen, netip.MustParseAddr("2001:db8::1")},
	} {
		t.Run(w.name, func(t *testing.T) { test(t, w) })
	}
}

// open opens a socket that ends with the test.
func (w world) open(t testing.TB, o udp.Options) udp.Conn {
	t.Helper()
	return listen(t, w.listen, netip.AddrPortFrom(w.host, 0), o)
}

func listen(t testing.TB, f udp.ListenFunc, addr netip.AddrPort, o udp.Options) udp.Conn {
	t.Helper()
	c, err := f(addr, o)
	if errors.Is(err, syscall.EAFNOSUPPORT) || addr.Addr().Is6() && errors.Is(err, syscall.EADDRNOTAVAIL) {
		t.Skipf("no IPv6 here: %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
			t.Error(err)
		}
	})
	return c
}

func newBatch(n, size int) []udp.Message {
	b := make([]udp.Message, n)
	for i := range b {
		b[i].Buf = make([]byte, size)
	}
	return b
}

// numbered returns a batch of n messages to addr, each with its number as the payload.
func numbered(n int, to netip.AddrPort) []udp.Message {
	b := newBatch(n, 4)
	for i := range b {
		binary.BigEndian.PutUint32(b[i].Buf, uint32(i))
		b[i].N, b[i].Addr = 4, to
	}
	return b
}

// text returns a message with s as the payload.
func text(s string, to netip.AddrPort) udp.Message {
	return udp.Message{Buf: []byte(s), N: len(s), Addr: to}
}

// send writes a batch that must be taken whole.
func send(t testing.TB, c udp.Conn, batch ...udp.Message) {
	t.Helper()
	if n, err := c.NewSender(len(batch)).Write(batch); n != len(batch) || err != nil {
		t.Fatalf("Write took %d of %d messages, error %v", n, len(batch), err)
	}
}

// receive reads n messages, in as few or many batches as it takes.
func receive(t testing.TB, c udp.Conn, n int) []udp.Message {
	t.Helper()
	if err := c.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	batch := newBatch(n, 2048)
	for got := 0; got < n; {
		k, err := c.Read(batch[got:])
		if err != nil {
			t.Fatalf("after %d of %d messages: %v; %+v", got, n, err, c.Stats())
		}
		got += k
	}
	return batch
}

func payload(m udp.Message) string { return string(m.Buf[:m.N]) }

func TestExchange(t *testing.T) {
	worlds(t, func(t *testing.T, w world) {
		a, b := w.open(t, udp.Options{}), w.open(t, udp.Options{})
		send(t, a, text("ask", b.LocalAddr()))
		asked := receive(t, b, 1)[0]
		if payload(asked) != "ask" || asked.Addr != a.LocalAddr() || asked.Local != w.host {
			t.Errorf("got %q from %v at %v, want %q from %v at %v",
				payload(asked), asked.Addr, asked.Local, "ask", a.LocalAddr(), w.host)
		}
		copy(asked.Buf, "say")
		send(t, b, asked) // a reply in the message of its request
		if said := receive(t, a, 1)[0]; payload(said) != "say" || said.Addr != b.LocalAddr() {
			t.Errorf("reply: got %q from %v, want %q from %v", payload(said), said.Addr, "say", b.LocalAddr())
		}
	})
}

// Batches longer than one system call, in both directions, without loss and in order.
func TestLargeBatches(t *testing.T) {
	worlds(t, func(t *testing.T, w world) {
		a, b := w.open(t, udp.Options{}), w.open(t, udp.Options{RecvBuffer: 4 << 20})
		for _, n := range []int{1, 31, 32, 33, 64, 333, 1000} {
			send(t, a, numbered(n, b.LocalAddr())...)
			for i, m := range receive(t, b, n) {
				if m.N != 4 || binary.BigEndian.Uint32(m.Buf) != uint32(i) {
					t.Fatalf("batch of %d: message %d holds %x", n, i, m.Buf[:m.N])
				}
			}
		}
	})
}

// One Read takes all that is there, also beyond one system call.
func TestReadTakesWhatIsThere(t *testing.T) {
	worlds(t, func(t *testing.T, w world) {
		a, b := w.open(t, udp.Options{}), w.open(t, udp.Options{RecvBuffer: 1 << 20})
		send(t, a, numbered(150, b.LocalAddr())...)
		for _, want := range []int{100, 50} {
			if n, err := b.Read(newBatch(100, 8)); n != want || err != nil {
				t.Errorf("Read: %d messages and error %v, want %d", n, err, want)
			}
		}
	})
}

// A destination that the kernel rejects costs only its own packet, wherever in the batch it stands.
func TestPartialSuccess(t *testing.T) {
	worlds(t, func(t *testing.T, w world) {
		a, b := w.open(t, udp.Options{}), w.open(t, udp.Options{})
		to := b.LocalAddr()
		otherFamily := netip.AddrPortFrom(v6, 9)
		if w.host.Is6() {
			otherFamily = netip.AddrPortFrom(v4, 9)
		}
		tooLong := udp.Message{Buf: make([]byte, 70000), N: 70000, Addr: to}
		bad := []udp.Message{
			text("no port", netip.AddrPortFrom(w.host, 0)), text("other family", otherFamily),
			text("no address", netip.AddrPort{}), tooLong,
		}
		for i, bad := range bad {
			for at, batch := range [][]udp.Message{
				{bad, text("1", to), text("2", to)},
				{text("1", to), bad, text("2", to)},
				{text("1", to), text("2", to), bad},
			} {
				before := a.Stats().Rejected
				n, err := a.NewSender(1).Write(batch)
				if n != 2 || err != nil {
					t.Fatalf("bad message %d at %d: Write says %d, %v; want 2, nil", i, at, n, err)
				}
				if got := a.Stats().Rejected - before; got != 1 {
					t.Errorf("bad message %d at %d: counted %d times", i, at, got)
				}
				if got := receive(t, b, 2); payload(got[0]) != "1" || payload(got[1]) != "2" {
					t.Errorf("bad message %d at %d: received %q, %q", i, at, payload(got[0]), payload(got[1]))
				}
			}
		}
		if n, err := a.NewSender(4).Write(bad); n != 0 || err != nil {
			t.Errorf("only bad messages: Write says %d, %v; want 0, nil", n, err)
		}
		if n, err := a.NewSender(4).Write(nil); n != 0 || err != nil {
			t.Errorf("empty batch: Write says %d, %v; want 0, nil", n, err)
		}
	})
}

func TestTruncatedAndEmpty(t *testing.T) {
	worlds(t, func(t *testing.T, w world) {
		a, b := w.open(t, udp.Options{}), w.open(t, udp.Options{})
		send(t, a, text("too long for it", b.LocalAddr()), text("", b.LocalAddr()), text("fits", b.LocalAddr()))
		batch := newBatch(3, 4)
		for got := 0; got < 3; {
			n, err := b.Read(batch[got:])
			if err != nil {
				t.Fatal(err)
			}
			got += n
		}
		if batch[0].N != 0 || batch[1].N != 0 || payload(batch[2]) != "fits" {
			t.Errorf("lengths %d, %d and payload %q; want 0, 0 and %q", batch[0].N, batch[1].N, payload(batch[2]), "fits")
		}
		if got := b.Stats().Truncated; got != 1 {
			t.Errorf("counted %d truncated datagrams, want 1", got)
		}
	})
}

func TestClose(t *testing.T)         { testClose(t, udp.Options{}) }
func TestCloseBlocking(t *testing.T) { testClose(t, udp.Options{Blocking: true}) }

func testClose(t *testing.T, o udp.Options) {
	worlds(t, func(t *testing.T, w world) {
		c := w.open(t, o)
		s := c.NewSender(1)
		ended := make(chan error)
		go func() {
			_, err := c.Read(newBatch(1, 8))
			ended <- err
		}()
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
		if err := <-ended; !errors.Is(err, net.ErrClosed) {
			t.Errorf("waiting Read ended with %v, want net.ErrClosed", err)
		}
		_, rerr := c.Read(newBatch(1, 8))
		_, werr := s.Write([]udp.Message{text("x", c.LocalAddr())})
		for what, err := range map[string]error{
			"Read": rerr, "Write": werr, "Close": c.Close(), "SetReadDeadline": c.SetReadDeadline(time.Time{}),
		} {
			if !errors.Is(err, net.ErrClosed) {
				t.Errorf("%s after Close: %v, want net.ErrClosed", what, err)
			}
		}
		c.Stats() // still answers
		again, err := w.listen(c.LocalAddr(), udp.Options{})
		if err != nil {
			t.Fatalf("the address is not free after Close: %v", err)
		}
		again.Close()
	})
}

func TestReadDeadline(t *testing.T) {
	worlds(t, func(t *testing.T, w world) {
		c := w.open(t, udp.Options{})
		for _, past := range []time.Duration{-time.Second, time.Millisecond} {
			if err := c.SetReadDeadline(time.Now().Add(past)); err != nil {
				t.Fatal(err)
			}
			if _, err := c.Read(newBatch(1, 8)); !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("deadline %v from now: Read says %v", past, err)
			}
		}
		if err := c.SetReadDeadline(time.Time{}); err != nil {
			t.Fatal(err)
		}
		send(t, c, text("still alive", c.LocalAddr()))
		if got := payload(receive(t, c, 1)[0]); got != "still alive" {
			t.Errorf("after the deadline: %q", got)
		}
	})
}

func TestListenErrors(t *testing.T) {
	worlds(t, func(t *testing.T, w world) {
		c := w.open(t, udp.Options{})
		for _, o := range []udp.Options{{}, {ReusePort: true}} {
			_, err := w.listen(c.LocalAddr(), o)
			want := fmt.Sprintf("listen udp %v: address already in use: another root or zerotier-one has it; "+
				"stop it or choose another port", c.LocalAddr())
			if !errors.Is(err, syscall.EADDRINUSE) || err.Error() != want {
				t.Errorf("%+v: got %v, want %s", o, err, want)
			}
		}
		if _, err := w.listen(netip.AddrPort{}, udp.Options{}); err == nil {
			t.Error("no address: no error")
		}
	})
	_, err := udp.Listen(netip.MustParseAddrPort("192.0.2.77:0"), udp.Options{})
	if !errors.Is(err, syscall.EADDRNOTAVAIL) {
		t.Errorf("address of nobody: %v", err)
	}
}

// Addresses are plain whatever the caller gives.
func TestPlainAddresses(t *testing.T) {
	c := listen(t, udp.Listen, netip.MustParseAddrPort("[::ffff:127.0.0.1]:0"), udp.Options{})
	if !c.LocalAddr().Addr().Is4() {
		t.Errorf("bound to %v", c.LocalAddr())
	}
	to := netip.AddrPortFrom(netip.AddrFrom16(v4.As16()), c.LocalAddr().Port())
	send(t, c, text("x", to))
	if m := receive(t, c, 1)[0]; m.Addr != c.LocalAddr() || m.Local != v4 {
		t.Errorf("received from %v at %v", m.Addr, m.Local)
	}
	sixth := listen(t, udp.Listen, netip.MustParseAddrPort("[::1%lo]:0"), udp.Options{})
	if sixth.LocalAddr().Addr() != v6 {
		t.Errorf("bound to %v", sixth.LocalAddr())
	}
}

// Sockets that share an address share the peers, and each peer stays with its socket.
func TestReusePort(t *testing.T) {
	worlds(t, func(t *testing.T, w world) {
		const sockets, peers, each = 3, 48, 5
		first := w.open(t, udp.Options{ReusePort: true})
		conns := []udp.Conn{first}
		for len(conns) < sockets {
			conns = append(conns, listen(t, w.listen, first.LocalAddr(), udp.Options{ReusePort: true}))
		}
		for range peers {
			peer := w.open(t, udp.Options{})
			for range each {
				send(t, peer, text("x", first.LocalAddr()))
			}
		}
		home := make(map[netip.AddrPort]int)
		used, total := make(map[int]bool), 0
		for i, c := range conns {
			if err := c.SetReadDeadline(time.Now().Add(50 * time.Millisecond)); err != nil {
				t.Fatal(err)
			}
			batch := newBatch(peers*each, 8)
			for {
				n, err := c.Read(batch)
				if errors.Is(err, os.ErrDeadlineExceeded) {
					break
				} else if err != nil {
					t.Fatal(err)
				}
				for _, m := range batch[:n] {
					if before, ok := home[m.Addr]; ok && before != i {
						t.Errorf("%v came to sockets %d and %d", m.Addr, before, i)
					}
					home[m.Addr], used[i] = i, true
				}
				total += n
			}
		}
		if total != peers*each || len(used) != sockets { // 3 * (2/3)^48: one in a hundred million
			t.Errorf("%d of %d datagrams, %d of %d sockets used", total, peers*each, len(used), sockets)
		}
	})
}

// Any number of senders and a closing socket at the same time: for the race detector.
func TestConcurrentSenders(t *testing.T) {
	worlds(t, func(t *testing.T, w world) {
		c, sink := w.open(t, udp.Options{}), w.open(t, udp.Options{})
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				s, batch := c.NewSender(8), numbered(8, sink.LocalAddr())
				for {
					if _, err := s.Write(batch); errors.Is(err, net.ErrClosed) {
						return
					} else if err != nil {
						t.Error(err)
						return
					}
					c.Stats()
				}
			})
		}
		if m := receive(t, sink, 1)[0]; !bytes.Equal(m.Buf[:2], []byte{0, 0}) {
			t.Errorf("received %x", m.Buf[:m.N])
		}
		c.Close()
		wg.Wait()
	})
}

// A socket that is looked at only says that nothing is there, and after Close what every other says.
func TestNoWait(t *testing.T) {
	worlds(t, func(t *testing.T, w world) {
		for _, coalesce := range []bool{false, true} {
			a, b := w.open(t, udp.Options{}), w.open(t, udp.Options{NoWait: true, Whole: true, Coalesce: coalesce})
			batch := newBatch(8, 2048)
			if n, err := b.Read(batch); n != 0 || err != nil {
				t.Fatalf("Read with nothing there: %d messages, error %v", n, err)
			}
			send(t, a, numbered(3, b.LocalAddr())...)
			got := 0
			for deadline := time.Now().Add(10 * time.Second); got < 3 && time.Now().Before(deadline); {
				n, err := b.Read(batch)
				if err != nil {
					t.Fatal(err)
				}
				got += n
			}
			if got != 3 {
				t.Fatalf("%d messages, want 3", got)
			}
			send(t, b, text("back", a.LocalAddr()))
			if m := receive(t, a, 1)[0]; payload(m) != "back" {
				t.Errorf("received %q", payload(m))
			}
			if err := b.Close(); err != nil {
				t.Fatal(err)
			}
			if _, err := b.Read(batch); !errors.Is(err, net.ErrClosed) {
				t.Errorf("Read after Close: %v, want %v", err, net.ErrClosed)
			}
		}
	})
}
