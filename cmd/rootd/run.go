package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/hashicorp/raft"
	"golang.org/x/sync/errgroup"

	"github.com/rootd/rootd/cmd/internal/build"
	"github.com/rootd/rootd/cmd/internal/datadir"
	"github.com/rootd/rootd/cmd/internal/greet"
	"github.com/rootd/rootd/fsm"
	"github.com/rootd/rootd/fsm/propose"
	"github.com/rootd/rootd/fsm/replica"
	"github.com/rootd/rootd/fsm/table"
	"github.com/rootd/rootd/packetpath"
	"github.com/rootd/rootd/packetpath/gather"
	"github.com/rootd/rootd/packetpath/udp"
	"github.com/rootd/rootd/snapshot/agent"
	"github.com/rootd/rootd/transport/admin"
)

// member is a running rootd: what the packages below made of the configuration, wired together.
type member struct {
	cfg       *Config
	platform  *platform
	name      string
	id        table.MemberID // in the log
	log       *slog.Logger
	started   time.Time
	dir       *datadir.Dir
	sockets   *packetpath.Sockets
	http      net.Listener    // nil: none
	ports     *clusterSockets // nil: none
	cluster   *cluster        // nil: none
	agent     *agent.Agent    // nil: no backups are made
	prober    prober
	admin     net.Listener
	fsm       *fsm.FSM
	replica   *replica.Replica
	proposer  *propose.Proposer
	sightings *epochSink
	rtts      *rttProposer
	atlas     *atlas
	handoffs  *handoffSink // nil: this member is alone
	root      *packetpath.Root
	fenced    atomic.Bool // root is
	ignorant  atomic.Bool // it began without a log, and has not caught up; fenced until then
	leaving   atomic.Bool // this life is about to end, as it should
	notify    *notifier
	spare     *spare // nil: this member is not alone in its process
	rates     rates
}

// run is the life of rootd. It opens everything that can be refused first, sockets before files, so that a refusal
// leaves the disk as it was; then it serves until ctx ends.
func run(ctx context.Context, cfg *Config, stderr io.Writer) (err error) {
	m := newMember(cfg, thisMachine(), newLogger(cfg.Log, stderr))
	m.spare = newSpare(cfg.ValidationWorkers())
	defer func() { err = errors.Join(err, m.close()) }()
	if err := m.open(ctx, stderr); err != nil {
		return err
	}
	return m.serve(ctx)
}

func newMember(cfg *Config, p *platform, log *slog.Logger) *member {
	return &member{cfg: cfg, platform: p, name: cfg.MemberName(), log: log, started: time.Now(), prober: prober{greet.New(p.dialUDP)}}
}

