//go:build linux || darwin || freebsd

package fsm_test

import (
	"bufio"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rootd/rootd/fsm/table"
	"github.com/rootd/rootd/geo"
	"github.com/rootd/rootd/geo/steer"
	"github.com/rootd/rootd/packetpath/vl1"
)

// floor is testdata/floor.c at work: the least that this machine can do.
type floor struct {
	t   testing.TB
	in  io.Writer
	out *bufio.Scanner
}

func newFloor(t testing.TB) *floor {
	t.Helper()
	cc, err := exec.LookPath("cc")
	if err != nil {
		t.Skip("no C compiler here to compare with")
	}
	binary := filepath.Join(t.TempDir(), "floor")
	if out, err := exec.CommandContext(t.Context(), cc, "-O2", "-msse4.2", "-Wall", "-o", binary, "testdata/floor.c").CombinedOutput(); err != nil {
		t.Skipf("%v\n%s", err, out)
	}
	cmd := exec.CommandContext(t.Context(), binary)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = in.Close()
		_ = cmd.Wait()
	})
	return &floor{t, in, bufio.NewScanner(out)}
}

// ask returns the numbers that a command is answered with.
func (f *floor) ask(format string, args ...any) (v []float64) {
	f.t.Helper()
	fmt.Fprintf(f.in, format+"\n", args...)
	if !f.out.Scan() {
		f.t.Fatalf("no answer to "+format, args...)
	}
	for s := range strings.FieldsSeq(f.out.Text()) {
		x, err := strconv.ParseFloat(s, 64)
		if err != nil {
			f.t.Fatal(err)
		}
		v = append(v, x)
	}
	return v
}

// pairs is measurements of the same thing, of the floor and of ours, turn about.
type pairs struct{ floor, ours, ratio []float64 }

func (p *pairs) add(floor, ours float64) {
	p.floor, p.ours, p.ratio = append(p.floor, floor), append(p.ours, ours), append(p.ratio, ours/floor)
}

func (p *pairs) String() string {
	return fmt.Sprintf("floor %.4g, ours %.4g, ratio %.2f (%.2f to %.2f, %d rounds)",
		middle(p.floor), middle(p.ours), middle(p.ratio), slices.Min(p.ratio), slices.Max(p.ratio), len(p.ratio))
}

func middle(v []float64) float64 {
	s := slices.Sorted(slices.Values(v))
	return (s[(len(s)-1)/2] + s[len(s)/2]) / 2
}

