package sim_test

import (
	"fmt"
	"slices"
	"testing"
)

const (
	sizeEcho  = 28
	sizeWhois = 33
)

func timerRows() []row {
	return []row{
		{"4.2", "F1-F4: keep-alive of known paths", "ECHO every 14-15 s, full HELLO only on the first tick", func(t *testing.T) string {
			return each(t, early, func(t *testing.T, f string) string {
				w := newWorld(t, setting{family: f, v4only: true, noBob: true, members: 1})
				w.seconds(600)
				gaps := w.gaps(func(s sent) bool { return s.size == sizeEcho })
				if len(gaps) < 38 || gaps[0] < 14_000 || gaps[len(gaps)-1] > 15_000 {
					t.Errorf("%s: %d gaps between ECHOs, %v to %v ms", f, len(gaps), gaps[0], gaps[len(gaps)-1])
				}
				return fmt.Sprintf("ECHO every %d s", gaps[0]/1000)
			})
		}},
		{"4.2", "F1, F2: HELLO to a random stable endpoint", "in about 2 of 3 ticks: 0.13 HELLO/s per socket, 0.07 ECHO/s per path", func(t *testing.T) string {
			return each(t, sticky, func(t *testing.T, f string) string {
				w := newWorld(t, setting{family: f, v4only: true, noBob: true})
				w.seconds(3000)
				hello := float64(w.count(func(s sent) bool { return s.hello })) / 3000
				echo := float64(w.count(func(s sent) bool { return s.size == sizeEcho })) / 3000
				if hello < 0.125 || hello > 0.14 || echo < 0.06 || echo > 0.07 {
					t.Errorf("%s: %.3f HELLO/s and %.3f ECHO/s", f, hello, echo)
				}
				return fmt.Sprintf("%.2f HELLO/s, %.2f ECHO/s", hello, echo)
			})
		}},
		{"4.2", "F1-F4: members that an idle client probes", "all of them, for ever", func(t *testing.T) string {
			return each(t, early, func(t *testing.T, f string) string {
				w := newWorld(t, setting{family: f, v4only: true, noBob: true})
				w.seconds(3600)
				from := len(w.log)
				w.seconds(1800)
				probed := 0
				for _, m := range w.a {
					if w.count(func(s sent) bool { return s.to == m.Endpoints[0] }, from) > 0 {
						probed++
					}
				}
				return expect(t, f, fmt.Sprintf("%d of 3 in the second hour", probed), "3 of 3 in the second hour")
			})
		}},
		{"4.2", "F5, F6: visits of a root", "HELLO every 225-229 s, on all paths of the highest priority; no ECHO", func(t *testing.T) string {
			return each(t, lazy, func(t *testing.T, f string) string {
				w := newWorld(t, setting{family: f, v4only: true, noBob: true, jitter: 60})
				w.seconds(3600)
				gaps := w.gaps(func(s sent) bool { return s.hello })
				if len(gaps) < 15 || gaps[0] < 225_000 || gaps[len(gaps)-1] > 229_000 {
					t.Errorf("%s: gaps %v", f, gaps)
				}
				if n := w.count(func(s sent) bool { return s.size == sizeEcho }); n > 0 {
					t.Errorf("%s: %d ECHOs", f, n)
				}
				return "HELLO every 225-229 s, no ECHO"
			})
		}},
		{"4.2", "F5, F6: members that an idle client talks to", "one", func(t *testing.T) string {
			return each(t, lazy, func(t *testing.T, f string) string {
				w := newWorld(t, setting{family: f, v4only: true, noBob: true})
				w.seconds(3600)
				talked := 0
				for _, m := range w.a {
					if w.count(func(s sent) bool { return s.to == m.Endpoints[0] }) > 0 {
						talked++
					}
				}
				return expect(t, f, fmt.Sprintf("%d in an hour", talked), "1 in an hour")
			})
		}},
		{"4.2", "F6 without any path", "HELLO every 5 s", func(t *testing.T) string { return pathless(t, "1.14", "HELLO every 5 s") }},
		{"4.3", "F5 whose first pick does not answer", "next try 224 s later", func(t *testing.T) string { return pathless(t, "1.10.6", "HELLO every 225 s") }},
		{"4.2", "F6: HELLOs of one visit", "paths x sockets: 4 with 2 sockets, 9 with 3, within a millisecond", func(t *testing.T) string {
			s := ""
			for _, n := range []int{2, 3} {
				w := newWorld(t, setting{family: "1.14", v4only: true, noBob: true, sockets: [2]int{n, 0}})
				w.seconds(200)
				from := len(w.log)
				w.seconds(100)
				at := w.log[from:]
				hellos := w.count(func(s sent) bool { return s.hello }, from)
				first := slices.IndexFunc(at, func(s sent) bool { return s.hello })
				last := len(at) - 1 - slices.IndexFunc(reversed(at), func(s sent) bool { return s.hello })
				if hellos != n*n || at[last].at != at[first].at {
					t.Errorf("%d sockets: %d HELLOs from %d to %d ms", n, hellos, at[first].at, at[last].at)
				}
				s += fmt.Sprintf("%d with %d sockets; ", hellos, n)
			}
			return s[:len(s)-2]
		}},
		{"4.2", "F5, F6: WHOIS of the root's own address", "every 5 s tick in which the root is not visited (captures)", func(t *testing.T) string {
			return each(t, lazy, func(t *testing.T, f string) string {
				w := newWorld(t, setting{family: f, v4only: true, noBob: true})
				w.seconds(600)
				n := w.count(func(s sent) bool { return s.size == sizeWhois })
				if n < 116 || n > 118 {
					t.Errorf("%s: %d in 600 s", f, n)
				}
				return "yes"
			})
		}},
	}
}

