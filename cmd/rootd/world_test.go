package main

import (
	"bufio"
	_ "embed"
	"encoding/csv"
	"math/rand/v2"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rootd/rootd/packetpath/udp"
	"github.com/rootd/rootd/packetpath/vl1"
	"github.com/rootd/rootd/transport/mux"
)

// A world is a cluster of whole members, with everything that cmd/rootd runs but the process around it, on networks in
// memory and in virtual time: hours pass in seconds. Hosts have a place on Earth, from which latencies follow; between
// any two of them packets can be lost, delayed or cut off, in one direction or both; members are killed and start again
// from their files. The seed decides what happens to whom. It does not decide in which order goroutines run, so a run is
// not repeated exactly by its seed, but its story is.
type world struct {
	*testing.T
	seed     uint64
	begun    time.Time
	identity *vl1.SecretIdentity // the root's
	udp      *udp.Network
	tcp      *mux.Network
	hosts    []*host        // of members, in the order of their IDs
	devices  int            // made so far
	compared int            // decisions of two members
	all      []*device      // that talk all the time
	truth    truth          // what the members said, to be held against each other
	ending   sync.WaitGroup // who ends by himself
	closers  []func()       // what ends before the members do, last one first

	mu      sync.Mutex // guards the following; the networks are locked before it
	rnd     *rand.Rand // of the network
	rtt     func(a, b int) time.Duration
	places  map[netip.Addr]place
	next    int             // number of the next place
	cuts    map[[2]int]bool // from, to: places
	stalls  map[int]time.Time
	loss    float64            // share of datagrams between members that is lost
	carried map[uint64]*device // by packet ID: who waits for it
}

// place is where something runs. Everybody has a number of its own.
type place struct{ number, city int }

// inWorld runs f in a bubble with a world that has members in the given cities; none means that all are in one.
func inWorld(t *testing.T, seed uint64, members int, cities []int, f func(*world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(27 * 365 * 24 * time.Hour) // a bubble begins in 2000, before the log's epoch
		w := &world{
			T: t, seed: seed, udp: udp.NewNetwork(), tcp: mux.NewNetwork(), begun: time.Now(), rnd: rand.New(rand.NewPCG(seed, 1)),
			places: map[netip.Addr]place{}, cuts: map[[2]int]bool{}, stalls: map[int]time.Time{}, rtt: roundTrips(t),
			carried: map[uint64]*device{}, identity: identities(t, identityOfRoot, 1)[0],
		}
		w.truth.begin()
		w.udp.SetFate(w.fate)
		w.setLoss(0)
		defer w.stopAll()
		for i := range members {
			city := 0
			if cities != nil {
				city = cities[i]
			}
			w.addMember(city)
		}
		w.settle()
		f(w)
	})
}

// at is the time that has passed since the world began.
func (w *world) at() time.Duration { return time.Since(w.begun) }

// root is the identity of the root.
func (w *world) root() vl1.Identity { return w.identity.Identity }

// say logs what happens, with its time.
func (w *world) say(format string, args ...any) {
	w.Helper()
	w.Logf("%10.3fs  "+format, append([]any{w.at().Seconds()}, args...)...)
}

// place puts addresses in a city on the map.
func (w *world) place(city int, addrs ...netip.Addr) place {
	w.mu.Lock()
	defer w.mu.Unlock()
	p := place{w.next, city}
	w.next++
	for _, a := range addrs {
		w.places[a] = p
	}
	return p
}

// oneWay is how long a packet takes between two places.
func (w *world) oneWay(from, to place) time.Duration {
	return w.rtt(from.city, to.city)/2 + 200*time.Microsecond
}

// fate is what happens to a datagram.
func (w *world) fate(from, to netip.AddrPort, _ []byte) udp.Fate {
	w.mu.Lock()
	defer w.mu.Unlock()
	a, b := w.places[from.Addr()], w.places[to.Addr()]
	f := udp.Fate{Delay: w.oneWay(a, b), Drop: w.cuts[[2]int{a.number, b.number}]}
	if w.between(a, b) && w.rnd.Float64() < w.loss {
		f.Drop = true
	}
	now := time.Now()
	for _, p := range [...]place{a, b} {
		if until := w.stalls[p.number]; until.After(now) {
			f.Delay += until.Sub(now)
		}
	}
	return f
}

