package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rootd/rootd/packetpath/vl1"
)

// fleet is two clusters of whole members in one planet, Alice and Bob, and models of clients that know both.
type fleet struct {
	*world   // Alice
	bob      *world
	planet   *vl1.World
	visitors []*visitor
	expected int // visitors that the logs know
}

// far is the round trip between continents, near the one within: continents are numbers here.
const (
	far  = 300 * time.Millisecond
	near = 20 * time.Millisecond
)

// inFleet runs f in a bubble with two clusters, each with a member on each of the continents that are named.
func inFleet(t *testing.T, seed uint64, alice, bob []int, visitors int, f func(*fleet)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(27 * 365 * 24 * time.Hour) // a bubble begins in 2000, before the log's epoch
		e := newEarth(t, seed)
		e.rtt = func(a, b int) time.Duration {
			if a == b {
				return near
			}
			return far
		}
		fl := &fleet{world: newWorld(t, e, "alice", 0), bob: newWorld(t, e, "bob", 1), expected: visitors}
		defer fl.bob.stopAll()
		defer fl.stopAll()
		defer func() {
			for _, g := range fl.visitors {
				g.leave()
			}
		}()
		fl.settleIn(alice, bob)
		f(fl)
	})
}

// settleIn starts the members. Clients begin with a planet that lists all of them.
func (f *fleet) settleIn(alice, bob []int) {
	f.Helper()
	signs, err := vl1.GenerateSigningKey()
	if err != nil {
		f.Fatal(err)
	}
	first := &vl1.World{Type: vl1.WorldPlanet, ID: 0xdecade, Timestamp: uint64(time.Now().UnixMilli()), UpdateKey: signs.Public()}
	for _, w := range []*world{f.world, f.bob} {
		first.Roots = append(first.Roots, vl1.Root{Identity: w.root(), Endpoints: hostAt(w.number, 1).endpoints()})
	}
	first.Sign(signs)
	for _, w := range []*world{f.bob, f.world} {
		w.planet, w.signs = first.AppendBinary(nil), signs
		for _, city := range map[bool][]int{true: alice, false: bob}[w == f.world] {
			w.addMember(city)
		}
		w.settle()
		f.know(w)
	}
	want := 2 * (len(alice) + len(bob))
	f.until("both clusters hand out all endpoints", 10*time.Minute, func() bool {
		for _, w := range []*world{f.world, f.bob} {
			n := 0
			f.planet = w.leader().fsm.View().State().Planet.World
			for _, r := range f.planet.Roots {
				n += len(r.Endpoints)
			}
			if n != want {
				return false
			}
		}
		return true
	})
	time.Sleep(time.Minute) // round trips are measured, Raft has its timing, all have greeted the other roots
	f.settle()
}

// set changes a setting of Alice.
func (f *fleet) set(key, value string) {
	f.Helper()
	if _, err := (source{f.leader().member}).SetSetting(f.Context(), key, value); err != nil {
		f.Fatal(err)
	}
}

// come lets visitors come, one after the other, and waits until all are attached.
func (f *fleet) come(n int, families []string, cities int, nat func(i int) bool) {
	f.Helper()
	began := time.Now()
	for i := range n {
		f.visitor(families[i%len(families)], i/len(families)%cities, nat(i))
		time.Sleep(50 * time.Millisecond)
	}
	f.until("all are served and attached", 5*time.Minute, func() bool {
		for _, g := range f.visitors {
			if g.attached(f.world) == 0 || !g.served(f.world, began) {
				return false
			}
		}
		return true
	})
	time.Sleep(time.Minute)
}

// loss is what became of the visitors of members that were lost.
type loss struct {
	f        *fleet
	at       time.Time
	visitors []*visitor // that used them
	others   []*visitor
	back     map[*visitor]time.Duration
	fell     map[*visitor]time.Duration // was back, and used a dead member again: for how long at most without a break
	since    map[*visitor]time.Time     // it uses a dead member again
}

// lose notes who uses the members, and calls what happens to them.
func (f *fleet) lose(happens func(*host), hosts ...*host) *loss {
	l := &loss{f: f, back: map[*visitor]time.Duration{}, fell: map[*visitor]time.Duration{}, since: map[*visitor]time.Time{}}
	for _, g := range f.visitors {
		if h, _ := g.uses(f.world); slices.Contains(hosts, h) {
			l.visitors = append(l.visitors, g)
		} else if at := g.attached(f.world); !slices.ContainsFunc(hosts, func(h *host) bool { return h.running().id == at }) {
			l.others = append(l.others, g)
		}
	}
	l.at = time.Now()
	for _, h := range hosts {
		happens(h)
	}
	return l
}

// watch looks at the visitors for a while, or until all are back.
func (l *loss) watch(d time.Duration, all bool) {
	for end := time.Now().Add(d); time.Now().Before(end) && !(all && len(l.back) == len(l.visitors)); time.Sleep(50 * time.Millisecond) {
		for _, g := range l.visitors {
			_, was := l.back[g]
			switch is := g.served(l.f.world, l.at); {
			case is && !was:
				l.back[g] = time.Since(l.at)
			case is:
				delete(l.since, g)
			case was:
				if h, _ := g.uses(l.f.world); h == nil || h.running() != nil {
					delete(l.since, g)
					continue
				}
				if l.since[g].IsZero() {
					l.since[g] = time.Now()
				}
				l.fell[g] = max(l.fell[g], time.Since(l.since[g]))
			}
		}
	}
}

// pushes is the greatest number of pushes within 30 s that one of the visitors got, and how many were refused in all.
func (l *loss) pushes(of []*visitor) (most, refused, pushed int) {
	for _, g := range of {
		all := g.pushed(l.f.world, l.at)
		if len(all) > 0 {
			pushed++
		}
		for i, p := range all {
			if p.refused {
				refused++
			}
			n := 0
			for _, o := range all[i:] {
				if o.at.Sub(p.at) <= 30*time.Second {
					n++
				}
			}
			most = max(most, n)
		}
	}
	return most, refused, pushed
}

// times says how long the visitors were away, by family.
func (l *loss) times() string {
	by := map[string][]time.Duration{}
	for _, g := range l.visitors {
		d, ok := l.back[g]
		if !ok {
			d = 1 << 62
		}
		name := g.c.Family().Name
		by[name], by["all"] = append(by[name], d), append(by["all"], d)
	}
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(by)) {
		parts = append(parts, fmt.Sprintf("%s: %s", name, quantiles(by[name])))
	}
	return strings.Join(parts, "; ")
}

func quantiles(all []time.Duration) string {
	slices.Sort(all)
	back := len(all)
	for back > 0 && all[back-1] == 1<<62 {
		back--
	}
	at := func(q float64) string {
		d := all[int(q*float64(len(all)-1))]
		if d == 1<<62 {
			return "not back"
		}
		return d.Round(10 * time.Millisecond).String()
	}
	return fmt.Sprintf("%d of %d, p50 %s, p99 %s, max %s", back, len(all), at(0.5), at(0.99), at(1))
}
