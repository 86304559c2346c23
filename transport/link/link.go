// Package link carries datagrams between the members of a cluster, encrypted, over UDP.
//
// What it is: a mesh. A [Link] knows the other members by number, keeps keys with each of them and moves three things:
// relayed packets ("deliver this to peer P, which is attached to you"), small typed messages (notifications, and
// requests that are answered), and probes, which keep the paths warm and measure them.
//
// What flows in and out: packets enter through a [Sender], one for each goroutine that sends, and leave at the other
// member through [Options.Handler], a batch at a time. Keys are agreed over a channel that both sides trust, the
// members' TLS connections: the link makes an offer, the consumer's [Exchange] brings it to the other member, which
// feeds it to [Link.HandleOffer] and returns the answer. The link itself never says anything to a stranger.
//
// Who may call what: a Sender belongs to one goroutine. Handlers run on the goroutines that read, one per socket, and
// must not wait: nothing is read meanwhile. Everything else may be called from any goroutine. New starts nothing; Run
// starts everything, and all of it has ended when Run returns.
//
// Invariants:
//   - A datagram that is not authentic, not fresh or not for us changes nothing but a counter. It is never answered.
//   - Addresses come from [Link.SetMembers] alone; the source of a datagram is never believed.
//   - No counter is used twice under one key. Keys are new for every agreement, each direction has its own, and none is
//     ever stored: what was recorded stays secret when a member is taken later.
//   - A member that is no longer in the list has no keys.
//   - No allocation per packet, sent or received. The one lock per packet is that of the receiving key's replay
//     window, and only one goroutine ever wants it, unless a member's packets come by two sockets at once.
//   - Nothing grows with traffic: queues are the batches, which are sent when full, and what waits for pieces or answers
//     has fixed room.
//
// Words: a session is a pair of keys, one for each direction, agreed by one exchange; a path is one endpoint of a member
// and what was measured on it; the route is the path in use. The formats are drawn in format.go and docs/link.md.
package link

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rootd/rootd/packetpath/udp"
)

// Exchange brings an offer to a member over a channel that proves to each side who the other is, and returns what the
// member's [Link.HandleOffer] answered. It may be called for several members at the same time.
type Exchange func(ctx context.Context, member uint16, offer []byte) (answer []byte, err error)

// Inbound is a relayed packet that another member handed to us.
type Inbound struct {
	Member  uint16 // who sent it
	Peer    uint64 // address of the peer it is for, 40 bits
	Payload []byte // the datagram; valid until the handler returns, which may change it in place
}

// Options of a link. Self, Conns and Exchange are required.
type Options struct {
	// Self is the number of this member, not 0.
	Self uint16
	// Conns are the sockets, of one family or both. Several of one family share the address (ReusePort): each has a
	// reader of its own, and the first one sends. Run closes them.
	Conns []udp.Conn
	// Exchange agrees on keys.
	Exchange Exchange
	// Handler takes the relayed packets of one batch. It owns them until it returns.
	Handler func(batch []Inbound)
	// Notified takes a notification. The body is valid until it returns.
	Notified func(from uint16, kind byte, body []byte)
	// Asked answers a request by appending to answer, at most MaxBody bytes. The body is valid until it returns. The
	// same request may come more than once, if the answer was lost. An error is a refusal: its text goes to the other
	// side, which gets a [RefusedError].
	Asked func(from uint16, kind byte, body, answer []byte) ([]byte, error)
	// Logger is where changes are told; nil for silence. Nothing is logged per packet.
	Logger *slog.Logger

	// MTU is the size in bytes of the largest IP packet that passes between members without being cut, 1280 to 1500;
	// default 1500. What does not fit is sent in pieces of our own.
	MTU int
	// Batch is how many datagrams one call reads or writes, default 32.
	Batch int
	// ProbeInterval is the time between two probes of a path, default 1 s. A path whose probes stay unanswered for
	// three of them is dead; a member from which nothing is heard for so long is offered new keys.
	ProbeInterval time.Duration
	// OfferInterval is the time in which each other member may offer keys once in the long run, default 1 s; 64 offers are taken
	// at once. What is more is refused before any key agreement.
	OfferInterval time.Duration
	// RotateAfter is the age at which keys are replaced, default 10 min. If that does not succeed they are used up to
	// six times longer, then not at all.
	RotateAfter time.Duration
	// RotatePackets is the number of datagrams after which keys are replaced, default 2^26. At twice as many they are
	// not used any more.
	RotatePackets uint64
	// Overlap is how long replaced keys are accepted, default 30 s.
	Overlap time.Duration
}

// Errors that callers may want to tell apart.
var (
	// ErrUnknownMember is returned for a member that is not in the list given to SetMembers, or is this one.
	ErrUnknownMember = errors.New("not a member of the link")
	// ErrNoKey is returned while there are no keys with a member: none agreed yet, or the last ones are too old.
	ErrNoKey = errors.New("no keys with the member: none agreed yet, see its state in the link's statistics")
	// ErrNoRoute is returned for a member without an endpoint in the family of one of our sockets.
	ErrNoRoute = errors.New("no endpoint of the member in the family of our sockets")
	// ErrTooLong is returned for packets over MaxPayload and bodies over MaxBody.
	ErrTooLong = errors.New("too long for the link")
	// ErrBusy is returned by Request when too many requests wait already.
	ErrBusy = errors.New("too many requests wait for an answer")
	// ErrClosed is returned after Run has ended.
	ErrClosed = errors.New("the link is closed")
)

