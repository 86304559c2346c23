package propose

import (
	"context"
	"time"

	"github.com/rootd/rootd/fsm"
	"github.com/rootd/rootd/fsm/table"
	"github.com/rootd/rootd/geo"
	"github.com/rootd/rootd/packetpath/vl1"
)

const (
	relocatePause = 100 * time.Millisecond // between two parts of a walk
	relocateSlice = 5000                   // peers of one part
	relocateAgain = 15 * time.Second       // what was located before a walk is in the log by then
)

// Relocate has all peers that are attached to this member located anew, because a [geo.Locator] knows other places than
// before. It returns at once; what has moved goes into the log at [Options.RelocateRate]. Any goroutine may call it.
func (p *Proposer) Relocate() {
	select {
	case p.moved <- struct{}{}:
	default: // a walk that has not begun will do
	}
}

// relocate walks over the peers when asked to, and once more a while later: changes that were located among the old places may reach
// the log after the first walk has passed their peers.
func (p *Proposer) relocate(ctx context.Context) {
	again := time.NewTimer(relocateAgain)
	again.Stop()
	defer again.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-p.moved:
			again.Reset(relocateAgain)
		case <-again.C:
		}
		began := time.Now()
		if n := p.relocateAll(ctx); n > 0 && ctx.Err() == nil {
			p.log.Info("peers located anew", "peers", n, "duration", time.Since(began))
		}
	}
}

func (p *Proposer) relocateAll(ctx context.Context) (moved int) {
	tick := time.NewTicker(relocatePause)
	defer tick.Stop()
	part := max(1, p.opts.RelocateRate/int(time.Second/relocatePause))
	var cursor uint64
	var facts []offered
	for done := false; !done || len(facts) > 0; {
		if len(facts) == 0 {
			facts = nil // the inbox has the one before
			st := p.opts.View.State()
			cursor, done = st.Table().Scan(cursor, relocateSlice, func(r *table.Record) {
				if f, ok := p.displaced(st, r); ok {
					facts = append(facts, f)
				}
			})
		}
		n := min(part, len(facts))
		if n > 0 && p.inbox.push(facts[:n:n], p.opts.MaxPending) {
			moved += n
			facts = facts[n:]
		}
		select {
		case <-ctx.Done():
			return moved
		case <-tick.C:
		}
	}
	return moved
}

// displaced reports whether a peer is attached here and not where the log has it.
func (p *Proposer) displaced(st *fsm.State, r *table.Record) (offered, bool) {
	id, attached := st.Attached(r, false)
	if !attached {
		id, attached = st.Attached(r, true)
	}
	if !attached || id != p.opts.Member {
		return offered{}, false
	}
	if at, ok := p.locate(r, &fsm.Change{}); !ok || !news(r, at) {
		return offered{}, false
	}
	m, _ := st.Member(id)
	return offered{r.Address, fact{key: r.Key, member: id, epoch: m.Epoch, relocate: true}}, true
}

// locate says where a peer is once a change of it is applied: by its IPv4 address, and only if nothing knows that, by its
// IPv6 address. Otherwise a peer with both would move to and fro.
func (p *Proposer) locate(r *table.Record, c *fsm.Change) (geo.Place, bool) {
	v4, v6 := r.V4, r.V6
	if c.V4.IsValid() {
		v4 = c.V4
	}
	if c.V6.IsValid() {
		v6 = c.V6
	}
	if v4.IsValid() {
		if at, ok := p.opts.Locator.Locate(v4.Addr()); ok {
			return at, true
		}
	}
	if v6.IsValid() {
		return p.opts.Locator.Locate(v6.Addr())
	}
	return geo.Place{}, false
}

// news reports whether a place is another one than the log has.
func news(r *table.Record, at geo.Place) bool {
	return geo.Moved(geo.Unit(r.Position), at.Unit, at.RadiusKm)
}

// place adds to a change where its peer is, if the log has it elsewhere: when the peer has another endpoint, and when a walk
// found that it moved.
func (p *Proposer) place(rec *table.Record, found bool, a vl1.Address, f *fact, v verdict, c *fsm.Change) verdict {
	elsewhere := v == change && (c.V4.IsValid() || c.V6.IsValid())
	if p.opts.Locator == nil || !elsewhere && !(f.relocate && v <= deferred) {
		return v
	}
	if !found {
		rec = &table.Record{Address: a}
	}
	if at, ok := p.locate(rec, c); ok && news(rec, at) {
		c.HasPosition, c.Position, c.Radius = true, at.Unit, geo.RadiusClass(at.RadiusKm)
		p.count.located.Add(1)
		return change
	}
	return v
}
