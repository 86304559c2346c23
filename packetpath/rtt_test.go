package packetpath_test

import (
	"net/netip"
	"testing"
	"time"

	"github.com/rootd/rootd/fsm"
	"github.com/rootd/rootd/geo"
	"github.com/rootd/rootd/packetpath"
	"github.com/rootd/rootd/packetpath/udp"
)

// measuring makes the members of a lab put what they measure into the log.
func measuring(l **lab) func(*packetpath.Options) {
	return func(o *packetpath.Options) {
		member := o.Member
		o.KeepWarm = 25 * time.Second
		o.RoundTrips = func(rows []fsm.RoundTrip) {
			self, _ := (*l).fsm.View().State().Member(member)
			(*l).apply(&fsm.RoundTrips{Member: member, Epoch: self.Epoch, Rows: rows})
		}
	}
}

// TestAloneNothingIsTold: the log of a member that is alone is spared.
func TestAloneNothingIsTold(t *testing.T) {
	inCluster(t, 1, func(o *packetpath.Options) {
		o.KeepWarm = 25 * time.Second
		o.RoundTrips = func(rows []fsm.RoundTrip) { t.Errorf("%d round trips for the log", len(rows)) }
	}, func(l *lab) {
		c := l.client(1, "192.0.2.1:9993").attach()
		for end := time.Now().Add(4 * time.Minute); time.Now().Before(end); {
			c.next() // answers ECHO
		}
		if n := l.count(packetpath.RTTSamples); n < 3 {
			t.Errorf("%d samples", n)
		}
	})
}

// TestRoundTripsAreMeasured has three clients in one neighbourhood, 80 ms from their member: by its ECHO it learns that, and
// tells the log once, not with each of them.
func TestRoundTripsAreMeasured(t *testing.T) {
	var l *lab
	entries := 0
	inCluster(t, 2, func(o *packetpath.Options) {
		measuring(&l)(o)
		apply := o.RoundTrips
		o.RoundTrips = func(rows []fsm.RoundTrip) { entries++; apply(rows) }
	}, func(in *lab) {
		l = in
		l.net.SetFate(func(_, _ netip.AddrPort, _ []byte) udp.Fate { return udp.Fate{Delay: 40 * time.Millisecond} })
		for i := range 3 {
			c := l.client(i+1, netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 0, 2, byte(i + 1)}), 9993).String())
			c.attach()
			for end := time.Now().Add(4 * time.Minute); time.Now().Before(end); {
				c.next() // answers ECHO
			}
		}
		near, wide := geo.Areas(netip.MustParseAddr("192.0.2.1"))
		st := l.fsm.View().State()
		rows := st.RTTs.Of(near)
		if len(rows) != 1 || rows[0].Member != 1 || rows[0].Micros < 78_000 || rows[0].Micros > 82_000 || rows[0].N < 3 {
			t.Fatalf("rows %+v", rows)
		}
		if rows := st.RTTs.Of(wide); len(rows) != 1 || rows[0].N < 8 {
			t.Errorf("of the wider neighbourhood %+v", rows)
		}
		if n := l.count(packetpath.RTTSamples); n < 12 {
			t.Errorf("%d samples", n)
		}
		if entries > 5 {
			t.Errorf("the log heard of it %d times", entries)
		}
	})
}
