package propose

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/rootd/rootd/fsm"
	"github.com/rootd/rootd/fsm/table"
	"github.com/rootd/rootd/packetpath/vl1"
)

// Proposer turns sightings into log entries. See the package documentation.
type Proposer struct {
	opts  Options
	log   *slog.Logger
	inbox inbox
	moved chan struct{} // peers are to be located anew
	count counters

	// The following belong to the goroutine of Run.
	pending  map[vl1.Address]*fact    // to be proposed
	alive    map[vl1.Address]struct{} // to be named in a keep-alive
	flying   map[vl1.Address]struct{} // in an entry under way
	since    time.Time                // when pending began to fill
	aliveAt  time.Time                // when alive began to fill
	retryAt  time.Time                // not before: the last entry failed
	backoff  time.Duration
	entries  int // under way
	landings chan landing
}

var _ Sink = (*Proposer)(nil)

// landing is an entry that came back.
type landing struct {
	err   error
	facts map[vl1.Address]*fact // of a changes entry
	alive []vl1.Address         // of a keep-alive entry
}

const (
	firstBackoff = 50 * time.Millisecond
	lastBackoff  = 2 * time.Second
)

// New returns a proposer.
func New(o Options) *Proposer {
	o = o.withDefaults()
	return &Proposer{
		opts:     o,
		log:      o.Logger,
		inbox:    inbox{wake: make(chan struct{}, 1)},
		moved:    make(chan struct{}, 1),
		pending:  make(map[vl1.Address]*fact),
		alive:    make(map[vl1.Address]struct{}),
		flying:   make(map[vl1.Address]struct{}),
		landings: make(chan landing, o.InFlight),
	}
}

// Offer implements [Sink].
func (p *Proposer) Offer(seen []fsm.Sighting) {
	st := p.opts.View.State()
	now := time.Now().UnixMilli()
	var rec table.Record
	var c fsm.Change
	var keep []offered
	for i := range seen {
		s := &seen[i]
		a := s.Identity.Address
		if a.Reserved() {
			continue
		}
		f := factOf(s)
		v := judge(st, &rec, st.Peer(a, &rec), a, &f, now, &c)
		p.count.verdicts[v].Add(1)
		if v == change || v == keepAlive {
			keep = append(keep, offered{a, f})
		}
	}
	p.count.offered.Add(uint64(len(seen)))
	if len(keep) > 0 && !p.inbox.push(keep, p.opts.MaxPending) {
		p.count.dropped.Add(uint64(len(keep)))
	}
}

// Run proposes until ctx ends, and then for a moment what is left. It returns nil.
func (p *Proposer) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() { p.expire(ctx) })
	if p.opts.Locator != nil {
		wg.Go(func() { p.relocate(ctx) })
	}
	flying, land := context.WithCancel(context.WithoutCancel(ctx))
	defer land()

	timer := time.NewTimer(0)
	defer timer.Stop()
	for ctx.Err() == nil {
		p.collect()
		p.launch(flying, &wg, false)
		timer.Reset(p.nap())
		select {
		case <-ctx.Done():
		case <-p.inbox.wake:
		case <-timer.C:
		case l := <-p.landings:
			p.landed(l)
		}
	}
	p.flush(flying, &wg)
	return nil
}

// flush proposes what is left, for as long as it may and succeeds.
func (p *Proposer) flush(flying context.Context, wg *sync.WaitGroup) {
	timeout := time.NewTimer(p.opts.FlushTimeout)
	defer timeout.Stop()
	for {
		p.collect()
		p.launch(flying, wg, true)
		if p.entries == 0 {
			return
		}
		select {
		case <-timeout.C:
			p.log.Warn("changes not proposed at shutdown", "peers", len(p.pending)+len(p.flying))
			return
		case l := <-p.landings:
			if p.landed(l); l.err != nil {
				p.log.Warn("changes not proposed at shutdown", "peers", len(p.pending)+len(p.flying), "error", l.err)
				return
			}
		}
	}
}

// nap is how long nothing needs to be done unless something comes in.
func (p *Proposer) nap() time.Duration {
	next := time.Hour
	soon := func(since time.Time, delay time.Duration) {
		at := since.Add(delay)
		if at.Before(p.retryAt) {
			at = p.retryAt
		}
		next = min(next, max(0, time.Until(at)))
	}
	if p.entries >= p.opts.InFlight {
		return next // a landing wakes us
	}
	if len(p.pending) > 0 {
		soon(p.since, p.opts.MaxDelay)
	}
	if len(p.alive) > 0 {
		soon(p.aliveAt, p.opts.KeepAliveDelay)
	}
	return next
}

// collect merges the inbox into what is pending.
func (p *Proposer) collect() {
	for parcel := p.inbox.take(); parcel != nil; parcel = parcel.next {
		for i := range parcel.facts {
			p.add(parcel.facts[i].address, &parcel.facts[i].fact)
		}
	}
}

