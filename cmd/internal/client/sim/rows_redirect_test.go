package sim_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/rootd/rootd/cmd/internal/client"
	"github.com/rootd/rootd/cmd/internal/client/sim"
	"github.com/rootd/rootd/packetpath/vl1"
)

func redirectRows() []row {
	return []row{
		{"4.8.2", "redirect, target 20 ms away", "HELLO to the target at once, path confirmed within 40-60 ms", func(t *testing.T) string {
			return each(t, all, func(t *testing.T, f string) string {
				w, m, x := redirectWorld(t, f)
				w.rtt[x.Endpoints[0].Addr()] = 20
				from := len(w.log)
				m.Redirect(w.session(m), 1, x.Endpoints[0])
				d, ok := w.RunUntil(5000, func() bool {
					p := w.c.Paths(w.alice.ID.Address, w.Now)
					return w.uses() == x.Name && p[len(p)-1].Alive && p[len(p)-1].Latency >= 0
				})
				if !ok || d > 60 {
					t.Errorf("%s: after %d ms", f, d)
				}
				if len(w.log) == from || !w.log[from].hello || w.log[from].to != x.Endpoints[0] {
					t.Errorf("%s: first the client sent %+v", f, w.log[from:])
				}
				return fmt.Sprintf("confirmed after %d ms", d)
			})
		}},
		{"4.8.2", "the old path", "forgotten at once, before the new one has answered", func(t *testing.T) string {
			return each(t, all, func(t *testing.T, f string) string {
				w, m, x := redirectWorld(t, f)
				x.Silent = true
				m.Redirect(w.session(m), 1, x.Endpoints[0])
				w.seconds(0.021)
				expect(t, f, w.table(w.alice), x.Name+":3")
				expect(t, f, w.uses(), x.Name)
				return "forgotten one way later"
			})
		}},
		{"4.8.2", "the target answers", "stays there for ever", func(t *testing.T) string {
			return each(t, all, func(t *testing.T, f string) string {
				w, m, x := redirectWorld(t, f)
				m.Redirect(w.session(m), 1, x.Endpoints[0])
				for range 72 {
					w.seconds(50)
					expect(t, f, w.uses(), x.Name)
				}
				return "for an hour"
			})
		}},
		{"4.8.2", "F1-F4: keep-alives of paths below the highest priority", "none, but they are kept", func(t *testing.T) string {
			return each(t, early, func(t *testing.T, f string) string {
				w := spare(t, f)
				from := len(w.log)
				w.seconds(100)
				if n := w.count(func(s sent) bool { return s.size == sizeEcho && s.to.Addr().Is6() }, from); n > 0 {
					t.Errorf("%s: %d ECHOs to the spare path", f, n)
				}
				if !strings.Contains(w.table(w.alice), "/6:1") {
					t.Errorf("%s: table %s", f, w.table(w.alice))
				}
				return "kept without ECHO"
			})
		}},
		{"4.8.2", "F5, F6: the same", "deleted at the next visit", func(t *testing.T) string {
			return each(t, lazy, func(t *testing.T, f string) string {
				w := spare(t, f)
				if _, ok := w.RunUntil(226_000, func() bool { return w.table(w.alice) == "m2:3" }); !ok {
					t.Errorf("%s: table %s", f, w.table(w.alice))
				}
				return "deleted at the next visit"
			})
		}},
		{"4.8.3", "redirect with hops 0", "the client HELLOs the old member at once", func(t *testing.T) string {
			return each(t, all, func(t *testing.T, f string) string { return old(t, f, 0, "1 HELLO to the old member") })
		}},
		{"4.8.3", "redirect with hops 1", "nothing goes to the old member", func(t *testing.T) string {
			return each(t, all, func(t *testing.T, f string) string { return old(t, f, 1, "0 HELLO to the old member") })
		}},
		{"4.8.3", "a root that redirects with hops 0 on every packet", "2 to 6 bounces within seconds, and again whenever the old member is probed, until the gate closes", func(t *testing.T) string {
			s := ""
			for _, f := range all {
				var w *world
				redirects := 0
				for seed := uint64(0); w == nil || w.uses() != "m1" && redirects == 0; seed++ { // one that begins at the wrong member
					w = newWorld(t, setting{family: f, v4only: true, noBob: true, members: 2, seed: seed})
					w.Env.Notice = func(_ *client.Client, n client.Notice) {
						if n.Kind == client.Redirected {
							redirects++
						}
					}
					w.a[0].Seen = func(m *sim.Member, s *sim.Session, pkt vl1.Packet) {
						if pkt.Verb() != vl1.VerbOK {
							m.Redirect(s, 0, w.a[1].Endpoints[0])
						}
					}
					w.seconds(4)
				}
				if redirects < 2 || redirects > 6 {
					t.Errorf("%s: %d redirects", f, redirects)
				}
				s += fmt.Sprintf("%d (%s), ", redirects, f)
			}
			return s[:len(s)-2]
		}},
		{"4.16", "redirect to a dead target is rolled back with a NOP (hops 0) on the old path", "served again within about 0.3 s", func(t *testing.T) string {
			return each(t, all, func(t *testing.T, f string) string {
				w, m, x := redirectWorld(t, f)
				s := w.session(m)
				x.Silent = true
				m.Redirect(s, 1, x.Endpoints[0])
				w.seconds(3)
				hellos := s.Hellos
				m.Nop(s.Peer, s.Local, s.Client, 0)
				d, ok := w.RunUntil(1000, func() bool { return s.Hellos > hellos })
				if !ok || d > 300 {
					t.Errorf("%s: %d ms", f, d)
				}
				return "within 0.3 s"
			})
		}},
		{"4.16", "then self-redirects (hops 1, 1 s apart)", "two erase the dead target", func(t *testing.T) string {
			return each(t, learner, func(t *testing.T, f string) string {
				w, m, x := redirectWorld(t, f)
				s := w.session(m)
				x.Silent = true
				m.Redirect(s, 1, x.Endpoints[0])
				w.seconds(20) // the target is dead by now, so that every family takes the old path again
				m.Nop(s.Peer, s.Local, s.Client, 0)
				w.seconds(1)
				for range 2 {
					m.Redirect(s, 1, m.Endpoints[0])
					w.seconds(1)
				}
				if got := w.table(w.alice); got != m.Name+":5" && got != m.Name+":3" {
					t.Errorf("%s: table %s", f, got)
				}
				return "the dead target is gone"
			})
		}},
	}
}

