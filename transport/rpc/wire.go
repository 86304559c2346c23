package rpc

import (
	"bufio"
	"net"
	"sync"
	"time"
)

const (
	queueLen     = 64               // frames that wait to be written on a connection
	writeTimeout = 20 * time.Second // for what is written at once
	bufSize      = 16 << 10
)

// wire is a connection whose writes are those of one goroutine.
type wire struct {
	conn  net.Conn
	queue chan []byte
	done  chan struct{} // closed when the connection ends
	once  sync.Once
	err   error // why it ended; read after done
}

func newWire(c net.Conn) *wire {
	return &wire{conn: c, queue: make(chan []byte, queueLen), done: make(chan struct{})}
}

// end closes the connection; the first reason counts.
func (w *wire) end(err error) {
	w.once.Do(func() {
		w.err = err
		close(w.done)
		_ = w.conn.Close()
	})
}

// ended reports whether the connection is of no use any more.
func (w *wire) ended() bool {
	select {
	case <-w.done:
		return true
	default:
		return false
	}
}

// write sends what is queued until the connection ends.
func (w *wire) write() {
	out := bufio.NewWriterSize(w.conn, bufSize)
	for {
		select {
		case <-w.done:
			return
		case b := <-w.queue:
			_ = w.conn.SetWriteDeadline(time.Now().Add(writeTimeout))
			_, err := out.Write(b)
			for more := true; more && err == nil; {
				select {
				case b := <-w.queue:
					_, err = out.Write(b)
				default:
					more = false
				}
			}
			if err == nil {
				err = out.Flush()
			}
			if err != nil {
				w.end(err)
				return
			}
		}
	}
}

// post queues a frame if there is room, as for pings and cancellations, which nothing depends on.
func (w *wire) post(b []byte) {
	select {
	case w.queue <- b:
	default:
	}
}
