package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rootd/rootd/cmd/internal/procs"
)

// swarmTrace is what a trace of rootswarm says of the clients and one cluster.
type swarmTrace struct {
	file    string
	root    string // address of the cluster's root
	offset  int64
	members map[netip.AddrPort]bool // true: it lives
	clients map[string]*traced
	killed  int64 // ms since 1970; 0: not yet
}

// traced is one client.
type traced struct {
	family  string
	uses    netip.AddrPort
	heard   int64   // from there, ms since 1970
	lost    bool    // it used the member that was killed
	back    int64   // when it was served by another one; 0: not yet
	pushes  []int64 // when, since the kill
	refused int     // since the kill
}

func newSwarmTrace(root string, members []*procs.Member) *swarmTrace {
	s := &swarmTrace{root: root, members: map[netip.AddrPort]bool{}, clients: map[string]*traced{}}
	for _, m := range members {
		s.members[m.UDP] = true
	}
	return s
}

// read takes in what was written since the last time. A file is named once.
func (s *swarmTrace) read(t *testing.T, file string) {
	t.Helper()
	if file != "" {
		s.file = file
	}
	f, err := os.Open(s.file)
	if errors.Is(err, os.ErrNotExist) {
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.NewSectionReader(f, s.offset, 1<<40))
	if err != nil {
		t.Fatal(err)
	}
	b = b[:bytes.LastIndexByte(b, '\n')+1]
	s.offset += int64(len(b))
	for lines := bufio.NewScanner(bytes.NewReader(b)); lines.Scan(); {
		if err := s.event(strings.Fields(lines.Text())); err != nil {
			t.Fatalf("%s: %q: %v", s.file, lines.Text(), err)
		}
	}
}

func (s *swarmTrace) event(w []string) error {
	if len(w) != 7 {
		return errors.New("want seven words")
	}
	now, err := strconv.ParseInt(w[0], 10, 64)
	if err != nil {
		return err
	}
	if w[3] != s.root {
		return nil
	}
	at, _ := netip.ParseAddrPort(w[5]) // "-" is none
	c := s.clients[w[1]]
	if c == nil {
		c = &traced{family: w[2]}
		s.clients[w[1]] = c
	}
	switch w[4] {
	case "uses":
		c.uses, c.heard = at, 0
	case "hears":
		if c.heard, err = strconv.ParseInt(w[6], 10, 64); err != nil {
			return err
		}
	case "redirected":
		if s.killed > 0 && now >= s.killed {
			c.pushes = append(c.pushes, now)
		}
	case "refused":
		if s.killed > 0 && now >= s.killed {
			c.refused++
		}
	}
	if c.lost && c.back == 0 && s.members[c.uses] && c.heard >= s.killed {
		c.back = now
	}
	return nil
}

// served is how many clients use a member that has answered them.
func (s *swarmTrace) served() (n int) {
	for _, c := range s.clients {
		if c.heard > 0 {
			n++
		}
	}
	return n
}

// kill notes that a member is killed now.
func (s *swarmTrace) kill(member netip.AddrPort) {
	s.killed = time.Now().UnixMilli()
	s.members[member] = false
	for _, c := range s.clients {
		c.lost = c.uses == member
	}
}

// away is how many clients of the member are not served by another one yet.
func (s *swarmTrace) away() (n int) {
	for _, c := range s.clients {
		if c.lost && c.back == 0 {
			n++
		}
	}
	return n
}

// outcome is what became of the clients.
type outcome struct {
	lost, away, disturbed int
	pushes, refused       int         // the most of one client in 30 s; of all
	spread                map[int]int // how many of the lost took how many pushes
	back                  map[string][]time.Duration
}

func (s *swarmTrace) outcome() outcome {
	o := outcome{back: map[string][]time.Duration{}, spread: map[int]int{}}
	for _, c := range s.clients {
		o.refused += c.refused
		o.pushes = max(o.pushes, len(c.pushes))
		switch {
		case !c.lost && len(c.pushes) > 0:
			o.disturbed++
		case !c.lost:
		default:
			o.lost++
			o.spread[len(c.pushes)]++
			if c.back == 0 {
				o.away++
				o.back[c.family] = append(o.back[c.family], 1<<62)
				continue
			}
			o.back[c.family] = append(o.back[c.family], time.Duration(c.back-s.killed)*time.Millisecond)
		}
	}
	return o
}

func (o outcome) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d clients used the member that was killed, %d of them are not back; pushes of one: at most %d, refused in all %d; %d others redirected\n",
		o.lost, o.away, o.pushes, o.refused, o.disturbed)
	fmt.Fprintf(&b, "pushes: clients %v\n", o.spread)
	var all []time.Duration
	for _, family := range slices.Sorted(maps.Keys(o.back)) {
		all = append(all, o.back[family]...)
		fmt.Fprintf(&b, "%8s %s\n", family, quantiles(o.back[family]))
	}
	fmt.Fprintf(&b, "%8s %s", "all", quantiles(all))
	return b.String()
}

// quantiles says how long it took; who is not back took for ever.
func quantiles(all []time.Duration) string {
	if len(all) == 0 {
		return "none"
	}
	slices.Sort(all)
	at := func(q float64) string {
		d := all[int(q*float64(len(all)-1))]
		if d == 1<<62 {
			return "not back"
		}
		return d.Round(10 * time.Millisecond).String()
	}
	back := len(all)
	for back > 0 && all[back-1] == 1<<62 {
		back--
	}
	return fmt.Sprintf("%5d back of %5d: p50 %s, p99 %s, max %s", back, len(all), at(0.5), at(0.99), at(1))
}
