package mux

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/rootd/rootd/transport/pki"
)

// Options are the needs of a [Mux]. The first five are required, of the others 0 means the default.
type Options struct {
	Keychain *pki.Keychain
	Verifier *pki.Verifier
	Listener net.Listener                                                // [ListenTCP], or [Host.Listen]; closed by Run
	Dial     func(ctx context.Context, address string) (net.Conn, error) // [DialTCP], or [Host.Dial]
	Logger   *slog.Logger

	// Superseded, unless nil, is called with a peer whose certificate is of a newer epoch of the cluster than this member's
	// own, after that was told so: from then on this member is none any more. It may be called by any goroutine, more than once, and
	// must not block.
	Superseded func(pki.Peer)

	HandshakeTimeout       time.Duration // 10 s: from accept to greeting, and for Dial if its context has no deadline
	MaxHandshakes          int           // 256 at a time
	MaxHandshakesPerSource int           // 16 at a time from one address
	MaxGuests              int           // 32 connections without client certificate
	MaxGuestsPerSource     int           // 4 of them from one address
}

func (o Options) withDefaults() (Options, error) {
	if o.Keychain == nil || o.Verifier == nil || o.Listener == nil || o.Dial == nil || o.Logger == nil {
		return o, errors.New("mux without keychain, verifier, listener, dialer or logger")
	}
	set := func(n *int, to int) {
		if *n == 0 {
			*n = to
		}
	}
	set(&o.MaxHandshakes, 256)
	set(&o.MaxHandshakesPerSource, 16)
	set(&o.MaxGuests, 32)
	set(&o.MaxGuestsPerSource, 4)
	if o.HandshakeTimeout == 0 {
		o.HandshakeTimeout = 10 * time.Second
	}
	return o, nil
}

// Mux is a member's port. See the package comment for who may call what.
type Mux struct {
	o          Options
	count      counters
	handshakes quota
	guests     quota
	complaints throttle

	mu        sync.Mutex // guards what follows
	closed    bool
	conns     map[*Conn]struct{} // all that are open, those shaking hands included
	listeners map[Proto]*listener
}

// New returns a mux. It takes no connections before Run.
func New(o Options) (*Mux, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	return &Mux{
		o:          o,
		handshakes: quota{total: o.MaxHandshakes, each: o.MaxHandshakesPerSource, held: map[string]int{}},
		guests:     quota{total: o.MaxGuests, each: o.MaxGuestsPerSource, held: map[string]int{}},
		complaints: throttle{last: map[complaint]time.Time{}},
		conns:      map[*Conn]struct{}{},
		listeners:  map[Proto]*listener{},
	}, nil
}

// Addr returns the address that the port listens on.
func (m *Mux) Addr() net.Addr { return m.o.Listener.Addr() }

// Self returns who this member is, as others see it now.
func (m *Mux) Self() pki.Peer { return m.o.Keychain.Load().Credential.Self() }

// Listen returns the listener of a protocol, which yields a [*Conn] with each Accept. Until it is called, and once it
// is closed, clients of the protocol are refused with [ErrNotServed].
func (m *Mux) Listen(p Proto) (net.Listener, error) {
	if _, ok := known(string(p)); !ok {
		return nil, fmt.Errorf("listen for %q: no such protocol", p)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return nil, ErrClosed
	}
	if m.listeners[p] != nil {
		return nil, fmt.Errorf("listen for %s: somebody does", p)
	}
	l := &listener{mux: m, proto: p, queue: make(chan *Conn, backlog), done: make(chan struct{})}
	m.listeners[p] = l
	return l, nil
}

const recheckEvery = time.Minute

// Run accepts connections until the context ends, and returns nil then, with every connection closed, dialed ones
// included. It closes the listener. It returns an error only if the listener breaks.
func (m *Mux) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	ctx, cancel := context.WithCancel(ctx)
	defer wg.Wait()
	defer m.shut()
	defer cancel()
	wg.Go(func() {
		<-ctx.Done()
		_ = m.o.Listener.Close()
	})
	wg.Go(func() {
		tick := time.NewTicker(recheckEvery)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
				m.Recheck()
			}
		}
	})
	const pauseMin, pauseMax = 5 * time.Millisecond, time.Second
	pause := pauseMin
	for {
		raw, err := m.o.Listener.Accept()
		switch {
		case ctx.Err() != nil:
			if err == nil {
				_ = raw.Close()
			}
			return nil
		case errors.Is(err, net.ErrClosed):
			return fmt.Errorf("accept connections on %v: %w", m.Addr(), err)
		case err != nil: // out of file descriptors, most likely: it passes
			if pause == pauseMin {
				m.o.Logger.Warn("connection not accepted", "error", err)
			}
			select {
			case <-ctx.Done():
			case <-time.After(pause):
			}
			pause = min(2*pause, pauseMax)
			continue
		}
		pause = pauseMin
		m.count.accepted.Add(1)
		source := host(raw.RemoteAddr())
		if !m.handshakes.take(source) {
			m.count.refused[Busy].Add(1)
			_ = raw.Close()
			continue
		}
		wg.Go(func() {
			defer m.handshakes.give(source)
			m.serve(ctx, raw, source)
		})
	}
}

// shut closes everything that is open.
func (m *Mux) shut() {
	m.mu.Lock()
	m.closed = true
	var conns []*Conn
	for c := range m.conns {
		conns = append(conns, c)
	}
	var listeners []*listener
	for _, l := range m.listeners {
		listeners = append(listeners, l)
	}
	m.mu.Unlock()
	for _, l := range listeners {
		_ = l.Close()
	}
	for _, c := range conns {
		c.cut()
	}
}

// CloseMember closes all connections from and to the member, and returns how many there were. The verifier should
// refuse the member before that, else it is back at once.
func (m *Mux) CloseMember(id pki.MemberID) int {
	return m.cutWhere(func(p pki.Peer) bool { return p.ID == id })
}

// Recheck closes the connections whose peer would be refused now, and returns how many there were.
func (m *Mux) Recheck() int {
	return m.cutWhere(func(p pki.Peer) bool { return m.o.Verifier.Recheck(p) != nil })
}

func (m *Mux) cutWhere(bad func(pki.Peer) bool) int {
	var conns []*Conn
	m.mu.Lock()
	for c := range m.conns {
		if c.peer.ID != 0 || c.peer.Operator != "" {
			conns = append(conns, c)
		}
	}
	m.mu.Unlock()
	n := 0
	for _, c := range conns {
		if bad(c.peer) {
			c.cut()
			n++
		}
	}
	m.count.cut.Add(uint64(n))
	return n
}

// register makes the connection one that CloseMember, Recheck and shut find.
func (m *Mux) register(c *Conn) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return ErrClosed
	}
	m.conns[c] = struct{}{}
	return nil
}

// identify lets set write who is at the other end, once that is known. It reports whether the connection is still open.
func (m *Mux) identify(c *Conn, set func()) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	_, open := m.conns[c]
	if open {
		set()
	}
	return open
}

// forget undoes register.
func (m *Mux) forget(c *Conn) {
	m.mu.Lock()
	delete(m.conns, c)
	guest := c.guest
	m.mu.Unlock()
	if guest != "" {
		m.guests.give(guest)
	}
}

func (m *Mux) listenerOf(p Proto) *listener {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.listeners[p]
}
