package propose_test

import (
	"context"
	"errors"
	"net/netip"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/raft"
	"go.uber.org/goleak"

	"github.com/rootd/rootd/fsm"
	"github.com/rootd/rootd/fsm/propose"
	"github.com/rootd/rootd/fsm/table"
	"github.com/rootd/rootd/packetpath/vl1"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// cluster is a log of one member in memory: it applies at once, unless told to fail or to take its time.
type cluster struct {
	t   testing.TB
	fsm *fsm.FSM

	mu      sync.Mutex // guards the following fields
	index   uint64
	fail    error
	slow    time.Duration
	flying  int
	most    int // entries under way at a time
	follows bool
	entries []fsm.Entry
}

func newCluster(t testing.TB) *cluster {
	f, err := fsm.New(fsm.Options{Table: table.Options{}})
	if err != nil {
		t.Fatal(err)
	}
	c := &cluster{t: t, fsm: f}
	c.must(&fsm.Bootstrap{Name: "alice", Root: vl1.Identity{Address: 1}, Created: 1})
	c.must(&fsm.MemberUp{ID: 1, Name: "ams"})
	c.must(&fsm.MemberUp{ID: 2, Name: "nyc"})
	c.entries = nil
	return c
}

func (c *cluster) must(cmd fsm.Command) {
	c.t.Helper()
	b, err := fsm.Encode(cmd)
	if err == nil {
		_, err = c.Apply(context.Background(), b)
	}
	if err != nil {
		c.t.Fatal(err)
	}
}

func (c *cluster) IsLeader() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return !c.follows
}

func (c *cluster) Apply(ctx context.Context, entry []byte) (fsm.Response, error) {
	c.mu.Lock()
	c.flying++
	c.most = max(c.most, c.flying)
	slow := c.slow
	c.mu.Unlock()
	if slow > 0 {
		select {
		case <-ctx.Done():
		case <-time.After(slow):
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.flying--
	if err := errors.Join(c.fail, ctx.Err()); err != nil {
		return fsm.Response{}, err
	}
	fsm.Stamp(entry, time.Now().UnixMilli())
	e, err := fsm.Decode(entry)
	if err != nil {
		return fsm.Response{}, err
	}
	c.entries = append(c.entries, e)
	c.index++
	r := c.fsm.Apply(&raft.Log{Index: c.index, Type: raft.LogCommand, Data: entry}).(fsm.Response)
	return r, r.Err
}

func (c *cluster) set(f func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	f()
}

// taken returns the entries since the last call.
func (c *cluster) taken() []fsm.Entry {
	c.mu.Lock()
	defer c.mu.Unlock()
	es := c.entries
	c.entries = nil
	return es
}

func (c *cluster) peer(a vl1.Address) (r table.Record, ok bool) {
	ok = c.fsm.View().Peer(a, &r)
	return r, ok
}

// in runs f in a bubble of fake time with a running proposer.
func in(t *testing.T, change func(*propose.Options), f func(t *testing.T, c *cluster, p *propose.Proposer)) {
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(25 * 365 * 24 * time.Hour) // a bubble begins in 2000, before the log's epoch
		c := newCluster(t)
		o := propose.Options{View: c.fsm.View(), Applier: c}
		if change != nil {
			change(&o)
		}
		p := propose.New(o)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- p.Run(ctx) }()
		defer func() {
			cancel()
			if err := <-done; err != nil {
				t.Error(err)
			}
		}()
		f(t, c, p)
	})
}

func seen(a vl1.Address, ep string) fsm.Sighting {
	return fsm.Sighting{
		Identity: vl1.Identity{Address: a, Key: vl1.PublicKey{byte(a), 1}}, Endpoint: netip.MustParseAddrPort(ep),
		Protocol: 11, Major: 1, Minor: 14, Revision: 2, Member: 1, Epoch: 1, Validated: true,
	}
}

func pass(d time.Duration) { time.Sleep(d); synctest.Wait() }

