package sim_test

import (
	"fmt"
	"testing"

	"github.com/rootd/rootd/cmd/internal/client"
)

// pushes sends a redirect after each of the gaps (s) and returns which of them were obeyed, as 1 and 0.
func pushes(t *testing.T, f string, gaps []float64) string {
	w := newWorld(t, setting{family: f, v4only: true, noBob: true, members: 1})
	obeyed := ""
	now := false
	w.Env.Notice = func(_ *client.Client, n client.Notice) { now = now || n.Kind == client.Redirected }
	w.seconds(2)
	m := w.a[0]
	for _, g := range gaps {
		w.seconds(g)
		now = false
		m.Redirect(w.session(m), 1, m.Endpoints[0])
		w.Run(rttDefault / 2) // just until it is there
		obeyed += map[bool]string{true: "1", false: "0"}[now]
	}
	return obeyed
}

// every returns n gaps of s seconds; the time under way counts as part of a gap.
func every(n int, s float64) []float64 {
	g := make([]float64, n)
	for i := range g {
		g[i] = s - rttDefault/2/1000.0
	}
	return g
}

func gateRows() []row {
	return []row{
		{"4.8.4", "12 pushes in a row, 1 s apart", "8 are obeyed", func(t *testing.T) string {
			return each(t, all, func(t *testing.T, f string) string {
				return expect(t, f, pushes(t, f, every(12, 1)), "111111110000")
			})
		}},
		{"4.8.4", "one each 30 s", "8 are obeyed: refused ones keep the gate closed", func(t *testing.T) string {
			return each(t, all, func(t *testing.T, f string) string {
				return expect(t, f, pushes(t, f, every(12, 30)), "111111110000")
			})
		}},
		{"4.8.4", "one each 30.1 s", "all", func(t *testing.T) string {
			return each(t, all, func(t *testing.T, f string) string {
				return expect(t, f, pushes(t, f, every(12, 30.1)), "111111111111")
			})
		}},
		{"4.8.4", "12 in a row, then a pause of more than 30 s", "open again for 8", func(t *testing.T) string {
			return each(t, all, func(t *testing.T, f string) string {
				gaps := append(append(every(12, 1), every(1, 30.1)...), every(9, 1)...)
				return expect(t, f, pushes(t, f, gaps), "1111111100001111111100")
			})
		}},
		{"4.8.4", "1.1.x-1.2.4: the same gate", "60 s and 5 pushes", func(t *testing.T) string {
			const f = "1.2.4"
			w := newWorld(t, setting{family: f, v4only: true, noBob: true, members: 1})
			refused := 0
			w.Env.Notice = func(_ *client.Client, n client.Notice) {
				if n.Kind == client.PushRefused {
					refused++
				}
			}
			w.seconds(2)
			for range 8 {
				w.seconds(50)
				w.a[0].Redirect(w.session(w.a[0]), 1, w.a[0].Endpoints[0])
			}
			w.seconds(1)
			return expect(t, f, fmt.Sprintf("%d of 8 obeyed at 50 s", 8-refused), "5 of 8 obeyed at 50 s")
		}},
		{"4.8.4", "Alice and Bob", "separate budgets", func(t *testing.T) string {
			return each(t, all, func(t *testing.T, f string) string {
				w := newWorld(t, setting{family: f, v4only: true, members: 1})
				refused := 0
				w.Env.Notice = func(_ *client.Client, n client.Notice) {
					if n.Kind == client.PushRefused {
						refused++
					}
				}
				w.seconds(2)
				for range 8 {
					w.a[0].Redirect(w.session(w.a[0]), 1, w.a[0].Endpoints[0])
					w.b.Redirect(w.session(w.b), 1, w.b.Endpoints[0])
					w.seconds(1)
				}
				return expect(t, f, fmt.Sprintf("%d of 16 refused", refused), "0 of 16 refused")
			})
		}},
	}
}
