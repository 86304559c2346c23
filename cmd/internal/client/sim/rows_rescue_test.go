package sim_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/rootd/rootd/cmd/internal/client"
)

func crossRows() []row {
	return []row{
		{"4.12", "redirect of a dead A member's client, delivered by B with hops 1", "HELLO to the named member within one round trip, working path again", func(t *testing.T) string {
			return each(t, all, func(t *testing.T, f string) string {
				w := newWorld(t, setting{family: f, v4only: true})
				w.seconds(60)
				dead := w.member(w.uses())
				x := w.others()[0]
				dead.Silent = true
				w.seconds(2)
				from := len(w.log)
				x.RedirectVia(w.b, w.session(w.b), x.Endpoints[0])
				d, ok := w.RunUntil(5000, func() bool { return w.uses() == x.Name && w.chosenAlive() })
				if !ok || d > 60 {
					t.Errorf("%s: after %d ms", f, d)
				}
				if n := w.hellos(from, dead.Endpoints[0].Addr()); n > 0 {
					t.Errorf("%s: %d HELLOs to the dead member", f, n)
				}
				return "working path within 60 ms"
			})
		}},
		{"4.12", "the dead path had priority 3", "both remain, until a self-redirect of the new member erases the dead one", func(t *testing.T) string {
			return each(t, all, func(t *testing.T, f string) string {
				w := newWorld(t, setting{family: f, v4only: true})
				w.seconds(10)
				dead := w.member(w.uses())
				x := w.others()[0]
				dead.Redirect(w.session(dead), 1, dead.Endpoints[0])
				w.seconds(10)
				dead.Silent = true
				x.RedirectVia(w.b, w.session(w.b), x.Endpoints[0])
				w.seconds(1)
				both := w.table(w.alice)
				expect(t, f, both, dead.Name+":3 "+x.Name+":3")
				x.Redirect(w.session(x), 1, x.Endpoints[0])
				w.seconds(1)
				expect(t, f, w.table(w.alice), x.Name+":5")
				return "both of priority 3, then only the new one, of priority 5"
			})
		}},
		{"4.12", "after the self-redirect", "the client stays", func(t *testing.T) string {
			return each(t, all, func(t *testing.T, f string) string {
				w := newWorld(t, setting{family: f, v4only: true})
				w.seconds(10)
				dead := w.member(w.uses())
				x := w.others()[0]
				dead.Silent = true
				x.RedirectVia(w.b, w.session(w.b), x.Endpoints[0])
				w.seconds(1)
				x.Redirect(w.session(x), 1, x.Endpoints[0])
				for range 30 {
					w.seconds(20)
					expect(t, f, w.uses(), x.Name)
				}
				return "for ten minutes"
			})
		}},
	}
}

// chosenAlive reports whether the path that the client uses to Alice is alive.
func (w *world) chosenAlive() bool {
	return slices.ContainsFunc(w.c.Paths(w.alice.ID.Address, w.Now), func(p client.PathInfo) bool { return p.Chosen && p.Alive })
}

// death measures, for many seeds, how long a client is without a working path to Alice: its member dies, or it is sent to
// a dead one. at is when that happens, s after the start. The result is sorted, in s.
func death(t *testing.T, f string, redirected bool, at float64) []int64 {
	t.Helper()
	var out []int64
	for seed := range uint64(40) {
		w := newWorld(t, setting{family: f, seed: seed, v4only: true, sockets: [2]int{2, 0}})
		w.seconds(at)
		m, dead := w.member(w.uses()), w.member(w.uses())
		if redirected {
			dead = w.others()[0]
		}
		dead.Silent = true
		if redirected {
			m.Redirect(w.session(m), 1, dead.Endpoints[0])
			w.Run(rttDefault / 2)
		}
		d, ok := w.RunUntil(3_000_000, func() bool { return w.uses() != "none" && w.uses() != dead.Name && w.chosenAlive() })
		if !ok {
			t.Fatalf("%s, seed %d: never", f, seed)
		}
		out = append(out, (d+500)/1000)
	}
	slices.Sort(out)
	return out
}

// spread shows the values of a sorted slice with their shares.
func spread(v []int64) string {
	var parts []string
	for _, d := range slices.Compact(slices.Clone(v)) {
		n := 0
		for _, x := range v {
			if x == d {
				n++
			}
		}
		parts = append(parts, fmt.Sprintf("%d s (%d %%)", d, 100*n/len(v)))
	}
	return strings.Join(parts, ", ")
}

// deathRow checks that the model shows the measured times: its shortest and the most frequent ones. Each measured range
// comes from a few runs; how long it takes is decided by how often the random endpoint is the dead one again.
func deathRow(version, f string, redirected bool, real string, at float64, low, high int64) row {
	what := "attached member dies"
	if redirected {
		what = "redirected to a dead member"
	}
	return row{"4.14", fmt.Sprintf("%s: %s (%v s after the start)", version, what, at), real, func(t *testing.T) string {
		v := death(t, f, redirected, at)
		inside := 0
		for _, d := range v {
			if d >= low-1 && d <= high+1 {
				inside++
			}
		}
		if v[0] < low-1 || inside*10 < len(v)*7 {
			t.Errorf("%s: %s; want none below %d s and 70 %% up to %d s", version, spread(v), low, high)
		}
		return spread(v)
	}}
}

func deathRows() []row {
	return []row{
		deathRow("1.4.6", "1.4", false, "7-12 s", 3, 7, 12),
		deathRow("1.6.2", "1.6.0", false, "7-12 s", 3, 7, 12),
		deathRow("1.8.4", "1.8", false, "7-12 s", 3, 7, 12),
		deathRow("1.10.2", "1.10.2", false, "12 s", 3, 7, 12),
		deathRow("1.10.6", "1.10.6", false, "447-900 s", 3, 447, 900),
		deathRow("1.12.2", "1.14", false, "405-675 s", 45, 405, 675),
		deathRow("1.14.1", "1.14", false, "420-675 s", 30, 420, 675),
		deathRow("1.4.6", "1.4", true, "7-22 s", 3, 7, 22),
		deathRow("1.6.2", "1.6.0", true, "7-22 s", 3, 7, 22),
		deathRow("1.8.4", "1.8", true, "7-22 s", 3, 7, 22),
		deathRow("1.10.2", "1.10.2", true, "12 s", 3, 7, 22),
		deathRow("1.10.6", "1.10.6", true, "447 s", 3, 447, 447),
		deathRow("1.12.2", "1.14", true, "425-455 s", 25.5, 425, 455),
		deathRow("1.14.1", "1.14", true, "425-460 s", 25.5, 425, 460),
	}
}