func TestManyBecomeOneEntry(t *testing.T) {
	in(t, nil, func(t *testing.T, c *cluster, p *propose.Proposer) {
		for a := range vl1.Address(100) {
			p.Offer([]fsm.Sighting{seen(a+1, "192.0.2.1:1"), seen(a+1, "[2001:db8::1]:1")})
		}
		pass(20 * time.Millisecond)
		if n := len(c.taken()); n != 0 {
			t.Fatalf("%d entries before the delay is over", n)
		}
		pass(10 * time.Millisecond)
		es := c.taken()
		if len(es) != 1 || len(es[0].Command.(fsm.Changes)) != 100 {
			t.Fatalf("entries: %+v", es)
		}
		r, ok := c.peer(7)
		if !ok || r.V4Member != 1 || r.V6Member != 1 || r.Minor != 14 {
			t.Errorf("%+v", r)
		}
		// All of that again costs nothing.
		p.Offer([]fsm.Sighting{seen(7, "192.0.2.1:1"), seen(7, "[2001:db8::1]:1")})
		pass(time.Minute)
		if n := len(c.taken()); n != 0 {
			t.Errorf("%d entries about what the view says already", n)
		}
	})
}

func TestFullEntriesGoAtOnceAndSeveralAtATime(t *testing.T) {
	in(t, nil, func(t *testing.T, c *cluster, p *propose.Proposer) {
		c.set(func() { c.slow, c.most = 100*time.Millisecond, 0 })
		var ss []fsm.Sighting
		for a := range vl1.Address(3500) {
			ss = append(ss, seen(a+1, "192.0.2.1:1"))
		}
		p.Offer(ss)
		pass(101 * time.Millisecond)
		c.set(func() {
			if len(c.entries) != 3 && len(c.entries) != 4 || c.most < 3 || c.most > 4 {
				t.Errorf("%d entries, %d at a time", len(c.entries), c.most)
			}
		})
		pass(300 * time.Millisecond)
		if n := c.fsm.View().State().Peers; n != 3500 {
			t.Errorf("%d peers", n)
		}
		if n := c.fsm.View().State().Counters.Changes; n != 3500 {
			t.Errorf("%d changes for 3500 peers", n)
		}
	})
}

// Entries may be committed in any order, so a peer is in one at a time.
func TestOneEntryAtATimePerPeer(t *testing.T) {
	in(t, nil, func(t *testing.T, c *cluster, p *propose.Proposer) {
		c.set(func() { c.slow, c.most = 200*time.Millisecond, 0 })
		s := seen(5, "192.0.2.1:1")
		for planet := range uint64(4) {
			s.Planet = planet + 1
			p.Offer([]fsm.Sighting{s})
			pass(50 * time.Millisecond)
		}
		pass(time.Second)
		r, _ := c.peer(5)
		if n := len(c.taken()); n != 2 || c.most != 1 || r.Planet != 4 {
			t.Errorf("%d entries, %d at a time, planet %d", n, c.most, r.Planet)
		}
	})
}

// What goes into the log at once, what later, and what not.
func TestRates(t *testing.T) {
	in(t, nil, func(t *testing.T, c *cluster, p *propose.Proposer) {
		changes := func(what string, want int, s fsm.Sighting) {
			t.Helper()
			p.Offer([]fsm.Sighting{s})
			pass(time.Second)
			if got := len(c.taken()); got != want {
				t.Fatalf("%s: %d entries, want %d", what, got, want)
			}
		}
		s := seen(5, "192.0.2.1:1")
		unknown := s
		unknown.Validated = false
		changes("not validated", 0, unknown)
		changes("new peer", 1, s)
		s.Endpoint = netip.MustParseAddrPort("192.0.2.1:2")
		changes("another port, soon", 0, s)
		s.Endpoint = netip.MustParseAddrPort("[2001:db8::1]:1")
		changes("another family", 1, s)
		s.Endpoint = netip.MustParseAddrPort("192.0.2.1:2")
		s.Planet = 77
		changes("another planet, with it the port", 1, s)
		s.Minor = 16
		changes("another version", 1, s)
		s.Endpoint = netip.MustParseAddrPort("192.0.2.9:2")
		changes("another endpoint, soon", 0, s)
		s.Member = 2
		changes("another member", 1, s)
		s.Endpoint = netip.MustParseAddrPort("192.0.2.10:2")
		pass(9 * time.Minute)
		changes("another endpoint, still too soon", 0, s)
		pass(time.Minute)
		changes("another endpoint, later", 1, s)
		s.Epoch = 7
		changes("a life of a member that the log does not know", 0, s)
		s.Epoch = 1
		other := s
		other.Identity.Key[3] = 9
		changes("another identity", 0, other)
		if m := p.Metrics(); m.Collisions != 1 || m.Unvalidated != 1 || m.Deferred != 3 {
			t.Errorf("%+v", m)
		}
	})
}

