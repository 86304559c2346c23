package main

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/rootd/rootd/cmd/internal/client"
	"github.com/rootd/rootd/fsm"
	"github.com/rootd/rootd/fsm/table"
	"github.com/rootd/rootd/packetpath"
	"github.com/rootd/rootd/packetpath/vl1"
)

// truth collects what a world does and what its members say, and holds them against the promises of the design:
//
//	P1  what was acknowledged is in every member's view
//	P2  the same index is the same state
//	P4  who runs and is not fenced answers, whatever the log does
//	P5  who can reach both members reaches a peer of the other
//	P6  an address has one identity everywhere
//
// and Raft's own: a term has one leader.
type truth struct {
	mu       sync.Mutex // guards the following
	hashes   map[uint64]claim
	leaders  map[uint64]string // of a term
	troubles []*trouble
	lost     []question
	asked    [kinds]map[int]int            // by member
	ledger   map[vl1.Address]vl1.PublicKey // acknowledged
	unsure   int                           // proposed, not acknowledged: may be in the log or not
	silent   map[string]time.Duration      // fenced, by member
	wrong    []string
}

// claim is what a member said about an index first.
type claim struct {
	hash fsm.Hash
	who  string
}

// trouble is what makes silence excusable, and for whom.
type trouble struct {
	what     string
	a, b     int // places of members; b < 0: a alone; a < 0: everybody
	from, to time.Time
}

func (t *truth) begin() {
	for k := range t.asked {
		t.asked[k] = map[int]int{}
	}
	t.hashes, t.leaders = map[uint64]claim{}, map[uint64]string{}
	t.ledger, t.silent = map[vl1.Address]vl1.PublicKey{}, map[string]time.Duration{}
}

const (
	down    = "down"
	stalled = "stalled"
	fenced  = "fenced"
	cutOff  = "cut off"
	lossy   = "lossy"
	noLead  = "leaderless"
)

// silences reports whether a member cannot be expected to answer.
func (x *trouble) silences() bool { return x.what == down || x.what == stalled || x.what == fenced }

// trouble notes that something begins, and returns what notes its end.
func (t *truth) trouble(what string, a, b int) (end func()) {
	t.mu.Lock()
	defer t.mu.Unlock()
	x := &trouble{what: what, a: a, b: b, from: time.Now()}
	t.troubles = append(t.troubles, x)
	return sync.OnceFunc(func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		x.to = time.Now()
	})
}

// troubled reports whether something that counts overlaps the time.
func (t *truth) troubled(from, to time.Time, counts func(*trouble) bool) bool {
	for _, x := range slices.Backward(t.troubles) {
		if x.from.Before(to) && (x.to.IsZero() || x.to.After(from)) && counts(x) {
			return true
		}
	}
	return false
}

func (t *truth) failed(format string, args ...any) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.wrong) < 20 {
		t.wrong = append(t.wrong, fmt.Sprintf(format, args...))
	}
}

// watch looks at all members until ctx ends.
func (w *world) watch(ctx context.Context) {
	ends, lives := map[string]func(){}, map[*presence]uint32{}
	set := func(key string, on bool, begin func() func()) {
		if end := ends[key]; on && end == nil {
			ends[key] = begin()
		} else if !on && end != nil {
			end()
			delete(ends, key)
		}
	}
	for round := 0; sleep(ctx, watchEvery); round++ {
		led := false
		for _, h := range w.hosts {
			m := h.running()
			silent := m != nil && m.fenced.Load()
			if m != nil {
				epoch := m.sightings.epoch.Load()
				silent = silent || lives[m] != 0 && lives[m] != epoch // for a moment between two looks
				lives[m] = epoch
			}
			set("fenced "+h.name, silent, func() func() { return w.truth.trouble(fenced, h.number, -1) })
			if silent {
				w.truth.mu.Lock()
				w.truth.silent[h.name] += watchEvery
				w.truth.mu.Unlock()
			}
			if m == nil {
				continue
			}
			if m.replica.IsLeader() {
				led = true
				w.leadsIn(h, m.replica.Stats().Term)
			}
			if round%5 == 0 {
				w.states(h, m)
			}
		}
		set(noLead, !led, func() func() { return w.truth.trouble(noLead, -1, -1) })
	}
}

