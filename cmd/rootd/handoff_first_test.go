package main_test

import (
	"flag"
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/rootd/rootd/cmd/internal/client"
	"github.com/rootd/rootd/fsm"
	"github.com/rootd/rootd/fsm/table"
)

var handoffSeeds = flag.Int("handoff.seeds", 4, "clients of each family that TestFirstHandoff hands off")

// The first handoff of a client with both address families succeeds, at whatever moment it comes, and neither family waits long
// for the other. An old client answers one ECHO a second, and has mostly greeted the target itself a moment before.
func TestFirstHandoff(t *testing.T) {
	for _, family := range redirected {
		for seed := range *handoffSeeds {
			t.Run(fmt.Sprint(family, " ", seed), func(t *testing.T) {
				t.Parallel()
				withRoots(t, 3, func(r *roots) {
					r.seed = uint64(seed)
					s, from := r.homed(family, true, true)
					defer s.explain()
					time.Sleep(time.Duration(seed) * 1_370 * time.Millisecond % (30 * time.Second))
					to := r.other(from)
					r.target.Store(uint32(to.id))
					r.until("both attached", 75*time.Second, func() bool {
						rec := s.record()
						return rec.V4Member == to.id && rec.V6Member == to.id && fsm.LevelRedirects(&rec, false)+fsm.LevelRedirects(&rec, true) == 0
					})
					if c := r.counters(); c.HandoffsFailed+c.HandoffsVoid > 0 {
						r.Errorf("%+v", c)
					}
					if _, refused := s.pushes(); len(refused) > 0 {
						r.Errorf("the client refused %+v", refused)
					}
				})
			})
		}
	}
}

// deafen loses all that a member says to the client.
func (s *seat) deafen(n *rootNode, deaf bool) {
	for _, c := range s.conns {
		for _, m := range [2]netip.Addr{n.v4.Addr(), n.v6.Addr()} {
			if deaf {
				s.net.CutOneWay(m, c.LocalAddr().Addr())
			} else {
				s.net.Heal(m, c.LocalAddr().Addr())
			}
		}
	}
}

// A client that the target has heard before, and hears now, but that does not hear the target: it is taken back. An old client greets
// all members at random, so the target knows it well.
func TestHandoffToTargetThatIsNotHeard(t *testing.T) {
	for _, family := range []string{"1.4", "1.6.0", "1.14"} {
		t.Run(family, func(t *testing.T) {
			withRoots(t, 3, func(r *roots) {
				s, from := r.homed(family, true, false)
				defer s.explain()
				to := r.other(from)
				if settledFamily(family) { // let it be at the target, and come back
					r.target.Store(uint32(to.id))
					r.until("at the target", 90*time.Second, func() bool { rec := s.record(); return rec.V4Member == to.id })
					time.Sleep(time.Minute)
					r.target.Store(uint32(from))
					r.until("back again", 90*time.Second, func() bool { rec := s.record(); return rec.V4Member == from })
				}
				time.Sleep(time.Minute)
				s.deafen(to, true)
				obeyed, _ := s.pushes()
				r.target.Store(uint32(to.id))
				r.until("redirected", 90*time.Second, func() bool { now, _ := s.pushes(); return len(now) > len(obeyed) })
				r.until("served again", 5*time.Second, s.served)
				time.Sleep(20 * time.Second)
				if rec := s.record(); rec.V4Member != from || rec.Handoff.Fails != 1 || !s.served() {
					r.Errorf("attached to %d, %+v", rec.V4Member, rec.Handoff)
				}
			})
		})
	}
}

// keeps reports whether the client has a living path to a member: one of its sockets may be at another member than the others.
func (s *seat) keeps(id table.MemberID) bool {
	return slices.ContainsFunc(s.paths(), func(p client.PathInfo) bool { return p.Alive && s.owner(p.Endpoint) == id })
}

