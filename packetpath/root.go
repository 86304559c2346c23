package packetpath

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rootd/rootd/fsm"
	"github.com/rootd/rootd/fsm/table"
	"github.com/rootd/rootd/packetpath/gather"
	"github.com/rootd/rootd/packetpath/vl1"
)

// Sink takes what this member learned about peers. Offer must not block and must not keep the slice.
type Sink interface {
	Offer(sightings []fsm.Sighting)
}

// Version is the software version that clients are told.
type Version struct {
	Major, Minor uint8
	Revision     uint16
}

// Options of a Root. All fields but Link, Handoffs, Steer, KeepWarm, AES and Moons are needed.
type Options struct {
	Sockets  *Sockets
	Member   table.MemberID    // this member, as the log numbers it
	Link     func() LinkSender // gives each worker its way to the other members; nil if there are none
	Identity *vl1.SecretIdentity
	View     *fsm.View
	Sink     Sink
	Handoffs HandoffSink // takes the steps of handoffs; nil: none are made
	Steer    Steer       // for tests; nil: the rules of steering decide
	Groups   *gather.Table
	Limits   Limits
	Version  Version
	Hashing  func()        // called before each memory-hard hash, which may take a while; nil: nobody wants to know
	KeepWarm time.Duration // silence after which a peer's path is kept open by an ECHO; 0 is never
	AES      bool          // encrypt with AES-GMAC-SIV for clients whose HELLO allows it; it is always understood
	// RoundTrips takes what this member measured and the log should know. It must not block, and may drop it. nil: nobody does.
	RoundTrips func([]fsm.RoundTrip)
	Moons      []Moon // handed to clients that ask for them or hold an older version
}

// Moon is a signed world that clients orbit beside their planet.
type Moon struct {
	ID, Timestamp uint64
	Raw           []byte // as signed, as vl1.World.AppendBinary makes it
}

// Root is the packet path of one member.
type Root struct {
	sockets  *Sockets
	member   table.MemberID
	link     func() LinkSender
	fenced   atomic.Bool
	self     *vl1.SecretIdentity
	view     *fsm.View
	sink     Sink
	groups   *gather.Table
	limits   Limits
	version  Version
	keepWarm time.Duration
	aes      bool
	hashing  func()
	moons    map[uint64]Moon // by world ID; never changes

	roundTrips func([]fsm.RoundTrip)

	handoffs HandoffSink
	steer    Steer
	hints    chan *session // to the mover: peers that should go elsewhere; nil: there is none
	arrivals chan *session // to the mover: peers that come, or came

	started   time.Time
	startedMS int64

	rules     atomic.Pointer[rules]                     // see rulesOf
	expected  atomic.Pointer[map[vl1.Address]*expected] // peers to be measured for other members; nil: there never was one
	sessions  *sessionTable
	queues    queues
	pairs     *PairTable
	newcomers *PrefixLimiter
	rekeys    *PrefixLimiter
	fragments *PrefixLimiter
	sources   *EndpointLimiter

	counting sync.Mutex // guards counters and rings: the slices, not what they point to
	counters []*counters
	rings    []*rttRing

	assembling sync.Mutex // guards assembler
	assembler  *vl1.Assembler
}

// New returns a Root that serves nothing before Run.
func New(o Options) *Root {
	now := time.Now()
	r := &Root{
		sockets: o.Sockets, member: o.Member, link: o.Link, self: o.Identity, view: o.View, sink: o.Sink, groups: o.Groups, limits: o.Limits, version: o.Version,
		keepWarm: o.KeepWarm, hashing: o.Hashing, aes: o.AES, roundTrips: o.RoundTrips,
		started: now, startedMS: now.UnixMilli(),
		sessions:  newSessionTable(o.Limits.MaxSessions),
		queues:    queues{known: make(chan job, knownQueue), unknown: make(chan job, o.Limits.ValidationQueue)},
		pairs:     NewPairTable(pairSlots),
		newcomers: NewPrefixLimiter(prefixSlots, o.Limits.NewcomerRate, o.Limits.NewcomerBurst),
		rekeys:    NewPrefixLimiter(prefixSlots, o.Limits.RekeyRate, o.Limits.RekeyBurst),
		fragments: NewPrefixLimiter(prefixSlots, fragmentRate, fragmentBurst),
		sources:   NewEndpointLimiter(prefixSlots, o.Limits.RelayFrom, int(o.Limits.RelayFrom)),
		assembler: vl1.NewAssembler(assemblies, perSource),
		moons:     make(map[uint64]Moon, len(o.Moons)),
	}
	r.handoffs, r.steer = o.Handoffs, o.Steer
	if o.Handoffs != nil && o.Link != nil {
		r.hints, r.arrivals = make(chan *session, hintQueue), make(chan *session, hintQueue)
	}
	for _, m := range o.Moons {
		r.moons[m.ID] = m
	}
	return r
}

const (
	pairSlots     = 1 << 18 // pairs of peers that relay at a time: 2 MiB
	prefixSlots   = 1 << 16
	assemblies    = 256 // packets to the root that are being put together at a time
	perSource     = 32  // of them from one IP address: an office behind a NAT
	fragmentRate  = 200 // fragments to the root per second and prefix
	fragmentBurst = 1000
)

// Run serves until ctx ends or a socket breaks, and returns when everything it started has ended. It closes the
// sockets.
func (r *Root) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var wg sync.WaitGroup
	for port, l := range r.sockets.listeners {
		for group, conn := range l.conns {
			w := r.newWorker(group)
			wg.Go(func() {
				if err := w.read(conn, port); err != nil {
					cancel(fmt.Errorf("read from UDP socket %v: %w", l.addr, err))
				}
			})
		}
	}
	for group := range r.sockets.groups() {
		w := r.newWorker(group)
		w.hasher = vl1.NewHasher() // for a HELLO that turns out to contest a known address
		wg.Go(func() { w.serveQueue(ctx, r.queues.known) })
	}
	for range max(1, r.limits.ValidationWorkers) {
		w := r.newWorker(0)
		wg.Go(func() {
			lowPriority()
			w.hasher = vl1.NewHasher()
			w.serveQueue(ctx, r.queues.unknown)
		})
	}
	if r.hints != nil {
		c := r.newMover(r.handoffs)
		wg.Go(func() { c.run(ctx) })
	}
	keeper := r.newWorker(0)
	wg.Go(func() { keeper.keep(ctx) })

	<-ctx.Done()
	_ = r.sockets.Close() // ends the readers
	wg.Wait()
	if err := context.Cause(ctx); !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

// Fence makes the root fall silent, or speak again. A member that the cluster believes dead must not answer: its peers
// are being sent elsewhere.
func (r *Root) Fence(on bool) { r.fenced.Store(on) }

// clock returns milliseconds since 1970 that never go back.
func (r *Root) clock() int64 { return r.startedMS + time.Since(r.started).Milliseconds() }

// portFor finds the listen address from which an endpoint that only the log knows can be reached.
func (r *Root) portFor(to netip.AddrPort) (int, bool) {
	if !to.IsValid() {
		return 0, false
	}
	for i, l := range r.sockets.listeners {
		if l.addr.Addr().Is4() == to.Addr().Is4() {
			return i, true
		}
	}
	return 0, false
}
