package steer_test

import (
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/rootd/rootd/geo"
	"github.com/rootd/rootd/geo/steer"
)

// Where things are.
func ams() geo.Unit { return place(52.37, 4.89) }
func fra() geo.Unit { return place(50.11, 8.68) }
func nyc() geo.Unit { return place(40.71, -74.01) }
func sin() geo.Unit { return place(1.35, 103.82) }
func par() geo.Unit { return place(48.86, 2.35) }

// cluster is members 1 Amsterdam, 2 New York, 3 Singapore.
func cluster() []steer.Member {
	m := func(id uint16, u geo.Unit) steer.Member {
		return steer.Member{ID: id, Unit: u, Up: true, Load: 200, Planet4: 100, Planet6: 100}
	}
	return []steer.Member{m(1, ams()), m(2, nyc()), m(3, sin())}
}

func paris() steer.Peer {
	return steer.Peer{Unit: par(), RadiusKm: 20, Family: steer.FamilyF6, Current: 3, Planet: 100, Now: 1_000_000}
}

func TestReasons(t *testing.T) {
	ms, m := time.Millisecond, func(change func([]steer.Member)) []steer.Member {
		all := cluster()
		change(all)
		return all
	}
	rtt := func(member uint16, d time.Duration) geo.RTT {
		return geo.RTT{Member: member, N: 10, Micros: uint32(d.Microseconds()), Dev: 500, At: 999_000}
	}
	for _, c := range []struct {
		name    string
		members []steer.Member
		peer    func(*steer.Peer)
		target  uint16
		reason  steer.Reason
	}{
		{"far away", cluster(), func(*steer.Peer) {}, 1, steer.MoveCost},
		{"at home", cluster(), func(p *steer.Peer) { p.Current = 1 }, 0, steer.StayBest},
		{"attached nowhere", cluster(), func(p *steer.Peer) { p.Current = 0 }, 1, steer.MovePlace},
		{"position unknown", cluster(), func(p *steer.Peer) { p.Unit = geo.Unit{} }, 0, steer.StayUnknown},
		{"other member's position unknown", m(func(a []steer.Member) { a[0].Unit = geo.Unit{} }), func(*steer.Peer) {}, 2, steer.MoveCost},
		{"own member's position unknown", m(func(a []steer.Member) { a[2].Unit = geo.Unit{} }), func(*steer.Peer) {}, 0, steer.StayUnknown},
		{"a drain knows no unknown", m(func(a []steer.Member) { a[2].Draining, a[1].Up = true, false }), func(p *steer.Peer) { p.Unit = geo.Unit{} }, 1, steer.MoveDrain},
		{"member is down", m(func(a []steer.Member) { a[0].Up = false }), func(*steer.Peer) {}, 2, steer.MoveCost},
		{"member is draining", m(func(a []steer.Member) { a[0].Draining = true }), func(*steer.Peer) {}, 2, steer.MoveCost},
		{"member is full", m(func(a []steer.Member) { a[0].Load = 950 }), func(*steer.Peer) {}, 2, steer.MoveCost},
		{"member is silent", m(func(a []steer.Member) { a[0].Closed4 = true }), func(*steer.Peer) {}, 2, steer.MoveCost},
		{"own member is silent", m(func(a []steer.Member) { a[0].Closed4 = true }), func(p *steer.Peer) { p.Current = 1 }, 0, steer.StayMargin},
		{"the best came up just now", m(func(a []steer.Member) { a[0].Settling = true }), func(*steer.Peer) {}, 0, steer.StaySettling},
		{"the best came up just now, drain", m(func(a []steer.Member) { a[0].Settling, a[2].Draining = true, true }), func(*steer.Peer) {}, 1, steer.MoveDrain},
		{"not in its planet", m(func(a []steer.Member) { a[0].Planet4 = 101 }), func(*steer.Peer) {}, 2, steer.MoveCost},
		{"not in any planet", m(func(a []steer.Member) { a[0].Planet4 = 0 }), func(*steer.Peer) {}, 2, steer.MoveCost},
		{"only the other family", m(func(a []steer.Member) { a[0].Planet4 = 0 }), func(p *steer.Peer) { p.V6 = true }, 1, steer.MoveCost},
		{"nobody in its planet", cluster(), func(p *steer.Peer) { p.Planet = 0 }, 0, steer.StayNobody},
		{"loaded member is dearer", m(func(a []steer.Member) {
			a[1].Unit, a[0].Load = fra(), 940 // Frankfurt is 4 ms farther
		}), func(*steer.Peer) {}, 2, steer.MoveCost},
		{"weak member is dearer", m(func(a []steer.Member) { a[1].Unit, a[0].Weight = fra(), 50 }), func(*steer.Peer) {}, 2, steer.MoveCost},
		{"10 ms are too little", m(func(a []steer.Member) { a[2].Unit = fra() }), func(p *steer.Peer) { p.At = 1 }, 0, steer.StayMargin},
		{"10 ms are enough for the first time", m(func(a []steer.Member) { a[2].Unit = fra() }), func(p *steer.Peer) { p.RadiusKm = 5 }, 1, steer.MoveCost},
		{"the first time, but one of two is measured", m(func(a []steer.Member) { a[2].Unit = fra() }), func(p *steer.Peer) { p.RadiusKm, p.RTT = 5, []geo.RTT{rtt(3, 12*ms)} }, 0, steer.StayMargin},
		{"a drain needs no gain", m(func(a []steer.Member) { a[2].Unit, a[2].Draining = fra(), true }), func(*steer.Peer) {}, 1, steer.MoveDrain},
		{"a removed member", cluster()[:2], func(*steer.Peer) {}, 1, steer.MovePlace},
		{"places itself", cluster(), func(p *steer.Peer) { p.Family = steer.FamilyF3 }, 0, steer.StaySelfPlacing},
		{"places itself, but is in a drain", m(func(a []steer.Member) { a[2].Draining = true }), func(p *steer.Peer) { p.Family = steer.FamilyF4 }, 1, steer.MoveDrain},
		{"places itself at a loaded member", m(func(a []steer.Member) { a[2].Load = 900 }), func(p *steer.Peer) { p.Family = steer.FamilyF4 }, 1, steer.MoveBalance},
		{"unknown software", cluster(), func(p *steer.Peer) { p.Family = steer.FamilyUnknown }, 0, steer.StayVersion},
		{"a handoff is under way", cluster(), func(p *steer.Peer) { p.Target, p.Pushed = 1, p.Now-29 }, 0, steer.StayUnderWay},
		{"a handoff that nobody finished", cluster(), func(p *steer.Peer) { p.Target, p.Pushed = 1, p.Now-1000 }, 1, steer.MoveCost},
		{"pushed a moment ago", cluster(), func(p *steer.Peer) { p.Pushed = p.Now - 34 }, 0, steer.StayPushGate},
		{"pushed a moment ago, drain", m(func(a []steer.Member) { a[2].Draining = true }), func(p *steer.Peer) { p.Pushed = p.Now - 34 }, 0, steer.StayPushGate},
		{"push gate open, drain", m(func(a []steer.Member) { a[2].Draining = true }), func(p *steer.Peer) { p.Pushed = p.Now - 35 }, 1, steer.MoveDrain},
		{"moved 9 minutes ago", cluster(), func(p *steer.Peer) { p.At, p.Moves = p.Now-599, 1 }, 0, steer.StayDwell},
		{"back so soon for 20 ms", m(func(a []steer.Member) { a[2].Unit, a[2].Load = fra(), 850 }), func(p *steer.Peer) { p.At, p.Moves, p.From = p.Now-1900, 1, 1 }, 0, steer.StayMargin},
		{"to another one for 20 ms", m(func(a []steer.Member) { a[2].Unit, a[2].Load = fra(), 850 }), func(p *steer.Peer) { p.At, p.Moves, p.From = p.Now-1900, 1, 2 }, 1, steer.MoveBalance},
		{"back so soon for 170 ms", cluster(), func(p *steer.Peer) { p.At, p.Moves, p.From = p.Now-1900, 1, 1 }, 1, steer.MoveCost},
		{"moved in the other family 9 minutes ago", cluster(), func(p *steer.Peer) { p.Pushed, p.Moves = p.Now-599, 1 }, 1, steer.MoveCost},
		{"moved 10 minutes ago", cluster(), func(p *steer.Peer) { p.At, p.Moves = p.Now-600, 1 }, 1, steer.MoveCost},
		{"moved twice, 11 minutes ago", cluster(), func(p *steer.Peer) { p.At, p.Moves = p.Now-660, 2 }, 0, steer.StayDwell},
		{"moved often", cluster(), func(p *steer.Peer) { p.At, p.Moves = p.Now-7200, 4 }, 0, steer.StayBudget},
		{"target failed", cluster(), func(p *steer.Peer) { p.At, p.Fails, p.Failed = p.Now-1201, 2, 1 }, 0, steer.StayDwell},
		{"target failed long ago", cluster(), func(p *steer.Peer) { p.At, p.Fails, p.Failed = p.Now-6000, 1, 1 }, 1, steer.MoveCost},
		{"target failed, drain", m(func(a []steer.Member) { a[2].Draining = true }), func(p *steer.Peer) { p.At, p.Fails, p.Failed = p.Now-599, 1, 1 }, 2, steer.MoveDrain},
		{"radius larger than the gain", cluster(), func(p *steer.Peer) { p.RadiusKm = 8000 }, 0, steer.StayMargin},
		{"measured", cluster(), func(p *steer.Peer) { p.RTT = []geo.RTT{rtt(1, 200*ms), rtt(2, 80*ms), rtt(3, 300*ms)} }, 2, steer.MoveCost},
		{"measured of the wider area", cluster(), func(p *steer.Peer) { p.Wide = []geo.RTT{rtt(1, 200*ms), rtt(2, 80*ms), rtt(3, 300*ms)} }, 2, steer.MoveCost},
		{"measured here, without position", cluster(), func(p *steer.Peer) { p.Unit, p.RTT = geo.Unit{}, []geo.RTT{rtt(1, 20*ms), rtt(3, 300*ms)} }, 1, steer.MoveCost},
		{"measured, but not here, without position", cluster(), func(p *steer.Peer) { p.Unit, p.RTT = geo.Unit{}, []geo.RTT{rtt(1, 20*ms)} }, 0, steer.StayUnknown},
		{"measured long ago", cluster(), func(p *steer.Peer) {
			p.RTT = []geo.RTT{rtt(2, ms)}
			p.RTT[0].At = 1
		}, 1, steer.MoveCost},
		{"noisy", cluster(), func(p *steer.Peer) {
			p.RTT = []geo.RTT{rtt(1, 100*ms), rtt(2, 200*ms), rtt(3, 160*ms)}
			p.RTT[0].Dev = 30_000
		}, 0, steer.StayMargin},
		{"a long way to the first exchange", cluster(), func(p *steer.Peer) { p.At, p.RTT = 1, []geo.RTT{rtt(3, 9000*ms)} }, 0, steer.StayMargin},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := paris()
			if c.name == "measured long ago" {
				p.Now = 10_000_000
			}
			c.peer(&p)
			table := steer.Compile(steer.DefaultParams(), c.members)
			if d := table.Decide(&p); d.Target != c.target || d.Reason != c.reason {
				current, cost := table.Costs(&p)
				t.Errorf("to %d, %q (%d µs here, %d µs at %d); expected %d, %q", d.Target, d.Reason, current, cost, d.Best, c.target, c.reason)
			}
		})
	}
}

