package main_test

import (
	"testing"
	"time"

	"github.com/rootd/rootd/cmd/internal/client"
	"github.com/rootd/rootd/fsm"
	"github.com/rootd/rootd/fsm/table"
)

// redirected are the families that obey redirects. Those since 1.10.3 stay with their first member; the others greet all
// members at random for ever, and those of 1.6.3 to 1.10.2 place themselves by what they measure.
var redirected = []string{"1.14", "1.10.6", "1.2.4", "1.4", "1.6.0", "1.8", "1.10.2"}

func settledFamily(name string) bool { return name == "1.14" || name == "1.10.6" }

// explain says what the client and the log think, if the test fails.
func (s *seat) explain() {
	if s.Failed() {
		obeyed, refused := s.pushes()
		s.notes.Lock()
		for _, line := range s.packets {
			s.Log(line)
		}
		s.notes.Unlock()
		s.Logf("client %+v\nrecord %+v\nobeyed %+v\nrefused %+v\ncounters %+v", s.paths(), s.record(), obeyed, refused, s.counters())
	}
}

func member(rec *table.Record, v6 bool) table.MemberID {
	if v6 {
		return rec.V6Member
	}
	return rec.V4Member
}

// A client of each family is handed off and stays there; its old member is left alone by those that do not greet all members
// at random.
func TestHandoffOfEveryFamily(t *testing.T) {
	for _, family := range redirected {
		for name, v6 := range map[string]bool{"IPv4": false, "IPv6": true} {
			t.Run(family+" "+name, func(t *testing.T) {
				withRoots(t, 3, func(r *roots) {
					s, from := r.homed(family, !v6, v6)
					defer s.explain()
					to := r.other(from)
					r.target.Store(uint32(to.id))
					took := r.until("moved", 30*time.Second, func() bool { return s.at() == to.id })
					r.until("attached", 10*time.Second, func() bool {
						rec := s.record()
						return member(&rec, v6) == to.id
					})
					old := r.nodes[from-1]
					before := s.greeted(old)
					time.Sleep(5 * time.Minute)
					if at := s.at(); at != to.id && family != "1.8" { // all are equally near
						r.Errorf("five minutes later it is at %d, want %d", at, to.id)
					}
					if c := r.counters(); family != "1.8" && c.HandoffsDone != 1 || c.HandoffsFailed+c.HandoffsVoid+c.HandoffsRefused != 0 {
						r.Errorf("%+v", c)
					}
					greeted := s.greeted(old) - before
					if settledFamily(family) && greeted > 0 {
						r.Errorf("the old member was greeted %d times", greeted)
					}
					if _, refused := s.pushes(); len(refused) > 0 {
						r.Errorf("the client refused %+v", refused)
					}
					r.Logf("moved after %s", took)
				})
			})
		}
	}
}

// Both families are moved, one after the other; the client keeps a live path in either.
func TestHandoffOfBothFamiliesOfAClient(t *testing.T) {
	for _, family := range []string{"1.14", "1.4", "1.8"} {
		t.Run(family, func(t *testing.T) {
			withRoots(t, 3, func(r *roots) {
				s, from := r.homed(family, true, true)
				defer s.explain()
				to := r.other(from)
				rounds := 2 // and again, over paths that were redirected before
				if family == "1.8" {
					rounds = 1 // it overwrites its own path with that of its other socket, and the priority is gone
				}
				for range rounds {
					r.target.Store(uint32(to.id))
					r.until("both attached", 3*time.Minute, func() bool {
						rec := s.record()
						return rec.V4Member == to.id && rec.V6Member == to.id && fsm.LevelRedirects(&rec, false)+fsm.LevelRedirects(&rec, true) == 0
					})
					time.Sleep(8 * time.Minute) // two visits of those that visit seldom
					var live [2]int
					for _, p := range s.paths() {
						if p.Alive || time.Now().UnixMilli()-p.Learned < 243_000 {
							live[map[bool]int{true: 0, false: 1}[p.Endpoint.Addr().Is4()]]++
						}
					}
					if live[0] == 0 || live[1] == 0 {
						r.Fatalf("%d live IPv4 paths and %d live IPv6 paths", live[0], live[1])
					}
					rec := s.record()
					if family != "1.8" && (rec.V4Member != to.id || rec.V6Member != to.id) {
						r.Fatalf("attached to %d and %d, want %d", rec.V4Member, rec.V6Member, to.id)
					}
					to = r.other(to.id)
				}
				if _, refused := s.pushes(); len(refused) > 0 {
					r.Errorf("the client refused %+v", refused)
				}
			})
		})
	}
}

// served reports whether the client is answered now by a member that lives: it has a live path there, and no other is better.
func (s *seat) served() bool {
	for _, p := range s.paths() {
		if p.Chosen {
			n := s.nodes[s.owner(p.Endpoint)-1]
			return n.alive.Load() && p.Alive && p.Latency > 0
		}
	}
	return false
}

