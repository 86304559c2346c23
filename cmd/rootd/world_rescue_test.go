package main

import (
	"flag"
	"slices"
	"testing"
	"time"

	"github.com/rootd/rootd/fsm"
	"github.com/rootd/rootd/fsm/table"
)

var (
	rescueSeeds = flag.Uint64("world.rescues", 1, "how many members die whose clients must be rescued")
	rescueAlone = flag.Duration("world.alone", 0, "for how long clients of a dead member are left alone, to see what they do")
)

var families = []string{"1.4", "1.10.2", "1.14"} // F1, F4, F6

// nobody and everySecond say who is behind a NAT.
func nobody(int) bool { return false }

func everySecond(i int) bool { return i%2 == 0 }

// A member of Alice dies. Members and clients are on three continents, and one of a hundred packets is lost.
func TestRescueFarAway(t *testing.T) {
	for seed := range *rescueSeeds {
		n, calm := 45, 10*time.Minute // until steering has nothing more to do
		if testing.Short() {
			n, calm = 18, time.Minute
		}
		inFleet(t, seed, []int{0, 1, 2}, []int{0, 1, 2}, n, func(f *fleet) {
			f.setLoss(0.01)
			f.bad = 0.01
			if *rescueAlone > 0 {
				f.set("rescue_rate", "0")
			}
			f.set("steering", "on")
			f.come(n, families, 3, everySecond)
			time.Sleep(calm)
			f.set("steering", "off") // or others are pushed, too
			dead := f.followers()[0]
			l := f.lose((*host).kill, dead)
			l.watch(max(time.Minute, *rescueAlone), true)
			f.say("seed %d, %s dies: %s", seed, dead.name, l.times())
			if *rescueAlone > 0 {
				return
			}
			l.watch(time.Minute, false)
			l.judge(untilPinned)
		})
	}
}

// followers are the members that do not lead, the one first that most clients use who would not soon leave it by themselves.
func (f *fleet) followers() []*host {
	leads := f.leader().host
	patient := map[*host]int{}
	for _, g := range f.visitors {
		if h, _ := g.uses(f.world); h != nil && g.c.Family().Index >= 5 {
			patient[h]++
		}
	}
	all := slices.DeleteFunc(slices.Clone(f.hosts), func(h *host) bool { return h == leads })
	slices.SortStableFunc(all, func(a, b *host) int { return patient[b] - patient[a] })
	return all
}

// For how long a client that was rescued may use a dead member again.
const (
	untilPinned = 600 * time.Millisecond // until its new member has redirected it to itself often enough
	untilSilent = 20 * time.Second       // until clients before 1.10.3 leave a dead path by themselves
)

// judge checks what must hold after a rescue. Clients before 1.10.3 may use a dead member again for so long.
func (l *loss) judge(oldMayFall time.Duration) {
	t := l.f.T
	t.Helper()
	for _, g := range l.visitors {
		if _, ok := l.back[g]; !ok {
			t.Errorf("%v (%v, NAT %v) is not back; record %+v, pushes %+v", g.c.Address(), g.c.Family(), g.nat, g.record(l.f.world), g.pushed(l.f.world, l.at))
		}
		mayFall := untilPinned
		if g.c.Family().Index < 5 {
			mayFall = oldMayFall
		}
		if l.fell[g] > mayFall {
			t.Errorf("%v (%v) fell back to a dead member for %v", g.c.Address(), g.c.Family(), l.fell[g])
		}
	}
	most, refused, pushed := l.pushes(l.visitors)
	if most > 8 || refused > 0 {
		t.Errorf("%d pushes in half a minute, %d refused", most, refused)
	}
	mostOfOthers, _, disturbed := l.pushes(l.others)
	if disturbed > 0 {
		t.Errorf("%d clients of other members were pushed, up to %d times", disturbed, mostOfOthers)
	}
	l.f.say("%d of %d were pushed, at most %d times", pushed, len(l.visitors), most)
}

// The death of the leader is noticed by its successor; that of two of five members by those who are left, also of the peers that
// the second was to rescue.
func TestRescueOfManyDeaths(t *testing.T) {
	if testing.Short() {
		t.Skip("long")
	}
	for name, c := range map[string]struct {
		members int
		lose    func(*fleet) []*host
	}{
		"leader":                 {3, func(f *fleet) []*host { return []*host{f.leader().host} }},
		"two of five":            {5, func(f *fleet) []*host { return f.followers()[:2] }},
		"two of five, one leads": {5, func(f *fleet) []*host { return []*host{f.followers()[0], f.leader().host} }},
	} {
		t.Run(name, func(t *testing.T) {
			if *rescueSeeds == 1 && c.members == 5 && name != "two of five, one leads" {
				t.Skip("the other one of its kind is enough")
			}
			inFleet(t, 1, make([]int, c.members), []int{0, 0}, 30, func(f *fleet) {
				f.set("steering", "off")
				f.come(30, families, 1, nobody)
				first := true
				l := f.lose(func(h *host) {
					if !first {
						time.Sleep(4 * time.Second) // the first one's peers are being rescued
					}
					first = false
					h.kill()
				}, c.lose(f)...)
				l.watch(time.Minute, true)
				f.say("%s: %s", name, l.times())
				l.watch(time.Minute, false)
				l.judge(untilSilent) // they may have come by themselves after the second death, with the redirects of the first saviour still in force
			})
		})
	}
}

