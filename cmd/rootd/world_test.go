package main

import (
	"bufio"
	"os"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rootd/rootd/packetpath/vl1"
)

// A world is a cluster of whole members, with everything that cmd/rootd runs but the process around it, on networks in
// memory and in virtual time: hours pass in seconds. Hosts have a place on Earth, from which latencies follow; between
// any two of them packets can be lost, delayed or cut off, in one direction or both; members are killed and start again
// from their files. The seed decides what happens to whom. It does not decide in which order goroutines run, so a run is
// not repeated exactly by its seed, but its story is.
type world struct {
	*testing.T
	*earth
	seed     uint64
	name     string              // of the cluster
	number   int                 // of the root, of several on one Earth
	identity *vl1.SecretIdentity // the root's
	planet   []byte              // that the first member begins with; nil: one of its own
	signs    *vl1.SigningKey     // that planet
	hosts    []*host             // of members, in the order of their IDs
	devices  int                 // made so far
	compared int                 // decisions of two members
	all      []*device           // that talk all the time
	truth    truth               // what the members said, to be held against each other
	ending   sync.WaitGroup      // who ends by himself
	closers  []func()            // what ends before the members do, last one first

	talking sync.Mutex         // guards carried
	carried map[uint64]*device // by packet ID: who waits for it
}

// inWorld runs f in a bubble with a world that has members in the given cities; none means that all are in one.
func inWorld(t *testing.T, seed uint64, members int, cities []int, f func(*world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(27 * 365 * 24 * time.Hour) // a bubble begins in 2000, before the log's epoch
		w := newWorld(t, newEarth(t, seed), "alice", 0)
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

func newWorld(t *testing.T, e *earth, name string, number int) *world {
	w := &world{
		T: t, earth: e, seed: e.seed, name: name, number: number, carried: map[uint64]*device{},
		identity: identities(t, identityOfRoot-number, 1)[0],
	}
	w.truth.begin()
	return w
}

// root is the identity of the root.
func (w *world) root() vl1.Identity { return w.identity.Identity }

// say logs what happens, with its time.
func (w *world) say(format string, args ...any) {
	w.Helper()
	w.Logf("%10.3fs  "+format, append([]any{w.at().Seconds()}, args...)...)
}

// cut stops what a sends to b, or lets it through again.
func (w *world) cut(a, b *host, cut bool) {
	w.part(a.place, b.place, cut)
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
	identityOfProbers = 0  // and following, by the number of their place
	identityOfRoot    = 19 // and those before, by the number of the root
	identityOfDevices = 20
	identityOfClients = 200
)
