package link_test

import (
	"bytes"
	"context"
	"errors"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rootd/rootd/packetpath/udp"
	"github.com/rootd/rootd/transport/link"
)

func TestRelay(t *testing.T) {
	lengths := []int{0, 1, 28, 200, 1280, 1400, 1413, 1414, 1415, 1432, 1434, 1435, 1500, 2829, 2830, 9000, link.MaxPayload}
	for _, tt := range []struct {
		name   string
		listen func(uint16) netip.AddrPort
		mtu    int
		whole  int // longest packet in one datagram
	}{
		{"v4", v4, 0, 1434}, {"v6", v6, 0, 1414}, {"v4 MTU 1280", v4, 1280, 1214}, {"v6 MTU 1280", v6, 1280, 1194},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := newMesh(t)
				defer m.stop()
				m.options.MTU = tt.mtu
				limit := 1500
				if tt.mtu != 0 {
					limit = tt.mtu
				}
				m.net.SetFate(func(from, _ netip.AddrPort, b []byte) udp.Fate {
					headers := 48
					if from.Addr().Is4() {
						headers = 28
					}
					if len(b)+headers > limit {
						t.Errorf("%d bytes on the wire", len(b)+headers)
					}
					return udp.Fate{}
				})
				for id := range uint16(3) {
					m.start(id+1, tt.listen(id+1))
				}
				m.join()
				time.Sleep(2 * time.Second)
				a, b, c := m.nodes[1], m.nodes[2], m.nodes[3]
				s := a.NewSender()
				wantSplit := uint64(0)
				for i, n := range lengths {
					if n > tt.whole {
						wantSplit++
					}
					p := bytes.Repeat([]byte{byte(i)}, n)
					if err := s.Send(2, 0xfedcba9876, p); err != nil {
						t.Fatalf("%d bytes: %v", n, err)
					}
					clear(p) // nothing of it is kept
				}
				s.Flush()
				synctest.Wait()
				got := b.take()
				if len(got) != len(lengths) || len(c.take()) != 0 {
					t.Fatalf("%d packets came, want %d", len(got), len(lengths))
				}
				for i, n := range lengths {
					if in := got[i]; in.Member != 1 || in.Peer != 0xfedcba9876 || !bytes.Equal(in.Payload, bytes.Repeat([]byte{byte(i)}, n)) {
						t.Errorf("packet %d: from %d for %x, %d bytes, want %d", i, in.Member, in.Peer, len(in.Payload), n)
					}
				}
				if st := a.Stats(); st.Relayed != uint64(len(lengths)) || st.Split != wantSplit {
					t.Errorf("relayed %d, %d in pieces, want %d", st.Relayed, st.Split, wantSplit)
				}
				if err := s.Send(2, 1, make([]byte, link.MaxPayload+1)); !errors.Is(err, link.ErrTooLong) {
					t.Errorf("error %v for a packet over the limit", err)
				}
				if err := s.Send(9, 1, nil); !errors.Is(err, link.ErrUnknownMember) {
					t.Errorf("error %v for an unknown member", err)
				}
				if err := s.Send(1, 1, nil); !errors.Is(err, link.ErrUnknownMember) {
					t.Errorf("error %v for a packet to ourselves", err)
				}
			})
		})
	}
}

// A full batch, and more of it than the reader takes at once, in pieces that all complete in one turn.
func TestManyPiecesAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, a, b := pair(t, link.Options{})
		defer m.stop()
		s := a.NewSender()
		const n = 300
		for i := range uint64(n) {
			if err := s.Send(2, i, numbered(i, 1500)); err != nil {
				t.Fatal(err)
			}
		}
		s.Flush()
		synctest.Wait()
		got := b.take()
		if len(got) != n {
			t.Fatalf("%d packets, want %d", len(got), n)
		}
		for i, in := range got {
			if in.Peer != uint64(i) || !bytes.Equal(in.Payload, numbered(uint64(i), 1500)) {
				t.Fatalf("packet %d is damaged", i)
			}
		}
	})
}

func TestBadNetwork(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, a, b := pair(t, link.Options{})
		defer m.stop()
		lossy := udp.Lossy(7, 0.05, 20*time.Millisecond, 30*time.Millisecond)
		extra := 0
		m.net.SetFate(func(from, to netip.AddrPort, p []byte) udp.Fate {
			f := lossy(from, to, p)
			if extra++; extra%3 == 0 {
				f.Extra = 2
			}
			return f
		})
		const n = 10000
		s := a.NewSender()
		sent := 0
		for i := range uint64(n) {
			length := 100
			if i%5 == 0 {
				length = 1500 // two pieces
			}
			if err := s.Send(2, i, numbered(i, length)); err != nil {
				t.Fatal(err)
			}
			if sent++; sent%20 == 0 {
				s.Flush()
				time.Sleep(5 * time.Millisecond)
			}
		}
		s.Flush()
		time.Sleep(time.Second)
		seen := map[uint64]bool{}
		for _, in := range b.take() {
			if seen[in.Peer] {
				t.Fatalf("packet %d came twice", in.Peer)
			}
			seen[in.Peer] = true
			if !bytes.Equal(in.Payload, numbered(in.Peer, len(in.Payload))) {
				t.Fatalf("packet %d is damaged", in.Peer)
			}
		}
		// Nine in ten of those in pieces survive a loss of 5 % of datagrams, 95 in 100 of the others.
		if len(seen) < n*92/100 {
			t.Errorf("%d of %d packets came", len(seen), n)
		}
		st := b.Stats()
		if st.Replayed == 0 || st.Forged != 0 || st.Malformed != 0 || st.UnknownKey != 0 {
			t.Errorf("%+v", st)
		}
	})
}

func TestNotifyAndRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var seen atomic.Int32
		m, a, b := pair(t, link.Options{Asked: func(from uint16, kind byte, body, answer []byte) ([]byte, error) {
			seen.Add(1)
			switch {
			case kind == 9:
				return nil, errors.New("not today")
			case kind == 8:
				return make([]byte, link.MaxBody+1), nil
			case len(body) == 0:
				return answer, nil
			}
			return append(append(answer, byte(from), kind), body...), nil
		}})
		defer m.stop()
		longest := strings.Repeat("x", link.MaxBody)
		if err := a.Notify(2, 5, []byte("hello")); err != nil {
			t.Fatal(err)
		}
		s := a.NewSender()
		if err := s.Notify(2, 6, []byte(longest)); err != nil {
			t.Fatal(err)
		}
		if err := s.Notify(2, 6, []byte(longest+"x")); !errors.Is(err, link.ErrTooLong) {
			t.Errorf("error %v for a body over the limit", err)
		}
		s.Flush()
		synctest.Wait()
		if len(b.notified) != 2 || b.notified[0] != "1 5 hello" || b.notified[1] != "1 6 "+longest {
			t.Errorf("notified %.200q", b.notified)
		}

		ctx := t.Context()
		if got, err := a.Request(ctx, 2, 3, []byte("what")); err != nil || string(got) != "\x01\x03what" {
			t.Errorf("answer %q, %v", got, err)
		}
		if got, err := b.Request(ctx, 1, 3, nil); err != nil || len(got) != 0 {
			t.Errorf("answer %q, %v", got, err)
		}
		var refused *link.RefusedError
		if _, err := a.Request(ctx, 2, 9, nil); !errors.As(err, &refused) || refused.Member != 2 || refused.Reason != "not today" {
			t.Errorf("error %v, want a refusal", err)
		}
		if _, err := a.Request(ctx, 2, 8, nil); !errors.As(err, &refused) {
			t.Errorf("error %v for an answer over the limit", err)
		}
		if _, err := a.Request(ctx, 2, 3, []byte(longest+"x")); !errors.Is(err, link.ErrTooLong) {
			t.Errorf("error %v for a request over the limit", err)
		}
		if _, err := a.Request(ctx, 7, 3, nil); !errors.Is(err, link.ErrUnknownMember) {
			t.Errorf("error %v for an unknown member", err)
		}

		// Half of all datagrams get lost: it is asked again.
		m.net.SetFate(udp.Lossy(3, 0.5, 10*time.Millisecond, 0))
		seen.Store(0)
		for range 20 {
			if _, err := a.Request(ctx, 2, 3, []byte("what")); err != nil {
				t.Fatal(err)
			}
		}
		if n := seen.Load(); n < 25 {
			t.Errorf("%d requests seen for 20 asked while half of all gets lost", n)
		}

		// No answer at all: until the context ends.
		m.net.Cut(v4(1).Addr(), v4(2).Addr())
		limited, cancel := context.WithTimeout(ctx, 3*time.Second)
		defer cancel()
		began := time.Now()
		if _, err := a.Request(limited, 2, 3, nil); !errors.Is(err, context.DeadlineExceeded) || time.Since(began) != 3*time.Second {
			t.Errorf("error %v after %v", err, time.Since(began))
		}
		if st := a.Stats(); st.Waiting != 0 {
			t.Errorf("%d requests wait after all are done", st.Waiting)
		}
	})
}

