package link_test

import (
	"context"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rootd/rootd/packetpath/udp"
	"github.com/rootd/rootd/transport/link"
)

// A member that offers in a loop costs what 64 offers at once and one a second cost, and nobody else notices.
func TestTooManyOffers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMesh(t)
		defer m.stop()
		var offers [2][]byte // of 1 and of 3, to 2
		b := m.start(2, v4(2))
		m.exchange = func(uint16, uint16) (time.Duration, error) { return 0, errUnreachable }
		all := []link.Member{{ID: 1, Endpoints: []netip.AddrPort{v4(1)}}, b.member(), {ID: 3, Endpoints: []netip.AddrPort{v4(3)}}}
		for i, from := range []uint16{1, 3} {
			c, err := m.net.Listen(v4(from), udp.Options{})
			if err != nil {
				t.Fatal(err)
			}
			l, err := link.New(link.Options{Self: from, Conns: []udp.Conn{c}, Exchange: func(_ context.Context, to uint16, o []byte) ([]byte, error) {
				if to == 2 {
					offers[i] = o
				}
				return nil, errUnreachable
			}})
			if err != nil {
				t.Fatal(err)
			}
			if err := l.SetMembers(all); err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancel(t.Context())
			ended := make(chan error)
			go func() { ended <- l.Run(ctx) }()
			time.Sleep(time.Second)
			cancel()
			if err := <-ended; err != nil {
				t.Fatal(err)
			}
		}
		if err := b.SetMembers(all); err != nil {
			t.Fatal(err)
		}
		flood := func(i int) (taken int) {
			for range 1000 {
				if _, err := b.HandleOffer(uint16(1+2*i), offers[i]); err == nil {
					taken++
				}
			}
			return taken
		}
		before := b.Stats().RefusedOffers
		if n := flood(0); n != 64 {
			t.Errorf("%d offers are taken at once", n)
		}
		if n := flood(1); n != 64 {
			t.Errorf("%d offers of another member are taken at once", n)
		}
		if n := b.Stats().RefusedOffers - before; n != 2*(1000-64) {
			t.Errorf("%d offers are counted as refused", n)
		}
		time.Sleep(10 * time.Second)
		if n := flood(0); n != 10 {
			t.Errorf("%d offers are taken 10 s later", n)
		}
		time.Sleep(time.Hour)
		if n := flood(0); n != 64 {
			t.Errorf("%d offers are taken an hour later", n)
		}
	})
}
