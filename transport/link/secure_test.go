package link_test

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"net/netip"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rootd/rootd/packetpath/udp"
	"github.com/rootd/rootd/transport/link"
)

// wire watches a network: it keeps what passes, and can stop it.
type wire struct {
	mu     sync.Mutex // guards the following
	drop   bool
	passed []passed
}

type passed struct {
	from, to netip.AddrPort
	b        []byte
}

func watch(n *udp.Network) *wire {
	w := &wire{}
	n.SetFate(func(from, to netip.AddrPort, b []byte) udp.Fate {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.passed = append(w.passed, passed{from, to, bytes.Clone(b)})
		return udp.Fate{Drop: w.drop}
	})
	return w
}

// cut starts or ends dropping everything, and returns what has passed so far.
func (w *wire) cut(drop bool) []passed {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.drop = drop
	p := w.passed
	w.passed = nil
	return p
}

// stranger is a socket of nobody.
func stranger(t *testing.T, n *udp.Network) (inject func(to netip.AddrPort, b []byte), c udp.Conn) {
	t.Helper()
	c, err := n.Listen(netip.MustParseAddrPort("10.6.6.6:6666"), udp.Options{})
	if err != nil {
		t.Fatal(err)
	}
	s := c.NewSender(1)
	return func(to netip.AddrPort, b []byte) {
		if _, err := s.Write([]udp.Message{{Buf: b, N: len(b), Addr: to}}); err != nil {
			t.Error(err)
		}
	}, c
}

func TestEveryReplayIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, a, b := pair(t, link.Options{RotateAfter: 3 * time.Second})
		defer m.stop()
		w := watch(m.net)
		s := a.NewSender()
		for i := range uint64(600) {
			if err := s.Send(2, i, numbered(i, 800+int(i))); err != nil {
				t.Fatal(err)
			}
			s.Flush()
			time.Sleep(20 * time.Millisecond) // over several rotations
		}
		if _, err := a.Request(t.Context(), 2, 1, nil); err == nil {
			t.Fatal("no refusal")
		}
		synctest.Wait()
		if got := len(b.take()); got != 600 {
			t.Fatalf("%d packets came", got)
		}
		captured := w.cut(false)
		inject, c := stranger(t, m.net)
		defer c.Close()
		was := map[uint16]link.Stats{1: a.Stats(), 2: b.Stats()}
		for i, p := range captured {
			inject(p.to, p.b)
			if i%100 == 0 {
				synctest.Wait() // no time passes
			}
		}
		synctest.Wait()
		for _, p := range w.cut(false) {
			if p.from != c.LocalAddr() {
				t.Errorf("%v sent %d bytes to %v in return", p.from, len(p.b), p.to)
			}
		}
		if n := len(b.take()); n != 0 {
			t.Errorf("%d packets handed over again", n)
		}
		refused := uint64(0)
		for _, n := range m.nodes {
			is, was := n.Stats(), was[n.id]
			if is.Received != was.Received || is.Inbound != was.Inbound || is.Forged != was.Forged {
				t.Errorf("member %d: from %+v to %+v", n.id, was, is)
			}
			refused += is.Replayed + is.Expired + is.UnknownKey - was.Replayed - was.Expired - was.UnknownKey
		}
		if refused != uint64(len(captured)) || refused < 600 {
			t.Errorf("%d of %d replays refused", refused, len(captured))
		}
	})
}

