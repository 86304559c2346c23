package fsm_test

import (
	"bufio"
	"fmt"
	"io"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"github.com/rootd/rootd/fsm"
	"github.com/rootd/rootd/fsm/table"
)

// TestScale measures snapshots of as many peers as ROOTD_SCALE_PEERS says: `make scale PEERS=10000000`. All the time one goroutine
// applies changes, as the log does, and one looks peers up, as a packet worker does; the longest of its lookups are what
// a packet would have waited.
func TestScale(t *testing.T) {
	peers, err := strconv.Atoi(os.Getenv("ROOTD_SCALE_PEERS"))
	if err != nil {
		t.Skip("ROOTD_SCALE_PEERS is not set: make scale")
	}
	ballast := make([]byte, 64<<20) // as much as a member has besides, or the collector would run all the time
	defer runtime.KeepAlive(&ballast)
	m := grown(t, peers)
	st := m.View().State()
	use := st.Table().Stats()
	t.Logf("%d peers, %.0f bytes a peer in the table", st.Peers, float64(use.Bytes)/float64(st.Peers))
	m.churn(t, peers)
	runtime.GC()

	live := newTraffic(m, peers)
	live.phase(t, "nothing else", func() { <-time.After(2 * time.Second) }) // what the others are compared with
	path := filepath.Join(t.TempDir(), "state")
	live.phase(t, "persist, no disk", func() { live.save(t, discard{}) })
	live.phase(t, "persist, fsync", func() { live.saveFile(t, path) })
	target := bigFSM(t)
	live.phase(t, "restore beside", func() { load(t, target, path) })
	live.stop()
	if target.View().State().Peers != peers {
		t.Fatalf("%d peers restored", target.View().State().Peers)
	}
	target = nil
	runtime.GC()
	debug.FreeOSMemory()
	// A lagging member: the snapshot replaces a state that is being read.
	busy := newTraffic(m, peers)
	busy.still.Store(true)
	busy.phase(t, "restore over what is read", func() { load(t, m.FSM, path) })
	busy.stop()
	t.Logf("peak memory %d MiB", peakMemory()>>20)
}

// bigFSM is a state machine as rootd has it.
func bigFSM(t testing.TB) *fsm.FSM {
	t.Helper()
	f, err := fsm.New(fsm.Options{Table: table.Options{HugePages: true}})
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// grown applies entries until there are so many peers, and says how long each took.
func grown(t *testing.T, peers int) *machine {
	t.Helper()
	m := &machine{FSM: bigFSM(t), t: t, now: began}
	m.must(bootstrap())
	m.must(&fsm.MemberUp{ID: 1, Name: "ams"})
	m.must(&fsm.Set{Key: "feature_level", Value: "2"})
	var took appliedTimes
	for i := 0; i < peers; i += fsm.MaxChanges {
		took.add(m.timed(newPeers(i, min(fsm.MaxChanges, peers-i))))
	}
	t.Logf("grown, new peers: %s", &took)
	return m
}

// churn changes the endpoints of random peers, a thousand in an entry.
func (m *machine) churn(t *testing.T, peers int) {
	t.Helper()
	rnd := rand.New(rand.NewPCG(4, 4))
	var took appliedTimes
	cs := make(fsm.Changes, fsm.MaxChanges)
	for round := range 3000 {
		ep := []netip.AddrPort{ep1, ep2}[round/1000%2]
		for i := range cs {
			n := rnd.IntN(peers)
			cs[i] = fsm.Change{Address: address(n), Member: 1, Epoch: 1, V4: ep}
		}
		if wall, cpu := m.timed(cs); round >= 1000 {
			took.add(wall, cpu)
		}
	}
	t.Logf("endpoints changed: %s", &took)
}

// timed applies an entry, and returns how long that took, and how much CPU time.
func (m *machine) timed(c fsm.Command) (wall, cpu time.Duration) {
	m.index++
	m.now++
	l := &raft.Log{Index: m.index, Type: raft.LogCommand, Data: entry(m.t, c, m.now)}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	began, used := time.Now(), threadTime()
	r := m.Apply(l).(fsm.Response)
	wall, cpu = time.Since(began), threadTime()-used
	if r.Err != nil {
		m.t.Fatal(r.Err)
	}
	return wall, cpu
}

// appliedTimes is what entries took. What an entry of more wall time than CPU time lost, others had: the machine's noise.
type appliedTimes struct{ wall, cpu []time.Duration }

func (a *appliedTimes) add(wall, cpu time.Duration) {
	a.wall, a.cpu = append(a.wall, wall), append(a.cpu, cpu)
}

func (a *appliedTimes) String() string {
	line := func(d []time.Duration) string {
		sum := time.Duration(0)
		for _, x := range d {
			sum += x
		}
		slices.Sort(d)
		at := func(perMille int) time.Duration { return d[(len(d)-1)*perMille/1000].Round(10 * time.Microsecond) }
		return fmt.Sprintf("%.0f ns each; an entry p50 %v, p99 %v, p99.9 %v, worst %v", float64(sum)/float64(len(d))/fsm.MaxChanges, at(500), at(990), at(999), at(1000))
	}
	return fmt.Sprintf("%d entries of 1,000: %s; CPU: %s", len(a.wall), line(a.wall), line(a.cpu))
}

func load(t *testing.T, f *fsm.FSM, path string) {
	t.Helper()
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	info, err := file.Stat()
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	if err := f.Restore(file); err != nil {
		t.Fatal(err)
	}
	d, n := time.Since(began), f.View().State().Peers
	t.Logf("restored %d peers, %d MiB in %.2f s: %.2f million peers/s, %.0f MB/s", n, info.Size()>>20, d.Seconds(), float64(n)/d.Seconds()/1e6, float64(info.Size())/d.Seconds()/1e6)
}

// traffic is a log and a packet worker at work.
type traffic struct {
	m     *machine
	peers int
	mu    sync.Mutex // held while an entry is applied, or the state is frozen: they come from one goroutine in Raft
	still atomic.Bool
	hist  atomic.Pointer[histogram]
	done  chan struct{}
	ended sync.WaitGroup
}

type histogram struct {
	buckets [64]uint64 // by bits of ns
	sum     time.Duration
	worst   time.Duration
	n       uint64
}

func (h *histogram) add(d time.Duration) {
	i := 0
	for x := d; x > 0; x >>= 1 {
		i++
	}
	h.buckets[i]++
	h.n++
	h.sum += d
	h.worst = max(h.worst, d)
}

// quantile is an upper bound.
func (h *histogram) quantile(q float64) time.Duration {
	seen := uint64(0)
	for i, n := range h.buckets {
		if seen += n; float64(seen) >= q*float64(h.n) {
			return time.Duration(1) << i
		}
	}
	return h.worst
}

func (h *histogram) String() string {
	return fmt.Sprintf("p50 ≤ %v, p99 ≤ %v, p99.9 ≤ %v, worst %v (%d times)",
		h.quantile(0.5), h.quantile(0.99), h.quantile(0.999), h.worst.Round(time.Microsecond), h.n)
}

func newTraffic(m *machine, peers int) *traffic {
	l := &traffic{m: m, peers: peers, done: make(chan struct{})}
	l.hist.Store(new(histogram))
	l.ended.Go(l.packets)
	l.ended.Go(l.log)
	return l
}

func (l *traffic) stop() { close(l.done); l.ended.Wait() }

// packets looks up random peers, 32 at a time as a worker does for a batch.
func (l *traffic) packets() {
	rnd := rand.New(rand.NewPCG(1, 1))
	var w table.Words
	for {
		select {
		case <-l.done:
			return
		default:
		}
		h, view := l.hist.Load(), l.m.View()
		began := time.Now()
		for range 32 {
			view.PeerHot(address(rnd.IntN(l.peers)), &w)
		}
		h.add(time.Since(began))
	}
}

// log applies 20,000 changes of endpoints per second, 200 at a time.
func (l *traffic) log() {
	rnd := rand.New(rand.NewPCG(2, 2))
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-l.done:
			return
		case <-tick.C:
		}
		if l.still.Load() {
			continue
		}
		cs := make(fsm.Changes, 200)
		for i := range cs {
			cs[i] = fsm.Change{Address: address(rnd.IntN(l.peers)), Member: 1, Epoch: 1, V4: ep2}
		}
		b, err := fsm.Encode(cs)
		if err != nil {
			panic(err)
		}
		fsm.Stamp(b, l.m.now)
		l.mu.Lock()
		l.m.index++
		l.m.ApplyBatch([]*raft.Log{{Index: l.m.index, Type: raft.LogCommand, Data: b}})
		l.mu.Unlock()
	}
}

