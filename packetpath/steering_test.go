package packetpath

import (
	"bytes"
	"fmt"
	"io"
	"net/netip"
	"runtime"
	"runtime/pprof"
	"strings"
	"sync"
	"testing"

	"github.com/hashicorp/raft"
	"pgregory.net/rapid"

	"github.com/rootd/rootd/fsm"
	"github.com/rootd/rootd/fsm/table"
	"github.com/rootd/rootd/geo"
	"github.com/rootd/rootd/geo/steer"
	"github.com/rootd/rootd/packetpath/vl1"
)

// steered is a state machine that grows by random entries about everything that steering reads.
type steered struct {
	t     testing.TB
	fsm   *fsm.FSM
	index uint64
	now   int64
}

func newSteered(t testing.TB) *steered {
	t.Helper()
	f, err := fsm.New(fsm.Options{})
	if err != nil {
		t.Fatal(err)
	}
	s := &steered{t: t, fsm: f, now: 1_700_000_000_000}
	s.do(&fsm.Bootstrap{ID: [16]byte{1}, Name: "test", Root: vl1.Identity{Address: 0xa11ce}, Created: s.now})
	return s
}

func (s *steered) do(c fsm.Command) {
	s.t.Helper()
	s.apply(s.entry(c))
}

func (s *steered) entry(c fsm.Command) []byte {
	s.t.Helper()
	b, err := fsm.Encode(c)
	if err != nil {
		s.t.Fatal(err)
	}
	fsm.Stamp(b, s.now)
	return b
}

func (s *steered) apply(b []byte) {
	s.index++
	s.fsm.Apply(&raft.Log{Index: s.index, Type: raft.LogCommand, Data: b})
}

// publish makes a planet that lists the endpoints of members 1 to n.
func (s *steered) publish(n int, timestamp uint64) {
	w := vl1.World{Type: vl1.WorldPlanet, ID: 77, Timestamp: timestamp, Roots: []vl1.Root{{Identity: vl1.Identity{Address: 0xa11ce}}}}
	for i := range n {
		w.Roots[0].Endpoints = append(w.Roots[0].Endpoints, memberEndpoint(i+1, false), memberEndpoint(i+1, true))
	}
	s.do(&fsm.PublishPlanet{World: w.AppendBinary(nil)})
}

func memberEndpoint(id int, v6 bool) netip.AddrPort {
	if v6 {
		return netip.AddrPortFrom(netip.AddrFrom16([16]byte{0x20, 1, 0xd, 0xb8, 15: byte(id)}), 9993)
	}
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 0, 2, byte(id)}), 9993)
}

// up brings member id up at a place.
func (s *steered) up(id int, at geo.Unit) {
	s.do(&fsm.MemberUp{ID: table.MemberID(id), Name: fmt.Sprint("m", id), Endpoints: []netip.AddrPort{memberEndpoint(id, false), memberEndpoint(id, true)}, Address: fmt.Sprintf("m%d:1", id), Position: at, KeyHash: fsm.KeyHash{byte(id)}, Feature: 1})
}

// join admits member id.
func (s *steered) join(id int) {
	n := byte(id)
	s.do(&fsm.TokenCreate{ID: fsm.TokenID{n}, SecretHash: [32]byte{n}, Expires: s.now + 1_000_000})
	s.do(&fsm.MemberJoin{ID: table.MemberID(id), Name: fmt.Sprint("m", id), Address: fmt.Sprintf("m%d:1", id), KeyHash: fsm.KeyHash{n}, Token: fsm.TokenID{n}, Version: "1", Endpoints: []netip.AddrPort{memberEndpoint(id, false), memberEndpoint(id, true)}})
}

// peer attaches peer a to a member.
func (s *steered) peer(a vl1.Address, member, epoch int, at geo.Unit, ip byte) {
	s.do(fsm.Changes{{
		Address: a, HasKey: true, Key: vl1.PublicKey{byte(a)}, Member: table.MemberID(member), Epoch: uint16(epoch), Protocol: 11, Major: 1, Minor: 14, Planet: 1000,
		V4: netip.AddrPortFrom(netip.AddrFrom4([4]byte{198, 51, ip, 7}), 5), V6: netip.AddrPortFrom(netip.AddrFrom16([16]byte{0x20, 2, 5: ip}), 5),
		HasPosition: at.Known(), Position: at, Radius: 4 * b2u(at.Known()),
	}})
}

