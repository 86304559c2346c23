package fsm_test

import (
	"net/netip"
	"testing"

	"github.com/rootd/rootd/fsm"
	"github.com/rootd/rootd/fsm/table"
	"github.com/rootd/rootd/packetpath/vl1"
)

const roamer = vl1.Address(0x77)

// moving is a cluster of members 1 to 3, all in the planet, with a peer that is attached to member 1 in both families.
func moving(t testing.TB) *machine {
	t.Helper()
	m := newMachine(t)
	var eps []netip.AddrPort
	for id := table.MemberID(1); id <= 3; id++ {
		own := []netip.AddrPort{
			netip.AddrPortFrom(netip.AddrFrom4([4]byte{198, 51, 100, byte(id)}), 9993),
			netip.AddrPortFrom(netip.AddrFrom16([16]byte{0x20, 1, 0xd, 0xb8, 15: byte(id)}), 9993),
		}
		eps = append(eps, own...)
		m.must(&fsm.MemberUp{ID: id, Name: join(id).Name, Endpoints: own})
	}
	w := vl1.World{Type: vl1.WorldPlanet, ID: 77, Timestamp: 1000, Roots: []vl1.Root{{Identity: bootstrap().Root, Endpoints: eps}}}
	m.must(&fsm.PublishPlanet{World: w.AppendBinary(nil)})
	m.must(fsm.Changes{{Address: roamer, HasKey: true, Key: key(1), Protocol: 12, Major: 1, Minor: 14, Planet: 1000}})
	m.seen(1, true, true)
	return m
}

// seen attaches the peer to a member.
func (m *machine) seen(id table.MemberID, v4, v6 bool) {
	m.t.Helper()
	mem, _ := m.View().State().Member(id)
	c := fsm.Change{Address: roamer, Key: key(1), HasKey: true, Member: id, Epoch: mem.Epoch}
	if v4 {
		c.V4 = netip.MustParseAddrPort("192.0.2.77:9993")
	}
	if v6 {
		c.V6 = netip.MustParseAddrPort("[2001:db8:77::1]:9993")
	}
	m.must(fsm.Changes{c})
}

// step proposes a step of a handoff of the peer, and reports whether it was taken.
func (m *machine) step(s fsm.HandoffStep, v6 bool, from, to table.MemberID) bool {
	m.t.Helper()
	mem, _ := m.View().State().Member(from)
	before := m.View().State().Counters.HandoffsRefused
	m.must(fsm.Handoffs{{Address: roamer, Step: s, V6: v6, From: from, Epoch: mem.Epoch, Target: to}})
	return m.View().State().Counters.HandoffsRefused == before
}

func TestHandoffOfBothFamilies(t *testing.T) {
	m := moving(t)
	if !m.step(fsm.HandoffBegin, false, 1, 2) {
		t.Fatal("refused")
	}
	if m.step(fsm.HandoffBegin, true, 1, 2) {
		t.Error("two at a time")
	}
	m.now += 1000
	m.seen(2, true, false)
	h := m.peer(roamer).Handoff
	if h.Target != 0 || h.Prio4 != 3 || h.Prio6 > 1 || h.Moves != 1 || h.Pushes != 1 || h.Since4 == 0 || h.Since6 != 0 || h.From != 1 {
		t.Fatalf("after the first: %+v", h)
	}
	if m.step(fsm.HandoffBegin, false, 2, 3) {
		t.Error("moved on although it was pushed a second ago")
	}
	if !m.step(fsm.HandoffBegin, true, 1, 2) {
		t.Fatal("the other family may not follow")
	}
	m.seen(2, false, true)
	if h = m.peer(roamer).Handoff; h.Prio4 != 3 || h.Prio6 != 3 || h.Pushes != 2 || h.Moves != 2 {
		t.Fatalf("after both: %+v", h)
	}
	m.now += 36_000
	if !m.step(fsm.HandoffBegin, false, 2, 3) {
		t.Fatal("the gate is open again")
	}
	m.seen(3, true, false)
	if h = m.peer(roamer).Handoff; h.Prio4 != 5 || h.Prio6 != 0 || h.Pushes != 1 {
		t.Fatalf("the client has forgotten its IPv6 path: %+v", h)
	}
	rec := m.peer(roamer)
	if n := fsm.LevelRedirects(&rec, true); n != 2 || !m.step(fsm.HandoffLevel, true, 2, 0) {
		t.Fatalf("%d redirects to level, or refused", n)
	}
	if h = m.peer(roamer).Handoff; h.Prio6 != 5 || h.Pushes != 3 {
		t.Fatalf("after levelling: %+v", h)
	}
	c := m.View().State().Counters
	if c.Handoffs != 3 || c.HandoffsDone != 3 || c.HandoffLevels != 1 || c.HandoffsFailed+c.HandoffsVoid != 0 {
		t.Errorf("%+v", c)
	}
}

