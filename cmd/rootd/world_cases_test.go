package main

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/rootd/rootd/fsm/table"
)

// A member that stands still for a while is not farther away than before: Raft stays as quick as it was.
func TestOneThatStandsStillIsNotFar(t *testing.T) {
	inWorld(t, 1, 3, nil, func(w *world) {
		time.Sleep(20 * time.Second) // round trips have been measured
		for range 2 {
			w.stall(w.hosts[2], 12*time.Second)
			time.Sleep(30 * time.Second)
		}
		for _, h := range w.hosts {
			if got := h.running().replica.Stats().Timing.Heartbeat; got > 2*time.Second {
				t.Errorf("%s waits %v for a heartbeat", h.name, got)
			}
		}
	})
}

// Peers of any two members, the same one included, exchange packets in any combination of families, and are introduced
// to each other, each by its own member, if they have a family in common.
func TestPeersOfAnyTwoMembersMeet(t *testing.T) {
	inWorld(t, 1, 3, []int{amsterdam, newYork, singapore}, func(w *world) {
		var all []*device
		for _, h := range w.hosts {
			for range 2 { // of each family
				all = append(all, w.device(h, false), w.device(h, true))
			}
		}
		for range 5 {
			for _, d := range all {
				d.ask(askHello, nil)
			}
			time.Sleep(1500 * time.Millisecond)
		}
		pairs, met := 0, 0
		for _, a := range all {
			for _, b := range all {
				if a == b {
					continue
				}
				pairs++
				a.ask(askPass, b)
				time.Sleep(400 * time.Millisecond) // half the longest round trip
				a.mu.Lock()
				for _, q := range a.open {
					if q.kind == askPass {
						t.Errorf("%v of %s does not reach %v of %s", a.addr, a.at.name, b.addr, b.at.name)
					}
				}
				a.mu.Unlock()
			}
		}
		for _, a := range all {
			a.mu.Lock()
			for _, b := range all {
				at, ok := a.met[b.id.Address]
				if want := a != b && a.addr.Addr().Is4() == b.addr.Addr().Is4(); ok != want || ok && at != b.addr {
					t.Errorf("%v of %s was told that %v of %s is at %v", a.addr, a.at.name, b.addr, b.at.name, at)
				} else if ok {
					met++
				}
			}
			a.mu.Unlock()
		}
		w.say("%d ordered pairs exchanged packets, %d were told of each other", pairs, met)
	})
}

// deaths is what became of leaders that died.
type deaths struct {
	elected, logged []time.Duration
	asked, lost     int
	gap             time.Duration
}

// TestLeaderDies kills the leader again and again, now the process, now the machine without a word. Clients of the other
// members do not notice.
func TestLeaderDies(t *testing.T) {
	if testing.Short() {
		t.Skip("long")
	}
	for _, c := range []struct {
		name   string
		cities []int
		within time.Duration // a leader must have been replaced: some rounds of votes
	}{
		{"LAN", []int{amsterdam, amsterdam, amsterdam}, 8 * time.Second},
		{"Europe", []int{amsterdam, frankfurt, paris}, 8 * time.Second},
		{"WAN", []int{amsterdam, newYork, sanFrancisco, singapore, saoPaulo}, 45 * time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			inWorld(t, 1, len(c.cities), c.cities, func(w *world) {
				time.Sleep(12 * time.Minute) // until Raft has the timing of these round trips
				w.observe(time.Second, 100*time.Millisecond)
				time.Sleep(20 * time.Second)
				var sum deaths
				for range *worldDeaths {
					w.die(&sum)
				}
				if last := slices.Max(sum.elected); last > c.within {
					t.Errorf("a new leader after %v", last)
				}
				if sum.lost > 0 {
					t.Errorf("%d of %d answers of the other members lost", sum.lost, sum.asked)
				}
				w.say("heartbeat %v; %d leaders died; a new one after %s; the next entry committed after %s; %d questions to the others, %d lost, longest pause between answers %v",
					w.leader().replica.Stats().Timing.Heartbeat, len(sum.elected), spread(sum.elected), spread(sum.logged), sum.asked, sum.lost, sum.gap)
				w.check()
			})
		})
	}
}

// die kills the leader and adds up what it brought about.
func (w *world) die(sum *deaths) {
	w.Helper()
	old := w.leader().host
	before := w.countOf(old)
	for _, d := range w.all {
		d.mu.Lock()
		d.gap = 0
		d.mu.Unlock()
	}
	began := time.Now()
	old.kill()
	w.until("there is a new leader", time.Minute, func() bool { l := w.leads(); return l != nil && l.host != old })
	sum.elected = append(sum.elected, time.Since(began))
	w.truth.mu.Lock()
	known := len(w.truth.ledger)
	w.truth.mu.Unlock()
	w.until("an entry is committed", time.Minute, func() bool {
		w.truth.mu.Lock()
		defer w.truth.mu.Unlock()
		return len(w.truth.ledger) > known
	})
	sum.logged = append(sum.logged, time.Since(began))
	time.Sleep(5 * time.Second)
	after := w.countOf(old)
	sum.asked += after.asked - before.asked
	sum.lost += after.lost - before.lost
	for _, d := range w.all {
		if d.at != old {
			d.mu.Lock()
			sum.gap = max(sum.gap, d.gap)
			d.mu.Unlock()
		}
	}
	old.start()
	w.settle()
	time.Sleep(passGrace)
	w.settle()
}

