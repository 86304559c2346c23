package replica

import "time"

// Timing is how patient Raft is. A leader that a quorum has not answered for Lease steps down; a follower that has not
// heard from a leader for Heartbeat to twice that calls an election, which may take Election.
type Timing struct {
	Heartbeat, Election, Lease, Commit time.Duration
}

// The presets, each for round trips up to a tenth of its heartbeat, with a quarter of a second to spare for machines
// and disks that stall.
var presets = [...]struct { //nolint:gochecknoglobals // a table of constants
	rtt    time.Duration
	timing Timing
}{
	{75 * time.Millisecond, Timing{time.Second, time.Second, 500 * time.Millisecond, 50 * time.Millisecond}},
	{175 * time.Millisecond, Timing{2 * time.Second, 2 * time.Second, time.Second, 100 * time.Millisecond}},
	{375 * time.Millisecond, Timing{4 * time.Second, 4 * time.Second, 2 * time.Second, 250 * time.Millisecond}},
	{775 * time.Millisecond, Timing{8 * time.Second, 8 * time.Second, 4 * time.Second, 250 * time.Millisecond}},
}

// TimingFor returns the timing for members between whom the worst round trip is rtt: heartbeat and election timeouts of
// at least ten round trips, the lease half of that. 0 means unknown: the timing for one continent.
func TimingFor(rtt time.Duration) Timing {
	if rtt <= 0 {
		return presets[1].timing
	}
	for _, p := range presets {
		if rtt <= p.rtt {
			return p.timing
		}
	}
	t := presets[len(presets)-1].timing
	t.Heartbeat = (10*rtt + time.Second).Truncate(time.Second)
	t.Election, t.Lease = t.Heartbeat, t.Heartbeat/2
	return t
}

// aloneTiming is for a member that asks nobody.
func aloneTiming() Timing {
	return Timing{150 * time.Millisecond, 150 * time.Millisecond, 100 * time.Millisecond, 50 * time.Millisecond}
}

// easeAfter is how long a quicker timing must have been enough before it is taken.
const easeAfter = 10 * time.Minute

// pacer follows the measured round trip: to a slower timing at once, to a quicker one with patience.
type pacer struct {
	timing Timing
	spare  time.Time // since when a quicker one would do; zero: it would not
}

func (p *pacer) next(rtt time.Duration, now time.Time) Timing {
	want := TimingFor(rtt)
	switch {
	case p.timing == Timing{}, rtt > 0 && want.Heartbeat > p.timing.Heartbeat:
		p.timing, p.spare = want, time.Time{}
	case rtt <= 0, TimingFor(rtt*5/4).Heartbeat >= p.timing.Heartbeat:
		p.spare = time.Time{}
	case p.spare.IsZero():
		p.spare = now
	case now.Sub(p.spare) >= easeAfter:
		p.timing, p.spare = want, time.Time{}
	}
	return p.timing
}