func (w *world) leadsIn(h *host, term uint64) {
	t := &w.truth
	t.mu.Lock()
	who, ok := t.leaders[term]
	if !ok {
		t.leaders[term] = h.name
	}
	t.mu.Unlock()
	if ok && who != h.name {
		t.failed("%s leads in term %d, in which %s has led", h.name, term, who)
	} else if !ok {
		w.say("%s leads in term %d", h.name, term)
	}
}

// states checks P2.
func (w *world) states(h *host, m *presence) {
	s := m.fsm.View().State()
	if s.Halted != "" {
		w.truth.failed("%s halted: %s", h.name, s.Halted)
	}
	hash, t := s.Hash(), &w.truth
	t.mu.Lock()
	said, ok := t.hashes[s.Index]
	if !ok {
		t.hashes[s.Index] = claim{hash, h.name}
	}
	t.mu.Unlock()
	if ok && said.hash != hash {
		t.failed("P2: at index %d the state is %v at %s, %v at %s", s.Index, hash, h.name, said.hash, said.who)
	}
}

// write proposes a new peer again and again, each at another member, until ctx ends.
func (w *world) write(ctx context.Context, every time.Duration) {
	rnd := rand.New(rand.NewPCG(w.seed, 3))
	for sleep(ctx, every) {
		m := w.hosts[rnd.IntN(len(w.hosts))].running()
		id, err := client.Synthetic(rnd)
		if err != nil {
			panic(err)
		}
		if m == nil {
			continue
		}
		entry, err := fsm.Encode(fsm.Changes{{Address: id.Address, Key: id.Key, HasKey: true}})
		if err != nil {
			panic(err)
		}
		bounded, cancel := context.WithTimeout(ctx, 5*time.Second)
		_, err = applier{m.member}.Apply(bounded, entry)
		cancel()
		w.truth.mu.Lock()
		if err == nil {
			w.truth.ledger[id.Address] = id.Key
		} else {
			w.truth.unsure++
		}
		w.truth.mu.Unlock()
	}
}

// check holds all members against P1 and P6. The cluster must be whole.
func (w *world) check() {
	w.Helper()
	t := &w.truth
	t.mu.Lock()
	acknowledged := maps.Clone(t.ledger)
	t.mu.Unlock()
	index := w.leader().fsm.View().State().Index // no acknowledged entry is later
	known := map[vl1.Address]vl1.PublicKey{}
	for _, h := range w.hosts {
		m := h.running()
		w.until(h.name+" has what was acknowledged", time.Minute, func() bool { return m.fsm.View().State().Index >= index })
		s := m.fsm.View().State()
		for a, key := range acknowledged {
			var rec table.Record
			if !s.Peer(a, &rec) || rec.Key != key {
				w.Errorf("P1: %s does not know peer %v, which was acknowledged", h.name, a)
			}
		}
		for cursor, done := uint64(0), false; !done; {
			cursor, done = s.Table().Scan(cursor, 1000, func(r *table.Record) {
				if key, ok := known[r.Address]; ok && key != r.Key {
					w.Errorf("P6: %v is another peer at %s", r.Address, h.name)
				}
				known[r.Address] = r.Key
			})
		}
	}
	w.decisions()
	w.judge()
}

// decisions checks that all members who have applied the log to the same index would do the same with each device.
func (w *world) decisions() {
	w.Helper()
	differs := w.compare()
	for range 3 { // a record may have been a moment ahead of its index
		if differs == "" {
			return
		}
		time.Sleep(time.Second)
		differs = w.compare()
	}
	w.Error(differs)
}

