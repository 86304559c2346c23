package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/rootd/rootd/cmd/internal/client"
	"github.com/rootd/rootd/packetpath/vl1"
)

const usage = `rootswarm: many simulated ZeroTier clients in one process

usage: rootswarm -planet FILE [flags]       real sockets, a real root
       rootswarm run SCENARIO...            virtual time, see rootswarm run -h
       rootswarm flood -planet FILE [flags] forged HELLOs beside a swarm, see rootswarm flood -h

Each client is a model of a real one of a given release: it says HELLO, keeps its paths, asks WHOIS, follows
redirects and rendezvous. Pairs of clients send each other frames through the root. A table line is printed each
second, a summary at the end; the exit code is 1 if a limit was exceeded, 2 if it could not run.

example: 2,000 clients, half of them old, 100 ms between frames, all relayed, against a root on this machine:

	rootswarm -planet planet -loopback -clients 2000 -mix 1.14=1,1.4=1 -frame-every 100ms -relay \
	          -duration 60s -max-loss 0.001 -max-p99 20ms

flags:
`

// config is a run as given by flags.
type config struct {
	planet     *vl1.World
	clients    int
	identities string
	synthetic  bool
	listOnly   bool
	mix        []share
	seed       uint64

	source []netip.Prefix
	ports  int
	shards int
	poll   time.Duration
	nats   []natShare

	natTimeout time.Duration
	perNode    int
	loopback   bool
	relay      bool

	frameEvery time.Duration
	frameSize  int
	fresh      int
	active     int
	network    uint64

	warmup, duration, ramp time.Duration
	script                 []action
	bulk                   int
	bulkRate               float64
	maxLoss                float64
	maxP99, maxOutage      time.Duration
	minOnline              float64
	json                   bool
	quiet                  bool
	pid                    int
	profile                string
	trace                  string
}

// share is a family's part of all clients.
type share struct {
	family *client.Family
	weight int
}

