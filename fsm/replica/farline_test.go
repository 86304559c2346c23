package replica_test

import (
	"context"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"

	"github.com/rootd/rootd/transport/mux"
)

// line is what is between the members of a lab: half a round trip in each direction and, if rate is set, one uplink a member
// that all its connections share, with a queue before it as routers have.
type line struct {
	rtt   time.Duration
	rate  float64       // bytes a second; 0: no limit
	queue time.Duration // how much the queue holds at that rate
}

func (l *line) roundTrip() time.Duration {
	if l == nil {
		return 0
	}
	return l.rtt
}

// far puts a member behind the line: what it accepts and dials.
func (l *line) far(ln net.Listener) (net.Listener, func(context.Context, string) (net.Conn, error)) {
	up := &uplink{line: l}
	return &farListener{ln, up}, func(ctx context.Context, at string) (net.Conn, error) {
		c, err := mux.DialTCP(ctx, at)
		if err != nil {
			return nil, err
		}
		return up.wrap(c), nil
	}
}

// uplink is the way out of one member.
type uplink struct {
	line *line
	mu   sync.Mutex
	busy time.Time // guarded by mu: when what is queued will have left
}

// send takes n bytes into the queue, and returns when they arrive.
func (u *uplink) send(n int, deadline time.Time) (time.Time, error) {
	for {
		u.mu.Lock()
		now := time.Now()
		u.busy = later(u.busy, now)
		wait := u.busy.Sub(now) - u.line.queue
		if u.line.rate == 0 || wait <= 0 {
			if u.line.rate > 0 {
				u.busy = u.busy.Add(time.Duration(float64(n) / u.line.rate * 1e9))
			}
			at := u.busy.Add(u.line.rtt / 2)
			u.mu.Unlock()
			return at, nil
		}
		u.mu.Unlock()
		if !deadline.IsZero() && now.Add(wait).After(deadline) {
			return time.Time{}, os.ErrDeadlineExceeded
		}
		<-time.After(wait)
	}
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

type farListener struct {
	net.Listener
	up *uplink
}

func (l *farListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return l.up.wrap(c), nil
}

// farConn delays what is written.
type farConn struct {
	net.Conn
	up       *uplink
	parcels  chan parcel
	closed   chan struct{}
	close    func() error
	deadline atomic.Pointer[time.Time] // of writes
}

type parcel struct {
	data []byte
	at   time.Time
}

func (u *uplink) wrap(c net.Conn) net.Conn {
	f := &farConn{Conn: c, up: u, parcels: make(chan parcel, 1<<14), closed: make(chan struct{})}
	f.close = sync.OnceValue(func() error { close(f.closed); return c.Close() })
	go f.carry()
	return f
}

func (f *farConn) carry() {
	for {
		select {
		case <-f.closed:
			return
		case p := <-f.parcels:
			if d := time.Until(p.at); d > 0 {
				select {
				case <-f.closed:
					return
				case <-time.After(d):
				}
			}
			if _, err := f.Conn.Write(p.data); err != nil {
				_ = f.close()
				return
			}
		}
	}
}

func (f *farConn) Write(b []byte) (int, error) {
	var deadline time.Time
	if d := f.deadline.Load(); d != nil {
		deadline = *d
	}
	at, err := f.up.send(len(b), deadline)
	if err != nil {
		return 0, err
	}
	select {
	case <-f.closed:
		return 0, net.ErrClosed
	case f.parcels <- parcel{append([]byte(nil), b...), at}:
		return len(b), nil
	}
}

func (f *farConn) Close() error { return f.close() }

func (f *farConn) SetDeadline(t time.Time) error {
	f.deadline.Store(&t)
	return f.SetReadDeadline(t)
}

func (f *farConn) SetWriteDeadline(t time.Time) error {
	f.deadline.Store(&t)
	return nil
}

// beats are the longest delays of heartbeats since the last look.
type beats struct {
	trip atomic.Int64 // ns from a heartbeat to its answer, at the leader
	gap  atomic.Int64 // ns between two heartbeats of the leader, at a follower
}

// take returns both, and begins anew.
func (b *beats) take() (trip, gap time.Duration) {
	return time.Duration(b.trip.Swap(0)), time.Duration(b.gap.Swap(0))
}

func raise(v *atomic.Int64, to int64) {
	for old := v.Load(); to > old && !v.CompareAndSwap(old, to); old = v.Load() {
	}
}

// beatTransport is a transport that watches the heartbeats.
type beatTransport struct {
	*raft.NetworkTransport
	beats *beats
}

// AppendEntries implements [raft.Transport].
func (b *beatTransport) AppendEntries(id raft.ServerID, to raft.ServerAddress, args *raft.AppendEntriesRequest, resp *raft.AppendEntriesResponse) error {
	began := time.Now()
	err := b.NetworkTransport.AppendEntries(id, to, args, resp)
	if len(args.Entries) == 0 && args.PrevLogEntry == 0 && args.PrevLogTerm == 0 {
		raise(&b.beats.trip, int64(time.Since(began)))
	}
	return err
}

// SetHeartbeatHandler implements [raft.Transport].
func (b *beatTransport) SetHeartbeatHandler(f func(raft.RPC)) {
	var last atomic.Int64
	origin := time.Now()
	b.NetworkTransport.SetHeartbeatHandler(func(rpc raft.RPC) {
		now := int64(time.Since(origin))
		if before := last.Swap(now); before > 0 {
			raise(&b.beats.gap, now-before)
		}
		f(rpc)
	})
}