type count struct{ asked, lost int }

// countOf is what was asked of all members but one, and got no answer.
func (w *world) countOf(but *host) (c count) {
	w.truth.mu.Lock()
	defer w.truth.mu.Unlock()
	for k := range askPass {
		for i, n := range w.truth.asked[k] {
			if i != but.number {
				c.asked += n
			}
		}
	}
	for _, q := range w.truth.lost {
		if q.kind != askPass && q.from != but.number {
			c.lost++
		}
	}
	return c
}

func spread(all []time.Duration) string {
	slices.Sort(all)
	r := func(d time.Duration) time.Duration { return d.Round(10 * time.Millisecond) }
	return fmt.Sprintf("%v to %v, median %v", r(all[0]), r(all[len(all)-1]), r(all[len(all)/2]))
}

// TestNoQuorumForTenMinutes leaves one of three members alone. It serves on from what it knows; what it sees meanwhile is
// in the log soon after the others are back.
func TestNoQuorumForTenMinutes(t *testing.T) {
	if testing.Short() {
		t.Skip("long")
	}
	inWorld(t, 1, 3, nil, func(w *world) {
		w.observe(time.Second, 500*time.Millisecond)
		time.Sleep(time.Minute)
		alone := w.hosts[2]
		w.hosts[0].kill()
		w.hosts[1].kill()
		time.Sleep(time.Second)
		before := w.countAt(alone)
		var late []*device
		for range 20 { // whom nobody has ever seen
			d := w.device(alone, len(late)%2 == 1)
			late = append(late, d)
		}
		ctx, cancel := context.WithCancel(w.Context())
		var wg sync.WaitGroup
		for _, d := range late {
			wg.Go(func() {
				for ok := true; ok; ok = sleep(ctx, 30*time.Second) {
					d.ask(askHello, nil)
				}
			})
		}
		time.Sleep(10 * time.Minute)
		after := w.countAt(alone)
		for k := range after {
			asked, lost := after[k].asked-before[k].asked, after[k].lost-before[k].lost
			w.say("%s: %d of %d answered without a quorum", kindName(k), asked-lost, asked)
			if lost > 0 || asked == 0 {
				t.Errorf("%s: %d of %d lost", kindName(k), lost, asked)
			}
		}
		began := time.Now()
		w.hosts[0].start()
		w.hosts[1].start()
		leader := w.leader()
		w.say("%s leads after %v", leader.name, time.Since(began))
		for _, h := range w.hosts {
			for _, d := range late {
				w.until(fmt.Sprintf("%s knows %v", h.name, d.id.Address), time.Minute, func() bool {
					var rec table.Record
					return h.running().fsm.View().State().Peer(d.id.Address, &rec) && rec.Key == d.id.Key && cmp.Or(rec.V4Member, rec.V6Member) != 0
				})
			}
		}
		w.say("all %d newcomers are in the log of all, attached, after %v", len(late), time.Since(began))
		cancel()
		wg.Wait()
		w.settle()
		time.Sleep(passGrace)
		w.check()
		w.say(w.summary())
	})
}

// countAt is what was asked of one member, by kind, and what got no answer.
func (w *world) countAt(h *host) (c [askPass]count) {
	w.truth.mu.Lock()
	defer w.truth.mu.Unlock()
	for k := range c {
		c[k].asked = w.truth.asked[k][h.number]
	}
	for _, q := range w.truth.lost {
		if q.kind != askPass && q.from == h.number {
			c[q.kind].lost++
		}
	}
	return c
}

// TestCalm leaves members far apart alone, with 1 % of what they send each other lost: nobody calls an election.
func TestCalm(t *testing.T) {
	if testing.Short() {
		t.Skip("long")
	}
	for _, c := range []struct {
		name   string
		cities []int
	}{
		{"3 members in Europe", []int{amsterdam, frankfurt, paris}},
		{"5 members on 4 continents", []int{amsterdam, newYork, sanFrancisco, singapore, saoPaulo}},
	} {
		t.Run(c.name, func(t *testing.T) {
			inWorld(t, 1, len(c.cities), c.cities, func(w *world) {
				w.setLoss(0.01)
				time.Sleep(15 * time.Minute) // until Raft has the timing of these round trips
				ctx, cancel := context.WithCancel(w.Context())
				w.closers = append(w.closers, cancel)
				w.ending.Go(func() { w.watch(ctx) })
				leader, term, real := w.leader(), w.leader().replica.Stats().Term, now()
				for begun := time.Now(); time.Since(begun) < *worldCalm; time.Sleep(time.Minute) {
					if l := w.leader(); l != leader || l.replica.Stats().Term != term {
						t.Fatalf("after %v %s leads in term %d; it was %s in %d", time.Since(begun), l.name, l.replica.Stats().Term, leader.name, term)
					}
				}
				w.settle()
				w.check()
				w.say("%s led in term %d all the time, heartbeat %v; %v of virtual time in %v", leader.name, term,
					leader.replica.Stats().Timing.Heartbeat, *worldCalm, (now() - real).Round(time.Second))
			})
		})
	}
}
