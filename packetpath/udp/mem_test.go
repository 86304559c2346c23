package udp_test

import (
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rootd/rootd/packetpath/udp"
)

var (
	alice = netip.MustParseAddrPort("192.0.2.1:9993")
	bob   = netip.MustParseAddrPort("192.0.2.2:9993")
)

// arrival is a message, and when it was read.
type arrival struct {
	number uint32
	after  time.Duration
}

// arrivals sends n numbered messages, then reads for a minute of the bubble's time.
func arrivals(t *testing.T, a, b udp.Conn, n int) (all []arrival) {
	t.Helper()
	start := time.Now()
	send(t, a, numbered(n, b.LocalAddr())...)
	if err := b.SetReadDeadline(start.Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	batch := newBatch(16, 8)
	for {
		k, err := b.Read(batch)
		if err != nil {
			return all
		}
		for _, m := range batch[:k] {
			all = append(all, arrival{binary.BigEndian.Uint32(m.Buf), time.Since(start)})
		}
	}
}

func inMemory(t *testing.T, o udp.Options, test func(t *testing.T, n *udp.Network, a, b udp.Conn)) {
	synctest.Test(t, func(t *testing.T) {
		n := udp.NewNetwork()
		test(t, n, listen(t, n.Listen, alice, o), listen(t, n.Listen, bob, o))
	})
}

func TestMemoryDelay(t *testing.T) {
	inMemory(t, udp.Options{}, func(t *testing.T, n *udp.Network, a, b udp.Conn) {
		n.SetFate(func(from, to netip.AddrPort, p []byte) udp.Fate {
			if from != alice || to != bob {
				t.Errorf("asked about %v to %v", from, to)
			}
			return udp.Fate{Delay: time.Duration(3-binary.BigEndian.Uint32(p)) * time.Second}
		})
		for i, got := range arrivals(t, a, b, 3) {
			if want := (arrival{uint32(2 - i), time.Duration(i+1) * time.Second}); got != want {
				t.Errorf("arrival %d: %+v, want %+v", i, got, want)
			}
		}
	})
}

func TestMemoryLoss(t *testing.T) {
	var runs [2][]arrival
	for i := range runs {
		inMemory(t, udp.Options{}, func(t *testing.T, n *udp.Network, a, b udp.Conn) {
			n.SetFate(udp.Lossy(7, 0.25, 10*time.Millisecond, 20*time.Millisecond))
			runs[i] = arrivals(t, a, b, 1000)
		})
	}
	if n := len(runs[0]); n < 700 || n > 800 {
		t.Errorf("%d of 1000 arrived, want about 750", n)
	}
	if len(runs[0]) != len(runs[1]) {
		t.Fatalf("the same seed let %d and %d arrive", len(runs[0]), len(runs[1]))
	}
	reordered := false
	for i, a := range runs[0] {
		if a != runs[1][i] {
			t.Fatalf("the same seed gave %+v and %+v", a, runs[1][i])
		}
		if a.after < 10*time.Millisecond || a.after >= 30*time.Millisecond {
			t.Errorf("arrived after %v", a.after)
		}
		reordered = reordered || i > 0 && a.number < runs[0][i-1].number
	}
	if !reordered {
		t.Error("jitter has reordered nothing")
	}
}

func TestMemoryCopies(t *testing.T) {
	inMemory(t, udp.Options{}, func(t *testing.T, n *udp.Network, a, b udp.Conn) {
		n.SetFate(func(_, _ netip.AddrPort, _ []byte) udp.Fate { return udp.Fate{Extra: 2} })
		if got := arrivals(t, a, b, 1); len(got) != 3 {
			t.Errorf("%d arrived, want 3", len(got))
		}
	})
}

func TestMemoryCut(t *testing.T) {
	inMemory(t, udp.Options{}, func(t *testing.T, n *udp.Network, a, b udp.Conn) {
		n.SetFate(func(_, _ netip.AddrPort, _ []byte) udp.Fate { return udp.Fate{Delay: time.Second} })
		send(t, a, text("under way", bob))
		n.Cut(bob.Addr(), alice.Addr())
		if got := arrivals(t, a, b, 5); len(got) != 1 {
			t.Errorf("%d arrived, want only the one under way", len(got))
		}
		if got := arrivals(t, b, a, 5); len(got) != 0 {
			t.Errorf("the other direction: %d arrived, want 0", len(got))
		}
		n.Heal(alice.Addr(), bob.Addr())
		if got := arrivals(t, a, b, 5); len(got) != 5 {
			t.Errorf("after Heal: %d of 5 arrived", len(got))
		}
		if s := a.Stats(); s.Rejected != 0 {
			t.Errorf("a cut is no error of the sender: %+v", s)
		}
	})
}

func TestMemoryQueueIsBounded(t *testing.T) {
	for _, c := range []struct{ buffer, want int }{{0, 1024}, {64 << 10, 32}, {1, 1}} {
		inMemory(t, udp.Options{RecvBuffer: c.buffer}, func(t *testing.T, _ *udp.Network, a, b udp.Conn) {
			if got := arrivals(t, a, b, 2000); len(got) != c.want || got[0].number != 0 {
				t.Errorf("buffer %d: %d arrived, want %d", c.buffer, len(got), c.want)
			}
			if got := b.Stats().Overflowed; got != uint64(2000-c.want) {
				t.Errorf("buffer %d: %d overflowed, want %d", c.buffer, got, 2000-c.want)
			}
		})
	}
}

// What was sent stays as it was when it was sent, and a datagram to nobody is lost in silence.
func TestMemoryCopiesPayload(t *testing.T) {
	inMemory(t, udp.Options{}, func(t *testing.T, _ *udp.Network, a, b udp.Conn) {
		m := text("before", bob)
		send(t, a, m, text("nobody", netip.MustParseAddrPort("192.0.2.3:1")))
		copy(m.Buf, "after!")
		if got := payload(receive(t, b, 1)[0]); got != "before" {
			t.Errorf("received %q", got)
		}
	})
}

// A reader that waits without a deadline is durably blocked: the bubble's clock can advance, and Close wakes it.
func TestMemoryReaderInBubble(t *testing.T) {
	inMemory(t, udp.Options{}, func(t *testing.T, _ *udp.Network, _, b udp.Conn) {
		var err error
		go func() { _, err = b.Read(newBatch(1, 8)) }()
		start := time.Now()
		<-time.After(time.Hour)
		if d := time.Since(start); d != time.Hour {
			t.Errorf("an hour took %v", d)
		}
		b.Close()
		synctest.Wait()
		if !errors.Is(err, net.ErrClosed) {
			t.Errorf("Read ended with %v", err)
		}
	})
}

func TestMemoryListen(t *testing.T) {
	n := udp.NewNetwork()
	for _, bad := range []string{"0.0.0.0:1", "[::]:1"} {
		if _, err := n.Listen(netip.MustParseAddrPort(bad), udp.Options{}); err == nil {
			t.Errorf("%s: no error", bad)
		}
	}
	seen := make(map[netip.AddrPort]bool)
	for range 100 {
		c := listen(t, n.Listen, netip.AddrPortFrom(alice.Addr(), 0), udp.Options{})
		if a := c.LocalAddr(); seen[a] || a.Port() == 0 {
			t.Fatalf("given %v again", a)
		}
		seen[c.LocalAddr()] = true
	}
}