// The target cannot be reached by this client alone: it is taken back within five seconds, for good, and not sent there again soon.
func TestHandoffToUnreachableTarget(t *testing.T) {
	for _, family := range []string{"1.14", "1.10.2", "1.4"} {
		for name, v6 := range map[string]bool{"IPv4": false, "IPv6": true} {
			t.Run(family+" "+name, func(t *testing.T) {
				withRoots(t, 3, func(r *roots) {
					s, from := r.homed(family, !v6, v6)
					defer s.explain()
					to := r.other(from)
					for _, c := range s.conns {
						r.net.Cut(c.LocalAddr().Addr(), to.v4.Addr())
						r.net.Cut(c.LocalAddr().Addr(), to.v6.Addr())
					}
					r.target.Store(uint32(to.id))
					r.until("redirected", 30*time.Second, s.sent)
					back := r.until("served again", 5*time.Second, s.served)
					time.Sleep(2 * time.Second)
					for _, p := range s.paths() {
						if p.Endpoint == to.v4 || p.Endpoint == to.v6 {
							r.Errorf("the dead path is still there: %+v", p)
						}
					}
					if rec := s.record(); rec.Handoff.Fails != 1 || rec.Handoff.Failed != to.id {
						r.Errorf("%+v", rec.Handoff)
					}
					time.Sleep(4 * time.Minute)
					obeyed, _ := s.pushes()
					for _, n := range obeyed[1:] {
						if r.owner(n.At) == to.id {
							r.Error("it was sent there again")
						}
					}
					if !s.served() {
						r.Error("not served four minutes later")
					}
					r.Logf("served again after %s", back)
				})
			})
		}
	}
}

// crashes are the moments at which the target dies, from the redirect on.
var crashes = map[string]time.Duration{
	"with the redirect": 0, "before the HELLO": oneWay + time.Millisecond, "after the HELLO": 2*oneWay + 5*time.Millisecond,
	"after the challenge": 5 * oneWay, "after it said so": 7 * oneWay, "once the log knows": 200 * time.Millisecond, "soon after": 5 * time.Second,
}

// The target dies at any step: the client is back within five seconds of when this could be known.
func TestTargetDiesDuringHandoff(t *testing.T) {
	for _, family := range []string{"1.14", "1.4"} {
		for name, after := range crashes {
			t.Run(family+" "+name, func(t *testing.T) {
				withRoots(t, 3, func(r *roots) {
					s, from := r.homed(family, true, false)
					defer s.explain()
					to := r.other(from)
					r.target.Store(uint32(to.id))
					r.until("redirected", 30*time.Second, s.sent)
					time.Sleep(after)
					to.lose()
					r.target.Store(0)
					back := r.until("served again", lostIn+5*time.Second, s.served)
					time.Sleep(20 * time.Second)
					if rec := s.record(); !s.served() || rec.V4Member == to.id || rec.Handoff.Target != 0 {
						r.Errorf("it is not served for good: %+v", rec)
					}
					r.Logf("served again after %s", back)
				})
			})
		}
	}
}

// The old member dies at any step: the client is either where it was, as if nothing had been, or at the target; and the
// next handoff goes through.
func TestOldMemberDiesDuringHandoff(t *testing.T) {
	for _, family := range []string{"1.14", "1.4"} {
		for name, after := range crashes {
			t.Run(family+" "+name, func(t *testing.T) {
				withRoots(t, 3, func(r *roots) {
					s, from := r.homed(family, true, false)
					defer s.explain()
					to := r.other(from)
					r.target.Store(uint32(to.id))
					r.until("redirected", 30*time.Second, s.sent)
					time.Sleep(after)
					r.nodes[from-1].lose()
					r.until("served by the target", 5*time.Second, func() bool { return s.served() && s.at() == to.id })
					r.until("attached", 5*time.Second, func() bool {
						rec := s.record()
						return rec.V4Member == to.id && rec.Handoff.Target == 0
					})
					time.Sleep(time.Minute)
					third := r.other(from, to.id)
					r.target.Store(uint32(third.id))
					r.until("moved on", 90*time.Second, func() bool {
						rec := s.record()
						return s.at() == third.id && rec.V4Member == third.id
					})
				})
			})
		}
	}
}

// The old member dies once the log has accepted the intent, before it could send the redirect. Nothing comes of it.
func TestOldMemberDiesBeforeRedirect(t *testing.T) {
	withRoots(t, 3, func(r *roots) {
		s, from := r.homed("1.14", true, false)
		defer s.explain()
		to := r.other(from)
		old := r.nodes[from-1]
		r.target.Store(uint32(to.id))
		r.until("accepted", 30*time.Second, func() bool {
			var rec table.Record
			to.fsm.View().Peer(s.c.Address(), &rec)
			return rec.Handoff.Target == to.id || s.sent()
		})
		if s.sent() {
			r.Skip("too late")
		}
		old.lose()
		r.target.Store(0)
		time.Sleep(40 * time.Second)
		old.start()
		rec := s.record()
		if s.sent() || r.nodes[to.id-1].fsm.View().State().HandoffUnderWay(&rec.Handoff) {
			r.Errorf("record %+v", rec.Handoff)
		}
		r.until("attached to the new life", 10*time.Minute, func() bool {
			rec := s.record()
			m, ok := to.fsm.View().State().Attached(&rec, false)
			return ok && m != 0 && s.served()
		})
	})
}

