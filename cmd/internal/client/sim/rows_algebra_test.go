package sim_test

import (
	"net/netip"
	"testing"

	"github.com/rootd/rootd/cmd/internal/client/sim"
)

// dual is a client of the family with one IPv4 and one IPv6 path to Alice's member m1, both of priority 1; x, z are
// members it never spoke to.
func dual(t *testing.T, f string) (w *world, v4, v6 *sim.Session, x, z *sim.Member) {
	return dualStack(t, f, true)
}

// dualStack is dual with a choice: the measurements were made with sockets that carry both families; real
// installations have sockets for each.
func dualStack(t *testing.T, f string, both bool) (w *world, v4, v6 *sim.Session, x, z *sim.Member) {
	w = newWorld(t, setting{family: f, noBob: true, members: 3, dual: both})
	w.a[1].Silent, w.a[2].Silent = true, true
	for range 200 {
		w.seconds(5)
		if w.table(w.alice) == "m1:1 m1/6:1" || w.table(w.alice) == "m1/6:1 m1:1" {
			break
		}
	}
	if got := w.table(w.alice); got != "m1:1 m1/6:1" && got != "m1/6:1 m1:1" {
		t.Fatalf("%s: table %s", f, got)
	}
	w.seconds(2.2) // nothing is under way, and the next tick is far
	w.a[1].Silent, w.a[2].Silent = false, false
	return w, w.over(w.a[0], 0), w.over(w.a[0], 1), w.a[1], w.a[2]
}

// over is a session over the IPv4 (0) or IPv6 (1) endpoint of a member, whether the client spoke to it or not.
func (w *world) over(m *sim.Member, family int) *sim.Session {
	p, err := m.Root.Know(w.id)
	if err != nil {
		w.t.Fatal(err)
	}
	local := m.Endpoints[family]
	return &sim.Session{Peer: p, Local: local, Client: w.node.Sockets[family]}
}

