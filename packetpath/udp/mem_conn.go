package udp

import (
	"container/heap"
	"net"
	"net/netip"
	"os"
	"time"
)

// memConn is a socket of a Network.
type memConn struct {
	net       *Network
	local     netip.AddrPort
	reusePort bool
	noWait    bool
	limit     int           // datagrams in queue
	wake      chan struct{} // a reader that waits should look again
	done      chan struct{} // closed by Close

	// Guarded by net.mu.
	queue    flights
	deadline time.Time
	closed   bool
	stats    Stats
}

var (
	_ Conn       = (*memConn)(nil)
	_ Sender     = (*memSender)(nil)
	_ ListenFunc = (*Network)(nil).Listen
)

// push takes in a datagram, if there is room. The network is locked.
func (c *memConn) push(f flight) {
	if len(c.queue) >= c.limit {
		c.stats.Overflowed++
		return
	}
	heap.Push(&c.queue, f)
	c.wakeReader()
}

func (c *memConn) wakeReader() {
	select {
	case c.wake <- struct{}{}:
	default: // it will look anyway
	}
}

func (c *memConn) Read(batch []Message) (int, error) {
	if len(batch) == 0 {
		return 0, nil
	}
	for {
		n, next, err := c.take(batch)
		if n > 0 || err != nil || c.noWait {
			return n, err
		}
		if err := c.wait(next); err != nil {
			return 0, err
		}
	}
}

// take moves datagrams that have arrived to batch. If there are none it returns when to look again, at the latest;
// the zero time means: when woken.
func (c *memConn) take(batch []Message) (n int, next time.Time, err error) {
	c.net.mu.Lock()
	defer c.net.mu.Unlock()
	now := time.Now()
	switch {
	case c.closed:
		return 0, next, net.ErrClosed
	case !c.deadline.IsZero() && !now.Before(c.deadline):
		return 0, next, os.ErrDeadlineExceeded
	}
	for n < len(batch) && len(c.queue) > 0 && !c.queue[0].at.After(now) {
		f := heap.Pop(&c.queue).(flight)
		m := &batch[n]
		m.N, m.Addr, m.Local = copy(m.Buf, f.payload), f.from, c.local.Addr()
		if m.N < len(f.payload) {
			c.stats.Truncated++
			m.N = 0
		}
		n++
	}
	next = c.deadline
	if len(c.queue) > 0 && (next.IsZero() || c.queue[0].at.Before(next)) {
		next = c.queue[0].at
	}
	return n, next, nil
}

// wait returns when a reader should look again.
func (c *memConn) wait(until time.Time) error {
	var expired <-chan time.Time
	if !until.IsZero() {
		t := time.NewTimer(time.Until(until))
		defer t.Stop()
		expired = t.C
	}
	select {
	case <-c.wake:
	case <-expired:
	case <-c.done:
		return net.ErrClosed
	}
	return nil
}

func (c *memConn) SetReadDeadline(t time.Time) error {
	c.net.mu.Lock()
	defer c.net.mu.Unlock()
	if c.closed {
		return net.ErrClosed
	}
	c.deadline = t
	c.wakeReader()
	return nil
}

func (c *memConn) LocalAddr() netip.AddrPort { return c.local }

func (c *memConn) Stats() Stats {
	c.net.mu.Lock()
	defer c.net.mu.Unlock()
	return c.stats
}

func (c *memConn) Close() error {
	n := c.net
	n.mu.Lock()
	defer n.mu.Unlock()
	if c.closed {
		return net.ErrClosed
	}
	c.closed, c.queue = true, nil
	close(c.done)
	socks := n.socks[c.local]
	for i, other := range socks {
		if other == c {
			socks = append(socks[:i:i], socks[i+1:]...)
			break
		}
	}
	if n.socks[c.local] = socks; len(socks) == 0 {
		delete(n.socks, c.local)
	}
	return nil
}

func (c *memConn) NewSender(int) Sender { return (*memSender)(c) }

// memSender has no state of its own.
type memSender memConn

func (s *memSender) Write(batch []Message) (sent int, err error) {
	s.net.mu.Lock()
	defer s.net.mu.Unlock()
	if s.closed {
		return 0, net.ErrClosed
	}
	for i := range batch {
		m := &batch[i]
		if s.net.send(s.local, plainAddr(m.Addr), m.Buf[:m.N]) {
			sent++
		} else {
			s.stats.Rejected++
		}
	}
	return sent, nil
}

// flight is a datagram between Write and Read.
type flight struct {
	at      time.Time // when it arrives
	seq     uint64
	from    netip.AddrPort
	payload []byte
}

// flights is a heap: first to arrive first, and among those of one moment the first sent.
type flights []flight

func (f flights) Len() int      { return len(f) }
func (f flights) Swap(i, j int) { f[i], f[j] = f[j], f[i] }
func (f flights) Less(i, j int) bool {
	if c := f[i].at.Compare(f[j].at); c != 0 {
		return c < 0
	}
	return f[i].seq < f[j].seq
}
func (f *flights) Push(x any) { *f = append(*f, x.(flight)) }
func (f *flights) Pop() any {
	old := *f
	last := old[len(old)-1]
	old[len(old)-1] = flight{}
	*f = old[:len(old)-1]
	return last
}