// between reports whether two places are members': those have the first numbers.
func (w *world) between(a, b place) bool {
	return a.number < len(w.hosts) && b.number < len(w.hosts) && a.number != b.number
}

// setLoss makes the given share of packets between members get lost. TCP sends them again.
func (w *world) setLoss(share float64) {
	w.mu.Lock()
	w.loss = share
	w.mu.Unlock()
	base := func(from, to netip.Addr) time.Duration {
		w.mu.Lock()
		defer w.mu.Unlock()
		return w.oneWay(w.places[from], w.places[to])
	}
	if share > 0 {
		base = mux.Lossy(w.seed, share, base)
	}
	w.tcp.SetDelay(base)
}

// cut stops what a sends to b, or lets it through again.
func (w *world) cut(a, b *host, cut bool) {
	w.mu.Lock()
	if cut {
		w.cuts[[2]int{a.number, b.number}] = true
	} else {
		delete(w.cuts, [2]int{a.number, b.number})
	}
	w.mu.Unlock()
	if cut {
		w.tcp.Cut(a.v4, b.v4)
	} else {
		w.tcp.Heal(a.v4, b.v4)
	}
}

// stall holds everything that a host sends or is sent for a while, as if the machine stood still.
func (w *world) stall(h *host, d time.Duration) {
	w.mu.Lock()
	w.stalls[h.number] = time.Now().Add(d)
	w.mu.Unlock()
	for _, o := range w.hosts {
		if o != h {
			w.tcp.Cut(h.v4, o.v4)
			w.tcp.Cut(o.v4, h.v4)
		}
	}
	time.Sleep(d)
	for _, o := range w.hosts {
		if o != h {
			w.tcp.Heal(h.v4, o.v4)
			w.tcp.Heal(o.v4, h.v4)
		}
	}
}

// until polls in virtual time.
func (w *world) until(what string, limit time.Duration, cond func() bool) {
	w.Helper()
	for end := time.Now().Add(limit); !cond(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			w.Fatalf("%.3fs: not within %v: %s", w.at().Seconds(), limit, what)
		}
	}
}

//go:embed testdata/rtt.csv
var measured string

// Cities of testdata/rtt.csv.
const (
	amsterdam = iota
	dallas
	johannesburg
	frankfurt
	newYork
	paris
	saoPaulo
	sydney
	sanFrancisco
	tokyo
	singapore
	toronto
)

// roundTrips returns measured round trips between cities.
func roundTrips(t testing.TB) func(a, b int) time.Duration {
	t.Helper()
	r := csv.NewReader(strings.NewReader(measured))
	r.Comment = '#'
	rows, err := r.ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	var table [toronto + 1][toronto + 1]time.Duration
	for i := range table {
		for j := range table {
			ms, err := strconv.ParseFloat(rows[i+1][j+3], 64)
			if err != nil {
				t.Fatal(err)
			}
			table[i][j] = time.Duration(ms * float64(time.Millisecond))
		}
	}
	return func(a, b int) time.Duration { return table[a][b] }
}

// identities returns ready-made ones: making and validating one takes a root's processor longer than anything else.
func identities(t testing.TB, from, n int) []*vl1.SecretIdentity {
	t.Helper()
	f, err := os.Open("../internal/demo/identities.txt")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var list []*vl1.SecretIdentity
	for i, lines := 0, bufio.NewScanner(f); len(list) < n && lines.Scan(); i++ {
		if i < from {
			continue
		}
		id, err := vl1.ParseSecretIdentity(lines.Text())
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, id)
	}
	if len(list) < n {
		t.Fatalf("%d identities from number %d, want %d", len(list), from, n)
	}
	return list
}

// Who has which of the ready-made identities.
const (
	identityOfRoot    = 0
	identityOfProbers = 1 // and following
	identityOfDevices = 20
	identityOfClients = 200
)