func TestFamilyOf(t *testing.T) {
	for _, c := range []struct {
		major, minor uint8
		revision     uint16
		want         steer.Family
	}{
		{1, 1, 14, steer.FamilyF0},
		{1, 2, 4, steer.FamilyF0},
		{1, 2, 6, steer.FamilyF1},
		{1, 4, 6, steer.FamilyF1},
		{1, 5, 0, steer.FamilyF2},
		{1, 6, 2, steer.FamilyF2},
		{1, 6, 3, steer.FamilyF3},
		{1, 8, 4, steer.FamilyF3},
		{1, 8, 5, steer.FamilyF4},
		{1, 10, 2, steer.FamilyF4},
		{1, 10, 3, steer.FamilyF5},
		{1, 10, 6, steer.FamilyF5},
		{1, 12, 0, steer.FamilyF6},
		{1, 16, 0, steer.FamilyF6},
	} {
		if got := steer.FamilyOf(11, c.major, c.minor, c.revision); got != c.want {
			t.Errorf("%d.%d.%d is %s, expected %s", c.major, c.minor, c.revision, got, c.want)
		}
	}
	if steer.FamilyOf(0, 1, 14, 0) != steer.FamilyUnknown {
		t.Error("without a protocol the family is unknown")
	}
}

// TestFollowed follows decisions with the same facts: the next is to stay, whatever the members, peer and measurements.
func TestFollowed(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		table := steer.Compile(params().Draw(rt, "params"), members().Draw(rt, "members"))
		p := peers().Draw(rt, "peer")
		d := table.Decide(&p)
		if d.Target == 0 {
			return
		}
		p.Current, p.Target = d.Target, 0
		later := rapid.Uint32Range(0, 100_000).Draw(rt, "later")
		p.At, p.Pushed, p.Now = p.Now, p.Now, p.Now+later
		if rapid.Bool().Draw(rt, "forgotten") {
			p.At, p.Pushed, p.Moves = 0, 0, 0
		}
		for i := range p.RTT { // as old as it was
			p.RTT[i].At += later
		}
		for i := range p.Wide {
			p.Wide[i].At += later
		}
		if p.Fails > 0 { // that the failed target is left out is a fact too
			p.At, p.Fails = p.Now-1, 9
		}
		if again := table.Decide(&p); again.Target != 0 {
			rt.Fatalf("to %d (%s), then to %d (%s)", d.Target, d.Reason, again.Target, again.Reason)
		}
	})
}