// Link is one member's end of the mesh.
type Link struct {
	o     Options
	log   *slog.Logger
	start time.Time // zero of the link's clock
	epoch uint64    // random: tells this start of the process from others

	ports   []port                     // one for each family we have a socket of
	members atomic.Pointer[memberList] // read by everyone; replaced by SetMembers
	keys    keyring                    // read by readers without a lock; changed under mu

	mu     sync.Mutex // guards what the members know of keys and exchanges, changes of keys and of members, closed
	closed bool
	wake   chan struct{} // something to do for the upkeep before its next turn

	calls calls // requests that wait

	tally   tally      // of what has no goroutine of its own
	tallyMu sync.Mutex // guards tallies
	tallies []*tally   // those of senders and readers
}

// port is how datagrams of one family leave.
type port struct {
	conn  udp.Conn
	is4   bool
	space int // bytes of UDP payload that fit the MTU
}

// New returns a link without members that is not running yet. It fails on options that cannot work.
func New(o Options) (*Link, error) {
	if err := o.complete(); err != nil {
		return nil, fmt.Errorf("link: %w", err)
	}
	l := &Link{o: o, log: o.Logger, start: time.Now(), epoch: random64(), wake: make(chan struct{}, 1)}
	for _, c := range o.Conns {
		is4 := c.LocalAddr().Addr().Is4()
		if l.portOf(is4) < 0 {
			l.ports = append(l.ports, port{conn: c, is4: is4, space: o.MTU - headersOf(is4)})
		}
	}
	l.members.Store(&memberList{})
	l.calls.init(l)
	return l, nil
}

// complete fills in defaults and checks the rest.
func (o *Options) complete() error {
	setDefault(&o.MTU, 1500)
	setDefault(&o.Batch, 32)
	setDefault(&o.ProbeInterval, time.Second)
	setDefault(&o.OfferInterval, time.Second)
	setDefault(&o.RotateAfter, 10*time.Minute)
	setDefault(&o.RotatePackets, 1<<26)
	setDefault(&o.Overlap, 30*time.Second)
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Handler == nil {
		o.Handler = func([]Inbound) {}
	}
	if o.Notified == nil {
		o.Notified = func(uint16, byte, []byte) {}
	}
	if o.Asked == nil {
		o.Asked = func(_ uint16, kind byte, _, _ []byte) ([]byte, error) {
			return nil, fmt.Errorf("requests of kind %d are unknown here", kind)
		}
	}
	switch {
	case o.Self == 0:
		return errors.New("no number of this member: give one from 1 on")
	case len(o.Conns) == 0:
		return errors.New("no socket: give one")
	case o.Exchange == nil:
		return errors.New("no way to agree on keys: give an Exchange")
	case o.MTU < 1280 || o.MTU > 1500:
		return fmt.Errorf("MTU %d: 1280 to 1500 bytes are possible", o.MTU)
	case o.Batch < 0 || o.ProbeInterval < 0 || o.OfferInterval < 0 || o.RotateAfter < 0 || o.Overlap < 0:
		return errors.New("a negative size or time")
	}
	return nil
}

func setDefault[T comparable](v *T, d T) {
	var zero T
	if *v == zero {
		*v = d
	}
}

// Run moves datagrams and keeps keys and measurements fresh until ctx ends, or a socket fails. It closes the sockets
// and forgets all keys. It can be called once.
func (l *Link) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var readers, upkeep sync.WaitGroup
	for _, c := range l.o.Conns {
		r := newReader(l, c)
		readers.Go(func() {
			if err := r.run(); !errors.Is(err, net.ErrClosed) {
				cancel(fmt.Errorf("link: read from %v: %w", c.LocalAddr(), err))
			}
		})
	}
	upkeep.Go(func() { newUpkeep(l).run(ctx) })
	<-ctx.Done()
	upkeep.Wait()
	for _, c := range l.o.Conns {
		c.Close() //nolint:errcheck // it ends the reader; nothing else can be done about it
	}
	readers.Wait()
	l.close()
	if err := context.Cause(ctx); !errors.Is(err, ctx.Err()) {
		return err
	}
	return nil
}

// close forgets keys and members, and ends what waits.
func (l *Link) close() {
	l.mu.Lock()
	l.closed = true
	for _, m := range l.members.Load().all {
		l.dropMember(m)
	}
	l.members.Store(&memberList{})
	l.mu.Unlock()
	l.calls.close()
}

// now is the link's clock, in nanoseconds since New, plus 1: zero is never. It does not go back.
func (l *Link) now() int64 { return int64(time.Since(l.start)) + 1 }

// poke makes the upkeep look now.
func (l *Link) poke() {
	select {
	case l.wake <- struct{}{}:
	default: // it will
	}
}

// portOf returns which port sends in a family, -1 if none does.
func (l *Link) portOf(is4 bool) int {
	for i := range l.ports {
		if l.ports[i].is4 == is4 {
			return i
		}
	}
	return -1
}
