package propose

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/rootd/rootd/fsm"
	"github.com/rootd/rootd/fsm/table"
)

// SupervisorOptions are what a supervisor needs. Zero durations mean the default.
type SupervisorOptions struct {
	View    *fsm.View
	Applier Applier
	Logger  *slog.Logger // nil: none

	// Self reports about this member, in its current epoch; false if there is nothing to report yet.
	Self func() (fsm.HealthReport, bool)

	// Interval is the time between two health entries. 5 s. Members should report at least twice as often.
	Interval time.Duration
	// AloneInterval is that of a member that has no other to look after. 1 min.
	AloneInterval time.Duration
	// ApplyTimeout is how long one entry may take. 10 s.
	ApplyTimeout time.Duration
}

// Supervisor is the leader's eye on the members: it puts their reports into the log, many in one entry, and declares
// those down that have been silent for the setting member_down_after. The log's own time decides.
//
// A leader that has just begun knows nothing of what its predecessor heard, and members need a while to find it: for as long
// as member_down_after it declares nobody down.
//
// Report is for any goroutine. Run belongs to one.
type Supervisor struct {
	opts SupervisorOptions
	log  *slog.Logger

	mu      sync.Mutex
	reports map[table.MemberID]received // since the last entry; guarded by mu
}

// received is a report and when it came.
type received struct {
	report fsm.HealthReport
	at     time.Time
}

// NewSupervisor returns a supervisor.
func NewSupervisor(o SupervisorOptions) *Supervisor {
	setDefault(&o.Interval, 5*time.Second)
	setDefault(&o.AloneInterval, time.Minute)
	setDefault(&o.ApplyTimeout, 10*time.Second)
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return &Supervisor{opts: o, log: o.Logger, reports: make(map[table.MemberID]received)}
}

// Report takes what a member reports about itself; the latest one counts. At a member that does not lead it is of no use,
// and does no harm.
func (s *Supervisor) Report(h fsm.HealthReport) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.reports) < fsm.MaxReports || s.reports[h.Member].report.Member != 0 {
		s.reports[h.Member] = received{h, time.Now()}
	}
}

// Run supervises whenever this member leads, until ctx ends. It returns nil.
func (s *Supervisor) Run(ctx context.Context) error {
	tick := time.NewTicker(s.opts.Interval)
	defer tick.Stop()
	var leads, last time.Time
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		now := time.Now()
		switch {
		case !s.opts.Applier.IsLeader():
			leads = time.Time{}
			continue
		case leads.IsZero():
			leads = now
		}
		if len(s.opts.View.State().Members) < 2 && now.Sub(last) < s.opts.AloneInterval {
			continue
		}
		last = now
		if err := s.collect(ctx); err != nil {
			if ctx.Err() == nil {
				s.log.Warn("health of the members not in the log", "error", err)
			}
			continue
		}
		if now.Sub(leads) >= s.opts.View.State().Settings.MemberDownAfter {
			s.declare(ctx)
		}
	}
}

// collect puts the reports since the last time into the log.
func (s *Supervisor) collect(ctx context.Context) error {
	if s.opts.Self != nil {
		if h, ok := s.opts.Self(); ok {
			s.Report(h)
		}
	}
	taken := s.take()
	st := s.opts.View.State()
	c := new(fsm.Health)
	for id, r := range taken {
		if m, ok := st.Member(id); ok && m.Epoch == r.report.Epoch {
			c.Reports = append(c.Reports, r.report)
		}
	}
	slices.SortFunc(c.Reports, func(a, b fsm.HealthReport) int { return int(a.Member) - int(b.Member) })
	if err := s.apply(ctx, c); err != nil {
		s.giveBack(taken)
		return err
	}
	return nil
}

// take returns the reports since the last time, without those that came when another one led.
func (s *Supervisor) take() map[table.MemberID]received {
	s.mu.Lock()
	defer s.mu.Unlock()
	taken := s.reports
	s.reports = make(map[table.MemberID]received)
	for id, r := range taken {
		if time.Since(r.at) > 2*s.opts.Interval && len(s.opts.View.State().Members) > 1 {
			delete(taken, id)
		}
	}
	return taken
}

// giveBack returns reports that did not get into the log, unless newer ones have come.
func (s *Supervisor) giveBack(taken map[table.MemberID]received) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for id, r := range taken {
		if _, ok := s.reports[id]; !ok {
			s.reports[id] = r
		}
	}
}

// declare ends the life of members that have been silent for too long.
func (s *Supervisor) declare(ctx context.Context) {
	st := s.opts.View.State()
	for i := range st.Members {
		m := &st.Members[i]
		silence := st.Silence(m)
		if m.Status != fsm.StatusUp || silence < st.Settings.MemberDownAfter {
			continue
		}
		if err := s.apply(ctx, &fsm.MemberDown{ID: m.ID, Epoch: m.Epoch}); err != nil {
			s.log.Warn("silent member not declared down", "member", m.Name, "error", err)
			continue
		}
		s.log.Warn("member is down", "member", m.Name, "silence", silence)
	}
}

func (s *Supervisor) apply(ctx context.Context, c fsm.Command) error {
	entry, err := fsm.Encode(c)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, s.opts.ApplyTimeout)
	defer cancel()
	_, err = s.opts.Applier.Apply(ctx, entry)
	return err
}
