package propose

import "sync/atomic"

// counters are added to by any goroutine.
type counters struct {
	verdicts                     [verdicts]atomic.Uint64
	offered, dropped, merged     atomic.Uint64
	entries, failed, bytes       atomic.Uint64
	changes, keepAlives, expired atomic.Uint64
	located                      atomic.Uint64
	pending, pendingAlive        atomic.Int64
}

// Metrics is a snapshot of what the proposer did since it was made.
type Metrics struct {
	Offered     uint64 // sightings offered
	Known       uint64 // of them: the log said it already
	Changed     uint64 // of them: a change
	KeepAlive   uint64 // of them: a keep-alive was due
	Deferred    uint64 // of them: only the endpoint changed, too soon
	Collisions  uint64 // of them: another identity holds the address
	Unvalidated uint64 // of them: unknown peer, identity not validated
	Full        uint64 // of them: unknown peer, and the log takes no more

	Merged  uint64 // changes merged into one that waited for the same peer
	Dropped uint64 // changes dropped because too many waited

	Entries    uint64 // proposed, expiry apart
	Failed     uint64 // of them, not applied: proposed again
	Bytes      uint64 // of all entries
	Changes    uint64 // in entries, proposals that failed included
	KeepAlives uint64 // addresses in entries, the same
	Expired    uint64 // addresses in expiry entries
	Located    uint64 // changes that say where a peer is

	Pending      int // peers with changes waiting
	PendingAlive int // peers with a keep-alive waiting
}

// Metrics returns a snapshot of the counters.
func (p *Proposer) Metrics() Metrics {
	c := &p.count
	return Metrics{
		Offered:      c.offered.Load(),
		Known:        c.verdicts[known].Load(),
		Changed:      c.verdicts[change].Load(),
		KeepAlive:    c.verdicts[keepAlive].Load(),
		Deferred:     c.verdicts[deferred].Load(),
		Collisions:   c.verdicts[collision].Load(),
		Unvalidated:  c.verdicts[unvalidated].Load(),
		Full:         c.verdicts[full].Load(),
		Merged:       c.merged.Load(),
		Dropped:      c.dropped.Load(),
		Entries:      c.entries.Load(),
		Failed:       c.failed.Load(),
		Bytes:        c.bytes.Load(),
		Changes:      c.changes.Load(),
		KeepAlives:   c.keepAlives.Load(),
		Expired:      c.expired.Load(),
		Located:      c.located.Load(),
		Pending:      int(c.pending.Load()),
		PendingAlive: int(c.pendingAlive.Load()),
	}
}