// TestNeverThere checks a target against the facts.
func TestNeverThere(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		prm, ms := params().Draw(rt, "params"), members().Draw(rt, "members")
		p := peers().Draw(rt, "peer")
		d := steer.Compile(prm, ms).Decide(&p)
		if d.Target == 0 {
			return
		}
		i := slices.IndexFunc(ms, func(m steer.Member) bool { return m.ID == d.Target })
		if i < 0 {
			rt.Fatalf("target %d does not exist", d.Target)
		}
		m := ms[i]
		published, closed := m.Planet4, m.Closed4
		if p.V6 {
			published, closed = m.Planet6, m.Closed6
		}
		switch {
		case !m.Up, m.Draining, closed, m.Load >= prm.LoadFull, published == 0, published > p.Planet, m.ID == p.Current:
			rt.Fatalf("peer %+v is sent to %+v", p, m)
		case p.Target != 0 && p.Pushed != 0 && p.Now < p.Pushed+30:
			rt.Fatal("two handoffs at a time")
		case p.Pushed != 0 && p.Now < p.Pushed+35 && d.Reason != steer.MovePlace:
			rt.Fatal("pushed within the gate")
		case m.ID == p.Failed && p.Fails > 0 && p.At != 0 && int64(p.Now-p.At) < int64(prm.HoldDown.Seconds()):
			rt.Fatal("sent to the target that just failed")
		}
	})
}