// phase does something, and says what packets met with meanwhile.
func (l *traffic) phase(t *testing.T, name string, do func()) {
	t.Helper()
	runtime.GC()
	l.hist.Store(new(histogram))
	do()
	h := l.hist.Swap(new(histogram))
	t.Logf("%-26s 32 lookups: %s", name, h)
}

func (l *traffic) freeze(t *testing.T) raft.FSMSnapshot {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	began := time.Now()
	s, err := l.m.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("frozen in %v", time.Since(began).Round(time.Microsecond/10))
	return s
}

func (l *traffic) save(t *testing.T, w io.Writer) {
	t.Helper()
	s := l.freeze(t)
	defer s.Release()
	began := time.Now()
	sink := &countSink{w: w}
	if err := s.Persist(sink); err != nil {
		t.Fatal(err)
	}
	d := time.Since(began)
	t.Logf("saved %d MiB in %.2f s: %.0f MB/s, %.1f bytes a peer", sink.n>>20, d.Seconds(), float64(sink.n)/d.Seconds()/1e6, float64(sink.n)/float64(l.peers))
}

func (l *traffic) saveFile(t *testing.T, path string) {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	w := bufio.NewWriterSize(f, 1<<18)
	l.save(t, w)
	began := time.Now()
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	if err := f.Sync(); err != nil {
		t.Fatal(err)
	}
	t.Logf("and %.2f s to the disk", time.Since(began).Seconds())
}

type discard struct{}

func (discard) Write(b []byte) (int, error) { return len(b), nil }

type countSink struct {
	w io.Writer
	n int64
}

func (s *countSink) Write(b []byte) (int, error) { s.n += int64(len(b)); return s.w.Write(b) }
func (*countSink) ID() string                    { return "scale" }
func (*countSink) Close() error                  { return nil }
func (*countSink) Cancel() error                 { return nil }

// peakMemory is the most that this process ever held, in bytes; 0 where the system does not tell.
func peakMemory() uint64 {
	b, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0
	}
	lines := strings.Split(string(b), "\n")
	i := slices.IndexFunc(lines, func(s string) bool { return strings.HasPrefix(s, "VmHWM:") })
	var kib uint64
	if i >= 0 {
		_, _ = fmt.Sscanf(lines[i], "VmHWM: %d kB", &kib)
	}
	return kib << 10
}
