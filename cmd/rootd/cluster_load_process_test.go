package main_test

import (
	"bufio"
	"context"
	"flag"
	"math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rootd/rootd/cmd/internal/procs"
	"github.com/rootd/rootd/packetpath/vl1"
)

var loadHellos = flag.Int("load.hellos", 0, "HELLO per second while the leader is killed, 5000 say; 0: the test is skipped")

// caller is an endpoint that says HELLO a little less often than a root answers it, and notes what is answered.
type caller struct {
	*device
	conn   *net.UDPConn
	member int

	mu      sync.Mutex // guards the following
	open    map[uint64]time.Time
	last    time.Time // an answer
	asked   int
	lost    []time.Time // when they were asked
	longest time.Duration
}

const (
	callEvery    = 1500 * time.Millisecond // a root answers one a second, and machines stumble
	callPatience = 2 * time.Second
)

func (c *caller) call() {
	h := vl1.Hello{
		Protocol: 11, Major: 1, Minor: 12, Clock: uint64(time.Now().UnixMilli()), Identity: c.id.Identity,
		HasPlanet: true, PlanetID: c.world.ID, PlanetTimestamp: c.world.Timestamp,
	}
	p := vl1.AppendHello(c.packet(vl1.VerbHello), &h, &c.key)
	vl1.Armor(p, &c.key, vl1.SuitePoly1305)
	c.mu.Lock()
	defer c.mu.Unlock()
	for id, at := range c.open {
		if time.Since(at) > callPatience {
			delete(c.open, id)
			c.lost = append(c.lost, at)
		}
	}
	c.open[p.ID()] = time.Now()
	c.asked++
	_, _ = c.conn.Write(p)
}

func (c *caller) listen() {
	buf := make([]byte, 2048)
	for {
		n, err := c.conn.Read(buf)
		if err != nil {
			if isClosed(err) {
				return
			}
			continue
		}
		p, err := vl1.ParsePacket(buf[:n])
		if err != nil || p.Source() != c.root.Address {
			continue
		}
		id := p.ID()
		if vl1.Dearmor(p, &c.key) != nil {
			continue
		}
		switch p.Verb() {
		case vl1.VerbEcho:
			ok := vl1.AppendOKEcho(c.packet(vl1.VerbOK), id, p.Payload())
			vl1.Armor(ok, &c.key, vl1.SuiteSalsa)
			_, _ = c.conn.Write(ok)
		case vl1.VerbOK:
			_, to, _, err := vl1.DecodeOK(p)
			if err != nil {
				continue
			}
			c.mu.Lock()
			if _, ok := c.open[to]; ok {
				delete(c.open, to)
				now := time.Now()
				if !c.last.IsZero() {
					c.longest = max(c.longest, now.Sub(c.last))
				}
				c.last = now
			}
			c.mu.Unlock()
		}
	}
}

// drops are the counters of members that run which say why somebody got no answer.
func (f *fleet) drops() map[int]map[string]float64 {
	f.Helper()
	all := map[int]map[string]float64{}
	for i, m := range f.members {
		if !m.Running() {
			continue
		}
		r, err := http.Get(m.URL("/metrics"))
		if err != nil {
			f.Fatal(err)
		}
		all[i] = map[string]float64{}
		for lines := bufio.NewScanner(r.Body); lines.Scan(); {
			name, value, ok := strings.Cut(lines.Text(), " ")
			n, err := strconv.ParseFloat(value, 64)
			if ok && err == nil && slices.ContainsFunc([]string{"limited", "dropped", "overflow", "withheld", "full", "bad", "unknown", "invalid", "fenced", "rejected", "replayed", "refused"},
				func(word string) bool { return strings.Contains(name, word) }) {
				all[i][name] = n
			}
		}
		r.Body.Close()
	}
	return all
}

// TestLeaderKilledUnderLoad counts what clients of the other members lose when the leader is killed under load.
func TestLeaderKilledUnderLoad(t *testing.T) {
	if *loadHellos == 0 {
		t.Skip("a measurement: run it with -load.hellos 5000")
	}
	b := binaries{t.TempDir()}
	if err := procs.Build(longDeadline(t), b.dir, "."); err != nil {
		t.Fatal(err)
	}
	f := newFleet(t, b.rootd())
	f.grow()
	f.grow()
	f.waitMembers("m1 up voter", "m2 up voter", "m3 up voter")
	planet := readPlanet(t, f.members[0])
	ids := devices(t, 1000, planet, f.members[0].UDP)
	known := make([]vl1.Identity, len(ids))
	for i, d := range ids {
		known[i] = d.id.Identity
	}
	if _, err := f.admin(0).ImportPeers(longDeadline(t), known); err != nil {
		t.Fatal(err)
	}
	n := int(float64(*loadHellos) * callEvery.Seconds())
	all := make([]*caller, n)
	for i := range all {
		c := &caller{device: ids[i%len(ids)], member: i % len(ids) % len(f.members), open: map[uint64]time.Time{}}
		var err error
		at := f.members[c.member].UDP
		if c.conn, err = net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(netip.AddrPortFrom(at.Addr(), at.Port()))); err != nil {
			t.Fatal(err)
		}
		ended := make(chan struct{})
		go func() { defer close(ended); c.listen() }()
		t.Cleanup(func() { c.conn.Close(); <-ended })
		all[i] = c
	}
	rand.Shuffle(n, func(i, j int) { all[i], all[j] = all[j], all[i] })
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var sent atomic.Int64
	var wg sync.WaitGroup
	wg.Go(func() { // all of them in turn, evenly
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		began := time.Now()
		for i := 0; ; {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			for due := int(float64(n) * time.Since(began).Seconds() / callEvery.Seconds()); i < due; i++ {
				all[i%n].call()
				sent.Add(1)
			}
		}
	})
	sleep := func(d time.Duration) { <-time.After(d) }
	sleep(10 * time.Second)
	clear := func() {
		for _, c := range all {
			c.mu.Lock()
			c.asked, c.lost, c.longest = 0, nil, 0
			c.mu.Unlock()
		}
	}
	clear()
	sleep(10 * time.Second)
	report := func(what string, but int) {
		var asked int
		var longest []time.Duration
		var lost []time.Time
		for _, c := range all {
			c.mu.Lock()
			if c.member != but {
				asked += c.asked
				lost = append(lost, c.lost...)
				longest = append(longest, c.longest)
			}
			c.mu.Unlock()
		}
		slices.Sort(longest)
		t.Logf("%s: %d HELLO, %d without an answer, longest time between two answers of one endpoint %v, median of the endpoints' longest %v",
			what, asked, len(lost), longest[len(longest)-1].Round(time.Millisecond), longest[len(longest)/2].Round(time.Millisecond))
	}
	report("before, all members", -1)
	clear()
	old := f.leader(0, "")
	was := f.drops()
	other := (old + 1) % 3
	began, before := time.Now(), sent.Load()
	f.members[old].Kill()
	f.leader(other, f.name(old))
	elected := time.Since(began)
	sleep(10*time.Second - elected)
	rate := float64(sent.Load()-before) / time.Since(began).Seconds()
	sleep(callPatience + callEvery)
	report("after the leader's death, the other members", old)
	for i, now := range f.drops() {
		for name, n := range now {
			if d := n - was[i][name]; d > 0 {
				t.Logf("%s: %s %v", f.name(i), name, d)
			}
		}
	}
	t.Logf("%.0f HELLO/s to all, a new leader was known after %v", rate, elected.Round(time.Millisecond))
	cancel()
	wg.Wait()
}