func b2u(b bool) uint8 {
	if b {
		return 1
	}
	return 0
}

func (s *steered) worker() *worker {
	r := &Root{view: s.fsm.View()}
	return &worker{root: r, counters: &counters{}}
}

// restored returns a state machine that was restored from a snapshot of this one.
func (s *steered) restored() *steered {
	s.t.Helper()
	frozen, err := s.fsm.Freeze()
	if err != nil {
		s.t.Fatal(err)
	}
	defer frozen.Release()
	var b bytes.Buffer
	if err := frozen.Write(&b); err != nil {
		s.t.Fatal(err)
	}
	next := newSteered(s.t)
	if err := next.fsm.Restore(io.NopCloser(&b)); err != nil {
		s.t.Fatal(err)
	}
	return next
}

// spots are places that are far from each other.
func spots(i int) geo.Unit {
	return []geo.Unit{{32767, 0, 0}, {0, 32767, 0}, {0, 0, 32767}, {-32767, 0, 0}, {0, -32767, 0}, {0, 0, -32767}, {23170, 23170, 0}, {23170, 0, 23170}}[i%8]
}

// TestDecideFollowsTheLog changes what the log says and looks at the decision.
func TestDecideFollowsTheLog(t *testing.T) {
	s := newSteered(t)
	for id := 1; id <= 3; id++ {
		s.join(id)
		s.up(id, spots(id-1))
	}
	s.publish(3, 1000)
	s.peer(0x77, 3, 1, spots(0), 1)
	w := s.worker()
	check := func(what string, target uint16, reason steer.Reason) {
		t.Helper()
		for _, v6 := range []bool{false, true} {
			if d := w.decideAbout(0x77, v6); d.Target != target || d.Reason != reason {
				t.Errorf("%s: to %d, %q; expected %d, %q", what, d.Target, d.Reason, target, reason)
			}
		}
	}
	check("far away", 1, steer.MoveCost)
	s.do(&fsm.Set{Key: "steering", Value: "off"})
	check("switched off", 0, steer.MoveCost)
	s.do(&fsm.MemberSet{ID: 3, SetDrain: true, Drain: fsm.DrainOperator})
	check("switched off, drained", 1, steer.MoveDrain)
	s.do(&fsm.Set{Key: "steering", Value: "on"})
	s.do(&fsm.MemberSet{ID: 3, SetDrain: true, Drain: fsm.DrainNone})
	s.do(&fsm.Health{Reports: []fsm.HealthReport{{Member: 1, Epoch: 1, Load: 960}, {Member: 2, Epoch: 1}, {Member: 3, Epoch: 1}}})
	check("the best is full", 0, steer.StayMargin)
	s.do(&fsm.Health{Reports: []fsm.HealthReport{{Member: 1, Epoch: 1}, {Member: 2, Epoch: 1, Probes: []fsm.Probe{{Member: 1, Asked: 3, Answered: 0}}}, {Member: 3, Epoch: 1}}})
	check("the best is not reached", 0, steer.StayMargin)
	s.do(&fsm.Health{Reports: []fsm.HealthReport{{Member: 1, Epoch: 1}, {Member: 2, Epoch: 1, Probes: []fsm.Probe{{Member: 1, Asked: 3, Answered: 3}}}, {Member: 3, Epoch: 1}}})
	check("it is reached again", 1, steer.MoveCost)
	s.now += 11_000
	s.do(&fsm.Health{Reports: []fsm.HealthReport{{Member: 2, Epoch: 1}, {Member: 3, Epoch: 1}}})
	check("the best is silent", 0, steer.StayMargin)
	s.do(&fsm.Health{Reports: []fsm.HealthReport{{Member: 1, Epoch: 1}, {Member: 2, Epoch: 1}, {Member: 3, Epoch: 1}}})
	for id, rtt := range []uint32{1: 90_000, 2: 30_000, 3: 100_000} {
		if rtt != 0 {
			near4, _ := geo.Areas(netip.AddrFrom4([4]byte{198, 51, 1, 7}))
			near6, _ := geo.Areas(netip.AddrFrom16([16]byte{0x20, 2, 5: 1}))
			s.do(&fsm.RoundTrips{Member: table.MemberID(id), Epoch: 1, Rows: []fsm.RoundTrip{{Area: near6, N: 5, Micros: rtt}, {Area: near4, N: 5, Micros: rtt}}})
		}
	}
	check("measured", 2, steer.MoveCost)
	s.do(&fsm.Set{Key: "steering_measured", Value: "off"})
	check("distance only", 1, steer.MoveCost)
	s.do(&fsm.Set{Key: "steering_shadow", Value: "measured=on"})
	check("with a shadow", 1, steer.MoveCost)
	if w.n[ShadowElsewhere] != 2 || w.n[ShadowSame] != 0 {
		t.Errorf("the shadow went elsewhere %d times", w.n[ShadowElsewhere])
	}
	a, ok := w.root.Explain(Question{Peer: 0x77})
	if d := w.decideAbout(0x77, false); !ok || a.Decision != d || a.Shadow == nil || a.Shadow.Decision.Target != 2 || len(a.Members) != 3 {
		t.Errorf("explained %+v", a)
	}
	if a, _ = w.root.Explain(Question{Peer: 0x77, Member: 1}); a.Decision.Reason != steer.StayBest {
		t.Errorf("attached to the best: %+v", a.Decision)
	}
	if a, _ = w.root.Explain(Question{IP: netip.MustParseAddr("203.0.113.5"), Unit: spots(1)}); a.Decision.Target != 2 || a.Decision.Reason != steer.MovePlace {
		t.Errorf("a stranger: %+v", a.Decision)
	}
	if _, ok := w.root.Explain(Question{Peer: 0x78}); ok {
		t.Error("explained a peer that nobody knows")
	}
}