func algebraRows() []row {
	redirect := func(w *world, m *sim.Member, s *sim.Session, to ...netip.AddrPort) {
		m.Redirect(s, 1, to...)
		w.seconds(0.2)
	}
	return []row{
		{"4.8.5", "all of priority 1; redirect to X over one of them", "{X:3}", func(t *testing.T) string {
			return each(t, all, func(t *testing.T, f string) string {
				w, v4, _, x, _ := dual(t, f)
				redirect(w, w.a[0], v4, x.Endpoints[0])
				return expect(t, f, w.table(w.alice), "m2:3")
			})
		}},
		{"4.8.5", "{X:3}; then over a priority-1 IPv6 path a redirect to Y6", "{X:3, Y6:3}", func(t *testing.T) string {
			return each(t, all, func(t *testing.T, f string) string {
				w, v4, v6, x, z := dual(t, f)
				redirect(w, w.a[0], v4, x.Endpoints[0])
				w.a[0].Nop(v6.Peer, v6.Local, v6.Client, 0) // its IPv6 path is learned again, with priority 1
				w.seconds(0.2)
				if w.table(w.alice) != "m2:3 m1/6:1" {
					t.Errorf("%s: table %s", f, w.table(w.alice))
				}
				redirect(w, w.a[0], v6, z.Endpoints[1])
				return expect(t, f, w.table(w.alice), "m2:3 m3/6:3")
			})
		}},
		{"4.8.5", "{X:3, Y6:3}; redirect to Z over X", "{Z:5}; IPv6 comes back as priority 1 and is dropped at a later visit", func(t *testing.T) string {
			return each(t, all, func(t *testing.T, f string) string {
				w, v4, _, x, z := dual(t, f)
				redirect(w, w.a[0], v4, x.Endpoints[0], x.Endpoints[1])
				expect(t, f, w.table(w.alice), "m2:3 m2/6:3")
				redirect(w, x, w.over(x, 0), z.Endpoints[0])
				return expect(t, f, w.table(w.alice), "m3:5")
			})
		}},
		{"4.8.5", "one packet, two records X and Y6, over a priority-1 path", "{X:3, Y6:3}", func(t *testing.T) string {
			return each(t, all, func(t *testing.T, f string) string {
				w, v4, _, x, z := dual(t, f)
				redirect(w, w.a[0], v4, x.Endpoints[0], z.Endpoints[1])
				return expect(t, f, w.table(w.alice), "m2:3 m3/6:3")
			})
		}},
		{"4.8.5", "the same, with a socket per family (as installed clients have)", "not measured: the record of the other family is bound to the wrong socket", func(t *testing.T) string {
			return each(t, learner[1:], func(t *testing.T, f string) string {
				w, v4, _, x, z := dualStack(t, f, false)
				redirect(w, w.a[0], v4, x.Endpoints[0], z.Endpoints[1])
				return expect(t, f, w.table(w.alice), "m2:3 m3/6:3 m3/6:1")
			})
		}},
		{"4.8.5", "the same over a priority-3 path", "{X:5, Y6:3}; F5 and F6 drop Y6 at the next visit", func(t *testing.T) string {
			for _, f := range lazy {
				w, v4, _, x, z := dual(t, f)
				redirect(w, w.a[0], v4, x.Endpoints[0])
				redirect(w, x, w.over(x, 0), z.Endpoints[0], w.a[0].Endpoints[1])
				w.RunUntil(300_000, func() bool { return w.table(w.alice) == "m3:5" })
				expect(t, f, w.table(w.alice), "m3:5")
			}
			return each(t, all, func(t *testing.T, f string) string {
				w, v4, _, x, z := dual(t, f)
				redirect(w, w.a[0], v4, x.Endpoints[0])
				redirect(w, x, w.over(x, 0), z.Endpoints[0], w.a[0].Endpoints[1])
				return expect(t, f, w.table(w.alice), "m3:5 m1/6:3")
			})
		}},
		{"4.8.5", "redirect over a path that is not in the table", "new priority 3; paths of priority 3 stay", func(t *testing.T) string {
			return each(t, all, func(t *testing.T, f string) string {
				w, v4, _, x, z := dual(t, f)
				redirect(w, w.a[0], v4, x.Endpoints[0])
				redirect(w, w.a[0], v4, z.Endpoints[0]) // m1's path was forgotten by the first
				return expect(t, f, w.table(w.alice), "m2:3 m3:3")
			})
		}},
		{"4.8.5", "self-redirect over X:3", "{X:5}, everything lower is erased", func(t *testing.T) string {
			return each(t, all, func(t *testing.T, f string) string {
				w, v4, v6, x, _ := dual(t, f)
				redirect(w, w.a[0], v4, x.Endpoints[0])
				w.a[0].Nop(v6.Peer, v6.Local, v6.Client, 0)
				w.seconds(0.2)
				redirect(w, x, w.over(x, 0), x.Endpoints[0])
				expect(t, f, w.uses(), "m2")
				return expect(t, f, w.table(w.alice), "m2:5")
			})
		}},
		{"4.8.5", "after Z:5: the IPv6 member redirects, then self-redirects", "Y6:3, then Y6:5 beside Z:5", func(t *testing.T) string {
			return each(t, all, func(t *testing.T, f string) string {
				w, v4, v6, x, z := dual(t, f)
				redirect(w, w.a[0], v4, x.Endpoints[0])
				redirect(w, x, w.over(x, 0), z.Endpoints[0])
				expect(t, f, w.table(w.alice), "m3:5")
				redirect(w, w.a[0], v6, x.Endpoints[1])
				redirect(w, x, w.over(x, 1), x.Endpoints[1])
				return expect(t, f, w.table(w.alice), "m3:5 m2/6:5")
			})
		}},
		{"4.8.5", "F5, F6: all paths expired and removed", "priorities restart at 1", func(t *testing.T) string {
			return each(t, lazy, func(t *testing.T, f string) string {
				w, v4, _, x, _ := dual(t, f)
				redirect(w, w.a[0], v4, x.Endpoints[0])
				for _, m := range w.a {
					m.Silent = true
				}
				w.seconds(1000)
				for _, m := range w.a {
					m.Silent = false
				}
				w.seconds(1000)
				for _, p := range w.c.Paths(w.alice.ID.Address, w.Now) {
					if p.Priority != 1 {
						t.Errorf("%s: table %s", f, w.table(w.alice))
					}
				}
				return "priority 1"
			})
		}},
	}
}
