package sim_test

import (
	"fmt"
	"testing"
)

func choiceRows() []row {
	return []row{
		{"4.5", "F3, F4: three members at 100, 60 and 20 ms", "use the nearest by themselves", func(t *testing.T) string {
			return each(t, greedy, func(t *testing.T, f string) string {
				for seed := range uint64(20) {
					w := newWorld(t, setting{family: f, seed: seed, v4only: true, noBob: true})
					w.rtt[w.a[0].Endpoints[0].Addr()] = 100
					w.rtt[w.a[1].Endpoints[0].Addr()] = 60
					w.rtt[w.a[2].Endpoints[0].Addr()] = 20
					w.seconds(300)
					expect(t, f, w.uses(), "m3")
				}
				return "m3, for 20 of 20 seeds"
			})
		}},
		{"4.5", "F5, F6: the same", "stay on the random first one", func(t *testing.T) string {
			return each(t, lazy, func(t *testing.T, f string) string {
				used := map[string]int{}
				for seed := range uint64(20) {
					w := newWorld(t, setting{family: f, seed: seed, v4only: true, noBob: true})
					w.rtt[w.a[0].Endpoints[0].Addr()] = 100
					w.rtt[w.a[1].Endpoints[0].Addr()] = 60
					w.rtt[w.a[2].Endpoints[0].Addr()] = 20
					w.seconds(1)
					first := w.uses()
					w.seconds(3600)
					expect(t, f, w.uses(), first)
					used[first]++
				}
				if len(used) != 3 {
					t.Errorf("%s: first picks %v", f, used)
				}
				return "stay for an hour, for 20 of 20 seeds"
			})
		}},
		{"4.5", "two paths silent for long (F6)", "the lower remembered latency wins, dead or not", func(t *testing.T) string {
			w := newWorld(t, setting{family: "1.14", v4only: true, noBob: true})
			w.rtt[w.a[0].Endpoints[0].Addr()] = 20
			w.seconds(1)
			m := w.member(w.uses())
			o := w.others()[0]
			w.rtt[m.Endpoints[0].Addr()] = 20
			m.Rendezvous(w.session(m), w.alice.ID.Address, o.Endpoints[0]) // learned, but its latency stays unknown
			w.seconds(10)
			m.Silent, o.Silent = true, true
			w.seconds(170)
			if got := w.table(w.alice); got != m.Name+":1 "+o.Name+":1" {
				t.Errorf("table %s", got)
			}
			expect(t, "1.14", w.uses(), m.Name)
			return "the path with the known latency is used"
		}},
		{"4.6", "F1-F4: the chosen one of two roots falls silent", "its traffic moves to the other within one to two minutes (read, not measured)", func(t *testing.T) string {
			return each(t, early, func(t *testing.T, f string) string { return otherRoot(t, f, 125) })
		}},
		{"4.6", "F5, F6: the same", "as above; but the other root, visited each 225 s, has been silent too", func(t *testing.T) string {
			return each(t, lazy, func(t *testing.T, f string) string { return otherRoot(t, f, 230) })
		}},
		{"4.7", "redirect to an address that is not in the planet", "ignored", func(t *testing.T) string {
			return each(t, all, func(t *testing.T, f string) string {
				w := newWorld(t, setting{family: f, v4only: true, noBob: true, members: 1})
				w.seconds(20)
				from := len(w.log)
				m := w.a[0]
				m.Redirect(w.session(m), 1, addrPort("60.9.9.9:9993"))
				w.seconds(2)
				if n := w.hellos(from, addrPort("60.9.9.9:9993").Addr()); n > 0 {
					t.Errorf("%s: %d HELLOs to it", f, n)
				}
				return expect(t, f, "table "+w.table(w.alice), "table m1:1")
			})
		}},
		{"4.13", "a root reports another IP from the same endpoint", "all paths of that scope and family: ECHO, unused until they answer; port ignored", func(t *testing.T) string {
			return each(t, all, func(t *testing.T, f string) string {
				w := newWorld(t, setting{family: f, v4only: true, noBob: true, members: 1})
				w.seconds(1)
				resets := func() uint64 { return w.c.Stats(w.Now).Resets }
				w.Move(w.node, addrPort("61.0.0.1:4444")) // another port: no reset
				w.seconds(460)
				if resets() != 0 {
					t.Errorf("%s: reset by a new port", f)
				}
				w.Move(w.node, addrPort("61.0.0.2:4444"))
				w.seconds(460)
				expect(t, f, w.uses(), "m1")
				return expect(t, f, fmt.Sprintf("%d reset, then used again", resets()), "1 reset, then used again")
			})
		}},
	}
}

// otherRoot silences the nearer root after a minute and waits until the client prefers the other.
func otherRoot(t *testing.T, f string, limit int64) string {
	w := newWorld(t, setting{family: f, v4only: true})
	w.rtt[w.b.Endpoints[0].Addr()] = 50
	for i := range w.a {
		w.rtt[w.a[i].Endpoints[0].Addr()] = 40
	}
	w.seconds(60)
	if w.c.Upstream(w.Now) != w.alice.ID.Address {
		t.Errorf("%s: the nearer root is not chosen", f)
	}
	for _, m := range w.a {
		m.Silent = true
	}
	d, ok := w.RunUntil(600_000, func() bool { return w.c.Upstream(w.Now) == w.bob.ID.Address })
	if !ok || d > limit*1000 {
		t.Errorf("%s: after %d ms", f, d)
	}
	return fmt.Sprintf("within %d s", limit)
}