func TestHandoffIsRefused(t *testing.T) {
	for name, change := range map[string]func(m *machine){
		"the peer roamed":      func(m *machine) { m.seen(3, true, false) },
		"the member restarted": func(m *machine) { m.must(&fsm.MemberUp{ID: 1, Name: "ams"}) },
		"the target drains":    func(m *machine) { m.must(&fsm.MemberSet{ID: 2, SetDrain: true, Drain: fsm.DrainOperator}) },
		"the target is down":   func(m *machine) { m.must(&fsm.MemberDown{ID: 2, Epoch: 1, Cause: fsm.DownStopped}) },
		"the target is silent": func(m *machine) {
			m.now += 15_000
			m.must(&fsm.Health{Reports: []fsm.HealthReport{{Member: 1, Epoch: 2}}})
		},
		"the target has moved":     func(m *machine) { m.must(&fsm.MemberUp{ID: 2, Name: "m2", Endpoints: []netip.AddrPort{listed4}}) },
		"the peer's planet is old": func(m *machine) { m.must(fsm.Changes{{Address: roamer, Key: key(1), HasKey: true, Planet: 999}}) },
		"the peer expired":         func(m *machine) { m.must(&fsm.Expire{Cutoff: 1 << 31, Addresses: []vl1.Address{roamer}}) },
		"another is under way":     func(m *machine) { m.step(fsm.HandoffBegin, true, 1, 3) },
	} {
		t.Run(name, func(t *testing.T) {
			m := moving(t)
			change(m)
			before := m.View().State().Counters.HandoffsRefused
			m.must(fsm.Handoffs{{Address: roamer, Step: fsm.HandoffBegin, From: 1, Epoch: 2, Target: 2}})
			c := m.View().State().Counters
			if c.HandoffsRefused != before+1 {
				t.Errorf("accepted: %+v", c)
			}
		})
	}
	m := moving(t)
	if !m.step(fsm.HandoffBegin, false, 1, 2) {
		t.Fatal("refused although nothing is wrong")
	}
}

// After each failure the peer is left alone for longer, the target that failed for longest; one that arrives ends that.
func TestHandoffsThatFail(t *testing.T) {
	m := moving(t)
	if !m.step(fsm.HandoffBegin, false, 1, 2) {
		t.Fatal("the first attempt is refused")
	}
	for i := range 3 {
		m.now += 3000
		if !m.step(fsm.HandoffFailed, false, 1, 2) {
			t.Fatal("the failure is refused")
		}
		if m.step(fsm.HandoffFailed, false, 1, 2) {
			t.Fatal("it failed twice")
		}
		h := m.peer(roamer).Handoff
		if h.Target != 0 || int(h.Fails) != i+1 || h.Failed != 2 {
			t.Fatalf("%+v", h)
		}
		wait := 0
		for !m.step(fsm.HandoffBegin, false, 1, 2) && wait < 3600 {
			wait += 10
			m.now += 10_000
		}
		if least := 300 << i; wait < least-20 || wait > least+20 {
			t.Errorf("tried again after %d s, want %d", wait, least)
		}
	}
	m.step(fsm.HandoffCancelled, false, 1, 2)
	m.now += 3_600_000
	if !m.step(fsm.HandoffBegin, false, 1, 3) {
		t.Fatal("another target is refused")
	}
	m.seen(3, true, false)
	if h := m.peer(roamer).Handoff; h.Fails != 0 || h.Failed != 0 {
		t.Errorf("%+v", h)
	}
}

// A failure leaves the peer's path above the entry of the dead target: two self-redirects over a path of priority 1.
func TestPrioritiesAfterFailure(t *testing.T) {
	m := moving(t)
	for _, want := range []uint8{5, 9, 13} {
		m.now += 21_600_000
		m.step(fsm.HandoffBegin, false, 1, 2)
		rec := m.peer(roamer)
		n := fsm.SelfRedirects(&rec, false)
		m.step(fsm.HandoffFailed, false, 1, 2)
		h := m.peer(roamer).Handoff
		if h.Prio4 != want || 1+2*n != int(want) || h.Pushes != uint8(1+n) {
			t.Errorf("%d self-redirects, %+v; want priority %d", n, h, want)
		}
	}
}