// Bob cannot help: nothing passes between him and Alice. Clients that are behind no NAT follow a direct word; those behind one wait, and
// that is shown. When he is back they are rescued by a later try.
func TestRescueWithoutBob(t *testing.T) {
	if testing.Short() {
		t.Skip("long")
	}
	inFleet(t, 1, []int{0, 0, 0}, []int{0}, 20, func(f *fleet) {
		f.set("steering", "off")
		f.come(20, []string{"1.14"}, 1, everySecond)
		between := func(cut bool) {
			for _, h := range f.hosts {
				f.part(h.place, f.bob.hosts[0].place, cut)
				f.part(f.bob.hosts[0].place, h.place, cut)
			}
		}
		dead := f.followers()[0]
		between(true)
		l := f.lose((*host).kill, dead)
		l.watch(25*time.Second, false)
		open, waiting := 0, 0
		for _, g := range l.visitors {
			if _, back := l.back[g]; !g.nat && back {
				open++
			} else if g.nat && !back {
				waiting++
			} else {
				t.Errorf("%v, NAT %v: back %v", g.c.Address(), g.nat, back)
			}
		}
		shown := 0
		for _, h := range f.hosts {
			if m := h.running(); m != nil {
				for _, r := range m.cluster.rescuer.Rescues() {
					shown += r.Waiting()
				}
			}
		}
		if open == 0 || waiting == 0 || shown != waiting {
			t.Errorf("%d came by a direct word, %d wait, %d are shown to wait", open, waiting, shown)
		}
		between(false)
		l.watch(6*time.Minute, true)
		f.say("%d came by a direct word, %d waited for Bob: %s", open, waiting, l.times())
		l.judge(untilPinned)
	})
}

// A member that is cut off from the others, but not from clients, is declared dead: nobody is without a member for long, neither when
// it falls silent nor when it is back, and nobody goes to and fro.
func TestFalseAlarm(t *testing.T) {
	if testing.Short() {
		t.Skip("long")
	}
	inFleet(t, 1, []int{0, 0, 0}, []int{0, 0}, 30, func(f *fleet) {
		f.set("steering", "off")
		f.come(30, families, 1, everySecond)
		h := f.followers()[0]
		cut := func(on bool) {
			for _, o := range f.hosts {
				if o != h {
					f.cut(h, o, on)
					f.cut(o, h, on)
				}
			}
		}
		l := f.lose(func(*host) { cut(true) }, h)
		f.until("it is declared down", 20*time.Second, func() bool {
			m, _ := f.leads().fsm.View().State().Member(h.running().id)
			return m.Status != fsm.StatusUp
		})
		f.say("%s is declared down %v after it was cut off", h.name, time.Since(l.at))
		time.Sleep(20 * time.Second)
		moved := 0
		for _, g := range l.visitors {
			if now, _ := g.uses(f.world); now != h {
				moved++
			}
		}
		before, _, _ := l.pushes(l.visitors)
		f.say("%d of %d clients were rescued from it, with at most %d pushes", moved, len(l.visitors), before)
		cut(false)
		back := time.Now()
		f.settle()
		f.say("it is back after %v", time.Since(back))
		time.Sleep(time.Minute)
		where := map[*visitor]table.MemberID{} // by the log: while members measure, clients know several for a moment
		for _, g := range f.visitors {
			where[g] = g.attached(f.world)
			if !g.served(f.world, back.Add(-5*time.Minute)) {
				t.Errorf("%v (%v) is not served", g.c.Address(), g.c.Family())
			}
		}
		time.Sleep(10 * time.Minute)
		wandered := 0
		for _, g := range f.visitors {
			if at := g.attached(f.world); at != where[g] && g.c.Family().Index >= 5 { // the others greet all members for ever
				f.say("%v (NAT %v) went from member %d to %d; record %+v", g.c.Address(), g.nat, where[g], at, g.record(f.world))
				wandered++
			}
			if !g.served(f.world, time.Now().Add(-5*time.Minute)) {
				t.Errorf("%v (%v) is not served ten minutes later", g.c.Address(), g.c.Family())
			}
		}
		most, refused, _ := l.pushes(f.visitors)
		f.say("%d clients wandered, %d pushes in half a minute, %d refused", wandered, most, refused)
		if most > 8 || refused > 0 {
			t.Errorf("%d pushes in half a minute, %d refused", most, refused)
		}
	})
}
