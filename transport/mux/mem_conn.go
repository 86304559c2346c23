package mux

import (
	"io"
	"net"
	"net/netip"
	"os"
	"syscall"
	"time"
)

// pipeSize is how many bytes are under way in one direction before a write waits.
const pipeSize = 256 << 10

// pipe is one direction of a connection: segments that arrive at a time. Network.mu guards it.
type pipe struct {
	segments []segment
	size     int       // bytes in segments
	last     time.Time // when the last segment arrives
	changed  chan struct{}
	err      error // the connection broke
}

type segment struct {
	data []byte // nil: the end
	at   time.Time
	held bool // by a cut: it arrives when that heals
}

func newPipe() *pipe { return &pipe{changed: make(chan struct{})} }

// wake lets readers and writers look again.
func (p *pipe) wake() {
	close(p.changed)
	p.changed = make(chan struct{})
}

func (p *pipe) push(data []byte, at time.Time, held bool) {
	if at.Before(p.last) {
		at = p.last
	}
	p.last = at
	p.segments = append(p.segments, segment{data, at, held})
	p.size += len(data)
	p.wake()
}

// release makes what was held arrive at the given time.
func (p *pipe) release(at time.Time) {
	for i := range p.segments {
		if s := &p.segments[i]; s.held {
			s.held = false
			s.at = at
			p.last = at
		}
	}
	p.wake()
}

// deadline is a time that can be moved while somebody waits for it.
type deadline struct {
	at    time.Time // zero: never
	moved chan struct{}
}

func (d *deadline) set(t time.Time) {
	d.at = t
	close(d.moved)
	d.moved = make(chan struct{})
}

func (d *deadline) passed() bool { return !d.at.IsZero() && !time.Now().Before(d.at) }

// memConn is one end of a connection in memory.
type memConn struct {
	net           *Network
	local, remote netip.AddrPort

	// What follows is guarded by net.mu.

	in, out          *pipe
	reading, writing deadline
	closed           bool
}

var _ net.Conn = (*memConn)(nil)

// Read returns what has arrived.
func (c *memConn) Read(b []byte) (int, error) {
	for {
		c.net.mu.Lock()
		n, wait, err := c.read(b)
		changed, moved, at := c.in.changed, c.reading.moved, earlier(wait, c.reading.at)
		c.net.mu.Unlock()
		if n > 0 || err != nil || len(b) == 0 {
			return n, err
		}
		await(changed, moved, at)
	}
}

// read takes what is there, or says when there will be something; the zero time says that nobody knows.
func (c *memConn) read(b []byte) (n int, wait time.Time, err error) {
	switch {
	case c.closed:
		return 0, wait, net.ErrClosed
	case c.reading.passed():
		return 0, wait, os.ErrDeadlineExceeded
	case c.in.err != nil:
		return 0, wait, c.in.err
	}
	p, now := c.in, time.Now()
	for n < len(b) && len(p.segments) > 0 {
		s := &p.segments[0]
		if s.held || s.at.After(now) {
			if n == 0 && !s.held {
				wait = s.at
			}
			break
		}
		if s.data == nil {
			if n == 0 {
				err = io.EOF
			}
			break
		}
		k := copy(b[n:], s.data)
		n += k
		p.size -= k
		if s.data = s.data[k:]; len(s.data) == 0 {
			p.segments[0] = segment{}
			p.segments = p.segments[1:]
		}
	}
	if n > 0 {
		p.wake() // there is room
	}
	return n, wait, err
}

// Write sends, and waits while too much is under way.
func (c *memConn) Write(b []byte) (n int, err error) {
	for {
		c.net.mu.Lock()
		k, err := c.write(b[n:])
		n += k
		changed, moved, at := c.out.changed, c.writing.moved, c.writing.at
		c.net.mu.Unlock()
		if err != nil || n == len(b) {
			return n, err
		}
		await(changed, moved, at)
	}
}

func (c *memConn) write(b []byte) (int, error) {
	switch {
	case c.closed:
		return 0, net.ErrClosed
	case c.writing.passed():
		return 0, os.ErrDeadlineExceeded
	case c.out.err != nil:
		return 0, c.out.err
	}
	n := min(len(b), pipeSize-c.out.size)
	if n > 0 {
		c.send(append([]byte(nil), b[:n]...))
	}
	return n, nil
}

func (c *memConn) send(data []byte) {
	from, to := c.local.Addr(), c.remote.Addr()
	_, cut := c.net.cuts[link{from, to}]
	c.out.push(data, time.Now().Add(c.net.delay(from, to)), cut)
}

// Close sends the end after what was written. Then this side is gone: what the other side still writes fails.
func (c *memConn) Close() error {
	c.net.mu.Lock()
	defer c.net.mu.Unlock()
	if c.closed {
		return net.ErrClosed
	}
	c.closed = true
	delete(c.net.conns, c)
	c.send(nil)
	if c.in.err == nil {
		c.in.err = syscall.EPIPE // for the writer at the other end
	}
	c.in.wake()
	c.writing.set(c.writing.at)
	return nil
}

// fail breaks the connection for both ends. The network is locked.
func (c *memConn) fail(err error) {
	for _, p := range []*pipe{c.in, c.out} {
		if p.err == nil {
			p.err = err
		}
		p.wake()
	}
}

// between reports whether the connection needs the link, for data or for acknowledgements.
func (c *memConn) between(l link) bool {
	a, b := c.local.Addr(), c.remote.Addr()
	return a == l.from && b == l.to || a == l.to && b == l.from
}

func (c *memConn) LocalAddr() net.Addr  { return net.TCPAddrFromAddrPort(c.local) }
func (c *memConn) RemoteAddr() net.Addr { return net.TCPAddrFromAddrPort(c.remote) }

func (c *memConn) SetDeadline(t time.Time) error {
	c.net.mu.Lock()
	defer c.net.mu.Unlock()
	c.reading.set(t)
	c.writing.set(t)
	return nil
}

func (c *memConn) SetReadDeadline(t time.Time) error {
	c.net.mu.Lock()
	defer c.net.mu.Unlock()
	c.reading.set(t)
	return nil
}

func (c *memConn) SetWriteDeadline(t time.Time) error {
	c.net.mu.Lock()
	defer c.net.mu.Unlock()
	c.writing.set(t)
	return nil
}

// earlier returns the earlier of two times; zero is never.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// await returns when one of the channels is closed, or at the given time; zero is never.
func await(changed, moved <-chan struct{}, at time.Time) {
	var timeout <-chan time.Time
	if !at.IsZero() {
		t := time.NewTimer(time.Until(at))
		defer t.Stop()
		timeout = t.C
	}
	select {
	case <-changed:
	case <-moved:
	case <-timeout:
	}
}