// An intent that nobody ends is void after 30 s; one whose peer arrives late is done all the same.
func TestHandoffLeftBehind(t *testing.T) {
	m := moving(t)
	m.step(fsm.HandoffBegin, false, 1, 2)
	m.now += 29_000
	rec := m.peer(roamer)
	m.must(fsm.Handoffs{{Address: 0x99, Step: fsm.HandoffCancelled, From: 1, Epoch: 2, Target: 2}})
	if !m.View().State().HandoffUnderWay(&rec.Handoff) {
		t.Error("void too early")
	}
	m.now += 7_000
	if !m.step(fsm.HandoffBegin, false, 1, 3) {
		t.Fatal("the old one still holds")
	}
	m.now += 60_000
	m.seen(3, true, false)
	c := m.View().State().Counters
	if h := m.peer(roamer).Handoff; h.Target != 0 || h.Prio4 != 3 || c.HandoffsDone != 1 || c.HandoffsVoid != 1 {
		t.Errorf("%+v %+v", h, c)
	}
	m.now += 36_000
	m.step(fsm.HandoffBegin, false, 3, 1)
	m.seen(2, true, false)
	if h := m.peer(roamer).Handoff; h.Target != 0 || h.Prio4 > 1 {
		t.Errorf("it went elsewhere by itself: %+v", h)
	}
}

// A client before 1.2.6 forgets no paths: its priorities stay, and one self-redirect brings it back.
func TestHandoffOfOldClients(t *testing.T) {
	m := moving(t)
	m.must(fsm.Changes{{Address: roamer, Key: key(1), HasKey: true, Protocol: 8, Major: 1, Minor: 2, Revision: 4}})
	m.step(fsm.HandoffBegin, false, 1, 2)
	m.seen(2, true, false)
	rec := m.peer(roamer)
	if h := rec.Handoff; h.Prio(false) != 1 || fsm.SelfRedirects(&rec, false) != 1 || fsm.LevelRedirects(&rec, true) != 0 {
		t.Errorf("%+v", h)
	}
	m.now += 50_000
	if m.step(fsm.HandoffBegin, false, 2, 3) {
		t.Error("its gate is shut for 60 s")
	}
	m.now += 20_000
	if !m.step(fsm.HandoffBegin, false, 2, 3) {
		t.Error("refused")
	}
}

func TestDrainEnds(t *testing.T) {
	m := newMachine(t)
	drain := func() fsm.Drain { x, _ := m.View().State().Member(1); return x.Drain }
	for _, d := range []fsm.Drain{fsm.DrainOperator, fsm.DrainStopping} {
		m.must(&fsm.MemberSet{ID: 1, SetDrain: true, Drain: d})
		if drain() != d {
			t.Errorf("drain is %d, want %d", drain(), d)
		}
		m.must(&fsm.MemberUp{ID: 1, Name: "ams"})
		if want := d % fsm.DrainStopping; drain() != want {
			t.Errorf("drain is %d after a restart, want %d", drain(), want)
		}
	}
	if r := m.do(&fsm.MemberSet{ID: 9, SetDrain: true}); r.Err == nil {
		t.Error("an unknown member drains")
	}
}

func BenchmarkApplyHandoff(b *testing.B) {
	m := moving(b)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		m.now += 36_000
		m.step(fsm.HandoffBegin, false, table.MemberID(i%2+1), table.MemberID(2-i%2))
		m.seen(table.MemberID(2-i%2), true, false)
	}
}

// The target took the peer and died at once: who sent it takes it back, and the log knows of it.
func TestHandoffToMemberThatDies(t *testing.T) {
	m := moving(t)
	m.step(fsm.HandoffBegin, false, 1, 2)
	m.seen(2, true, false)
	if m.step(fsm.HandoffFailed, false, 1, 2) {
		t.Fatal("failed although the target lives")
	}
	m.must(&fsm.MemberDown{ID: 2, Epoch: 1, Cause: fsm.DownStopped})
	if !m.step(fsm.HandoffFailed, false, 1, 2) || m.step(fsm.HandoffFailed, false, 1, 2) {
		t.Fatal("not taken once")
	}
	m.seen(1, true, false)
	if h := m.peer(roamer).Handoff; h.Prio4 != 5 || h.Fails != 1 || h.Failed != 2 || h.Pushes != 3 {
		t.Errorf("%+v", h)
	}
}
