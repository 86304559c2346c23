package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/rootd/rootd/cmd/internal/client/sim"
)

// scenario is a run in virtual time, read from a text file of one statement a line:
//
//	title TEXT                        what it shows
//	clients N [FAMILY=WEIGHT,...]     default: 100, all of 1.14
//	sockets N                         of each client, default 2
//	roots NAME=MEMBERS ...            default: alice=3 bob=1
//	nat KIND [TIMEOUT]                default: none; TIMEOUT is 30s if not given
//	rtt DURATION | cities             default: 40ms; cities: by distance, see place.go
//	loss SHARE                        of all datagrams, default 0
//	frames DURATION                   each client sends its partner a frame this often, default: none
//	bounce MEMBER MEMBER              the first redirects with hops 0 to the second, on every packet
//	duration DURATION                 default: 10m
//	at TIME ACTION                    see below
//	limit METRIC OP NUMBER            <= >= or ==; else the exit code is 1
//
// Actions; MEMBER is like alice.1, SHARE a part of the clients (0 to 1) chosen at random:
//
//	kill MEMBER                       it hears and says nothing any more
//	revive MEMBER
//	redirect MEMBER MEMBER [hops=N]   all clients of the first to the second; hops is 1 if not given
//	rescue MEMBER MEMBER via MEMBER   the same for a dead member, delivered by a member of another root
//	publish                           a newer planet, served by all roots
//	sleep SHARE DURATION
//	rebind SHARE                      new external ports
//	roam SHARE                        new external addresses
//	storm SHARE                       restart, with the same identity and nothing remembered
//
// Metrics: online, attached (a living member is used), lost (frames), hello-rate (per client and second), redirects,
// rendezvous, resets, planets (taken, per client), outage-max and outage-p99 (s, until any root answered), away-max and
// away-p99 (s, without a living member of the first root), at:MEMBER (share of the clients that use it).
type scenario struct {
	title    string
	clients  int
	mix      []share
	sockets  int
	roots    []rootSpec
	nat      sim.NATKind
	natTime  time.Duration
	rtt      time.Duration
	cities   bool
	loss     float64
	frames   time.Duration
	bounce   [][2]string
	duration time.Duration
	actions  []action
	limits   []limit
}

type rootSpec struct {
	name    string
	members int
}

// action is something that happens at a time.
type action struct {
	line int
	at   time.Duration
	verb string
	args []string
}

type limit struct {
	line   int
	metric string
	op     string
	value  float64
}

func parseScenario(r io.Reader) (*scenario, error) {
	s := &scenario{
		clients: 100, sockets: 2, roots: []rootSpec{{"alice", 3}, {"bob", 1}}, natTime: 30 * time.Second,
		rtt: 40 * time.Millisecond, duration: 10 * time.Minute,
	}
	var errs []error
	sc := bufio.NewScanner(r)
	for line := 1; sc.Scan(); line++ {
		text, _, _ := strings.Cut(sc.Text(), "#")
		words := strings.Fields(text)
		if len(words) == 0 {
			continue
		}
		if err := s.statement(line, words); err != nil {
			errs = append(errs, fmt.Errorf("line %d: %s: %w", line, words[0], err))
		}
	}
	if s.mix == nil {
		errs = append(errs, s.setMix("1.14"))
	}
	return s, errors.Join(append(errs, sc.Err(), s.check())...)
}

func (s *scenario) setMix(text string) error {
	var c config
	err := c.setMix(text)
	s.mix = c.mix
	return err
}

var errWords = errors.New("wrong number of words")

func (s *scenario) statement(line int, w []string) (err error) {
	arg := func(i int) string {
		if i < len(w) {
			return w[i]
		}
		return ""
	}
	positive := func(text string) (int, error) {
		n, err := strconv.Atoi(text)
		if err != nil || n <= 0 {
			return 0, fmt.Errorf("%q is no positive number", text)
		}
		return n, nil
	}
	if len(w) < 2 {
		return errWords
	}
	switch w[0] {
	case "title":
		s.title = strings.Join(w[1:], " ")
	case "clients":
		if s.clients, err = positive(arg(1)); err == nil && len(w) > 2 {
			err = s.setMix(arg(2))
		}
	case "sockets":
		s.sockets, err = positive(arg(1))
	case "roots":
		s.roots = nil
		for _, spec := range w[1:] {
			name, n, _ := strings.Cut(spec, "=")
			members, err := positive(n)
			if err != nil {
				return err
			}
			s.roots = append(s.roots, rootSpec{name, members})
		}
	case "nat":
		if s.nat, err = sim.ParseNATKind(arg(1)); err == nil && len(w) > 2 {
			s.natTime, err = time.ParseDuration(arg(2))
		}
	case "rtt":
		if s.cities = arg(1) == "cities"; !s.cities {
			s.rtt, err = time.ParseDuration(arg(1))
		}
	case "loss":
		s.loss, err = strconv.ParseFloat(arg(1), 64)
	case "frames":
		s.frames, err = time.ParseDuration(arg(1))
	case "bounce":
		s.bounce = append(s.bounce, [2]string{arg(1), arg(2)})
	case "duration":
		s.duration, err = time.ParseDuration(arg(1))
	case "at":
		return s.addAction(line, w[1:])
	case "limit":
		return s.addLimit(line, w[1:])
	default:
		return errors.New("unknown statement")
	}
	return err
}

