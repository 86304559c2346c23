package link_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rootd/rootd/packetpath/udp"
	"github.com/rootd/rootd/transport/link"
)

// Keys change under traffic in both directions, while exchanges take their time and datagrams overtake each other.
func TestRotationLosesNothing(t *testing.T) {
	for _, tt := range []struct {
		name    string
		options link.Options
		least   uint32 // rotations
		most    uint64 // sessions
	}{
		{"by time", link.Options{RotateAfter: 6 * time.Second, Overlap: 2 * time.Second}, 4, 6},
		{"by packets", link.Options{RotatePackets: 3000, Overlap: 2 * time.Second}, 8, 24},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m, a, b := pair(t, tt.options)
				defer m.stop()
				m.setExchange(func(uint16, uint16) (time.Duration, error) { return 120 * time.Millisecond, nil })
				m.net.SetFate(udp.Lossy(1, 0, 80*time.Millisecond, 40*time.Millisecond))
				first, agreed := a.of(2).Generation, a.Stats().Agreed
				sa, sb := a.NewSender(), b.NewSender()
				const n = 30000
				for i := range uint64(n) {
					if err := errors.Join(sa.Send(2, i, numbered(i, 50)), sb.Send(1, i, numbered(i, 50))); err != nil {
						t.Fatalf("packet %d: %v", i, err)
					}
					sa.Flush()
					sb.Flush()
					time.Sleep(time.Millisecond)
				}
				time.Sleep(time.Second)
				for _, node := range []*node{a, b} {
					if got := len(node.take()); got != n {
						t.Errorf("member %d got %d packets of %d: %+v", node.id, got, n, node.Stats())
					}
					if st := node.Stats(); st.UnknownKey+st.Expired+st.Forged+st.Replayed != 0 {
						t.Errorf("member %d: %+v", node.id, st)
					}
				}
				if now := a.of(2).Generation; now < first+tt.least {
					t.Errorf("generation %d after %d", now, first)
				}
				if n := a.Stats().Agreed - agreed; n > tt.most {
					t.Errorf("%d sessions agreed, want at most %d", n, tt.most)
				}
				time.Sleep(5 * time.Second)
				if st := a.of(2); st.Sessions > 3 {
					t.Errorf("%d sessions are kept", st.Sessions)
				}
			})
		})
	}
}

func TestRestartedMember(t *testing.T) {
	for _, reachable := range []bool{true, false} {
		t.Run(fmt.Sprintf("it can offer %v", reachable), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m, a, b := pair(t, link.Options{})
				defer m.stop()
				m.net.SetFate(udp.Lossy(1, 0, 50*time.Millisecond, 0))
				m.setExchange(func(from, _ uint16) (time.Duration, error) {
					if from == 2 && !reachable {
						return 50 * time.Millisecond, errUnreachable
					}
					return 50 * time.Millisecond, nil
				})
				b.stop()
				b = m.start(2, v4(2))
				m.join()
				wait := 300 * time.Millisecond // an exchange there and back, a word
				if !reachable {
					wait = 6 * time.Second // three and a half probes are not answered, then an exchange
				}
				time.Sleep(wait)
				if err := m.flow(a, b); err != nil {
					t.Error(err)
				}
				if st := a.of(2); st.Sessions != 1 {
					t.Errorf("%d sessions with a member that has restarted", st.Sessions)
				}
			})
		})
	}
}

func TestNoKeysNoPackets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMesh(t)
		defer m.stop()
		var tries atomic.Int32
		m.exchange = func(uint16, uint16) (time.Duration, error) {
			tries.Add(1)
			return 0, errUnreachable
		}
		a, b := m.start(1, v4(1)), m.start(2, v4(2))
		w := watch(m.net)
		m.join()
		time.Sleep(time.Minute)
		if err := a.NewSender().Send(2, 1, []byte("secret")); !errors.Is(err, link.ErrNoKey) {
			t.Errorf("error %v without keys", err)
		}
		if n := len(w.cut(false)); n != 0 {
			t.Errorf("%d datagrams without keys", n)
		}
		if st := a.of(2); st.Ready || st.Failures < 5 || tries.Load() > 40 {
			t.Errorf("%d tries in a minute, %+v", tries.Load(), st)
		}
		m.setExchange(nil)
		time.Sleep(13 * time.Second) // the longest pause between two tries
		if err := m.flow(a, b); err != nil {
			t.Error(err)
		}
	})
}