func parseFlags(args []string, stderr io.Writer) (*config, error) {
	var c config
	var planet, endpoints, mix, source, network, nats string
	fs := flag.NewFlagSet("rootswarm", flag.ContinueOnError)
	fs.SetOutput(stderr)
	fs.Usage = func() { fmt.Fprint(stderr, usage); fs.PrintDefaults() }
	fs.StringVar(&planet, "planet", "", "planet `file` that the clients start with (required)")
	fs.StringVar(&endpoints, "endpoints", "", "replace the stable endpoints of the planet's root: `ip:port,...` (only for planets with one root)")
	fs.IntVar(&c.clients, "clients", 100, "number of clients")
	fs.StringVar(&c.identities, "identities", "", "`file` with secret identities, one a line; default: a cache that is filled as needed")
	fs.BoolVar(&c.synthetic, "synthetic", false, "use identities that cost nothing and that only a root accepts which has them in its state: rootswarm -synthetic -list | rootctl peer import - --unchecked --yes")
	fs.BoolVar(&c.listOnly, "list", false, "only print the public identities of the clients, for rootctl peer import")
	fs.StringVar(&mix, "mix", "1.14", "client families and their weights: `name=n,...`; names: "+familyNames())
	fs.Uint64Var(&c.seed, "seed", 1, "seed of everything random in the clients")
	fs.StringVar(&source, "source", "127.64.0.0/10", "local `prefix,...` of the clients, who take addresses from them in turn; all of a prefix must be local to this machine. A lone address is shared by all who take it. Addresses decide where clients sit, for roots that look that up")
	fs.IntVar(&c.ports, "ports", 0, "number of local UDP ports, shared by the clients; 0: as many as they need")
	fs.StringVar(&nats, "nat", "none", "kinds of NATs before the clients and their weights: `kind=n,...`; none, full-cone, address-restricted, port-restricted, symmetric")
	fs.DurationVar(&c.natTimeout, "nat-timeout", 30*time.Second, "silence after which a NAT forgets a mapping")
	fs.DurationVar(&c.poll, "poll", time.Millisecond, "time between two looks at the sockets and the clock, by which latencies are rounded up")
	fs.IntVar(&c.shards, "shards", 1, "number of independent parts that the clients are split into; each needs a core under full load")
	fs.IntVar(&c.perNode, "client-sockets", 2, "sockets of one client")
	fs.BoolVar(&c.loopback, "loopback", false, "let clients use loopback endpoints, which real ones refuse")
	fs.BoolVar(&c.relay, "relay", false, "drop what clients send each other directly, so that the roots relay all of it")
	fs.DurationVar(&c.frameEvery, "frame-every", time.Second, "time between two frames of an active client; 0: no frames")
	fs.IntVar(&c.frameSize, "frame-size", 200, "payload of a frame, bytes")
	fs.IntVar(&c.fresh, "fresh", 8, "encrypt one of so many frames of a client anew; the others repeat it, which no root notices. 1: all")
	fs.IntVar(&c.bulk, "bulk", 0, "number of clients that send full frames to their partner as fast as -bulk-rate says")
	fs.Float64Var(&c.bulkRate, "bulk-rate", 1000, "frames of 1,350 bytes per second and bulk client")
	fs.Func("at", "do something to the clients: `\"TIME ACTION\"` after the warm-up, as in \"20s roam 0.3\"; may be repeated. Actions: sleep SHARE DURATION, rebind SHARE, roam SHARE, storm SHARE", c.addScript)
	fs.IntVar(&c.active, "active", 0, "number of clients that send frames; 0: all")
	fs.StringVar(&network, "network", "8056c2e21c000001", "network `ID` of the frames")
	fs.DurationVar(&c.ramp, "ramp", 2*time.Second, "clients start spread over this time")
	fs.DurationVar(&c.warmup, "warmup", 5*time.Second, "time after the ramp before measuring starts")
	fs.DurationVar(&c.duration, "duration", 0, "measure for this long; 0: until interrupted")
	fs.Float64Var(&c.maxLoss, "max-loss", -1, "limit: largest `share` of lost frames; negative: none")
	fs.DurationVar(&c.maxP99, "max-p99", 0, "limit: largest 99th percentile of a frame's latency; 0: none")
	fs.DurationVar(&c.maxOutage, "max-outage", 0, "limit: longest time that any client waited for an answer of a root; 0: none")
	fs.Float64Var(&c.minOnline, "min-online", 0, "limit: smallest `share` of clients that a root answered")
	fs.BoolVar(&c.json, "json", false, "print the report as JSON on stdout; the table goes to stderr")
	fs.BoolVar(&c.quiet, "quiet", false, "no table")
	fs.IntVar(&c.pid, "pid", 0, "report the CPU time of this `process` too, the root's")
	fs.StringVar(&c.trace, "trace", "", "write what happens between each client and each root to this `file`: answers, redirects, which endpoint it uses; see docs/rootswarm.md")
	fs.StringVar(&c.profile, "cpuprofile", "", "write a CPU profile of the measured part to this `file`")
	if err := fs.Parse(args); err != nil {
		return nil, err
	}
	var bad error
	if !c.listOnly {
		bad = c.setPlanet(planet, endpoints)
	}
	err := errors.Join(bad, c.setMix(mix), c.setNATs(nats), c.setNumbers(source, network),
		check(fs.NArg() == 0, "unexpected argument %q", fs.Arg(0)),
	)
	if err != nil {
		return nil, err
	}
	return &c, nil
}

func check(ok bool, format string, a ...any) error {
	if ok {
		return nil
	}
	return fmt.Errorf(format, a...)
}

func (c *config) setNumbers(source, network string) (err error) {
	var errs []error
	for text := range strings.SplitSeq(source, ",") {
		p, err := parseSource(strings.TrimSpace(text))
		if err != nil {
			errs = append(errs, fmt.Errorf("-source: %w", err))
			continue
		}
		errs = append(errs, check(len(c.source) == 0 || c.source[0].Addr().Is4() == p.Addr().Is4(), "-source: %v and %v are of two families", c.source, p))
		c.source = append(c.source, p)
	}
	if c.network, err = strconv.ParseUint(network, 16, 64); err != nil {
		errs = append(errs, fmt.Errorf("-network: %w", err))
	}
	if c.ports == 0 {
		c.ports = max(c.shards, 1) * c.portsOf()
	}
	return errors.Join(append(errs,
		check(c.clients > 0, "-clients %d: need at least one", c.clients),
		check(c.perNode > 0 && c.perNode <= 8, "-client-sockets %d: 1 to 8", c.perNode),
		check(c.shards > 0 && c.shards <= c.clients, "-shards %d: 1 to the number of clients", c.shards),
		check(c.ports >= c.shards*c.perNode && c.ports <= 250*c.shards,
			"-ports %d: need %d (shards times sockets of a client) to %d", c.ports, c.shards*c.perNode, 250*c.shards),
		check(c.poll >= 100*time.Microsecond && c.poll <= 20*time.Millisecond, "-poll %v: 100µs to 20ms", c.poll),
		check(c.fresh >= 1, "-fresh %d: need at least 1", c.fresh),
		check(c.frameSize >= frameMin && c.frameSize <= client.MaxFrame, "-frame-size %d: %d to %d", c.frameSize, frameMin, client.MaxFrame),
		check(c.frameEvery >= 0 && c.warmup >= 0 && c.ramp >= 0 && c.duration >= 0, "negative time"),
		check(c.bulk >= 0 && c.bulk <= c.clients && c.bulkRate > 0, "-bulk %d, -bulk-rate %v: no such number of clients or rate", c.bulk, c.bulkRate),
		check(c.active >= 0 && c.active <= c.clients, "-active %d: more than there are clients", c.active),
	)...)
}