// An old client whose member it does not hear any more finds another one by itself, and greets both at random. The log follows it: its
// keep-alives tell. (A client of 1.2.4 that was not redirected yet goes to whoever answered it last, several times a minute.)
func TestOldClientThatMovesByItself(t *testing.T) {
	for _, family := range []string{"1.4", "1.6.0"} {
		for name, v6 := range map[string]bool{"IPv4": false, "IPv6": true} {
			t.Run(family+" "+name, func(t *testing.T) {
				withRoots(t, 3, func(r *roots) {
					s, from := r.homed(family, !v6, v6)
					defer s.explain()
					time.Sleep(time.Minute)
					s.deafen(r.nodes[from-1], true)
					r.until("elsewhere", time.Minute, func() bool { return s.at() != from && s.served() })
					r.until("in the log", 2*time.Minute, func() bool { rec := s.record(); return member(&rec, v6) != from && s.keeps(member(&rec, v6)) })
					s.deafen(r.nodes[from-1], false)
					for range 20 {
						time.Sleep(30 * time.Second)
						rec := s.record()
						if !s.keeps(member(&rec, v6)) {
							time.Sleep(2 * time.Minute) // it may have moved on a moment ago
							if rec = s.record(); !s.keeps(member(&rec, v6)) {
								r.Fatalf("at %d, attached to %d", s.at(), member(&rec, v6))
							}
						}
					}
				})
			})
		}
	}
}

// A client of protocol 4 answers no ECHO. It shows that it hears us by answering a WHOIS.
func TestClientWithoutEchoIsAttached(t *testing.T) {
	for name, v6 := range map[string]bool{"IPv4": false, "IPv6": true} {
		t.Run(name, func(t *testing.T) {
			withRoots(t, 3, func(r *roots) {
				s, from := r.homed("1.0", !v6, v6)
				defer s.explain()
				time.Sleep(10 * time.Minute)
				if rec := s.record(); member(&rec, v6) != from || !(rec.V4.IsValid() || rec.V6.IsValid()) || s.at() != from {
					r.Errorf("at %d, attached to %d", s.at(), member(&rec, v6))
				}
			})
		})
	}
}

// If it cannot reach the target, it stays where it is.
func TestHandoffByRendezvousToUnreachableTarget(t *testing.T) {
	withRoots(t, 3, func(r *roots) {
		s, from := r.homed("1.0", true, false)
		defer s.explain()
		to := r.other(from)
		for _, c := range s.conns {
			r.net.Cut(c.LocalAddr().Addr(), to.v4.Addr())
		}
		r.target.Store(uint32(to.id))
		r.until("given up", 90*time.Second, func() bool { rec := s.record(); return rec.Handoff.Fails == 1 && rec.Handoff.Failed == to.id })
		time.Sleep(time.Minute)
		if rec := s.record(); s.at() != from || rec.V4Member != from || !s.served() {
			r.Errorf("at %d, attached to %d", s.at(), rec.V4Member)
		}
	})
}

// It is moved by RENDEZVOUS, and stays at the target.
func TestHandoffByRendezvous(t *testing.T) {
	for name, v6 := range map[string]bool{"IPv4": false, "IPv6": true} {
		t.Run(name, func(t *testing.T) {
			withRoots(t, 3, func(r *roots) {
				s, from := r.homed("1.0", !v6, v6)
				defer s.explain()
				to := r.other(from)
				r.target.Store(uint32(to.id))
				r.until("moved", 90*time.Second, func() bool { rec := s.record(); return s.at() == to.id && member(&rec, v6) == to.id })
				time.Sleep(10 * time.Minute)
				if rec := s.record(); s.at() != to.id || member(&rec, v6) != to.id || !s.served() {
					r.Errorf("at %d, attached to %d", s.at(), member(&rec, v6))
				}
				if c := r.counters(); c.HandoffsDone != 1 || c.HandoffsFailed+c.HandoffsVoid+c.HandoffsRefused != 0 {
					r.Errorf("%+v", c)
				}
			})
		})
	}
}
