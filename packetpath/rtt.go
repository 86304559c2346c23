package packetpath

import (
	"cmp"
	"net/netip"
	"slices"
	"sync/atomic"

	"github.com/rootd/rootd/fsm"
	"github.com/rootd/rootd/fsm/table"
	"github.com/rootd/rootd/geo"
)

// Round trips are measured where ECHO goes out anyway: to confirm a path and to keep it warm. Peers that speak so often that
// they need neither get one now and then. A worker leaves what it measured in its ring; the keeper collects the rings into
// its book, of the neighbourhoods of all peers, and offers the log what became materially different there.
const (
	rttRingSize  = 256
	rttAreas     = 32_768         // neighbourhoods in the book; the one without news for longest makes room
	rttEvery     = 600_000        // ms without an ECHO after which a peer is sent one
	rttPerTick   = 10             // such ECHO in a tick of the keeper: 100 a second
	rttOffer     = 10_000         // ms between two offers to the log
	rttBatch     = 200            // rows in one offer
	rttLeast     = 3              // samples of a neighbourhood before the log hears of it
	rttLeastWide = 8              // the same of a wide one
	rttTooLong   = 10_000         // ms: such a round trip says that somebody slept
	rttGain      = 8              // a new sample weighs 1/8
	rttNewsLeast = 5_000          // µs: less is no news
	rttFading    = 24 * 3_600_000 // ms without a sample after which the next ones count as if they were the first
)

// rttSample is one round trip.
type rttSample struct {
	addr netip.Addr
	ms   int64
}

// rttRing takes samples from the one worker that owns it to the keeper. Full, it drops them.
type rttRing struct {
	samples [rttRingSize]rttSample
	head    atomic.Uint32 // next to be written; the worker stores it after the sample
	tail    atomic.Uint32 // next to be read; the keeper stores it after it has read
}

func (r *rttRing) push(s rttSample) bool {
	head := r.head.Load()
	if head-r.tail.Load() == rttRingSize {
		return false
	}
	r.samples[head%rttRingSize] = s
	r.head.Store(head + 1)
	return true
}

func (r *rttRing) drain(take func(rttSample)) {
	head := r.head.Load()
	for tail := r.tail.Load(); tail != head; tail++ {
		take(r.samples[tail%rttRingSize])
	}
	r.tail.Store(head)
}

// measured notes the round trip of an ECHO.
func (w *worker) measured(addr netip.Addr, ms int64) {
	if w.rtts.push(rttSample{addr, ms}) {
		w.inc(RTTSamples)
	} else {
		w.inc(RTTSamplesDropped)
	}
}

// rttBook is what this member measured, by neighbourhood. It belongs to the keeper.
type rttBook struct {
	areas   map[geo.Area]*rttEntry
	offered int64            // ms
	spare   int              // ECHO that may be sent in this tick
	probes  int              // probes that may be asked for in this tick
	probed  map[probed]int64 // ms
}

// rttEntry is one neighbourhood, as TCP keeps a round trip.
type rttEntry struct {
	rtt, dev int64 // µs
	n        int64 // samples, faded
	at       int64 // ms, of the last
}

func newRTTBook() *rttBook {
	return &rttBook{areas: map[geo.Area]*rttEntry{}, probed: map[probed]int64{}}
}

// add counts a sample in both neighbourhoods of its address.
func (b *rttBook) add(s rttSample, now int64) {
	if s.ms > rttTooLong {
		return
	}
	near, wide := geo.Areas(s.addr)
	b.entry(near, now).add(s.ms*1000, now)
	b.entry(wide, now).add(s.ms*1000, now)
}

func (b *rttBook) entry(a geo.Area, now int64) *rttEntry {
	e := b.areas[a]
	if e == nil {
		if len(b.areas) >= rttAreas {
			b.evict()
		}
		e = &rttEntry{at: now}
		b.areas[a] = e
	}
	return e
}

