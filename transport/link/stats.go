package link

import (
	"net/netip"
	"slices"
	"sync/atomic"
	"time"
)

// What is counted.
const (
	countSent = iota
	countUnsent
	countRelayed
	countRelayedBytes
	countSplit
	countUnknownMember
	countNoKey
	countNoRoute
	countTooLong
	countReceived
	countInbound
	countInboundBytes
	countNotified
	countAsked
	countShort
	countVersion
	countUnknownKey
	countExpired
	countForged
	countReplayed
	countMalformed
	countIncomplete
	countAgreed
	countFailedExchanges
	countRefusedOffers
	countReroutes
	numCounts
)

// tally is what one goroutine has counted. It writes, anyone reads.
type tally struct {
	_ [64]byte // cache lines of its own
	n [numCounts]atomic.Uint64
	_ [64]byte
}

func (t *tally) add(what int, n uint64) { t.n[what].Add(n) }

func (t *tally) relayed(bytes int) {
	t.add(countRelayed, 1)
	t.add(countRelayedBytes, uint64(bytes))
}

// register makes a tally part of the statistics.
func (l *Link) register(t *tally) {
	l.tallyMu.Lock()
	defer l.tallyMu.Unlock()
	l.tallies = append(l.tallies, t)
}

// Stats is the state of a link at one moment. Counters count since New.
type Stats struct {
	Members []MemberStats // by number

	Sent   uint64 // datagrams the kernel took
	Unsent uint64 // datagrams it did not take

	Relayed      uint64 // packets queued by Send
	RelayedBytes uint64 // and their length
	Split        uint64 // those of them that went in pieces

	UnknownMember uint64 // not sent: nobody has this number
	NoKey         uint64 // not sent: no keys
	NoRoute       uint64 // not sent: no endpoint we can reach
	TooLong       uint64 // not sent: over MaxPayload or MaxBody

	Received     uint64 // authentic and fresh datagrams
	Inbound      uint64 // packets handed over
	InboundBytes uint64 // and their length
	Notified     uint64 // notifications that came
	Asked        uint64 // requests that came

	Short      uint64 // dropped: too short for a datagram of ours
	Version    uint64 // dropped: another version of the format
	UnknownKey uint64 // dropped: no session has this index
	Expired    uint64 // dropped: session replaced, or too old
	Forged     uint64 // dropped: not authentic
	Replayed   uint64 // dropped: came before, or is too old to know
	Malformed  uint64 // authentic, but without sense
	Incomplete uint64 // packets of which a piece did not come in time

	Agreed          uint64 // sessions
	FailedExchanges uint64
	RefusedOffers   uint64
	Reroutes        uint64 // changes of a route because another path was better
	Waiting         int    // requests that wait for an answer
}

// MemberStats is what the link knows of another member.
type MemberStats struct {
	ID         uint16
	Ready      bool           // there are keys: packets can be sent
	Alive      bool           // something was heard within three and a half probe intervals
	Silent     time.Duration  // since something was heard; 0 if nothing ever was
	Route      netip.AddrPort // endpoint in use; invalid if there is none
	Paths      []PathStats
	Generation uint32        // of the keys in use
	KeyAge     time.Duration // likewise
	Sessions   int           // in use, being agreed, or just replaced
	Failures   int           // exchanges in a row that came to nothing
	Sent       uint64        // datagrams, probes included
	Received   uint64
}

// PathStats is what was measured on one endpoint.
type PathStats struct {
	Endpoint netip.AddrPort
	Alive    bool // a probe came back within three and a half probe intervals
	RTT
}

// RTT returns the round trip to a member on the path in use; false if it is not a member or has no path.
func (l *Link) RTT(member uint16) (RTT, bool) {
	m := l.members.Load().get(member)
	if m == nil {
		return RTT{}, false
	}
	at := m.route.Load()
	if at == nil {
		return RTT{}, false
	}
	return at.rtt(), true
}

// Silence returns for how long nothing authentic has come from a member; false if it is not a member or nothing ever came.
func (l *Link) Silence(member uint16) (time.Duration, bool) {
	m := l.members.Load().get(member)
	if m == nil {
		return 0, false
	}
	heard := m.heard.Load()
	return time.Duration(l.now() - heard), heard > 0
}

// Stats returns the state of the link.
func (l *Link) Stats() Stats {
	n := l.count()
	s := Stats{
		Sent: n[countSent], Unsent: n[countUnsent],
		Relayed: n[countRelayed], RelayedBytes: n[countRelayedBytes], Split: n[countSplit],
		UnknownMember: n[countUnknownMember], NoKey: n[countNoKey], NoRoute: n[countNoRoute], TooLong: n[countTooLong],
		Received: n[countReceived], Inbound: n[countInbound], InboundBytes: n[countInboundBytes],
		Notified: n[countNotified], Asked: n[countAsked],
		Short: n[countShort], Version: n[countVersion], UnknownKey: n[countUnknownKey], Expired: n[countExpired],
		Forged: n[countForged], Replayed: n[countReplayed], Malformed: n[countMalformed], Incomplete: n[countIncomplete],
		Agreed: n[countAgreed], FailedExchanges: n[countFailedExchanges], RefusedOffers: n[countRefusedOffers],
		Reroutes: n[countReroutes],
	}
	l.calls.mu.Lock()
	s.Waiting = len(l.calls.waiting)
	l.calls.mu.Unlock()
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.now()
	for _, m := range l.members.Load().all {
		s.Members = append(s.Members, l.memberStats(m, now))
	}
	return s
}

func (l *Link) count() (n [numCounts]uint64) {
	l.tallyMu.Lock()
	defer l.tallyMu.Unlock()
	for _, t := range append(slices.Clip(l.tallies), &l.tally) {
		for i := range n {
			n[i] += t.n[i].Load()
		}
	}
	return n
}

// memberStats looks at one member. The link is locked.
func (l *Link) memberStats(m *member, now int64) MemberStats {
	s := MemberStats{ID: m.id, Sessions: len(m.sessions), Failures: m.failures, Sent: m.sentBefore, Received: m.received.Load()}
	for _, k := range m.sessions {
		s.Sent += k.counter.Load()
	}
	if k := m.sending.Load(); k != nil {
		s.Ready, s.Generation, s.KeyAge = true, k.generation, time.Duration(now-k.created)
	}
	if heard := m.heard.Load(); heard > 0 {
		s.Silent = time.Duration(now - heard)
		s.Alive = s.Silent < l.deadAfter()
	}
	if at := m.route.Load(); at != nil {
		s.Route = at.addr
	}
	for _, p := range *m.paths.Load() {
		_, alive := p.quality(now, l.deadAfter())
		s.Paths = append(s.Paths, PathStats{Endpoint: p.addr, Alive: alive, RTT: p.rtt()})
	}
	return s
}