// compare says which decision differs between two members, "" if none does.
func (w *world) compare() (differs string) {
	for _, d := range w.all {
		for _, v6 := range []bool{false, true} {
			said := map[uint64]packetpath.Answer{}
			for _, h := range w.hosts {
				m := h.running()
				a, ok := m.root.Explain(packetpath.Question{Peer: d.id.Address, V6: v6})
				if !ok || m.fsm.View().State().Index != a.Index {
					continue // the peer's record may be of a later index
				}
				if other, ok := said[a.Index]; !ok {
					said[a.Index] = a
				} else if w.compared++; !reflect.DeepEqual(a, other) {
					differs = fmt.Sprintf("P2: at index %d %s decides about %v (IPv6: %v): %+v; another member: %+v", a.Index, h.name, d.id.Address, v6, a, other)
				}
			}
		}
	}
	return differs
}

// judge reports what was wrong, and what was lost without an excuse.
func (w *world) judge() {
	w.Helper()
	t := &w.truth
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, s := range t.wrong {
		w.Error(s)
	}
	t.wrong = nil
	unexcused := 0
	for _, q := range t.lost {
		if t.excused(&q) {
			continue
		}
		if unexcused++; unexcused <= 10 {
			w.Errorf("%s: lost at %.3fs: %v", q.promise(), q.at.Sub(w.begun).Seconds(), &q)
		}
	}
	if unexcused > 10 {
		w.Errorf("and %d more", unexcused-10)
	}
	t.lost = nil
}

// excused reports whether there was a reason for a question to remain unanswered.
func (t *truth) excused(q *question) bool {
	const patience = deviceWait
	about := func(x *trouble, h int) bool { return x.a == h || x.b == h }
	if q.kind == askHello {
		if t.troubled(q.at.Add(-helloEvery), q.at, func(x *trouble) bool { return about(x, q.from) && x.what != fenced && x.silences() }) {
			return true // one that had waited was answered just before
		}
		return t.troubled(q.at.Add(-2*watchEvery), q.at.Add(patience), func(x *trouble) bool {
			return about(x, q.from) && x.silences()
		})
	}
	if q.from == q.to {
		return t.troubled(q.at.Add(-againGrace), q.at.Add(patience), func(x *trouble) bool {
			return about(x, q.from) && x.silences()
		})
	}
	return t.troubled(q.at.Add(-passGrace), q.at.Add(patience), func(x *trouble) bool {
		return x.a < 0 || about(x, q.from) || about(x, q.to)
	})
}

const (
	// watchEvery is how often members are looked at.
	watchEvery = 100 * time.Millisecond
	// helloEvery is how often a HELLO from one endpoint is answered, at most.
	helloEvery = time.Second
	// againGrace is how long after a member has begun a new life its peers must have shown up, and have answered its
	// challenge, to get answers longer than their questions and to be relayed to.
	againGrace = 5 * time.Second
	// passGrace is how long after any trouble packets must pass between members again.
	passGrace = 30 * time.Second
)

// summary says what was asked and lost so far.
func (w *world) summary() string {
	t := &w.truth
	t.mu.Lock()
	defer t.mu.Unlock()
	var parts []string
	for k, by := range t.asked {
		n := 0
		for _, m := range by {
			n += m
		}
		parts = append(parts, fmt.Sprintf("%d %s", n, kindName(k)))
	}
	for name, d := range t.silent {
		parts = append(parts, fmt.Sprintf("%s fenced for %.1fs", name, d.Seconds()))
	}
	return fmt.Sprintf("%s; %d acknowledged entries, %d unsure, %d states and %d decisions compared, %d terms",
		strings.Join(parts, ", "), len(t.ledger), t.unsure, len(t.hashes), w.compared, len(t.leaders))
}

// observe lets devices of all members and families talk, a writer write, and a watcher watch, until the world ends.
func (w *world) observe(talk, write time.Duration) (all []*device) {
	w.Helper()
	ctx, cancel := context.WithCancel(w.Context())
	w.closers = append(w.closers, cancel)
	for _, h := range w.hosts {
		for _, v6 := range []bool{false, true, false} {
			all = append(all, w.device(h, v6))
		}
	}
	w.all = all
	w.talk(ctx, all, talk)
	w.ending.Go(func() { w.watch(ctx) })
	w.ending.Go(func() { w.write(ctx, write) })
	return all
}