// evict makes room: the oldest of some that the map happens to begin with.
func (b *rttBook) evict() {
	var oldest geo.Area
	at, looked := int64(0), 0
	for a, e := range b.areas {
		if looked == 0 || e.at < at {
			oldest, at = a, e.at
		}
		if looked++; looked == 16 {
			break
		}
	}
	delete(b.areas, oldest)
}

func (e *rttEntry) add(rtt, now int64) {
	if now-e.at > rttFading {
		e.n = min(e.n, 1)
	}
	e.n, e.at = min(e.n+1, 65_535), now
	if e.n == 1 {
		e.rtt, e.dev = rtt, rtt/4
		return
	}
	gain := min(e.n, rttGain)
	off := rtt - e.rtt
	e.rtt += off / gain
	e.dev += (max(off, -off) - e.dev) / gain
}

// news reports whether an entry says something else than the log's row: a fifth and 5 ms off, a deviation that doubled or
// fell to a quarter, or a row whose time is half over.
func (e *rttEntry) news(r *geo.RTT, ageSeconds, now uint32) bool {
	off := e.rtt - int64(r.Micros)
	off = max(off, -off)
	dev, had := max(e.dev, rttNewsLeast/3), max(int64(r.Dev), rttNewsLeast/3)
	return off > max(rttNewsLeast, int64(r.Micros)/5) || dev > 2*had || 4*dev < had || now-r.At > ageSeconds/2
}

// collect empties the rings into the book.
func (w *worker) collectRTTs(b *rttBook) {
	b.spare, b.probes = rttPerTick, probePerTick
	w.root.counting.Lock()
	rings := w.root.rings
	w.root.counting.Unlock()
	for _, r := range rings {
		r.drain(func(s rttSample) { b.add(s, w.now) })
	}
}

// offerRTTs offers the log what is news, now and then. What does not arrive there is news again.
func (w *worker) offerRTTs(b *rttBook) {
	r := w.root
	if r.roundTrips == nil || w.now-b.offered < rttOffer {
		return
	}
	b.offered = w.now
	state := r.view.State()
	if len(state.Members) < 2 {
		return // there is nobody to choose from
	}
	age, now := uint32(state.Settings.Steering.RTTAge.Seconds()), state.Seconds()
	var rows []fsm.RoundTrip
	for a, e := range b.areas {
		least := int64(rttLeast)
		if a.Wide() {
			least = rttLeastWide
		}
		if e.n < least || w.now-e.at > int64(age)*500 {
			continue
		}
		if held, ok := rowOf(state, a, r.member); ok && !e.news(&held, age, now) {
			continue
		}
		if rows = append(rows, fsm.RoundTrip{Area: a, Micros: uint32(e.rtt), Dev: uint32(e.dev), N: uint16(e.n)}); len(rows) == rttBatch {
			break // the order of a map is random: nobody waits for ever
		}
	}
	if len(rows) == 0 {
		return
	}
	slices.SortFunc(rows, func(a, b fsm.RoundTrip) int { return cmp.Compare(a.Area, b.Area) })
	r.roundTrips(rows)
}

func rowOf(state *fsm.State, a geo.Area, member table.MemberID) (geo.RTT, bool) {
	rows := state.RTTs.Of(a)
	i, ok := slices.BinarySearchFunc(rows, uint16(member), func(r geo.RTT, m uint16) int { return cmp.Compare(r.Member, m) })
	if !ok {
		return geo.RTT{}, false
	}
	return rows[i], true
}

// measure sends a peer an ECHO that had none for long, also one that is attached elsewhere and only greets all
// members now and then: with the hop field at 1, so that it does not learn the path by it.
func (w *worker) measure(s *session, b *rttBook) {
	if b.spare == 0 || !w.root.view.State().Settings.Steering.Measured {
		return
	}
	at := s.route(w.now)
	if at == nil || w.now-at.heard.Load() > pathStale || w.now-at.echoed.Load() < rttEvery {
		return
	}
	b.spare--
	at.echoed.Store(w.now)
	p := w.question(s)
	p.SetHops(1)
	at.echoID.Store(w.seal(at.origin, s, p))
	w.inc(RTTEchoes)
}