// TestOrder checks that neither the order of members nor anything but the arguments matters.
func TestOrder(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		prm, ms := params().Draw(rt, "params"), members().Draw(rt, "members")
		p := peers().Draw(rt, "peer")
		want := steer.Compile(prm, ms).Decide(&p)
		if got := steer.Compile(prm, rapid.Permutation(ms).Draw(rt, "order")).Decide(&p); got != want {
			rt.Fatalf("%+v, in another order %+v", want, got)
		}
	})
}

// TestDrainOnlyRemoves checks that draining a member takes it away as a target and changes nothing for who is elsewhere and stays.
func TestDrainOnlyRemoves(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		prm, ms := params().Draw(rt, "params"), members().Draw(rt, "members")
		p := peers().Draw(rt, "peer")
		p.RTT, p.Wide = nil, nil
		full := steer.Compile(prm, ms)
		before := full.Decide(&p)
		_, costBefore := full.Costs(&p)
		i := rapid.IntRange(0, len(ms)-1).Draw(rt, "who")
		drained := slices.Clone(ms)
		drained[i].Draining = true
		rest := steer.Compile(prm, drained)
		after := rest.Decide(&p)
		_, costAfter := rest.Costs(&p)
		switch {
		case after.Target == ms[i].ID:
			rt.Fatal("sent to a member in a drain")
		case ms[i].ID != p.Current && before.Target == 0 && before.Best != ms[i].ID && after.Target != 0:
			rt.Fatalf("moved to %d because %d drains", after.Target, ms[i].ID)
		case ms[i].ID != p.Current && before.Target != 0 && before.Target != ms[i].ID && (costAfter != costBefore || after.Reason != before.Reason):
			rt.Fatalf("was %+v, is %+v because %d drains", before, after, ms[i].ID)
		}
	})
}