// TestEqualDecisions is promise P2: members that applied the same entries decide the same, whatever batches they came in,
// whether one was restored from a snapshot, and in what order their workers asked.
func TestEqualDecisions(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		one, two := newSteered(t), newSteered(t)
		a, b := one.worker(), two.worker()
		for id := 1; id <= 4; id++ {
			for _, s := range []*steered{one, two} {
				s.join(id)
				s.up(id, spots(id))
			}
		}
		one.publish(4, 1000)
		two.publish(4, 1000)
		var batch []*raft.Log
		for range rapid.IntRange(1, 30).Draw(rt, "entries") {
			pass := rapid.Int64Range(0, 400_000).Draw(rt, "pass")
			c := steeringCommands().Draw(rt, "entry")
			one.now, two.now = one.now+pass, two.now+pass
			one.do(c)
			two.index++
			batch = append(batch, &raft.Log{Index: two.index, Type: raft.LogCommand, Data: two.entry(c)})
			if rapid.Bool().Draw(rt, "batch ends") {
				two.fsm.ApplyBatch(batch)
				batch = nil
			}
			if rapid.Bool().Draw(rt, "ask one in between") {
				a.decideAbout(vl1.Address(rapid.IntRange(1, 4).Draw(rt, "peer")), false)
			}
		}
		if len(batch) > 0 {
			two.fsm.ApplyBatch(batch)
		}
		c := one.restored().worker()
		for peer := vl1.Address(1); peer <= 4; peer++ {
			for _, v6 := range []bool{false, true} {
				if x, y, z := a.decideAbout(peer, v6), b.decideAbout(peer, v6), c.decideAbout(peer, v6); x != y || x != z {
					rt.Fatalf("peer %d: %+v at one member, %+v at the other, %+v at one that was restored", peer, x, y, z)
				}
			}
		}
	})
}