func (m *member) open(ctx context.Context, stderr io.Writer) error {
	cfg := m.cfg
	cfg.UDP.Workers, cfg.Limits.ValidationWorkers = cfg.Workers(), cfg.ValidationWorkers() // before spare raises GOMAXPROCS
	var err error
	if m.notify, err = newNotifier(); err != nil {
		return err
	}
	if m.sockets, err = packetpath.Listen(cfg.Listen, cfg.Workers(), m.platform.listenUDP, udp.Options{
		RecvBuffer: int(cfg.UDP.ReceiveBuffer), SendBuffer: int(cfg.UDP.SendBuffer),
		Coalesce: cfg.UDP.Offload, Alone: !cfg.UDP.Offload, Blocking: m.spare != nil,
	}); err != nil {
		return hint(err, syscall.EADDRINUSE, "stop what uses the port (another rootd, zerotier-one), or choose another one with -listen")
	}
	if m.spare != nil {
		m.spare.readers(m.sockets.Readers())
	}
	if cfg.HTTP.Listen.IsValid() {
		if m.http, err = net.Listen("tcp", cfg.HTTP.Listen.String()); err != nil {
			return hint(err, syscall.EADDRINUSE, "choose another address with -http-listen, or \"off\"")
		}
	}
	if cfg.Cluster.Listen.IsValid() {
		if m.ports, err = listenCluster(ctx, m.platform, cfg.Cluster.Listen); err != nil {
			return hint(err, syscall.EADDRINUSE, "choose another address with -cluster-listen, or \"off\" if this root will never have a second member")
		}
	}
	if err := m.openDir(stderr); err != nil {
		return err
	}
	lost := m.dir.LogIsGone()
	if m.fsm, err = fsm.New(fsm.Options{
		Logger: m.log, Table: table.Options{HugePages: cfg.Peers.HugePages},
	}); err != nil {
		return err
	}
	var transport raft.Transport
	if m.ports != nil {
		if m.cluster, err = newCluster(context.WithoutCancel(ctx), m, m.ports); err != nil {
			return err
		}
		transport = m.cluster.raft
	} else {
		_, transport = raft.NewInmemTransport(raft.ServerAddress(m.name))
	}
	if lost {
		if err := m.waitReadmitted(ctx); err != nil {
			return err
		}
	}
	if m.replica, err = replica.Open(replica.Options{
		Dir: m.dir.RaftDir(), ID: fmt.Sprint(m.id), FSM: m.fsm, Transport: transport, Logger: m.log, Bootstrap: m.dir.Meta.Founds(),
	}); errors.Is(err, fsm.ErrTooNew) {
		return &hinted{err, newerWay}
	} else if err != nil {
		return err
	}
	if m.cluster != nil {
		if err := m.cluster.checkEpoch(); err != nil {
			return err
		}
		if err := m.cluster.meet(ctx); err != nil {
			return err
		}
		m.cluster.lead()
	}
	if used := m.fsm.View().State().Feature(); used > build.FeatureLevel {
		return &hinted{
			fmt.Errorf("the cluster uses feature level %d, rootd %s understands %d", used, build.Current().Version, build.FeatureLevel), newerWay,
		}
	}
	if c := m.fsm.View().State().Cluster; c.Bootstrapped() && c.Root != m.dir.Identity.Identity {
		return &hinted{
			fmt.Errorf("the log in %s belongs to root %v, identity.secret to %v", m.dir.RaftDir(), c.Root.Address, m.dir.Identity.Address),
			"one of the two was replaced: put the right pair back from a backup",
		}
	}
	if m.admin, err = m.platform.listenAdmin(cfg.AdminSocket()); err != nil {
		return err
	}
	if m.agent, err = m.newAgent(); err != nil {
		return err
	}
	return m.wire()
}

// newerWay is the way out for a binary that is older than what is in the log.
const newerWay = "install the version of the other members: once a level is in use, no older one can serve the cluster"

// openDir opens the data directory, or makes one, and says so.
func (m *member) openDir(stderr io.Writer) (err error) {
	o := datadir.Options{Name: m.name, Endpoints: m.cfg.Endpoints, WorldID: m.cfg.Planet.WorldID, Now: time.Now()}
	var warnings []string
	if len(o.Endpoints) == 0 {
		addrs, err := datadir.InterfaceAddrs()
		if err != nil {
			return err
		}
		o.Endpoints, warnings = datadir.GuessEndpoints(m.sockets.Addrs(), addrs)
	}
	if m.dir, err = datadir.OpenOrCreate(m.cfg.DataDir, o); err != nil {
		return err
	}
	m.id, m.name = max(1, table.MemberID(m.dir.Meta.Member)), m.dir.Meta.Name
	if m.dir.Created {
		m.dir.Warnings = append(warnings, m.dir.Warnings...)
		welcome(stderr, m.dir)
	}
	return nil
}

// welcome says what a first start made, and what a client has to do with it.
func welcome(w io.Writer, d *datadir.Dir) {
	var endpoints []string
	for _, r := range d.Planet.Roots {
		for _, e := range r.Endpoints {
			endpoints = append(endpoints, e.String())
		}
	}
	fmt.Fprintf(w, `rootd made a new root in %[1]s:
  root       %[2]v at %[3]s
  planet     %[1]s/planet (world %016[4]x)
  keys       identity.secret and planet.key: back both up, and show them to nobody
To use it, copy the planet to each client as "planet" in its home directory and restart zerotier-one there:
  Linux /var/lib/zerotier-one/   macOS "/Library/Application Support/ZeroTier/One/"   Windows C:\ProgramData\ZeroTier\One\
`, d.Path, d.Identity.Address, strings.Join(endpoints, ", "), d.Planet.ID)
	for _, s := range d.Warnings {
		fmt.Fprintln(w, "warning:", s)
	}
}

