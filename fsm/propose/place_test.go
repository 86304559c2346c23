package propose_test

import (
	"errors"
	"net/netip"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rootd/rootd/fsm"
	"github.com/rootd/rootd/fsm/propose"
	"github.com/rootd/rootd/geo"
	"github.com/rootd/rootd/packetpath/vl1"
)

// atlas is a locator whose places can be replaced.
type atlas struct {
	at    atomic.Pointer[geo.Overrides]
	asked atomic.Int64
}

func newAtlas(t *testing.T, lines ...string) *atlas {
	a := new(atlas)
	a.set(t, lines...)
	return a
}

func (a *atlas) set(t *testing.T, lines ...string) {
	t.Helper()
	var list []geo.Override
	for _, line := range lines {
		o, err := geo.ParseOverride(line)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, o)
	}
	a.at.Store(geo.NewOverrides(list, "test"))
}

func (a *atlas) Locate(addr netip.Addr) (geo.Place, bool) {
	a.asked.Add(1)
	return a.at.Load().Locate(addr)
}

func withAtlas(a *atlas) func(*propose.Options) {
	return func(o *propose.Options) { o.Locator, o.Member, o.RelocateRate = a, 1, 100 }
}

func where(t *testing.T, c *cluster, a vl1.Address) string {
	t.Helper()
	r, ok := c.peer(a)
	if !ok {
		t.Fatalf("peer %v is not known", a)
	}
	return geo.Unit(r.Position).String()
}

func TestWhereAPeerIsGoesWithItsEndpoint(t *testing.T) {
	a := newAtlas(t, "192.0.2.0/24 52.37,4.89,100", "198.51.100.0/24 52.09,5.12,100", "203.0.113.0/24 35.68,139.69", "2001:db8::/32 40.71,-74.01")
	in(t, withAtlas(a), func(t *testing.T, c *cluster, p *propose.Proposer) {
		p.Offer([]fsm.Sighting{seen(5, "192.0.2.1:1"), seen(6, "[2001:db8::1]:1"), seen(7, "10.0.0.1:1")})
		pass(time.Second)
		if len(c.taken()) != 1 || where(t, c, 5) != "52.37,4.89" || where(t, c, 6) != "40.71,-74.01" || where(t, c, 7) != "" {
			t.Fatalf("they are at %q, %q, %q", where(t, c, 5), where(t, c, 6), where(t, c, 7))
		}
		if r, _ := c.peer(5); geo.RadiusKm(r.Flags) != 128 {
			t.Errorf("within %d km", geo.RadiusKm(r.Flags))
		}

		asked := a.asked.Load()
		p.Offer([]fsm.Sighting{seen(5, "192.0.2.1:1"), seen(7, "10.0.0.1:1")})
		pass(time.Second)
		if a.asked.Load() != asked || len(c.taken()) != 0 {
			t.Error("a sighting that says nothing new was located")
		}

		// IPv4 says where a peer with both families is, whichever came first.
		p.Offer([]fsm.Sighting{seen(5, "[2001:db8::1]:1"), seen(6, "203.0.113.1:1")})
		pass(time.Second)
		if where(t, c, 5) != "52.37,4.89" || where(t, c, 6) != "35.68,139.69" {
			t.Errorf("they are at %q, %q", where(t, c, 5), where(t, c, 6))
		}
		c.taken()

		// 35 km away within 100 km is the same place; Tokyo is another one.
		pass(time.Hour)
		p.Offer([]fsm.Sighting{seen(5, "198.51.100.1:1")})
		pass(time.Second)
		if es := c.taken(); len(es) != 1 || es[0].Command.(fsm.Changes)[0].HasPosition {
			t.Errorf("%+v", es)
		}
		pass(time.Hour)
		p.Offer([]fsm.Sighting{seen(5, "203.0.113.9:1")})
		pass(time.Second)
		if where(t, c, 5) != "35.68,139.69" {
			t.Errorf("it is at %q", where(t, c, 5))
		}
		if n := p.Metrics().Located; n != 4 {
			t.Errorf("%d positions proposed", n)
		}
	})
}

func TestAnotherAtlasMovesPeersSlowly(t *testing.T) {
	a := newAtlas(t, "192.0.2.0/24 52.37,4.89")
	in(t, withAtlas(a), func(t *testing.T, c *cluster, p *propose.Proposer) {
		var ss []fsm.Sighting
		for i := range vl1.Address(300) {
			ss = append(ss, seen(i+1, "192.0.2.1:1"))
		}
		other := seen(999, "192.0.2.1:1")
		other.Member = 2
		p.Offer(append(ss, other))
		pass(time.Second)
		before, _ := c.peer(7)
		c.taken()

		a.set(t, "192.0.2.0/24 35.68,139.69")
		p.Relocate()
		p.Relocate()
		pass(1050 * time.Millisecond)
		moved := 0
		for i := range vl1.Address(300) {
			if where(t, c, i+1) == "35.68,139.69" {
				moved++
			}
		}
		if moved < 90 || moved > 120 { // 100 a second
			t.Errorf("%d moved in the first second", moved)
		}
		pass(4 * time.Second)
		for i := range vl1.Address(300) {
			if where(t, c, i+1) != "35.68,139.69" {
				t.Fatalf("peer %v is at %q", i+1, where(t, c, i+1))
			}
		}
		if where(t, c, 999) != "52.37,4.89" {
			t.Error("a peer of another member was moved")
		}
		if after, _ := c.peer(7); after.LastSeen != before.LastSeen {
			t.Error("to be located anew is a sign of life")
		}
		c.taken()

		p.Relocate() // nothing moved since
		pass(10 * time.Second)
		if n := len(c.taken()); n != 0 {
			t.Errorf("%d entries", n)
		}

		a.set(t) // what nothing knows any more stays where it was
		p.Relocate()
		pass(10 * time.Second)
		if len(c.taken()) != 0 || where(t, c, 7) != "35.68,139.69" {
			t.Errorf("it is at %q", where(t, c, 7))
		}
	})
}

func TestRelocationSurvivesAFailedEntry(t *testing.T) {
	a := newAtlas(t, "192.0.2.0/24 52.37,4.89")
	in(t, withAtlas(a), func(t *testing.T, c *cluster, p *propose.Proposer) {
		p.Offer([]fsm.Sighting{seen(5, "192.0.2.1:1")})
		pass(time.Second)
		c.set(func() { c.fail = errors.New("no leader") })
		a.set(t, "192.0.2.0/24 35.68,139.69")
		p.Relocate()
		pass(time.Second)
		c.set(func() { c.fail = nil })
		pass(10 * time.Second)
		if where(t, c, 5) != "35.68,139.69" {
			t.Errorf("it is at %q", where(t, c, 5))
		}
	})
}

// TestLocatedWhilePlacesChange: what was located among the old places may reach the log after the walk that looked for it.
func TestLocatedWhilePlacesChange(t *testing.T) {
	a := newAtlas(t)
	in(t, withAtlas(a), func(t *testing.T, c *cluster, p *propose.Proposer) {
		p.Relocate()
		pass(time.Second)
		p.Offer([]fsm.Sighting{seen(5, "192.0.2.1:1")})
		pass(time.Second)
		a.set(t, "192.0.2.0/24 52.37,4.89") // as if it had been located before the walk and applied after it
		if at := where(t, c, 5); at != "" {
			t.Fatalf("it is at %q", at)
		}
		pass(20 * time.Second)
		if at := where(t, c, 5); at != "52.37,4.89" {
			t.Errorf("it is at %q", at)
		}
	})
}
