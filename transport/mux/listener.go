package mux

import (
	"net"
	"sync"
)

// backlog is how many connections of a protocol wait to be accepted.
const backlog = 64

// listener yields the connections of one protocol.
type listener struct {
	mux   *Mux
	proto Proto
	queue chan *Conn
	once  sync.Once
	done  chan struct{} // closed by Close
}

var _ net.Listener = (*listener)(nil)

// Accept waits for the next connection, a [*Conn].
func (l *listener) Accept() (net.Conn, error) {
	select {
	case <-l.done:
		return nil, net.ErrClosed
	default:
	}
	select {
	case c := <-l.queue:
		return c, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}

// Close ends Accept. Connections that were accepted stay open, those that wait are closed.
func (l *listener) Close() error {
	l.once.Do(func() {
		l.mux.mu.Lock()
		delete(l.mux.listeners, l.proto)
		l.mux.mu.Unlock()
		close(l.done)
	})
	l.drain()
	return nil
}

// drain closes what nobody will accept any more.
func (l *listener) drain() {
	for {
		select {
		case c := <-l.queue:
			c.cut()
		default:
			return
		}
	}
}

// Addr returns the address of the port.
func (l *listener) Addr() net.Addr { return l.mux.Addr() }