// add merges one fact, the newest about its peer.
func (p *Proposer) add(a vl1.Address, f *fact) {
	if old, ok := p.pending[a]; ok {
		p.count.merged.Add(1)
		old.merge(f)
		return
	}
	if len(p.pending) >= p.opts.MaxPending {
		p.count.dropped.Add(1)
		return
	}
	if len(p.pending) == 0 {
		p.since = time.Now()
	}
	p.pending[a] = f
}

// launch sends entries on their way while there are changes due and entries to spare. If all is set, everything is due.
func (p *Proposer) launch(ctx context.Context, wg *sync.WaitGroup, all bool) {
	defer func() { // what is pending may turn out to be known, and then no landing comes to count again
		p.count.pending.Store(int64(len(p.pending)))
		p.count.pendingAlive.Store(int64(len(p.alive)))
	}()
	now := time.Now()
	if now.Before(p.retryAt) && !all {
		return
	}
	for p.entries < p.opts.InFlight {
		due := all || len(p.pending) >= p.opts.MaxBatch || now.Sub(p.since) >= p.opts.MaxDelay
		if len(p.pending) == 0 || !due {
			break
		}
		cs, facts := p.batch()
		if len(cs) > 0 {
			p.count.changes.Add(uint64(len(cs)))
			p.fly(ctx, wg, cs, landing{facts: facts})
		}
		p.since = now
		if len(cs) < p.opts.MaxBatch {
			break // what is left is in entries under way
		}
	}
	for p.entries < p.opts.InFlight && len(p.alive) > 0 {
		if !all && len(p.alive) < fsm.MaxAddresses && now.Sub(p.aliveAt) < p.opts.KeepAliveDelay {
			break
		}
		as := p.aliveBatch()
		p.count.keepAlives.Add(uint64(len(as)))
		p.fly(ctx, wg, &fsm.KeepAlive{Addresses: as}, landing{alive: as})
	}
}

// batch takes the changes of one entry from pending, comparing with the view once more. Peers in an entry under
// way stay.
func (p *Proposer) batch() (fsm.Changes, map[vl1.Address]*fact) {
	st := p.opts.View.State()
	now := time.Now().UnixMilli()
	var cs fsm.Changes
	facts := make(map[vl1.Address]*fact)
	var rec table.Record
	var c fsm.Change
	for a, f := range p.pending {
		if len(cs) == p.opts.MaxBatch {
			break
		}
		if _, ok := p.flying[a]; ok {
			continue
		}
		delete(p.pending, a)
		found := st.Peer(a, &rec)
		v := judge(st, &rec, found, a, f, now, &c)
		switch p.place(&rec, found, a, f, v, &c) {
		case change:
			cs = append(cs, c)
			facts[a] = f
			p.flying[a] = struct{}{}
		case keepAlive:
			p.addAlive(a)
		}
	}
	return cs, facts
}

func (p *Proposer) addAlive(a vl1.Address) {
	if len(p.alive) >= p.opts.MaxPending {
		p.count.dropped.Add(1)
		return
	}
	if len(p.alive) == 0 {
		p.aliveAt = time.Now()
	}
	p.alive[a] = struct{}{}
}

// aliveBatch takes the addresses of one keep-alive entry.
func (p *Proposer) aliveBatch() []vl1.Address {
	as := make([]vl1.Address, 0, min(len(p.alive), fsm.MaxAddresses))
	for a := range p.alive {
		if len(as) == fsm.MaxAddresses {
			break
		}
		as = append(as, a)
		delete(p.alive, a)
	}
	slices.Sort(as)
	return as
}

// fly sends one entry on its way; its landing comes through the channel, which has room for all.
func (p *Proposer) fly(ctx context.Context, wg *sync.WaitGroup, c fsm.Command, l landing) {
	p.entries++
	p.count.entries.Add(1)
	wg.Go(func() {
		l.err = p.apply(ctx, c)
		p.landings <- l
	})
}

// apply encodes a command and waits until the log has it.
func (p *Proposer) apply(ctx context.Context, c fsm.Command) error {
	entry, err := fsm.Encode(c)
	if err != nil {
		return err
	}
	p.count.bytes.Add(uint64(len(entry)))
	ctx, cancel := context.WithTimeout(ctx, p.opts.ApplyTimeout)
	defer cancel()
	_, err = p.opts.Applier.Apply(ctx, entry)
	return err
}

// landed takes back what an entry carried, if it failed: newer facts about the same peers win.
func (p *Proposer) landed(l landing) {
	p.entries--
	for a := range l.facts {
		delete(p.flying, a)
	}
	if l.err == nil {
		p.backoff, p.retryAt = 0, time.Time{}
		return
	}
	p.count.failed.Add(1)
	p.backoff = min(max(2*p.backoff, firstBackoff), lastBackoff)
	p.retryAt = time.Now().Add(p.backoff)
	p.log.Debug("entry not applied", "error", l.err, "retry_in", p.backoff)
	for a, f := range l.facts {
		if newer, ok := p.pending[a]; ok {
			f.merge(newer)
			*newer = *f
			continue
		}
		p.add(a, f)
	}
	for _, a := range l.alive {
		p.addAlive(a)
	}
}
