package propose_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rootd/rootd/fsm"
	"github.com/rootd/rootd/fsm/propose"
	"github.com/rootd/rootd/fsm/table"
)

// supervised runs f in a bubble of fake time with a supervisor at member 1 of two.
func supervised(t *testing.T, f func(c *cluster, s *propose.Supervisor)) {
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(25 * 365 * 24 * time.Hour) // a bubble begins in 2000, before the log's epoch
		c := newCluster(t)
		s := propose.NewSupervisor(propose.SupervisorOptions{
			View: c.fsm.View(), Applier: c,
			Self: func() (fsm.HealthReport, bool) { return c.report(1), true },
		})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- s.Run(ctx) }()
		defer func() {
			cancel()
			if err := <-done; err != nil {
				t.Error(err)
			}
		}()
		f(c, s)
	})
}

func (c *cluster) report(id table.MemberID) fsm.HealthReport {
	m, _ := c.fsm.View().State().Member(id)
	return fsm.HealthReport{Member: id, Epoch: m.Epoch, Sessions: 7}
}

func (c *cluster) status(id table.MemberID) fsm.Status { return c.fsm.View().State().StatusOf(id) }

// reporting reports for member 2 every two seconds for as long as given.
func (c *cluster) reporting(s *propose.Supervisor, d time.Duration) {
	for end := time.Now().Add(d); time.Now().Before(end); time.Sleep(2 * time.Second) {
		s.Report(c.report(2))
	}
}

func TestReportsShareAnEntry(t *testing.T) {
	supervised(t, func(c *cluster, s *propose.Supervisor) {
		c.reporting(s, time.Minute)
		es := c.taken()
		if n := len(es); n < 11 || n > 12 {
			t.Errorf("%d entries in a minute", n)
		}
		for _, e := range es {
			if h, ok := e.Command.(*fsm.Health); !ok || len(h.Reports) != 2 {
				t.Errorf("%#v", e.Command)
			}
		}
		m, _ := c.fsm.View().State().Member(2)
		if c.status(1) != fsm.StatusUp || c.status(2) != fsm.StatusUp || m.Health.Sessions != 7 {
			t.Errorf("%s, %s, %+v", c.status(1), c.status(2), m)
		}
	})
}

func TestSilentMemberIsDeclaredDown(t *testing.T) {
	supervised(t, func(c *cluster, s *propose.Supervisor) {
		c.reporting(s, time.Minute)
		began := time.Now()
		var suspect time.Duration
		for c.status(2) != fsm.StatusDown {
			if time.Sleep(time.Second); suspect == 0 && c.status(2) == fsm.StatusSuspect {
				suspect = time.Since(began)
			}
			if time.Since(began) > time.Minute {
				t.Fatal("still not down")
			}
		}
		if down := time.Since(began); suspect < 9*time.Second || suspect > 16*time.Second || down < 29*time.Second || down > 36*time.Second {
			t.Errorf("suspect after %s, down after %s", suspect, down)
		}
		s.Report(fsm.HealthReport{Member: 2, Epoch: 1}) // of its old life
		time.Sleep(10 * time.Second)
		if c.status(2) != fsm.StatusDown {
			t.Errorf("a report of the old life revived it: %s", c.status(2))
		}
		c.must(&fsm.MemberUp{ID: 2, Name: "nyc"})
		c.reporting(s, 2*time.Minute)
		if c.status(2) != fsm.StatusUp {
			t.Errorf("%s after it came back", c.status(2))
		}
	})
}

// A new leader has heard of nobody for as long as there was none: it must not take that for their silence.
func TestNewLeaderDeclaresNobodyDownTooSoon(t *testing.T) {
	supervised(t, func(c *cluster, s *propose.Supervisor) {
		c.reporting(s, time.Minute)
		c.set(func() { c.follows = true })
		s.Report(c.report(2)) // that of a member which took this one for the leader
		time.Sleep(10 * time.Minute)
		c.taken()
		c.set(func() { c.follows = false })
		time.Sleep(25 * time.Second)
		c.reporting(s, 2*time.Minute)
		for _, e := range c.taken() {
			if _, ok := e.Command.(*fsm.MemberDown); ok {
				t.Error("declared down")
			}
		}
		if c.status(2) != fsm.StatusUp {
			t.Errorf("%s", c.status(2))
		}
	})
}

// Without a quorum nothing gets into the log, and what was reported is not forgotten.
func TestReportsOutliveAFailedEntry(t *testing.T) {
	supervised(t, func(c *cluster, s *propose.Supervisor) {
		c.reporting(s, time.Minute)
		c.set(func() { c.fail = errors.New("no quorum") })
		c.reporting(s, 14*time.Second)
		c.taken()
		c.set(func() { c.fail = nil })
		time.Sleep(6 * time.Second)
		es := c.taken()
		if len(es) == 0 || len(es[0].Command.(*fsm.Health).Reports) != 2 {
			t.Errorf("%v", es)
		}
	})
}

func TestAMemberAloneReportsSeldom(t *testing.T) {
	supervised(t, func(c *cluster, _ *propose.Supervisor) {
		c.must(&fsm.MemberRemove{ID: 2, Force: true})
		c.taken()
		time.Sleep(time.Hour)
		if n := len(c.taken()); n < 59 || n > 61 {
			t.Errorf("%d entries in an hour", n)
		}
	})
}
