package main

import (
	"context"
	"flag"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/rootd/rootd/cmd/internal/datadir"
)

var (
	worldSeed   = flag.Uint64("world.seed", 0, "seed of the random worlds; 0: the time's")
	worldCalm   = flag.Duration("world.calm", 10*time.Minute, "virtual time in which nothing happens")
	worldDeaths = flag.Int("world.deaths", 3, "how many leaders die")
	worldTime   = flag.Duration("world.time", 3*time.Minute, "virtual time that each random world is troubled")
)

// TestPromisesInTrouble lets random things happen to whole members, one after the other and some at the same time, while
// devices talk to them and entries are written, and holds what they say and do against the promises all the time.
func TestPromisesInTrouble(t *testing.T) {
	for _, c := range []struct {
		name   string
		cities []int
	}{
		{"3 members in one place", []int{amsterdam, amsterdam, amsterdam}},
		{"5 members on 4 continents", []int{amsterdam, newYork, sanFrancisco, singapore, saoPaulo}},
	} {
		t.Run(c.name, func(t *testing.T) {
			seed := *worldSeed
			if seed == 0 {
				seed = uint64(time.Now().UnixNano())
			}
			t.Logf("seed %d", seed)
			length := *worldTime
			if testing.Short() {
				length /= 3
			}
			inWorld(t, seed, len(c.cities), c.cities, func(w *world) {
				w.observe(2*time.Second, 500*time.Millisecond)
				time.Sleep(30 * time.Second)
				f := &fate{w, rand.New(rand.NewPCG(seed, 2))}
				for begun := time.Now(); time.Since(begun) < length && !t.Failed(); {
					f.happen()
					healed := time.Now()
					w.settle()
					w.say("whole after %.1fs", time.Since(healed).Seconds())
					time.Sleep(passGrace + time.Duration(f.Int64N(int64(20*time.Second))))
					w.settle()
					w.check()
				}
				w.say(w.summary())
			})
		})
	}
}

// fate decides what happens to a world.
type fate struct {
	w *world
	*rand.Rand
}

func (f *fate) member() *host { return f.w.hosts[f.IntN(len(f.w.hosts))] }

func (f *fate) two() (a, b *host) {
	for a, b = f.member(), f.member(); a == b; b = f.member() {
	}
	return a, b
}

// lasting is a random time; short ones are as likely as long ones.
func (f *fate) lasting(most time.Duration) time.Duration {
	d := most
	for range f.IntN(8) {
		d /= 2
	}
	return time.Duration(f.Int64N(int64(d)) + 1)
}

// happen lets something happen, and undoes it.
func (f *fate) happen() {
	w := f.w
	if f.IntN(4) == 0 {
		share := 0.01 + 0.2*f.Float64()
		w.say("%.0f %% of packets are lost", 100*share)
		end := w.truth.trouble(lossy, -1, -1)
		w.setLoss(share)
		defer func() { w.setLoss(0); end() }()
	}
	d := f.lasting(100 * time.Second)
	switch f.IntN(10) {
	case 0:
		f.kill(f.member(), d)
	case 1:
		f.kill(w.leader().host, d)
	case 2:
		f.killAll(d)
	case 3:
		h := f.member()
		w.say("%s is stopped for %v", h.name, d)
		h.stop()
		time.Sleep(d)
		h.start()
	case 4:
		h := f.member()
		w.say("%s is cut off from the others for %v", h.name, d)
		f.cuts(d, func(a, b *host) bool { return a == h || b == h })
	case 5:
		a, b := f.two()
		w.say("nothing passes from %s to %s for %v", a.name, b.name, d)
		f.cuts(d, func(x, y *host) bool { return x == a && y == b })
	case 6:
		a, b := f.two()
		w.say("nothing passes between %s and %s for %v", a.name, b.name, d)
		f.cuts(d, func(x, y *host) bool { return x == a && y == b || x == b && y == a })
	case 7:
		w.say("nothing passes between any two for %v", d)
		f.cuts(d, func(_, _ *host) bool { return true })
	case 8:
		h := f.member()
		d = min(d, 13*time.Second)
		w.say("%s stands still for %v", h.name, d)
		end := w.truth.trouble(stalled, h.number, -1)
		w.stall(h, d)
		end()
	case 9:
		f.forget(f.member(), d)
	}
}

// forget loses a member's log. It waits until an operator readmits it.
func (f *fate) forget(h *host, d time.Duration) {
	w := f.w
	w.say("%s loses its log, and is away for %v", h.name, d)
	h.kill()
	if err := os.RemoveAll(filepath.Join(h.dir, datadir.DirRaft)); err != nil {
		w.Fatal(err)
	}
	if o := f.member(); o != h && f.IntN(2) == 0 {
		w.say("and %s is killed", o.name)
		o.kill()
		if len(w.hosts) > 3 {
			defer o.start()
		} else {
			time.Sleep(d)
			o.start()
		}
	}
	time.Sleep(d)
	ctx, stop := context.WithCancel(context.Background())
	var operator sync.WaitGroup
	operator.Go(func() {
		for said := ""; sleep(ctx, time.Second); {
			l := w.leads()
			if l == nil {
				continue
			}
			if _, err := (source{l.member}).ReadmitMember(ctx, h.name); err != nil && err.Error() != said {
				said = err.Error()
				w.say("%s", said)
			}
		}
	})
	h.start()
	stop()
	operator.Wait()
}

func (f *fate) kill(h *host, d time.Duration) {
	f.w.say("%s is killed for %v", h.name, d)
	h.kill()
	if f.IntN(3) == 0 { // and another one right after it
		if o := f.member(); o != h {
			time.Sleep(d / 3)
			f.w.say("and %s", o.name)
			o.kill()
			defer o.start()
		}
	}
	time.Sleep(d)
	h.start()
}

// killAll is a power cut.
func (f *fate) killAll(d time.Duration) {
	f.w.say("all are killed, for up to %v", d)
	for _, h := range f.w.hosts {
		h.kill()
	}
	for _, i := range f.Perm(len(f.w.hosts)) {
		time.Sleep(time.Duration(f.Int64N(int64(d))) / time.Duration(len(f.w.hosts)))
		f.w.hosts[i].start()
	}
}

// cuts cuts all links of which what says so, for a while.
func (f *fate) cuts(d time.Duration, what func(from, to *host) bool) {
	var ends []func()
	for _, a := range f.w.hosts {
		for _, b := range f.w.hosts {
			if a == b || !what(a, b) {
				continue
			}
			f.w.cut(a, b, true)
			ends = append(ends, f.w.truth.trouble(cutOff, a.number, b.number), func() { f.w.cut(a, b, false) })
		}
	}
	time.Sleep(d)
	for _, end := range ends {
		end()
	}
}