// TestLookupFloor compares looking up a random peer, and deciding where it belongs, with the read of a random cache line in C:
// `make lookups PEERS=10000000`. Both on 2 MiB pages, where the system has them. What a read takes depends on how much memory it is from, so C
// reads from as much as the table's slots have; and once from a line for each peer, the least that any table could be.
func TestLookupFloor(t *testing.T) {
	peers, err := strconv.Atoi(os.Getenv("ROOTD_LOOKUP_PEERS"))
	if err != nil {
		t.Skip("ROOTD_LOOKUP_PEERS is not set: make lookups")
	}
	tab := bigTable(t, peers)
	d := newDecider(tab, peers)
	st := tab.Stats()
	t.Logf("%d peers, %.0f bytes a peer, %d slots", st.Peers, float64(st.Bytes)/float64(st.Peers), st.Slots)
	c, least := newFloor(t), newFloor(t)
	c.ask("lines %d", st.Slots)
	least.ask("lines %d", st.Peers)
	if n := testing.AllocsPerRun(100, func() { d.each(32, true); d.batches(32) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
	compareLookups(t, c, least, d, "as it grew")
	d.tab = reloaded(t, tab)
	compareLookups(t, c, least, d, "as it was restored")
}

func compareLookups(t *testing.T, c, least *floor, d *decider, table string) {
	t.Helper()
	const n, few = 1 << 20, 256
	peers := d.among
	var single, dense, batched pairs
	var cached []float64
	for range 7 {
		ours := d.each(n, true)
		single.add(c.ask("dependent %d", n)[0], ours)
		dense.add(least.ask("dependent %d", n)[0], ours)
		d.among = few
		hot := d.each(n, false)
		d.among = peers
		cached = append(cached, hot)
		batched.add(c.ask("batch %d", n)[0]+hot, d.batches(n))
	}
	t.Logf("table %s: lookup and decision, in the cache: %.1f ns", table, middle(cached))
	t.Logf("random peer, ns: %s", &single)
	t.Logf("random peer, floor among as many lines as peers, ns: %s", &dense)
	t.Logf("batches of 32, ns, floor with the decision in the cache: %s", &batched)
}

// reloaded returns a table with the peers of another one, as a member has it that has restored a snapshot, and closes that one.
func reloaded(t testing.TB, from *table.Table) *table.Table {
	t.Helper()
	tab, err := table.New(table.Options{HugePages: true, Capacity: from.Len()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = tab.Close() })
	l, f := tab.Loader(), from.Freeze()
	f.Range(func(r *table.Record) bool {
		err = l.Put(r)
		return err == nil
	})
	f.Release()
	l.Rest()
	if err != nil || tab.Len() != from.Len() {
		t.Fatalf("%d of %d peers loaded: %v", tab.Len(), from.Len(), err)
	}
	if err := from.Close(); err != nil {
		t.Fatal(err)
	}
	st := tab.Stats()
	t.Logf("restored: %.0f bytes a peer", float64(st.Bytes)/float64(st.Peers))
	return tab
}

// bigTable returns a table of n peers that came one after the other.
func bigTable(t testing.TB, n int) *table.Table {
	t.Helper()
	tab, err := table.New(table.Options{HugePages: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = tab.Close() })
	r := table.Record{V4: ep1, V4Member: 1, V4Epoch: 1, Protocol: 12, Major: 1, Minor: 14}
	for i := range n {
		r.Address, r.Position = address(i), spot(i)
		if err := tab.Put(&r); err != nil {
			t.Fatal(err)
		}
	}
	return tab
}

func spot(i int) [3]int16 {
	return geo.Point{Lat: float64(i%140 - 70), Lon: float64(i*7%360 - 180)}.Unit()
}

// decider decides for random peers.
type decider struct {
	tab   *table.Table
	among int
	to    *steer.Table
	rnd   rand.PCG
	last  uint64
	sum   uint64
}

func newDecider(tab *table.Table, among int) *decider {
	ms := make([]steer.Member, 6)
	for i := range ms {
		ms[i] = steer.Member{ID: uint16(i + 1), Unit: spot(i * 1009), Up: true, Load: 300, Planet4: 1, Planet6: 1}
	}
	return &decider{tab: tab, among: among, to: steer.Compile(steer.DefaultParams(), ms), rnd: *rand.NewPCG(3, 4)}
}

// pick returns a random peer's address, not before the last decision is known.
func (d *decider) pick() vl1.Address {
	x := d.rnd.Uint64() + d.last
	return address(int((x >> 32) * uint64(d.among) >> 32))
}

func (d *decider) decide(a vl1.Address, w *table.Words, p *steer.Peer) {
	if !d.tab.LookupSteered(a, w) || w.HandedOff() {
		panic("not found, or not as it was put")
	}
	*p = steer.Peer{}
	p.Unit[0], p.Unit[1], p.Unit[2] = w.Position()
	member, _ := w.Attached(false)
	p.RadiusKm, p.Family = geo.RadiusKm(w.Flags()), steer.FamilyOf(w.Software())
	p.Current, p.Planet, p.Now, p.Spread = uint16(member), 9, 1e6, uint8(a)
	best := d.to.Decide(p).Best
	d.sum += uint64(best)
	d.last = uint64(best >> 15)
}

// each decides for n peers one after the other, and returns the ns of each. With prefetch, it does as the packet path with what it has of a
// batch.
func (d *decider) each(n int, prefetch bool) float64 {
	var w table.Words
	var p steer.Peer
	var as [1]vl1.Address
	began := cpuTime()
	for range n {
		as[0] = d.pick()
		if prefetch {
			d.tab.Prefetch(as[:])
		}
		d.decide(as[0], &w, &p)
	}
	return float64(cpuTime()-began) / float64(n)
}

// batches does it in batches of 32, prefetched.
func (d *decider) batches(n int) float64 {
	var w table.Words
	var p steer.Peer
	var as [32]vl1.Address
	began := cpuTime()
	for range n / len(as) {
		for i := range as {
			as[i] = d.pick()
		}
		d.tab.Prefetch(as[:])
		for _, a := range as {
			d.decide(a, &w, &p)
		}
	}
	return float64(cpuTime()-began) / float64(n)
}

// cpuTime is what this process has used: other work on the machine is not in it.
func cpuTime() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// TestRestoreFloor compares a restore with reading, checking and storing the same snapshot in C: `make restores PEERS=10000000`.
// ROOTD_SCALE_STATE is where the snapshot stays for the next time.
func TestRestoreFloor(t *testing.T) {
	peers, err := strconv.Atoi(os.Getenv("ROOTD_RESTORE_FLOOR"))
	if err != nil {
		t.Skip("ROOTD_RESTORE_FLOOR is not set: make restores")
	}
	path := os.Getenv("ROOTD_SCALE_STATE")
	if path == "" {
		path = filepath.Join(t.TempDir(), "state")
	}
	if _, err := os.Stat(path); err != nil {
		(&traffic{m: latest(t, peers), peers: peers}).saveFile(t, path)
	}
	c := newFloor(t)
	var whole, net pairs
	var touch []float64
	for range 6 {
		runtime.GC()
		debug.FreeOSMemory()
		v := c.ask("restore %d %s", peers, path)
		target := bigFSM(t)
		began := time.Now()
		load(t, target, path)
		d := time.Since(began).Seconds()
		touch = append(touch, v[0])
		whole.add(v[0]+v[1], d)
		net.add(v[1], d)
	}
	t.Logf("touching memory takes %.2f s in C (the first time %.2f)", middle(touch), touch[0])
	t.Logf("restore of %d peers, s, touching in both: %s", peers, &whole)
	t.Logf("restore of %d peers, s, touching in ours alone: %s", peers, &net)
}