// Without a quorum nobody is sent away; who is on the way arrives, or comes back.
func TestHandoffWithoutQuorum(t *testing.T) {
	withRoots(t, 3, func(r *roots) {
		s, from := r.homed("1.14", true, false)
		defer s.explain()
		to := r.other(from)
		r.stuck.Store(true)
		r.target.Store(uint32(to.id))
		time.Sleep(2 * time.Minute)
		if s.sent() || s.at() != from {
			r.Fatalf("at %d", s.at())
		}
		r.stuck.Store(false)
		r.until("redirected", 2*time.Minute, s.sent)
		r.stuck.Store(true)
		time.Sleep(time.Minute)
		if !s.served() {
			r.Fatal("not served")
		}
		r.stuck.Store(false)
		r.until("at the target", 2*time.Minute, func() bool {
			rec := s.record()
			return rec.V4Member == to.id && s.at() == to.id && s.served()
		})
	})
}

// A member that is not in the client's planet is never named to it; nor is one that drains.
func TestHandoffToUnpublishedMember(t *testing.T) {
	withRoots(t, 2, func(r *roots) {
		s, _ := r.homed("1.14", true, true)
		defer s.explain()
		r.target.Store(3)
		time.Sleep(5 * time.Minute)
		if obeyed, refused := s.pushes(); len(obeyed)+len(refused) > 0 || r.counters().Handoffs > 0 {
			r.Errorf("obeyed %+v, refused %+v", obeyed, refused)
		}
		newer := *r.world
		newer.Timestamp++
		newer.Roots = append(newer.Roots[:0:0], newer.Roots...)
		newer.Roots[0].Endpoints = append(newer.Roots[0].Endpoints[:4:4], r.nodes[2].v4, r.nodes[2].v6)
		newer.Sign(r.signs)
		r.put(&fsm.PublishPlanet{World: newer.AppendBinary(nil)})
		r.until("at the member that the new planet lists", 15*time.Minute, func() bool { return s.at() == 3 })
		obeyed, refused := s.pushes()
		if len(refused) > 0 {
			r.Errorf("refused %+v", refused)
		}
		r.put(&fsm.MemberSet{ID: 2, SetDrain: true, Drain: fsm.DrainOperator})
		before := len(obeyed)
		r.target.Store(2)
		time.Sleep(5 * time.Minute)
		obeyed, _ = s.pushes()
		for _, n := range obeyed[before:] {
			if r.owner(n.At) == 2 {
				r.Errorf("sent to a member that drains: %+v", n)
			}
		}
	})
}

// A member that drains sends all its peers away; they arrive elsewhere.
func TestDrainedMemberIsEmpty(t *testing.T) {
	withRoots(t, 3, func(r *roots) {
		var seats []*seat
		for _, family := range append(append(redirected, redirected...), "1.0") {
			s, _ := r.homed(family, true, false)
			seats = append(seats, s)
		}
		r.put(&fsm.MemberSet{ID: 1, SetDrain: true, Drain: fsm.DrainOperator})
		defer func() {
			for _, s := range seats {
				if rec := s.record(); rec.V4Member == 1 {
					s.explain()
				}
			}
		}()
		r.until("empty", time.Minute, func() bool {
			for _, s := range seats {
				if rec := s.record(); rec.V4Member == 1 {
					return false
				}
			}
			return true
		})
		time.Sleep(5 * time.Minute)
		for _, s := range seats {
			if rec := s.record(); rec.V4Member == 1 || !s.served() || s.c.Family().Index >= 5 && s.at() == 1 {
				r.Errorf("%s: attached to %d, at %d", s.c.Family(), rec.V4Member, s.at())
			}
		}
	})
}

// Whatever happened before, a client is not sent more than eight pushes in a row.
func TestPushesOfAFlappingTarget(t *testing.T) {
	withRoots(t, 3, func(r *roots) {
		s, _ := r.homed("1.14", true, true)
		defer s.explain()
		for i := range 24 {
			r.target.Store(uint32(1 + i%3))
			time.Sleep(30 * time.Second)
		}
		obeyed, refused := s.pushes()
		for _, n := range refused {
			if n.Kind == client.PushRefused {
				r.Errorf("%+v", n)
			}
		}
		r.Logf("%d redirects in 12 min", len(obeyed))
	})
}