func pathless(t *testing.T, f, want string) string {
	w := newWorld(t, setting{family: f, v4only: true, noBob: true})
	for _, m := range w.a {
		m.Silent = true
	}
	w.seconds(1000)
	gaps := w.gaps(func(s sent) bool { return s.hello })
	if gaps[0] != gaps[len(gaps)-1] {
		t.Errorf("%s: gaps %v", f, gaps)
	}
	return expect(t, f, fmt.Sprintf("HELLO every %d s", gaps[0]/1000), want)
}

// count counts what the client sent, from index i of the log on.
func (w *world) count(is func(sent) bool, i ...int) (n int) {
	from := 0
	if len(i) > 0 {
		from = i[0]
	}
	for _, s := range w.log[from:] {
		if is(s) {
			n++
		}
	}
	return n
}

// gaps are the sorted times between what the client sent, ms; what it sent within a second counts as one.
func (w *world) gaps(is func(sent) bool) []int64 {
	var gaps []int64
	last := int64(-1)
	for _, s := range w.log {
		if !is(s) || last >= 0 && s.at-last < 1000 {
			continue
		}
		if last >= 0 {
			gaps = append(gaps, s.at-last)
		}
		last = s.at
	}
	slices.Sort(gaps)
	return gaps
}

func reversed(s []sent) []sent {
	s = slices.Clone(s)
	slices.Reverse(s)
	return s
}

// TestFirstPickFavoursTheFirstEndpoint: with all IPv4 endpoints before all IPv6 ones the first of each family is picked
// far more often; with families taking turns all are picked alike.
func TestFirstPickFavoursTheFirstEndpoint(t *testing.T) {
	for _, interleaved := range []bool{false, true} {
		first := 0
		const clients = 200
		for seed := range uint64(clients) {
			w := newWorld(t, setting{family: "1.14", seed: seed, noBob: true})
			if !interleaved { // newWorld's planet is interleaved; the client holds this one
				e := w.planet.Roots[0].Endpoints
				w.planet.Roots[0].Endpoints = append(w.planet.Roots[0].Endpoints[:0:0], e[0], e[2], e[4], e[1], e[3], e[5])
			}
			w.seconds(1)
			for _, s := range w.log {
				if s.to == w.a[0].Endpoints[0] {
					first++
				}
			}
		}
		share := float64(first) / clients
		want := 4.0 / 6
		if interleaved {
			want = 1.0 / 3
		}
		if share < want-0.1 || share > want+0.1 {
			t.Errorf("interleaved %v: the first endpoint got %.2f of the first HELLOs, want about %.2f", interleaved, share, want)
		}
	}
}
