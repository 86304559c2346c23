package main

import (
	"flag"
	"testing"
	"time"
)

var (
	rescueSeeds = flag.Uint64("world.rescues", 1, "how many members die whose clients must be rescued")
	rescueAlone = flag.Duration("world.alone", 0, "for how long clients of a dead member are left alone, to see what they do")
)

var families = []string{"1.4", "1.10.2", "1.14"} // F1, F4, F6

func never(int) bool { return false }

// A member of Alice dies. Members and clients are on three continents, and one of a hundred packets is lost.
func TestRescueFarAway(t *testing.T) {
	for seed := range *rescueSeeds {
		n := 45
		if testing.Short() {
			n = 18
		}
		inFleet(t, seed, []int{0, 1, 2}, []int{0, 1, 2}, n, func(f *fleet) {
			f.setLoss(0.01)
			f.bad = 0.01
			if *rescueAlone > 0 {
				f.set("rescue_rate", "0")
			}
			f.set("steering", "on")
			f.come(n, families, 3, func(i int) bool { return i%2 == 0 })
			time.Sleep(10 * time.Minute)
			f.set("steering", "off") // or others are pushed, too
			dead := f.follower()
			l := f.lose((*host).kill, dead)
			l.watch(max(time.Minute, *rescueAlone), true)
			f.say("seed %d, %s dies: %s", seed, dead.name, l.times())
			if *rescueAlone > 0 {
				return
			}
			l.watch(time.Minute, false)
			l.judge()
		})
	}
}

// follower is a member that does not lead.
func (w *world) follower() *host {
	leads := w.leader().host
	for _, h := range w.hosts[1:] {
		if h != leads {
			return h
		}
	}
	return w.hosts[0]
}

// judge checks what must hold after a rescue.
func (l *loss) judge() {
	t := l.f.T
	t.Helper()
	for _, g := range l.visitors {
		if _, ok := l.back[g]; !ok {
			t.Errorf("%v (%v, NAT %v) is not back; record %+v, pushes %+v", g.c.Address(), g.c.Family(), g.nat, g.record(l.f.world), g.pushed(l.f.world, l.at))
		}
		if l.fell[g] {
			t.Errorf("%v (%v) fell back to a dead member", g.c.Address(), g.c.Family())
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