// parseSource reads a prefix, or an address as the prefix that holds nothing else.
func parseSource(text string) (netip.Prefix, error) {
	if !strings.Contains(text, "/") {
		a, err := netip.ParseAddr(text)
		if err != nil {
			return netip.Prefix{}, err
		}
		return a.Unmap().Prefix(a.Unmap().BitLen())
	}
	p, err := netip.ParsePrefix(text)
	return p.Masked(), err
}

// v6 says whether the clients speak IPv6.
func (c *config) v6() bool { return c.source[0].Addr().Is6() }

func (c *config) setPlanet(file, endpoints string) error {
	if file == "" {
		return errors.New("-planet is required: the planet file that rootd wrote, or that a client has in its home directory")
	}
	b, err := os.ReadFile(file)
	if err != nil {
		return fmt.Errorf("-planet: %w", err)
	}
	w, n, err := vl1.DecodeWorld(b)
	if err != nil || n != len(b) {
		return fmt.Errorf("-planet %s: not a planet file: %w", file, errors.Join(err, check(n == len(b), "%d bytes too many", len(b)-n)))
	}
	c.planet = w
	if endpoints == "" {
		return nil
	}
	if len(w.Roots) != 1 {
		return fmt.Errorf("-endpoints: the planet has %d roots, not one", len(w.Roots))
	}
	w.Roots[0].Endpoints = nil
	for s := range strings.SplitSeq(endpoints, ",") {
		ap, err := netip.ParseAddrPort(strings.TrimSpace(s))
		if err != nil {
			return fmt.Errorf("-endpoints: %w", err)
		}
		w.Roots[0].Endpoints = append(w.Roots[0].Endpoints, ap)
	}
	return nil
}

func (c *config) setMix(mix string) error {
	for part := range strings.SplitSeq(mix, ",") {
		name, weight, given := strings.Cut(strings.TrimSpace(part), "=")
		f, err := client.FamilyByName(name)
		if err != nil {
			return fmt.Errorf("-mix: %w", err)
		}
		n := 1
		if given {
			if n, err = strconv.Atoi(weight); err != nil || n < 0 {
				return fmt.Errorf("-mix: weight of %s is %q: want a whole number", name, weight)
			}
		}
		c.mix = append(c.mix, share{family: f, weight: n})
	}
	total := 0
	for _, s := range c.mix {
		total += s.weight
	}
	return check(total > 0, "-mix: all weights are 0")
}

// familyOf spreads the families evenly over the clients.
func (c *config) familyOf(i int) *client.Family {
	total := 0
	for _, s := range c.mix {
		total += s.weight
	}
	i %= total
	for _, s := range c.mix {
		if i < s.weight {
			return s.family
		}
		i -= s.weight
	}
	return c.mix[0].family
}

func familyNames() string {
	var names []string
	for _, f := range client.Families() {
		names = append(names, f.Name)
	}
	return strings.Join(names, " ")
}

// addScript reads an -at flag.
func (c *config) addScript(text string) error {
	var s scenario
	if err := s.addAction(0, strings.Fields(text)); err != nil {
		return err
	}
	a := s.actions[0]
	if !slices.Contains([]string{"sleep", "rebind", "roam", "storm"}, a.verb) {
		return fmt.Errorf("%s: happens in scenarios only; here it is up to the root", a.verb)
	}
	if err := s.check(); err != nil {
		return err
	}
	c.script = append(c.script, a)
	return nil
}
