package main

import (
	_ "embed"
	"encoding/csv"
	"math/rand/v2"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rootd/rootd/packetpath/udp"
	"github.com/rootd/rootd/transport/mux"
)

// earth is where worlds are: their networks in memory. Everything on it has a place, from which latencies follow.
type earth struct {
	seed  uint64
	begun time.Time
	udp   *udp.Network
	tcp   *mux.Network

	mu     sync.Mutex // guards the following; the networks are locked before it
	rnd    *rand.Rand // of the network
	rtt    func(a, b int) time.Duration
	places map[netip.Addr]place
	next   int             // number of the next place
	cuts   map[[2]int]bool // from, to: places
	stalls map[int]time.Time
	loss   float64 // share of datagrams between members that is lost
	bad    float64 // share of all datagrams that is lost
}

// place is where something runs. Everybody has a number of its own.
type place struct {
	number, city int
	member       bool
}

// newEarth must be called in a bubble.
func newEarth(t testing.TB, seed uint64) *earth {
	e := &earth{
		seed: seed, udp: udp.NewNetwork(), tcp: mux.NewNetwork(), begun: time.Now(), rnd: rand.New(rand.NewPCG(seed, 1)),
		places: map[netip.Addr]place{}, cuts: map[[2]int]bool{}, stalls: map[int]time.Time{}, rtt: roundTrips(t),
	}
	e.udp.SetFate(e.fate)
	e.setLoss(0)
	return e
}

// at is the time that has passed since the world began.
func (e *earth) at() time.Duration { return time.Since(e.begun) }

// place puts addresses in a city on the map.
func (e *earth) place(city int, member bool, addrs ...netip.Addr) place {
	e.mu.Lock()
	defer e.mu.Unlock()
	p := place{e.next, city, member}
	e.next++
	for _, a := range addrs {
		e.places[a] = p
	}
	return p
}

// oneWay is how long a packet takes between two places.
func (e *earth) oneWay(from, to place) time.Duration {
	return e.rtt(from.city, to.city)/2 + 200*time.Microsecond
}

// fate is what happens to a datagram.
func (e *earth) fate(from, to netip.AddrPort, _ []byte) udp.Fate {
	e.mu.Lock()
	defer e.mu.Unlock()
	a, b := e.places[from.Addr()], e.places[to.Addr()]
	f := udp.Fate{Delay: e.oneWay(a, b), Drop: e.cuts[[2]int{a.number, b.number}]}
	if a.member && b.member && a != b && e.rnd.Float64() < e.loss || a != b && e.rnd.Float64() < e.bad {
		f.Drop = true
	}
	now := time.Now()
	for _, p := range [...]place{a, b} {
		if until := e.stalls[p.number]; until.After(now) {
			f.Delay += until.Sub(now)
		}
	}
	return f
}

// setLoss makes the given share of packets between members get lost. TCP sends them again.
func (e *earth) setLoss(share float64) {
	e.mu.Lock()
	e.loss = share
	e.mu.Unlock()
	base := func(from, to netip.Addr) time.Duration {
		e.mu.Lock()
		defer e.mu.Unlock()
		return e.oneWay(e.places[from], e.places[to])
	}
	if share > 0 {
		base = mux.Lossy(e.seed, share, base)
	}
	e.tcp.SetDelay(base)
}

// part stops datagrams from a to b, or lets them through again.
func (e *earth) part(a, b place, cut bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if cut {
		e.cuts[[2]int{a.number, b.number}] = true
	} else {
		delete(e.cuts, [2]int{a.number, b.number})
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
