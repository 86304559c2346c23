package link

import (
	"math/bits"
	"net/netip"
	"sync"
	"time"
)

// path is one endpoint of a member, and what its probes measured.
type path struct {
	number byte // in probes
	addr   netip.AddrPort
	port   int // which of the link's ports sends to it
	space  int // bytes of UDP payload that fit

	mu       sync.Mutex // guards what follows; taken for probes only
	sequence uint32     // of the last probe; 0 none yet
	answered uint64     // bit n: the probe n before the last one was answered
	probedAt int64      // link's clock
	echoAt   int64      // when the last echo came; 0 never
	srtt     time.Duration
	mdev     time.Duration
	last     time.Duration
	lately   [recentTrips]time.Duration // the last round trips, as a ring; 0: none yet
	place    int                        // of the next one in lately
}

// recentTrips is how many round trips the shortest one is taken from.
const recentTrips = 32

// RTT is what the probes of a path measured.
type RTT struct {
	Smoothed  time.Duration // as TCP smooths it (RFC 6298); 0 if there was no echo yet
	Deviation time.Duration // mean deviation, likewise
	Min       time.Duration // of the last 32: what the way takes when nothing holds up a packet
	Last      time.Duration
	Loss      float64 // share of the last probes, up to 63, that stayed unanswered, the very last one left out
	Probes    int     // how many these are
}

// probe begins a new measurement and returns its sequence number.
func (p *path) probe(now int64) uint32 {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.sequence++
	p.answered <<= 1
	p.probedAt = now
	return p.sequence
}

// echo takes in the answer to a probe that was sent at the given moment. Answers to probes that are forgotten or
// were not sent yet are ignored.
func (p *path) echo(sequence uint32, sent, now int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	behind, rtt := p.sequence-sequence, time.Duration(now-sent)
	if sequence == 0 || behind >= 64 || sent < 0 || rtt < 0 {
		return
	}
	p.answered |= 1 << behind
	p.echoAt = now
	if p.srtt == 0 {
		p.srtt, p.mdev = rtt, rtt/2
	} else {
		p.mdev += (max(p.srtt-rtt, rtt-p.srtt) - p.mdev) / 4
		p.srtt += (rtt - p.srtt) / 8
	}
	p.last, p.lately[p.place] = rtt, rtt
	p.place = (p.place + 1) % recentTrips
}

// rtt returns the measurements.
func (p *path) rtt() RTT {
	p.mu.Lock()
	defer p.mu.Unlock()
	r := RTT{Smoothed: p.srtt, Deviation: p.mdev, Min: p.last, Last: p.last}
	for _, rtt := range p.lately {
		if rtt > 0 {
			r.Min = min(r.Min, rtt)
		}
	}
	if p.sequence > 1 {
		r.Probes = int(min(p.sequence-1, 63))
		known := uint64(1)<<r.Probes - 1
		r.Loss = 1 - float64(bits.OnesCount64(p.answered>>1&known))/float64(r.Probes)
	}
	return r
}

// quality returns the smoothed round trip, and whether an echo came within the given time.
func (p *path) quality(now int64, within time.Duration) (srtt time.Duration, alive bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.srtt, p.echoAt > 0 && now-p.echoAt < int64(within)
}

// Another path takes over from one that works if its round trip is shorter by a fifth, and by this much at least: no
// change for the sake of noise.
const worthwhile = 2 * time.Millisecond

// reroute chooses the path to send by: the one in use while it works and none is clearly shorter, else the shortest of
// those that work, else the one in use. The link is locked.
func (m *member) reroute(now int64, within time.Duration) (changed bool) {
	at := m.route.Load()
	if at == nil {
		return false
	}
	best := at
	bestRTT, alive := at.quality(now, within)
	bound := max(0, min(bestRTT-bestRTT/5, bestRTT-worthwhile))
	for _, p := range *m.paths.Load() {
		srtt, ok := p.quality(now, within)
		if p == at || !ok || alive && srtt >= bound {
			continue
		}
		best, bound, alive = p, srtt, true
	}
	if best == at {
		return false
	}
	m.route.Store(best)
	return true
}
