package link_test

import (
	"bytes"
	"errors"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/rootd/rootd/packetpath/udp"
	"github.com/rootd/rootd/transport/link"
)

// eventually polls until a condition holds.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.NewTimer(10 * time.Second)
	defer deadline.Stop()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-deadline.C:
			t.Fatalf("%s: not within 10 s", what)
		}
	}
}

// Two members on real sockets of both families, four workers each.
func TestRealSockets(t *testing.T) {
	m := &mesh{t: t, listen: udp.Listen, nodes: map[uint16]*node{}}
	m.options = link.Options{
		ProbeInterval: 100 * time.Millisecond, RotateAfter: 300 * time.Millisecond,
		Asked: func(_ uint16, _ byte, body, answer []byte) ([]byte, error) { return append(answer, body...), nil },
	}
	l4, l6 := netip.MustParseAddrPort("127.0.0.1:0"), netip.MustParseAddrPort("[::1]:0")
	addrs := []netip.AddrPort{l4}
	if c, err := udp.Listen(l6, udp.Options{}); err == nil {
		c.Close()
		addrs = append(addrs, l6)
	}
	a, b := m.start(1, addrs...), m.start(2, addrs...)
	defer m.stop()
	m.join()
	eventually(t, "keys and round trips", func() bool {
		rtt, _ := a.RTT(2)
		return a.ready(2) && b.ready(1) && rtt.Smoothed > 0
	})

	const workers, each = 4, 2000
	var wg sync.WaitGroup
	for _, from := range []*node{a, b} {
		for worker := range workers {
			wg.Go(func() {
				s := from.NewSender()
				for i := range each {
					number := uint64(worker*each + i)
					length := 100
					if i%10 == 0 {
						length = link.MaxPayload
					}
					if err := s.Send(3-from.id, number, numbered(number, length)); err != nil {
						t.Error(err)
						return
					}
					if i%20 == 19 {
						s.Flush()
						// Not faster than the other side reads, or the kernel's buffer overflows.
						body := []byte{byte(i)}
						if got, err := from.Request(t.Context(), 3-from.id, 1, body); err != nil || !bytes.Equal(got, body) {
							t.Errorf("answer %v, %v", got, err)
							return
						}
					}
				}
			})
		}
	}
	wg.Wait()
	for _, n := range []*node{a, b} {
		st := n.Stats()
		if got := len(n.take()); got < workers*each*99/100 || got > workers*each {
			t.Errorf("member %d got %d of %d packets: %+v", n.id, got, workers*each, st)
		}
		if st.Forged+st.Malformed+st.Replayed+st.UnknownKey != 0 {
			t.Errorf("member %d: %+v", n.id, st)
		}
	}
	for _, p := range a.of(2).Paths {
		if !p.Alive || p.Smoothed > time.Second {
			t.Errorf("path %+v", p)
		}
	}
}

func TestRunEndsWhenASocketFails(t *testing.T) {
	m := &mesh{t: t, listen: func(addr netip.AddrPort, o udp.Options) (udp.Conn, error) {
		c, err := udp.Listen(addr, o)
		return failing{c}, err
	}, nodes: map[uint16]*node{}}
	n := m.start(1, netip.MustParseAddrPort("127.0.0.1:0"))
	if err := <-n.result; !errors.Is(err, errBroken) {
		t.Errorf("error %v", err)
	}
	n.result <- nil
	n.stop()
}

var errBroken = errors.New("broken")

type failing struct{ udp.Conn }

func (failing) Read([]udp.Message) (int, error) { return 0, errBroken }