// actionWords says how many arguments each action takes.
var actionWords = map[string][]int{
	"kill": {1}, "revive": {1}, "redirect": {2, 3}, "rescue": {4}, "publish": {0}, "sleep": {2}, "rebind": {1}, "roam": {1}, "storm": {1},
}

func (s *scenario) addAction(line int, w []string) error {
	if len(w) < 2 {
		return errWords
	}
	at, err := time.ParseDuration(w[0])
	if err != nil {
		return err
	}
	n, known := actionWords[w[1]]
	if !known {
		return fmt.Errorf("unknown action %q", w[1])
	}
	if !slices.Contains(n, len(w)-2) {
		return fmt.Errorf("action %s: %w", w[1], errWords)
	}
	s.actions = append(s.actions, action{line, at, w[1], w[2:]})
	return nil
}

func (s *scenario) addLimit(line int, w []string) error {
	if len(w) != 3 {
		return errWords
	}
	v, err := strconv.ParseFloat(w[2], 64)
	if err != nil {
		return fmt.Errorf("%q is no number", w[2])
	}
	if !slices.Contains([]string{"<=", ">=", "=="}, w[1]) {
		return fmt.Errorf("%q is no comparison: <= >= ==", w[1])
	}
	s.limits = append(s.limits, limit{line, w[0], w[1], v})
	return nil
}

// check looks at what only the whole file shows: names of members, shares, metrics.
func (s *scenario) check() error {
	var errs []error
	members := make(map[string]bool)
	for _, r := range s.roots {
		for i := range r.members {
			members[fmt.Sprintf("%s.%d", r.name, i+1)] = true
		}
		if r.members > 32 {
			errs = append(errs, fmt.Errorf("root %s has %d members, at most 32 fit a planet", r.name, r.members))
		}
	}
	if len(s.roots) > 4 {
		errs = append(errs, fmt.Errorf("%d roots, at most 4 fit a planet", len(s.roots)))
	}
	member := func(line int, name string) {
		if !members[name] {
			errs = append(errs, fmt.Errorf("line %d: no member %q", line, name))
		}
	}
	for _, b := range s.bounce {
		member(0, b[0])
		member(0, b[1])
	}
	for _, a := range s.actions {
		switch a.verb {
		case "kill", "revive":
			member(a.line, a.args[0])
		case "redirect":
			member(a.line, a.args[0])
			member(a.line, a.args[1])
		case "rescue":
			member(a.line, a.args[0])
			member(a.line, a.args[1])
			member(a.line, a.args[3])
		case "sleep", "rebind", "roam", "storm":
			if v, err := strconv.ParseFloat(a.args[0], 64); err != nil || v < 0 || v > 1 {
				errs = append(errs, fmt.Errorf("line %d: share %q is not between 0 and 1", a.line, a.args[0]))
			}
			if a.verb == "sleep" {
				if _, err := time.ParseDuration(a.args[1]); err != nil {
					errs = append(errs, fmt.Errorf("line %d: %w", a.line, err))
				}
			}
		}
	}
	for _, l := range s.limits {
		if name, ok := strings.CutPrefix(l.metric, "at:"); ok {
			member(l.line, name)
		} else if !slices.Contains(metricNames, l.metric) {
			errs = append(errs, fmt.Errorf("line %d: unknown metric %q: one of %s, at:MEMBER", l.line, l.metric, strings.Join(metricNames, " ")))
		}
	}
	return errors.Join(errs...)
}

var metricNames = []string{
	"online", "attached", "lost", "hello-rate", "redirects", "rendezvous", "resets", "planets", "outage-max", "outage-p99", "away-max", "away-p99",
}
