package replica

import "time"

// Timing is how patient Raft is. A leader that a quorum has not answered for Lease steps down; a follower that has not
// heard from a leader for Heartbeat to twice that calls an election, which may take Election.
type Timing struct {
	Heartbeat, Election, Lease, Commit time.Duration
}

// TimingFor returns the timing for members between whom the worst round trip is rtt: heartbeat and election timeouts of
// at least ten round trips, with a quarter of a second to spare for machines and disks that stall; the lease half of that.
// 0 means unknown: the timing for one continent.
func TimingFor(rtt time.Duration) Timing {
	const ms = time.Millisecond
	switch {
	case rtt > 0 && rtt <= 75*ms:
		return Timing{1000 * ms, 1000 * ms, 500 * ms, 50 * ms}
	case rtt <= 175*ms:
		return Timing{2000 * ms, 2000 * ms, 1000 * ms, 100 * ms}
	case rtt <= 375*ms:
		return Timing{4000 * ms, 4000 * ms, 2000 * ms, 250 * ms}
	case rtt <= 475*ms: // the farthest pairs of cities
		return Timing{5000 * ms, 5000 * ms, 2500 * ms, 250 * ms}
	case rtt <= 775*ms:
		return Timing{8000 * ms, 8000 * ms, 4000 * ms, 250 * ms}
	}
	h := (10*rtt + time.Second).Truncate(time.Second)
	return Timing{h, h, h / 2, 250 * ms}
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