func TestKeepAlivesAreCoarseLists(t *testing.T) {
	in(t, nil, func(t *testing.T, c *cluster, p *propose.Proposer) {
		var ss []fsm.Sighting
		for a := range vl1.Address(50) {
			ss = append(ss, seen(a+1, "192.0.2.1:1"))
		}
		p.Offer(ss)
		pass(time.Second)
		c.taken()
		for range 7 * 60 { // seven hours of pings
			p.Offer(ss)
			pass(time.Minute)
		}
		es := c.taken()
		if len(es) != 1 || len(es[0].Command.(*fsm.KeepAlive).Addresses) != 50 {
			t.Fatalf("entries: %+v", es)
		}
		if r, _ := c.peer(9); time.Since(table.Epoch.Add(time.Duration(r.LastSeen)*time.Second)) > 2*time.Hour {
			t.Errorf("last seen %d", r.LastSeen)
		}
	})
}

func TestNothingIsLostWithoutALeader(t *testing.T) {
	in(t, nil, func(t *testing.T, c *cluster, p *propose.Proposer) {
		c.set(func() { c.fail = errors.New("no leader") })
		p.Offer([]fsm.Sighting{seen(5, "192.0.2.1:1")})
		pass(time.Hour)
		p.Offer([]fsm.Sighting{seen(5, "192.0.2.2:1"), seen(5, "[2001:db8::1]:1"), seen(6, "192.0.2.3:1")})
		pass(time.Hour)
		m := p.Metrics()
		if m.Failed == 0 || m.Entries > 2*3600 || m.Pending > 2 {
			t.Errorf("%+v", m)
		}
		c.set(func() { c.fail = nil })
		pass(10 * time.Second)
		r, ok := c.peer(5)
		if !ok || r.V4 != netip.MustParseAddrPort("192.0.2.2:1") || !r.V6.IsValid() {
			t.Errorf("peer 5: %v, %+v", ok, r)
		}
		if _, ok := c.peer(6); !ok {
			t.Error("peer 6 is lost")
		}
		if n := len(c.taken()); n != 1 {
			t.Errorf("%d entries", n)
		}
	})
}

func TestMemoryIsBounded(t *testing.T) {
	in(t, func(o *propose.Options) { o.MaxPending = 100 }, func(t *testing.T, c *cluster, p *propose.Proposer) {
		c.set(func() { c.fail = errors.New("no leader") })
		for round := range 10 {
			for a := range vl1.Address(1000) {
				p.Offer([]fsm.Sighting{seen(a+1, "192.0.2.1:1")})
			}
			pass(time.Minute)
			if m := p.Metrics(); m.Pending > 100 || m.Dropped < uint64(800*(round+1)) {
				t.Fatalf("%+v", m)
			}
		}
		c.set(func() { c.fail = nil })
		pass(10 * time.Second)
		if n := c.fsm.View().State().Peers; n == 0 || n > 200 {
			t.Errorf("%d peers", n)
		}
	})
}

func TestStopProposesWhatIsLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		p := propose.New(propose.Options{View: c.fsm.View(), Applier: c})
		ctx, cancel := context.WithCancel(t.Context())
		p.Offer([]fsm.Sighting{seen(5, "192.0.2.1:1")})
		cancel()
		if err := p.Run(ctx); err != nil {
			t.Fatal(err)
		}
		if _, ok := c.peer(5); !ok {
			t.Error("it is lost")
		}
	})
}

