package sim_test

import (
	"fmt"
	"testing"

	"github.com/rootd/rootd/cmd/internal/client/sim"
	"github.com/rootd/rootd/packetpath/vl1"
)

// twoMembers is a client that uses m; x is faster (10 ms against 100) and was never spoken to.
func twoMembers(t *testing.T, f string) (w *world, m, x *sim.Member) {
	w = newWorld(t, setting{family: f, v4only: true, noBob: true})
	for _, a := range w.a {
		w.rtt[a.Endpoints[0].Addr()] = 100
	}
	w.seconds(1)
	m, x = w.member(w.uses()), w.others()[0]
	w.rtt[x.Endpoints[0].Addr()] = 10
	w.others()[1].Silent = true
	return w, m, x
}

func softRows() []row {
	rendezvous := func(w *world, m, x *sim.Member) {
		m.Rendezvous(w.session(m), w.alice.ID.Address, x.Endpoints[0])
		w.seconds(1)
	}
	return []row{
		{"4.9", "F1, F2: RENDEZVOUS that names the root", "no effect while the current path is alive", func(t *testing.T) string {
			return each(t, sticky, func(t *testing.T, f string) string {
				w, m, x := twoMembers(t, f)
				rendezvous(w, m, x)
				expect(t, f, w.table(w.alice), m.Name+":1")
				return "no effect"
			})
		}},
		{"4.9", "F3, F4: the same", "added; used as soon as a random HELLO has measured its lower latency (seconds to tens of seconds)", func(t *testing.T) string {
			return each(t, greedy, func(t *testing.T, f string) string {
				w, m, x := twoMembers(t, f)
				rendezvous(w, m, x)
				expect(t, f, w.table(w.alice), m.Name+":1 "+x.Name+":1")
				expect(t, f, w.uses(), m.Name)
				d, ok := w.RunUntil(120_000, func() bool { return w.uses() == x.Name })
				if !ok || d < 1000 {
					t.Errorf("%s: used after %d ms", f, d)
				}
				return "added at once, used after a random HELLO"
			})
		}},
		{"4.9", "F5, F6: the same", "added; used only after the next full HELLO (up to 225 s)", func(t *testing.T) string {
			return each(t, lazy, func(t *testing.T, f string) string {
				w, m, x := twoMembers(t, f)
				rendezvous(w, m, x)
				expect(t, f, w.table(w.alice), m.Name+":1 "+x.Name+":1")
				d, _ := w.RunUntil(300_000, func() bool { return w.uses() == x.Name })
				return expect(t, f, fmt.Sprintf("added at once, used at second %d", (d+2000)/1000), "added at once, used at second 225")
			})
		}},
		{"4.9", "F6: the same (sent by Bob), after the old member died", "does not help: the dead path keeps the better quality", func(t *testing.T) string {
			expect(t, "1.14", rescue(t, true), "the dead path is used again after 20 s")
			return expect(t, "1.14", rescue(t, false), "the dead path is used again after 20 s")
		}},
		{"4.9", "the table holds a priority-3 path", "the new one is dropped at the next visit (F5, F6) or never pinged (F3, F4)", func(t *testing.T) string {
			return each(t, learner, func(t *testing.T, f string) string {
				w, m, x := twoMembers(t, f)
				m.Redirect(w.session(m), 1, m.Endpoints[0])
				w.seconds(1)
				rendezvous(w, m, x)
				expect(t, f, w.table(w.alice), m.Name+":3 "+x.Name+":1")
				from := len(w.log)
				w.seconds(230)
				pings := w.count(func(s sent) bool { return s.to == x.Endpoints[0] && s.size == sizeEcho }, from)
				if n := len(w.c.Paths(w.alice.ID.Address, w.Now)); f == "1.14" && n != 1 || pings > 0 {
					t.Errorf("%s: %d ECHOs to it, table %s", f, pings, w.table(w.alice))
				}
				return "no ECHO to it"
			})
		}},
		{"4.10", "F3-F6: plain push", "ECHO from all sockets; then as RENDEZVOUS", func(t *testing.T) string {
			return each(t, learner, func(t *testing.T, f string) string {
				w, m, x := twoMembers(t, f)
				m.Push(w.session(m), 1, vl1.DirectPath{Endpoint: x.Endpoints[0]})
				w.seconds(1)
				expect(t, f, w.table(w.alice), m.Name+":1 "+x.Name+":1")
				return "added"
			})
		}},
		{"4.10", "F1, F2: plain push, a socket without a path", "a path is added for that socket", func(t *testing.T) string {
			return each(t, sticky, func(t *testing.T, f string) string {
				w := newWorld(t, setting{family: f, v4only: true, noBob: true, sockets: [2]int{2, 0}})
				w.seconds(1) // the second socket's path to the same IP was refused
				m, x := w.member(w.uses()), w.others()[0]
				m.Push(w.session(m), 1, vl1.DirectPath{Endpoint: x.Endpoints[0]})
				w.seconds(1)
				expect(t, f, w.table(w.alice), m.Name+":1 "+x.Name+":1")
				return "added for the second socket"
			})
		}},
		{"4.11", "F3-F6: a member talks first (NOP, hops 0)", "HELLO to it and learned at once; used at once if its latency is lower", func(t *testing.T) string {
			return each(t, learner, func(t *testing.T, f string) string {
				w, _, x := twoMembers(t, f)
				w.Nop(x)
				w.seconds(0.1)
				return expect(t, f, fmt.Sprint("used: ", w.uses() == x.Name), "used: true")
			})
		}},
		{"4.11", "F1, F2: the same", "only once the old path is no longer alive", func(t *testing.T) string {
			return each(t, sticky, func(t *testing.T, f string) string {
				w, m, x := twoMembers(t, f)
				w.Nop(x)
				w.seconds(0.1)
				expect(t, f, w.table(w.alice), m.Name+":1")
				m.Silent = true
				w.seconds(20)
				w.Nop(x)
				w.seconds(0.1)
				return expect(t, f, fmt.Sprint("used after 20 s of silence: ", w.uses() == x.Name), "used after 20 s of silence: true")
			})
		}},
		{"4.11", "the same behind NATs", "only full cone lets it in", func(t *testing.T) string {
			s := ""
			for _, k := range []sim.NATKind{sim.FullCone, sim.AddressRestricted, sim.PortRestricted, sim.Symmetric} {
				nat := &sim.NAT{Kind: k, Timeout: 30_000}
				nat.External[0] = addrPort("62.0.0.1:1").Addr()
				w := newWorld(t, setting{family: "1.14", v4only: true, noBob: true, nat: nat})
				w.seconds(1)
				m, x := w.member(w.uses()), w.others()[0]
				x.Nop(w.session(m).Peer, x.Endpoints[0], w.session(m).Client, 0)
				w.seconds(1)
				s += fmt.Sprintf("%v: %v, ", k, x.Session(w.id.Address) != nil)
			}
			return expect(t, "1.14", s[:len(s)-2], "full-cone: true, address-restricted: false, port-restricted: false, symmetric: false")
		}},
	}
}

// rescue is a client of a dead member of Alice that Bob tells, by RENDEZVOUS, of a live one; it says which it uses later.
func rescue(t *testing.T, mute bool) string {
	w := newWorld(t, setting{family: "1.14", v4only: true})
	w.seconds(1)
	m, x := w.member(w.uses()), w.others()[0]
	x.Mute = func(_ vl1.Address, v vl1.Verb) bool { return mute && v == vl1.VerbWhois }
	w.b.Mute = x.Mute
	m.Silent = true
	w.seconds(30)
	w.b.Rendezvous(w.session(w.b), w.alice.ID.Address, x.Endpoints[0])
	w.seconds(1)
	if got := w.uses(); got != x.Name {
		t.Errorf("right after it the client uses %s", got)
	}
	w.seconds(100)
	if w.uses() == x.Name {
		return "the live path is used"
	}
	return "the dead path is used again after 20 s"
}