// wire joins the packet path to the log.
func (m *member) wire() error {
	cfg := m.cfg
	m.atlas = newAtlas(m)
	m.proposer = propose.New(propose.Options{
		View: m.fsm.View(), Applier: applier{m}, Logger: m.log, Locator: m.atlas, Member: m.id,
	})
	moons, err := readMoons(m.dir.Path)
	if err != nil {
		return err
	}
	m.sightings = &epochSink{next: m.proposer, member: m.id}
	var link func() packetpath.LinkSender
	var handoffs packetpath.HandoffSink
	if m.cluster != nil {
		m.handoffs = newHandoffSink(applier{m}, func() uint16 { return uint16(m.sightings.epoch.Load()) }, m.log)
		handoffs = m.handoffs
		link = func() packetpath.LinkSender { return m.cluster.link.NewSender() }
	}
	m.rtts = newRTTProposer(m.log, applier{m}, m.id, func() uint16 { return uint16(m.sightings.epoch.Load()) })
	var hashing func()
	if m.spare != nil {
		hashing = m.spare.want
	}
	m.root = packetpath.New(packetpath.Options{
		Hashing: hashing,
		Member:  m.id, Link: link, Sockets: m.sockets, Identity: m.dir.Identity, View: m.fsm.View(), Sink: m.sightings, Handoffs: handoffs,
		Groups: gather.New(gather.Options{MaxGroupsPerPeer: cfg.Multicast.GroupsPerPeer}),
		Limits: packetpath.Limits{
			NewcomerRate: cfg.Limits.NewIdentityRate, NewcomerBurst: cfg.Limits.NewIdentityBurst,
			RekeyRate: cfg.Limits.RekeyRate, RekeyBurst: cfg.Limits.RekeyBurst,
			ValidationWorkers: cfg.ValidationWorkers(), ValidationQueue: cfg.Limits.ValidationQueue,
			HelloRate: cfg.Limits.HelloRate, HelloBurst: cfg.Limits.HelloBurst,
			WhoisRate: cfg.Limits.WhoisRate, WhoisBurst: cfg.Limits.WhoisBurst,
			EchoRate: cfg.Limits.EchoRate, EchoBurst: cfg.Limits.EchoBurst,
			GatherRate: cfg.Multicast.GatherRate, GatherBurst: cfg.Multicast.GatherBurst, GatherMax: cfg.Multicast.GatherMax,
			PlanetInterval: cfg.Limits.PlanetInterval,
			RelayFrom:      float64(cfg.Relay.SourceRate), RelayTo: float64(cfg.Relay.DestinationRate),
			IntroductionInterval: cfg.Relay.IntroductionInterval, IntroductionRate: cfg.Relay.IntroductionRate,
			IntroductionBurst: cfg.Relay.IntroductionBurst,
			MaxSessions:       cfg.Peers.MaxSessions,
		},
		Version: parseSoftwareVersion(build.Current().Version), KeepWarm: cfg.Peers.KeepWarm, AES: cfg.Crypto.AES, Moons: moons,
		RoundTrips: m.rtts.offer,
	})
	if m.cluster != nil {
		m.cluster.receiver = m.root.NewReceiver()
		m.cluster.rescuer = m.root.NewRescuer(m.cluster.neighbours.via)
		if !m.dir.Meta.Founds() && !m.fsm.View().State().Cluster.Bootstrapped() {
			m.ignorant.Store(true)
			m.setFence(true)
		}
	}
	return nil
}