// While no exchange is possible the old keys serve for a while, and then not: neither to send nor to receive.
func TestKeysAreNotUsedForEver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, a, b := pair(t, link.Options{RotateAfter: 10 * time.Second, RotatePackets: 500, Overlap: time.Second})
		defer m.stop()
		m.setExchange(func(uint16, uint16) (time.Duration, error) { return 0, errUnreachable })
		w := watch(m.net)
		s := a.NewSender()
		time.Sleep(50 * time.Second)
		if err := m.flow(a, b); err != nil {
			t.Error(err)
		}
		w.cut(true)
		if err := s.Send(2, 1, []byte("late")); err != nil {
			t.Fatal(err)
		}
		s.Flush()
		late := w.cut(false)[0]
		time.Sleep(60*time.Second - a.of(2).KeyAge + 500*time.Millisecond) // the other side still accepts
		if err := s.Send(2, 1, nil); !errors.Is(err, link.ErrNoKey) {
			t.Errorf("error %v for keys that are too old", err)
		}
		time.Sleep(time.Second)
		was := b.Stats()
		inject, c := stranger(t, m.net)
		defer c.Close()
		inject(late.to, late.b)
		synctest.Wait()
		if is := b.Stats(); is.Received != was.Received || is.UnknownKey+is.Expired == was.UnknownKey+was.Expired {
			t.Errorf("from %+v to %+v", was, is)
		}

		m.setExchange(nil)
		time.Sleep(13 * time.Second)
		if err := m.flow(a, b); err != nil {
			t.Fatal(err)
		}
		m.setExchange(func(uint16, uint16) (time.Duration, error) { return 0, errUnreachable })
		time.Sleep(time.Second) // an exchange under way
		sent := 0
		for ; sent < 2000; sent++ {
			if err := s.Send(2, 1, nil); err != nil {
				if !errors.Is(err, link.ErrNoKey) {
					t.Errorf("error %v for keys that are used up", err)
				}
				break
			}
		}
		if sent < 900 || sent > 1000 {
			t.Errorf("%d packets with keys for 2 × 500", sent)
		}
	})
}

// Whatever order exchanges, restarts, removals and losses come in: when they are over, everybody reaches everybody.
func TestKeysAfterAnything(t *testing.T) {
	for seed := range uint64(60) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { anything(t, seed) })
		})
	}
}

func anything(t *testing.T, seed uint64) {
	r := rand.New(rand.NewPCG(seed, 1))
	m := newMesh(t)
	defer m.stop()
	m.options = link.Options{RotateAfter: 2 * time.Second, Overlap: time.Second, ProbeInterval: 500 * time.Millisecond}
	delays := rand.New(rand.NewPCG(seed, 2))
	trouble := func(uint16, uint16) (time.Duration, error) { // called with the mesh unlocked
		m.mu.Lock()
		defer m.mu.Unlock()
		d := time.Duration(delays.IntN(300)) * time.Millisecond
		if delays.IntN(4) == 0 {
			return d, errUnreachable
		}
		return d, nil
	}
	m.exchange = trouble
	m.net.SetFate(udp.Lossy(seed, 0.2, 10*time.Millisecond, 100*time.Millisecond))
	for id := range uint16(3) {
		m.start(id+1, v4(id+1))
	}
	m.join()
	for range 40 {
		time.Sleep(time.Duration(r.IntN(1500)) * time.Millisecond)
		id := uint16(1 + r.IntN(3))
		other := uint16(1 + (int(id)+r.IntN(2))%3)
		switch r.IntN(5) {
		case 0:
			m.nodes[id].stop()
			m.start(id, v4(id))
			m.join()
		case 1:
			if err := m.nodes[id].SetMembers([]link.Member{m.nodes[other].member()}); err != nil {
				t.Fatal(err)
			}
		case 2:
			m.net.Cut(v4(id).Addr(), v4(other).Addr())
		case 3:
			m.net.Heal(v4(id).Addr(), v4(other).Addr())
			m.join()
		}
	}
	for a := range uint16(3) {
		for b := range uint16(3) {
			m.net.Heal(v4(a+1).Addr(), v4(b+1).Addr())
		}
	}
	m.setExchange(nil)
	m.net.SetFate(udp.Lossy(seed, 0, 10*time.Millisecond, 100*time.Millisecond))
	m.join()
	time.Sleep(15 * time.Second)
	for range 20 { // through rotations
		if err := m.flow(m.nodes[1], m.nodes[2], m.nodes[3]); err != nil {
			t.Fatal(err)
		}
	}
}
