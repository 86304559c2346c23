package rpc

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/rootd/rootd/transport/mux"
	"github.com/rootd/rootd/transport/pki"
)

// Target is whom to call: the member must be who the ID says.
type Target struct {
	ID      pki.MemberID
	Address string // host:port of its mux
}

// CallerOptions are the needs of a [Caller]. The mux is required, of the others 0 means the default.
type CallerOptions struct {
	Mux         *mux.Mux
	MaxBody     int           // 1 MiB: of a call and of an answer, in bytes
	MaxInFlight int           // 64 calls in progress per member; more wait
	DialTimeout time.Duration // 10 s
	IdleTimeout time.Duration // 5 min: then an unused connection is closed
}

// Times of a connection.
const (
	SilenceLimit = 12 * time.Second // calls wait and nothing is heard: the connection is given up
	pingAfter    = 3 * time.Second
	redialPause  = 250 * time.Millisecond // after a dial that failed, calls fail at once
	maxLanes     = 256
)

// Caller calls other members. It keeps one connection to each, made when it is needed.
type Caller struct {
	o       CallerOptions
	wg      sync.WaitGroup
	started chan struct{} // closed by Run
	stopped chan struct{} // closed when Run ends

	mu     sync.Mutex // guards what follows
	ctx    context.Context
	closed bool
	lanes  map[Target]*lane
}

// lane is the way to one member.
type lane struct {
	conn    *callConn
	dialing chan struct{} // closed when the dial under way ends; nil: none
	err     error         // of the last dial
	retryAt time.Time     // no dial before
}

// NewCaller returns a caller. Calls wait until Run.
func NewCaller(o CallerOptions) *Caller {
	if o.MaxBody == 0 {
		o.MaxBody = 1 << 20
	}
	if o.MaxInFlight == 0 {
		o.MaxInFlight = 64
	}
	if o.DialTimeout == 0 {
		o.DialTimeout = 10 * time.Second
	}
	if o.IdleTimeout == 0 {
		o.IdleTimeout = 5 * time.Minute
	}
	return &Caller{o: o, started: make(chan struct{}), stopped: make(chan struct{}), lanes: map[Target]*lane{}}
}

// Run owns the connections until the context ends. Then it closes them and returns nil. It runs once.
func (c *Caller) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	c.mu.Lock()
	c.ctx = ctx
	c.mu.Unlock()
	close(c.started)
	<-ctx.Done()
	c.mu.Lock()
	c.closed = true
	var conns []*callConn
	for _, l := range c.lanes {
		if l.conn != nil {
			conns = append(conns, l.conn)
		}
	}
	c.mu.Unlock()
	close(c.stopped)
	for _, k := range conns {
		k.end(ErrClosed)
	}
	c.wg.Wait()
	return nil
}

// Call calls a member and waits for the answer, which belongs to the caller. Errors wrap an [*Error] if the member refused the
// call, the context's error, [ErrLost], or what [mux.Mux.Dial] returns.
func (c *Caller) Call(ctx context.Context, to Target, name string, body []byte) ([]byte, error) {
	answer, err := c.call(ctx, to, name, body)
	if err != nil {
		return nil, fmt.Errorf("call %s of member %d: %w", name, to.ID, err)
	}
	return answer, nil
}

func (c *Caller) call(ctx context.Context, to Target, name string, body []byte) ([]byte, error) {
	if !validName(name) {
		return nil, errors.New("no name of a call")
	}
	if len(body) > c.o.MaxBody {
		return nil, fmt.Errorf("%w: %d bytes, at most %d", ErrTooLarge, len(body), c.o.MaxBody)
	}
	for try := 0; ; try++ {
		k, err := c.connTo(ctx, to)
		if err != nil {
			return nil, err
		}
		answer, sent, err := k.call(ctx, name, body)
		if err == nil || sent || try > 0 || !errors.Is(err, ErrLost) {
			return answer, err
		}
		// The connection had ended when its turn came; nothing was sent.
	}
}

// connTo returns the connection to the member, dialed if there is none. One dial serves all who wait for it.
func (c *Caller) connTo(ctx context.Context, to Target) (*callConn, error) {
	select {
	case <-c.started:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	for waited := false; ; waited = true {
		c.mu.Lock()
		if c.closed {
			c.mu.Unlock()
			return nil, ErrClosed
		}
		l := c.lane(to)
		switch {
		case l.conn != nil && !l.conn.ended():
			k := l.conn
			c.mu.Unlock()
			return k, nil
		case l.dialing == nil && l.err != nil && (waited || time.Now().Before(l.retryAt)):
			err := l.err
			c.mu.Unlock()
			return nil, err
		case l.dialing == nil:
			l.dialing = make(chan struct{})
			c.wg.Go(func() { c.dial(to, l) })
		}
		dialing := l.dialing
		c.mu.Unlock()
		select {
		case <-dialing:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// lane returns the lane to the member. The lock is held.
func (c *Caller) lane(to Target) *lane {
	l := c.lanes[to]
	if l == nil {
		if len(c.lanes) >= maxLanes { // members that moved or went
			for t, l := range c.lanes {
				if l.conn == nil && l.dialing == nil {
					delete(c.lanes, t)
				}
			}
		}
		l = new(lane)
		c.lanes[to] = l
	}
	return l
}

func (c *Caller) dial(to Target, l *lane) {
	ctx, cancel := context.WithTimeout(c.ctx, c.o.DialTimeout)
	defer cancel()
	conn, err := c.o.Mux.Dial(ctx, mux.RPC, to.Address, to.ID)
	c.mu.Lock()
	defer c.mu.Unlock()
	defer close(l.dialing)
	defer func() { l.dialing = nil }()
	l.err = err
	if err != nil {
		l.retryAt = time.Now().Add(redialPause)
		return
	}
	k := newCallConn(conn, &c.o)
	if c.closed {
		k.end(ErrClosed)
		return
	}
	l.conn = k
	c.wg.Go(k.write)
	c.wg.Go(k.mind)
	c.wg.Go(func() {
		k.read()
		c.mu.Lock()
		if l.conn == k { // not replaced yet
			l.conn = nil
		}
		c.mu.Unlock()
	})
}