// serve runs everything and returns when all of it has ended. The order of the end: what the member owes the others while
// it serves (stop.go); no more packets; what they brought about goes into the log; the log says that this life is over; the
// log is closed. The admin socket and the metrics stay until then.
func (m *member) serve(ctx context.Context) error {
	g, serving := errgroup.WithContext(ctx)
	last := context.WithoutCancel(ctx)
	greeting, stopGreeting := context.WithCancel(last)
	proposing, stopProposing := context.WithCancel(last)
	logging, stopLogging := context.WithCancel(last)
	asking, stopAsking := context.WithCancel(last)
	stop := func() { stopGreeting(); stopProposing(); stopLogging(); stopAsking() }
	defer stop()

	registry, err := newRegistry(m)
	if err != nil {
		return err
	}
	g.Go(func() error {
		defer stopProposing()
		return m.root.Run(greeting)
	})
	if m.handoffs != nil {
		g.Go(func() error {
			m.handoffs.run(proposing)
			return nil
		})
	}
	g.Go(func() error {
		defer stopLogging()
		err := m.proposer.Run(proposing)
		if ctx.Err() != nil {
			m.leave(last)
		}
		return err
	})
	g.Go(func() error {
		defer stopAsking()
		return hint(m.replica.Run(logging), replica.ErrRemoved, removedHint)
	})
	if m.cluster != nil {
		g.Go(func() error { return m.cluster.run(asking) })
	}
	if m.agent != nil {
		g.Go(func() error { return m.agent.Run(serving) })
		g.Go(func() error { return m.watchBackups(serving) })
	}
	g.Go(func() error { return m.announce(serving) })
	g.Go(func() error { return m.compact(serving) })
	if m.spare != nil {
		g.Go(func() error { return m.spare.run(serving) })
	}
	g.Go(func() error { return m.followPlanet(serving) })
	g.Go(func() error { return m.rtts.run(serving) })
	g.Go(func() error { return m.atlas.run(serving) })
	g.Go(func() error { return m.rates.run(serving, m.root, m.replica) })
	g.Go(func() error { return admin.NewServer(source{m}, m.log).Run(asking, m.admin) })
	if m.http != nil {
		g.Go(func() error { return serveHTTP(asking, m, registry, m.http) })
	}
	g.Go(func() error {
		defer stopGreeting()
		<-serving.Done()
		m.log.Info("stopping", "reason", context.Cause(serving).Error())
		err := m.notify.stopping()
		if ctx.Err() != nil { // told to, not in trouble
			m.windDown(last)
		}
		return err
	})
	for _, w := range m.cfg.Warnings() {
		m.log.Warn("configuration", "reason", w)
	}
	m.log.Info("serving", "root", m.dir.Identity.Address.String(), "listen", fmt.Sprint(m.sockets.Addrs()), "version", build.Current().Version)
	err = g.Wait()
	m.log.Info("stopped")
	return err
}

// endpoints are where clients reach this member: as configured, as it joined with, or, for the first member, as the
// planet says.
func (m *member) endpoints() []netip.AddrPort {
	if len(m.cfg.Endpoints) > 0 {
		return m.cfg.Endpoints
	}
	if m.dir.Meta.Joined {
		return m.dir.Meta.Endpoints
	}
	if self, ok := m.fsm.View().State().Member(m.id); ok && len(self.Endpoints) > 0 {
		return self.Endpoints // of its life before: by now the planet names others, too
	}
	world := m.dir.Planet
	if p := m.fsm.View().State().Planet; p != nil {
		world = p.World
	}
	for _, r := range world.Roots {
		if r.Identity == m.dir.Identity.Identity {
			return r.Endpoints
		}
	}
	return nil
}

// followPlanet keeps the planet's file what the log says it is: it is what an operator copies to new clients.
func (m *member) followPlanet(ctx context.Context) error {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		if p := m.fsm.View().State().Planet; p != nil && p.World.Timestamp > m.dir.Planet.Timestamp {
			if err := m.dir.SetPlanet(p.Raw); err != nil {
				m.log.Error("planet file not written", "error", err)
			} else {
				m.log.Info("planet changed", "timestamp", p.World.Timestamp, "fingerprint", datadir.Fingerprint(p.Raw))
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// close releases what open opened; what ran is closed already.
func (m *member) close() error {
	var errs []error
	if m.sockets != nil {
		_ = m.sockets.Close()
	}
	if m.http != nil {
		_ = m.http.Close()
	}
	if m.ports != nil {
		m.ports.close()
	}
	if m.admin != nil {
		_ = m.admin.Close()
	}
	if m.replica != nil {
		errs = append(errs, m.replica.Close())
	}
	if m.dir != nil {
		errs = append(errs, m.dir.Close())
	}
	return errors.Join(errs...)
}

// hinted is an error with the way out.
type hinted struct {
	err  error
	hint string
}

func (h *hinted) Error() string { return h.err.Error() }
func (h *hinted) Unwrap() error { return h.err }
func (h *hinted) Hint() string  { return h.hint }

// hint adds a way out to an error of one kind.
func hint(err, kind error, way string) error {
	if errors.Is(err, kind) {
		return &hinted{err, way}
	}
	return err
}