func TestEveryBitIsProtected(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, a, b := pair(t, link.Options{})
		defer m.stop()
		w := watch(m.net)
		w.cut(true)
		s := a.NewSender()
		if err := s.Send(2, 7, []byte("a packet")); err != nil {
			t.Fatal(err)
		}
		s.Flush()
		sent := w.cut(false)
		if len(sent) != 1 {
			t.Fatalf("%d datagrams", len(sent))
		}
		inject, c := stranger(t, m.net)
		defer c.Close()
		d := sent[0].b
		was := b.Stats()
		for i := range 8 * len(d) {
			d[i/8] ^= 1 << (i % 8)
			inject(v4(2), d)
			synctest.Wait()
			d[i/8] ^= 1 << (i % 8)
		}
		for n := range d {
			inject(v4(2), d[:n])
			synctest.Wait()
		}
		inject(v4(2), append(bytes.Clone(d), 0))
		synctest.Wait()
		if got := b.take(); len(got) != 0 {
			t.Fatalf("%d damaged packets accepted", len(got))
		}
		is := b.Stats()
		bad := is.Forged + is.Version + is.UnknownKey + is.Short - was.Forged - was.Version - was.UnknownKey - was.Short
		if want := uint64(8*len(d) + len(d) + 1); bad != want || is.Received != was.Received || is.Sent != was.Sent {
			t.Errorf("%d damaged datagrams refused, want %d: from %+v to %+v", bad, want, was, is)
		}
		// None of this has used up the counter: the datagram itself is still good, whoever brings it.
		inject(v4(2), d)
		synctest.Wait()
		if got := b.take(); len(got) != 1 || string(got[0].Payload) != "a packet" {
			t.Errorf("the datagram itself: %v", got)
		}
	})
}

func TestStrangersGetNoAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, a, b := pair(t, link.Options{})
		defer m.stop()
		inject, c := stranger(t, m.net)
		defer c.Close()
		w := watch(m.net)
		r := rand.New(rand.NewPCG(1, 2))
		for i := range 500 {
			d := make([]byte, r.IntN(1500))
			for i := range d {
				d[i] = byte(r.Uint32())
			}
			if i%2 == 0 && len(d) > 4 {
				copy(d, "\x01\x00\x00\x00") // the right version
			}
			inject(v4(2), d)
			synctest.Wait()
		}
		for _, p := range w.cut(false) {
			if p.from != c.LocalAddr() {
				t.Errorf("%v sent %d bytes to %v", p.from, len(p.b), p.to)
			}
		}
		if err := m.flow(a, b); err != nil {
			t.Error(err)
		}
	})
}

// An authentic datagram that somebody else brings is taken, but the answer goes to the member.
func TestAnswersGoToMembersOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, a, b := pair(t, link.Options{})
		defer m.stop()
		inject, c := stranger(t, m.net)
		defer c.Close()
		w := watch(m.net)
		w.cut(true)
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		if _, err := a.Request(ctx, 2, 1, nil); err == nil {
			t.Fatal("answer over a cut wire")
		}
		asked := w.cut(false)
		was := b.Stats().Asked
		for _, p := range asked {
			if p.to == v4(2) {
				inject(p.to, p.b)
			}
		}
		synctest.Wait()
		if b.Stats().Asked == was {
			t.Fatal("the request did not come")
		}
		answers := 0
		for _, p := range w.cut(false) {
			if p.to == c.LocalAddr() {
				t.Error("answer to a stranger")
			}
			if p.from == v4(2) && p.to == v4(1) {
				answers++
			}
		}
		if answers == 0 {
			t.Error("no answer to the member")
		}
	})
}

func TestRemovedMember(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, a, b := pair(t, link.Options{})
		defer m.stop()
		waiting := make(chan error)
		m.net.Cut(v4(1).Addr(), v4(2).Addr())
		go func() {
			_, err := a.Request(t.Context(), 2, 1, nil)
			waiting <- err
		}()
		synctest.Wait()
		m.net.Heal(v4(1).Addr(), v4(2).Addr())
		if err := a.SetMembers(nil); err != nil {
			t.Fatal(err)
		}
		if err := <-waiting; !errors.Is(err, link.ErrUnknownMember) {
			t.Errorf("request that waited: %v", err)
		}
		if err := a.NewSender().Send(2, 1, nil); !errors.Is(err, link.ErrUnknownMember) {
			t.Errorf("Send: %v", err)
		}
		a.take()
		was := a.Stats()
		s := b.NewSender()
		if err := s.Send(1, 1, []byte("still there?")); err != nil {
			t.Fatal(err)
		}
		s.Flush()
		synctest.Wait()
		if is := a.Stats(); len(a.take()) != 0 || is.UnknownKey == was.UnknownKey || len(is.Members) != 0 {
			t.Errorf("from %+v to %+v", was, is)
		}
		time.Sleep(time.Minute) // it tries again and again
		if is := a.Stats(); is.Received != was.Received || is.RefusedOffers == 0 {
			t.Errorf("from %+v to %+v", was, is)
		}
		if b.of(1).Failures == 0 || b.of(1).Alive {
			t.Errorf("the removed one sees %+v", b.of(1))
		}
		// It comes back.
		m.join()
		time.Sleep(time.Second)
		if err := m.flow(a, b); err != nil {
			t.Error(err)
		}
	})
}

func TestOffersRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMesh(t)
		defer m.stop()
		var offer []byte
		m.exchange = func(uint16, uint16) (time.Duration, error) { return 0, errUnreachable }
		m.options.Exchange = nil
		b := m.start(2, v4(2))
		c, err := m.net.Listen(v4(1), udp.Options{})
		if err != nil {
			t.Fatal(err)
		}
		l, err := link.New(link.Options{Self: 1, Conns: []udp.Conn{c}, Exchange: func(_ context.Context, to uint16, o []byte) ([]byte, error) {
			if to == 2 {
				offer = o
			}
			return nil, errUnreachable
		}})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- l.Run(ctx) }()
		all := []link.Member{{ID: 1, Endpoints: []netip.AddrPort{v4(1)}}, {ID: 2, Endpoints: []netip.AddrPort{v4(2)}}, {ID: 3}}
		if err := errors.Join(l.SetMembers(all), b.SetMembers(all)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		cancel()
		if err := <-ended; err != nil {
			t.Fatal(err)
		}
		if _, err := b.HandleOffer(1, offer); err != nil {
			t.Fatalf("the offer itself: %v", err)
		}
		for range 20 { // whose answers never arrive
			if _, err := b.HandleOffer(1, offer); err != nil {
				t.Fatal(err)
			}
		}
		if n := b.of(1).Sessions; n != 1 {
			t.Errorf("%d sessions that nobody uses", n)
		}
		changed := func(at int, v byte) []byte {
			o := bytes.Clone(offer)
			o[at] ^= v
			return o
		}
		lowOrder := bytes.Clone(offer)
		clear(lowOrder[32:])
		for _, tt := range []struct {
			name  string
			from  uint16
			offer []byte
		}{
			{"of another member", 3, offer},
			{"of a stranger", 7, offer},
			{"of itself", 2, offer},
			{"empty", 1, nil},
			{"short", 1, offer[:63]},
			{"long", 1, append(bytes.Clone(offer), 0)},
			{"other version", 1, changed(3, 2)},
			{"an answer", 1, changed(4, 3)},
			{"not zero", 1, changed(6, 1)},
			{"not zero at the end", 1, changed(30, 1)},
			{"to somebody else", 1, changed(11, 1)},
			{"a generation too far", 1, changed(20, 0x80)},
			{"low order", 1, lowOrder},
		} {
			if _, err := b.HandleOffer(tt.from, tt.offer); err == nil {
				t.Errorf("offer %s: accepted", tt.name)
			}
		}
	})
}