func TestRoundTrips(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMesh(t)
		defer m.stop()
		oneWay := map[bool]time.Duration{true: 40 * time.Millisecond, false: 15 * time.Millisecond}
		lossy := udp.Lossy(11, 0.1, 0, 0)
		m.net.SetFate(func(from, to netip.AddrPort, p []byte) udp.Fate {
			is4 := from.Addr().Is4()
			return udp.Fate{Delay: oneWay[is4], Drop: is4 && lossy(from, to, p).Drop}
		})
		a, b := m.start(1, v4(1), v6(1)), m.start(2, v4(2), v6(2))
		m.join()
		time.Sleep(70 * time.Second)
		st := a.of(2)
		if !st.Alive || len(st.Paths) != 2 {
			t.Fatalf("%+v", st)
		}
		p4, p6 := st.Paths[0], st.Paths[1]
		if p4.Smoothed != 80*time.Millisecond || p6.Smoothed != 30*time.Millisecond || p6.Min != p6.Last || p6.Deviation > time.Microsecond {
			t.Errorf("v4 %+v, v6 %+v", p4.RTT, p6.RTT)
		}
		if p6.Loss != 0 || p6.Probes != 63 || p4.Loss < 0.05 || p4.Loss > 0.4 {
			t.Errorf("loss v4 %v, v6 %v of %d", p4.Loss, p6.Loss, p6.Probes)
		}
		if st.Route != v6(2) {
			t.Errorf("route %v, want the shorter way", st.Route)
		}
		if rtt, ok := a.RTT(2); !ok || rtt.Smoothed != 30*time.Millisecond {
			t.Errorf("RTT %+v", rtt)
		}
		if _, ok := a.RTT(3); ok {
			t.Error("RTT of an unknown member")
		}

		// The better way is cut: the other one takes over while the keys stay.
		generation := st.Generation
		m.net.Cut(v6(1).Addr(), v6(2).Addr())
		time.Sleep(5 * time.Second)
		if st := a.of(2); st.Route != v4(2) || !st.Alive || st.Generation != generation || st.Paths[1].Alive {
			t.Errorf("after a cut: %+v", st)
		}
		m.net.SetFate(nil)
		if err := m.flow(a, b); err != nil {
			t.Error(err)
		}
	})
}

// Addresses of other members change at run time, and what stays keeps its measurements.
func TestEndpointsChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, a, b := pair(t, link.Options{})
		defer m.stop()
		measured := a.of(2).Paths[0].Probes
		moved := netip.MustParseAddrPort("10.9.9.9:7000")
		if err := a.SetMembers([]link.Member{{ID: 2, Endpoints: []netip.AddrPort{v6(2), moved, v4(2), moved}}}); err != nil {
			t.Fatal(err)
		}
		st := a.of(2)
		if len(st.Paths) != 2 || st.Paths[1].Probes != measured || st.Route != v4(2) {
			t.Errorf("%+v", st)
		}
		if err := m.flow(a, b); err != nil {
			t.Error(err)
		}
		if err := a.SetMembers([]link.Member{{ID: 2, Endpoints: []netip.AddrPort{v6(2)}}}); err != nil {
			t.Fatal(err)
		}
		if err := a.NewSender().Send(2, 1, nil); !errors.Is(err, link.ErrNoRoute) {
			t.Errorf("error %v without an endpoint that can be reached", err)
		}
	})
}

func TestMembersRefused(t *testing.T) {
	m := newMesh(t)
	n := m.start(1, v4(1))
	defer m.stop()
	for name, members := range map[string][]link.Member{
		"zero":  {{ID: 0}},
		"twice": {{ID: 2}, {ID: 2}},
		"many":  make([]link.Member, 1000),
		"paths": {{ID: 2, Endpoints: make([]netip.AddrPort, 17)}},
	} {
		if err := n.SetMembers(members); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestOptionsRefused(t *testing.T) {
	c, err := udp.NewNetwork().Listen(v4(1), udp.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	good := func() link.Options {
		return link.Options{Self: 1, Conns: []udp.Conn{c}, Exchange: func(context.Context, uint16, []byte) ([]byte, error) { return nil, nil }}
	}
	if _, err := link.New(good()); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*link.Options){
		"number":   func(o *link.Options) { o.Self = 0 },
		"sockets":  func(o *link.Options) { o.Conns = nil },
		"exchange": func(o *link.Options) { o.Exchange = nil },
		"large":    func(o *link.Options) { o.MTU = 1501 },
		"small":    func(o *link.Options) { o.MTU = 1279 },
		"time":     func(o *link.Options) { o.Overlap = -1 },
	} {
		o := good()
		change(&o)
		if _, err := link.New(o); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestAfterTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, a, b := pair(t, link.Options{})
		s := a.NewSender()
		waiting := make(chan error)
		m.net.Cut(v4(1).Addr(), v4(2).Addr())
		go func() {
			_, err := a.Request(t.Context(), 2, 1, nil)
			waiting <- err
		}()
		synctest.Wait()
		m.stop()
		if err := <-waiting; !errors.Is(err, link.ErrClosed) && !errors.Is(err, link.ErrUnknownMember) {
			t.Errorf("request that waited: %v", err)
		}
		if err := s.Send(2, 1, nil); !errors.Is(err, link.ErrUnknownMember) {
			t.Errorf("Send: %v", err)
		}
		if err := a.Notify(2, 1, nil); !errors.Is(err, link.ErrClosed) {
			t.Errorf("Notify: %v", err)
		}
		if err := a.SetMembers([]link.Member{b.member()}); !errors.Is(err, link.ErrClosed) {
			t.Errorf("SetMembers: %v", err)
		}
		if _, err := a.HandleOffer(2, nil); err == nil {
			t.Error("offer accepted")
		}
	})
}
