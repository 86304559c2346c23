package propose

import (
	"context"
	"slices"
	"time"

	"github.com/rootd/rootd/fsm"
	"github.com/rootd/rootd/fsm/table"
	"github.com/rootd/rootd/packetpath/vl1"
)

// expirePause is the pause between two slices of a walk.
const expirePause = 10 * time.Millisecond

// expire walks over the peers at every interval while this member leads.
func (p *Proposer) expire(ctx context.Context) {
	led := time.Duration(0)
	step := max(p.opts.ExpiryInterval/60, time.Millisecond)
	tick := time.NewTicker(step)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if !p.opts.Applier.IsLeader() {
			led = 0
			continue
		}
		if led += step; led < p.opts.ExpiryInterval {
			continue
		}
		led = 0
		began := time.Now()
		n, err := p.walk(ctx)
		if err != nil && ctx.Err() == nil {
			p.log.Warn("expiry walk ended early", "error", err, "expired", n)
		} else if n > 0 {
			p.log.Info("peers expired", "peers", n, "duration", time.Since(began))
		}
	}
}

// walk proposes the expiry of every peer that the log has not heard of for too long. The log's own time decides.
func (p *Proposer) walk(ctx context.Context) (proposed int, err error) {
	st := p.opts.View.State()
	cutoff := st.Time/1000 - table.Epoch.Unix() - int64(st.Settings.PeerExpiry/time.Second)
	if c := st.Cluster; c.Restored != 0 && st.Time-c.Restored < st.Settings.PeerExpiry.Milliseconds() {
		return 0, nil // while there was no cluster, no peer could say that it is there
	}
	if cutoff <= 0 {
		return 0, nil
	}
	pause := time.NewTicker(expirePause)
	defer pause.Stop()
	var cursor uint64
	var old []vl1.Address
	for done := false; !done; {
		cursor, done = st.Table().Scan(cursor, p.opts.ExpirySlice, func(r *table.Record) {
			if int64(r.LastSeen) < cutoff {
				old = append(old, r.Address)
			}
		})
		if len(old) >= fsm.MaxAddresses || done {
			slices.Sort(old)
			old = slices.Compact(old) // a growing table may show a peer twice
			for chunk := range slices.Chunk(old, fsm.MaxAddresses) {
				if err := p.apply(ctx, &fsm.Expire{Cutoff: uint32(cutoff), Addresses: chunk}); err != nil {
					return proposed, err
				}
				proposed += len(chunk)
				p.count.expired.Add(uint64(len(chunk)))
			}
			old = old[:0]
		}
		select {
		case <-ctx.Done():
			return proposed, ctx.Err()
		case <-pause.C:
		}
	}
	return proposed, nil
}