// A member that answers nonsense does no harm.
func TestAnswersRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMesh(t)
		defer m.stop()
		b := m.start(2, v4(2))
		damages := []func([]byte) []byte{
			func([]byte) []byte { return nil },
			func(a []byte) []byte { return a[:63] },
			func(a []byte) []byte { a[4] = 1; return a },
			func(a []byte) []byte { a[9] ^= 4; return a },
			func(a []byte) []byte { clear(a[20:24]); return a },
			func(a []byte) []byte { clear(a[32:]); return a },
			func([]byte) []byte { panic("not asked any more") },
		}
		c, err := m.net.Listen(v4(1), udp.Options{})
		if err != nil {
			t.Fatal(err)
		}
		next := 0
		ctx, cancel := context.WithCancel(t.Context())
		l, err := link.New(link.Options{Self: 1, Conns: []udp.Conn{c}, Exchange: func(_ context.Context, _ uint16, offer []byte) ([]byte, error) {
			a, err := b.HandleOffer(1, offer)
			if err != nil {
				return nil, err
			}
			d := damages[next](a)
			if next++; next == len(damages)-1 {
				cancel()
			}
			return d, nil
		}})
		if err != nil {
			t.Fatal(err)
		}
		all := []link.Member{{ID: 1, Endpoints: []netip.AddrPort{v4(1)}}, b.member()}
		m.exchange = func(uint16, uint16) (time.Duration, error) { return 0, errUnreachable }
		if err := errors.Join(l.SetMembers(all), b.SetMembers(all)); err != nil {
			t.Fatal(err)
		}
		if err := l.Run(ctx); err != nil {
			t.Error(err)
		}
		if st := l.Stats(); st.FailedExchanges != uint64(len(damages)-2) || st.Agreed != 0 {
			t.Errorf("%+v", st) // the last one failed when the link had been stopped
		}
	})
}

// Who changes an exchange on its way gets nothing but a link that does not work.
func TestExchangeIsBound(t *testing.T) {
	for name, change := range map[string]struct{ offer, answer byte }{"offer": {1, 0}, "answer": {0, 1}} {
		w := newWired(t, 1)
		w.change(t, func(offer, answer []byte) {
			offer[23] += change.offer // the generation
			answer[23] += change.answer
		})
		s := w.a.NewSender()
		if err := s.Send(2, 1, []byte("secret")); err != nil {
			t.Fatal(err)
		}
		s.Flush()
		w.deliver()
		if st := w.b.Stats(); w.inbound != 0 || st.Forged != 1 {
			t.Errorf("%s changed: %d packets came, %+v", name, w.inbound, st)
		}
	}
}

func TestOldKeysAreRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWired(t, 2)
		s := w.a.NewSender()
		for range 2 {
			if err := s.Send(2, 1, []byte("late")); err != nil {
				t.Fatal(err)
			}
		}
		s.Flush()
		time.Sleep(time.Hour)
		w.reader.Take(w.out.kept[:1])
		time.Sleep(31 * time.Second)
		w.reader.Take(w.out.kept[1:])
		if st := w.b.Stats(); w.inbound != 1 || st.Expired != 1 {
			t.Errorf("%d packets came, %+v", w.inbound, st)
		}
	})
}

func TestOnlyWhoWasAskedAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMesh(t)
		defer m.stop()
		a := m.start(1, v4(1))
		m.start(2, v4(2))
		m.start(3, v4(3))
		m.join()
		time.Sleep(2 * time.Second)
		m.net.Cut(v4(1).Addr(), v4(2).Addr())
		type result struct {
			answer []byte
			err    error
		}
		done := make(chan result)
		go func() {
			b, err := a.Request(t.Context(), 2, 1, nil)
			done <- result{b, err}
		}()
		synctest.Wait()
		r := a.NewReader()
		id := a.LastRequest()
		answer := []byte{5, byte(id >> 24), byte(id >> 16), byte(id >> 8), byte(id), 0}
		r.Content(3, 0, append(answer, "wrong"...), v4(3))
		r.Content(2, 0, append(answer, "right"...), v4(2))
		if got := <-done; got.err != nil || string(got.answer) != "right" {
			t.Errorf("answer %q, %v", got.answer, got.err)
		}
	})
}

func TestMalformed(t *testing.T) {
	w := newWired(t, 4)
	s := w.a.NewSender()
	if err := s.Send(2, 1, nil); err != nil {
		t.Fatal(err)
	}
	s.Flush()
	w.deliver()
	for i, b := range malformed() {
		if w.reader.Content(1, 100, b, v4(1)) {
			t.Errorf("%d: %x: accepted", i, b)
		}
	}
	for i, b := range wellFormed() {
		if !w.reader.Content(1, 100, b, v4(1)) {
			t.Errorf("%d: %x: refused", i, b)
		}
	}
}