// redirectWorld is a client that has settled on one member (m) of two, and a member that it never spoke to (x).
func redirectWorld(t *testing.T, f string) (w *world, m, x *sim.Member) {
	w = newWorld(t, setting{family: f, v4only: true, noBob: true})
	w.seconds(1)
	return w, w.member(w.uses()), w.others()[0]
}

// spare is a client with the table m2:3 m1/6:1.
func spare(t *testing.T, f string) *world {
	w, v4, v6, x, _ := dual(t, f)
	w.a[0].Redirect(v4, 1, x.Endpoints[0])
	w.seconds(0.2)
	w.a[0].Nop(v6.Peer, v6.Local, v6.Client, 0)
	w.seconds(0.2)
	if w.table(w.alice) != "m2:3 m1/6:1" {
		t.Fatalf("%s: table %s", f, w.table(w.alice))
	}
	return w
}

// Nop lets a member talk to the client first.
func (w *world) Nop(m *sim.Member) {
	p, err := m.Root.Know(w.identity())
	if err != nil {
		w.t.Fatal(err)
	}
	m.Nop(p, m.Endpoints[0], w.node.Sockets[0], 0)
}

func old(t *testing.T, f string, hops uint8, want string) string {
	w, m, x := redirectWorld(t, f)
	from := len(w.log)
	m.Redirect(w.session(m), hops, x.Endpoints[0])
	w.seconds(2)
	return expect(t, f, fmt.Sprintf("%d HELLO to the old member", w.hellos(from, m.Endpoints[0].Addr())), want)
}