// TestExplain checks that an explanation is the decision, and that its terms add up.
func TestExplain(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		ms := members().Draw(rt, "members")
		table := steer.Compile(params().Draw(rt, "params"), ms)
		p := peers().Draw(rt, "peer")
		d, x := table.Decide(&p), table.Explain(&p)
		current, cost := table.Costs(&p)
		if p.Target == 0 && x.Decision != d {
			rt.Fatalf("decided %+v, explained %+v", d, x.Decision)
		}
		for _, m := range x.Members {
			may := m.Out == steer.OutNot
			switch {
			case m.Member == d.Best && int64(cost) != m.Cost:
				rt.Fatalf("best at %d µs, explained %+v", cost, m)
			case m.Member == d.Best && !may:
				rt.Fatalf("the best may not: %+v", m)
			case may && d.Best == 0:
				rt.Fatalf("nobody was best, but %+v may", m)
			case may && m.Cost < int64(cost):
				rt.Fatalf("best is %d at %d µs, but %+v is better", d.Best, cost, m)
			case m.Member == p.Current && m.Cost != int64(current):
				rt.Fatalf("present member costs %d µs, explained %+v", current, m)
			}
		}
		if d.Reason == steer.MoveCost && x.Gain < x.Need.Total || d.Reason == steer.StayMargin && x.Gain >= x.Need.Total {
			rt.Fatalf("%s: gain %d of %+v", d.Reason, x.Gain, x.Need)
		}
	})
}

func TestNoAllocations(t *testing.T) {
	table := steer.Compile(steer.DefaultParams(), fleet(12, 300))
	p := paris()
	m := p
	m.RTT = []geo.RTT{{Member: 1, N: 9, Micros: 9, At: m.Now}}
	if n := testing.AllocsPerRun(100, func() { table.Decide(&p); table.Decide(&m) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// TestProbe: whom the present member should have measure, if anybody.
func TestProbe(t *testing.T) {
	rtt := func(member uint16, ms uint32) geo.RTT {
		return geo.RTT{Member: member, N: 10, Micros: ms * 1000, At: 999_000}
	}
	for _, c := range []struct {
		name string
		peer func(*steer.Peer)
		want []uint16 // one of them
	}{
		{"nothing is measured", func(*steer.Peer) {}, []uint16{0}},
		{"the near one was not", func(p *steer.Peer) { p.RTT = []geo.RTT{rtt(3, 160)} }, []uint16{1}},
		{"it was", func(p *steer.Peer) { p.RTT = []geo.RTT{rtt(1, 150), rtt(3, 160)} }, []uint16{2}},
		{"all were", func(p *steer.Peer) { p.RTT = []geo.RTT{rtt(1, 150), rtt(2, 155), rtt(3, 160)} }, []uint16{0}},
		{"only others were", func(p *steer.Peer) { p.RTT = []geo.RTT{rtt(1, 150)} }, []uint16{0}},
		{"nobody can be better", func(p *steer.Peer) { p.RTT, p.Current = []geo.RTT{rtt(1, 8)}, 1 }, []uint16{0}},
		{"position unknown", func(p *steer.Peer) { p.RTT, p.Unit = []geo.RTT{rtt(3, 160)}, geo.Unit{} }, []uint16{1, 2}},
		{"position unknown, and near", func(p *steer.Peer) { p.RTT, p.Unit = []geo.RTT{rtt(3, 9)}, geo.Unit{} }, []uint16{0}},
		{"not in its planet", func(p *steer.Peer) { p.RTT, p.Planet = []geo.RTT{rtt(3, 160)}, 99 }, []uint16{0}},
	} {
		p := paris()
		c.peer(&p)
		if got := steer.Compile(steer.DefaultParams(), cluster()).Probe(&p); !slices.Contains(c.want, got) {
			t.Errorf("%s: %d, expected one of %d", c.name, got, c.want)
		}
	}
}