func TestExpiry(t *testing.T) {
	in(t, nil, func(t *testing.T, c *cluster, p *propose.Proposer) {
		quiet, lively := seen(5, "192.0.2.1:1"), seen(6, "192.0.2.1:1")
		p.Offer([]fsm.Sighting{quiet, lively})
		pass(time.Second)
		for day := range 31 {
			if _, ok := c.peer(5); !ok {
				t.Fatalf("expired after %d days", day)
			}
			p.Offer([]fsm.Sighting{lively})
			pass(24 * time.Hour)
		}
		if _, ok := c.peer(5); ok {
			t.Error("the quiet one is still known after 31 days")
		}
		if _, ok := c.peer(6); !ok {
			t.Error("the lively one has expired")
		}
		if m := p.Metrics(); m.Expired != 1 {
			t.Errorf("%+v", m)
		}
	})
}

// A cluster that was restored from an old archive gives all peers the time to say that they are there.
func TestExpiryAfterARestore(t *testing.T) {
	in(t, nil, func(t *testing.T, c *cluster, p *propose.Proposer) {
		p.Offer([]fsm.Sighting{seen(5, "192.0.2.1:1")})
		pass(time.Second)
		c.set(func() { c.follows = true })
		pass(40 * 24 * time.Hour)
		c.must(&fsm.NewEpoch{Epoch: fsm.Epoch{Number: 1, ID: [8]byte{1}}, ID: 9, Name: "r1", Address: "192.0.2.9:1", KeyHash: fsm.KeyHash{9}})
		c.set(func() { c.follows = false })
		pass(29 * 24 * time.Hour)
		if _, ok := c.peer(5); !ok {
			t.Error("expired before it had the time of the setting")
		}
		c.must(&fsm.Set{Key: "max_peers", Value: "77"}) // the log's time goes on
		pass(2 * 24 * time.Hour)
		c.must(&fsm.Set{Key: "max_peers", Value: "78"})
		pass(2 * time.Hour)
		if _, ok := c.peer(5); ok {
			t.Error("still known")
		}
	})
}

func TestOfferDoesNotAllocateForWhatIsKnown(t *testing.T) {
	c := newCluster(t)
	p := propose.New(propose.Options{View: c.fsm.View(), Applier: c})
	s := seen(5, "192.0.2.1:1")
	c.must(fsm.Changes{{Address: 5, HasKey: true, Key: s.Identity.Key, Member: 1, Epoch: 1, V4: s.Endpoint, Protocol: 11, Major: 1, Minor: 14, Revision: 2}})
	ss := []fsm.Sighting{s}
	if n := testing.AllocsPerRun(100, func() { p.Offer(ss) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// BenchmarkOffer offers what the view says already: nearly all there is.
func BenchmarkOffer(b *testing.B) {
	c := newCluster(b)
	p := propose.New(propose.Options{View: c.fsm.View(), Applier: c})
	var ss []fsm.Sighting
	for a := range vl1.Address(1000) {
		s := seen(a+1, "192.0.2.1:1")
		c.must(fsm.Changes{{Address: a + 1, HasKey: true, Key: s.Identity.Key, Member: 1, Epoch: 1, V4: s.Endpoint, Protocol: 11, Major: 1, Minor: 14, Revision: 2}})
		ss = append(ss, s)
	}
	b.ReportAllocs()
	n := 0
	for b.Loop() {
		p.Offer(ss[n%1000 : n%1000+1])
		n++
	}
}

// BenchmarkNewPeers runs new peers through the proposer into a log in memory.
func BenchmarkNewPeers(b *testing.B) {
	c := newCluster(b)
	p := propose.New(propose.Options{View: c.fsm.View(), Applier: c, MaxPending: 10_000_000})
	ctx, cancel := context.WithCancel(b.Context())
	done := make(chan error)
	go func() { done <- p.Run(ctx) }()
	n := vl1.Address(0)
	for b.Loop() {
		n++
		p.Offer([]fsm.Sighting{seen(n, "192.0.2.1:1")})
	}
	cancel()
	<-done
	b.ReportMetric(float64(c.fsm.View().State().Peers)/b.Elapsed().Seconds(), "applied/s")
}