func steeringCommands() *rapid.Generator[fsm.Command] {
	return rapid.Custom(func(t *rapid.T) fsm.Command {
		id := table.MemberID(rapid.IntRange(1, 4).Draw(t, "member"))
		switch rapid.IntRange(0, 7).Draw(t, "kind") {
		case 0:
			h := &fsm.Health{}
			for i := table.MemberID(1); i <= 4; i++ {
				if rapid.IntRange(0, 3).Draw(t, "reports") > 0 {
					h.Reports = append(h.Reports, fsm.HealthReport{Member: i, Epoch: 1, Load: rapid.Uint16Range(0, 1000).Draw(t, "load")})
				}
			}
			return h
		case 1:
			return &fsm.MemberSet{ID: id, SetDrain: true, Drain: fsm.Drain(rapid.IntRange(0, 1).Draw(t, "drain")), Weight: rapid.SampledFrom([]uint16{0, 500, 2000}).Draw(t, "weight")}
		case 2:
			return &fsm.Set{Key: "steering_margin", Value: rapid.SampledFrom([]string{"", "1ms", "100ms"}).Draw(t, "margin")}
		case 3:
			near, _ := geo.Areas(netip.AddrFrom4([4]byte{198, 51, byte(rapid.IntRange(1, 2).Draw(t, "ip")), 7}))
			return &fsm.RoundTrips{Member: id, Epoch: 1, Rows: []fsm.RoundTrip{{Area: near, N: rapid.Uint16Range(1, 9).Draw(t, "n"), Micros: rapid.Uint32Range(0, 300_000).Draw(t, "rtt"), Dev: 900}}}
		}
		a := vl1.Address(rapid.IntRange(1, 4).Draw(t, "peer"))
		at := rapid.IntRange(0, 8).Draw(t, "at")
		c := fsm.Change{
			Address: a, HasKey: true, Key: vl1.PublicKey{byte(a)}, Member: id, Epoch: 1, Protocol: 11, Major: 1, Minor: rapid.SampledFrom([]uint8{2, 8, 14}).Draw(t, "minor"),
			Planet: rapid.Uint64Range(999, 1000).Draw(t, "planet"), V4: netip.AddrPortFrom(netip.AddrFrom4([4]byte{198, 51, byte(rapid.IntRange(1, 2).Draw(t, "net")), 7}), 5),
		}
		if at < 8 {
			c.HasPosition, c.Position, c.Radius = true, spots(at), 5
		}
		return fsm.Changes{c}
	})
}

// TestDecideTakesNoLock decides at many goroutines while the log grows, and looks for waiting in the mutex profile.
func TestDecideTakesNoLock(t *testing.T) {
	old := runtime.SetMutexProfileFraction(1)
	defer runtime.SetMutexProfileFraction(old)
	s := newSteered(t)
	for id := 1; id <= 3; id++ {
		s.join(id)
		s.up(id, spots(id))
	}
	s.publish(3, 1000)
	s.peer(5, 1, 1, spots(2), 1)
	r := &Root{view: s.fsm.View()}
	var wg sync.WaitGroup
	stop := make(chan struct{})
	for range 4 {
		w := &worker{root: r, counters: &counters{}}
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				for range 100 {
					w.decideAbout(5, false)
				}
			}
		})
	}
	for i := range 300 {
		s.now += 1000
		s.do(&fsm.Health{Reports: []fsm.HealthReport{{Member: 1, Epoch: 1, Load: uint16(i)}}})
	}
	close(stop)
	wg.Wait()
	var profile strings.Builder
	if err := pprof.Lookup("mutex").WriteTo(&profile, 1); err != nil {
		t.Fatal(err)
	}
	for record := range strings.SplitSeq(profile.String(), "\n\n") { // the allocator has locks of its own, which are no business of ours
		if strings.Contains(record, "packetpath.(*worker).decide") && strings.Contains(record, "sync.(*") {
			t.Errorf("a decision waited for a lock:\n%s", record)
		}
	}
}

// decideAbout is decide for a peer that the log may know.
func (w *worker) decideAbout(peer vl1.Address, v6 bool) steer.Decision {
	state := w.root.view.State()
	var words table.Words
	if !state.PeerSteered(peer, &words) {
		return steer.Decision{Reason: steer.StayNobody}
	}
	return w.decide(state, peer, &words, v6)
}

func TestDecideAllocatesNothing(t *testing.T) {
	s := newSteered(t)
	for id := 1; id <= 12; id++ {
		s.join(id)
		s.up(id, spots(id))
	}
	s.publish(12, 1000)
	s.peer(5, 1, 1, spots(2), 1)
	s.do(&fsm.Set{Key: "steering_shadow", Value: "margin=20ms"})
	w := s.worker()
	if n := testing.AllocsPerRun(1000, func() { w.decideAbout(5, false) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkDecide(b *testing.B) {
	for _, n := range []int{6, 12, 100} {
		s := newSteered(b)
		for id := 1; id <= n; id++ {
			s.join(id)
			s.up(id, spots(id))
		}
		s.publish(min(n, 16), 1000)
		s.peer(5, 1, 1, spots(2), 1)
		w := s.worker()
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				w.decideAbout(5, false)
			}
		})
	}
}
