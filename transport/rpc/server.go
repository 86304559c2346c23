package rpc

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rootd/rootd/transport/mux"
	"github.com/rootd/rootd/transport/pki"
)

// Handler answers a call. The context ends when the caller gives up, its time is over, its connection breaks or the server stops. The
// body is the handler's to keep. An [*Error] reaches the caller as it is, any other error as [CodeInternal].
type Handler func(ctx context.Context, from pki.Peer, body []byte) ([]byte, error)

// StreamHandler answers a call with a stream: what it writes until it returns. Writes wait for the reader. An error
// reaches the reader after what was written.
type StreamHandler func(ctx context.Context, from pki.Peer, body []byte, w io.Writer) error

// ServerOptions are the needs of a [Server]. The logger is required, of the others 0 means the default.
type ServerOptions struct {
	Logger             *slog.Logger
	MaxBody            int // 1 MiB: of a call and of an answer, in bytes
	MaxInFlight        int // 1024 calls in progress
	MaxInFlightPerConn int // 128
	MaxStreams         int // 16 streams in progress
}

// Server answers calls.
type Server struct {
	o        ServerOptions
	handlers map[string]Handler
	streams  map[string]StreamHandler
	running  chan struct{} // a token per call in progress
	flowing  chan struct{} // a token per stream in progress
	count    serverCounters
}

type serverCounters struct{ conns, calls, streams, refused, failed atomic.Uint64 }

// ServerMetrics is a snapshot of what a server did since it was made.
type ServerMetrics struct {
	Conns, Calls, Streams uint64
	Busy                  uint64 // calls and streams refused since there were too many
	Failed                uint64 // handlers that returned an error
	InFlight              int    // calls in progress now
}

// NewServer returns a server that has no calls yet.
func NewServer(o ServerOptions) *Server {
	for n, to := range map[*int]int{&o.MaxBody: 1 << 20, &o.MaxInFlight: 1024, &o.MaxInFlightPerConn: 128, &o.MaxStreams: 16} {
		if *n == 0 {
			*n = to
		}
	}
	return &Server{
		o: o, handlers: map[string]Handler{}, streams: map[string]StreamHandler{},
		running: make(chan struct{}, o.MaxInFlight), flowing: make(chan struct{}, o.MaxStreams),
	}
}

// Handle registers the handler of a call: before Run, once per name. The name has 1 to 64 of a-z, 0-9, '-', '_', '.', '/'; by
// custom it ends in a version. It panics where the program is wrong.
func (s *Server) Handle(name string, h Handler) {
	s.mustBeNew(name)
	s.handlers[name] = h
}

// HandleStream registers the handler of a streaming call, as Handle does.
func (s *Server) HandleStream(name string, h StreamHandler) {
	s.mustBeNew(name)
	s.streams[name] = h
}

func (s *Server) mustBeNew(name string) {
	if !validName(name) || s.handlers[name] != nil || s.streams[name] != nil {
		panic(fmt.Sprintf("rpc: call %q is handled already, or no name of a call", name))
	}
}

// Metrics returns a snapshot.
func (s *Server) Metrics() ServerMetrics {
	return ServerMetrics{
		Conns: s.count.conns.Load(), Calls: s.count.calls.Load(), Streams: s.count.streams.Load(),
		Busy: s.count.refused.Load(), Failed: s.count.failed.Load(), InFlight: len(s.running),
	}
}

// Run serves the connections of a listener of [mux.RPC] until the context ends or the listener is closed, as the mux does when it
// stops, and returns nil then, when all handlers have returned. It closes the listener.
func (s *Server) Run(ctx context.Context, ln net.Listener) error {
	var wg sync.WaitGroup
	defer wg.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	wg.Go(func() {
		<-ctx.Done()
		_ = ln.Close()
	})
	for {
		c, err := ln.Accept()
		if err != nil {
			if ctx.Err() != nil || errors.Is(err, net.ErrClosed) {
				return nil
			}
			return fmt.Errorf("accept calls: %w", err)
		}
		from, ok := mux.PeerOf(c)
		if !ok { // not by a mux, or a guest
			_ = c.Close()
			continue
		}
		s.count.conns.Add(1)
		wg.Go(func() { s.serve(ctx, c, from) })
	}
}

// session is one connection of a server.
type session struct {
	*wire
	s    *Server
	from pki.Peer
	wg   sync.WaitGroup

	mu    sync.Mutex // guards calls
	calls map[uint32]context.CancelFunc
}

func (s *Server) serve(ctx context.Context, c net.Conn, from pki.Peer) {
	n := &session{wire: newWire(c), s: s, from: from, calls: map[uint32]context.CancelFunc{}}
	defer n.wg.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	n.wg.Go(func() {
		<-ctx.Done()
		n.end(ctx.Err())
	})
	err := n.read(ctx)
	n.end(err)
	if !errors.Is(err, io.EOF) && !errors.Is(err, net.ErrClosed) && ctx.Err() == nil {
		s.o.Logger.Debug("connection of a member ended", "member", from.ID, "error", err)
	}
}

func (n *session) read(ctx context.Context) error {
	r := bufio.NewReaderSize(n.conn, bufSize)
	for first := true; ; first = false {
		f, err := readFrame(r, n.s.o.MaxBody+slack)
		if err != nil {
			return err
		}
		if first && f.kind != kindStream {
			n.wg.Go(n.write)
		}
		switch {
		case f.kind == kindCall:
			if err := n.call(ctx, f); err != nil {
				return err
			}
		case f.kind == kindCancel:
			n.mu.Lock()
			if cancel := n.calls[f.call]; cancel != nil {
				cancel()
			}
			n.mu.Unlock()
		case f.kind == kindPing:
			n.post(appendFrame(nil, kindPong, f.call))
		case f.kind == kindStream && first:
			return n.stream(ctx, r, f)
		default:
			return fmt.Errorf("frame of kind %d does not belong here", f.kind)
		}
	}
}

// call starts a call's handler. An error is one of the connection.
func (n *session) call(ctx context.Context, f frame) error {
	q, err := parseRequest(f.rest)
	if err != nil {
		return err
	}
	h := n.s.handlers[q.name]
	if h == nil {
		n.reply(f.call, nil, n.s.unknown(q.name))
		return nil
	}
	n.mu.Lock()
	_, double := n.calls[f.call]
	full := len(n.calls) >= n.s.o.MaxInFlightPerConn
	n.mu.Unlock()
	if double {
		return fmt.Errorf("call %d is in progress already", f.call)
	}
	if full || !take(n.s.running) {
		n.s.count.refused.Add(1)
		n.reply(f.call, nil, &Error{Code: CodeBusy, Text: "too many calls in progress"})
		return nil
	}
	n.s.count.calls.Add(1)
	ctx, cancel := withLeft(ctx, q.left)
	n.mu.Lock()
	n.calls[f.call] = cancel
	n.mu.Unlock()
	n.wg.Go(func() {
		answer, err := h(ctx, n.from, q.body)
		cancel()
		<-n.s.running
		n.reply(f.call, answer, err)
		n.mu.Lock() // not before: answers that nobody reads count as calls in progress
		delete(n.calls, f.call)
		n.mu.Unlock()
	})
	return nil
}

// reply queues the outcome of a call.
func (n *session) reply(call uint32, answer []byte, err error) {
	var b []byte
	if err == nil && len(answer) > n.s.o.MaxBody {
		err = &Error{Code: CodeTooLarge, Text: fmt.Sprintf("answer of %d bytes, at most %d", len(answer), n.s.o.MaxBody)}
	}
	if err != nil {
		n.s.count.failed.Add(1)
		b = appendFrame(nil, kindError, call, errorOf(err).encode())
	} else {
		b = appendFrame(nil, kindAnswer, call, answer)
	}
	select {
	case n.queue <- b:
	case <-n.done:
	}
}

func (s *Server) unknown(name string) *Error {
	return &Error{Code: CodeUnknownCall, Text: fmt.Sprintf("no call %q here", name), Hint: "the two members run versions that are too far apart"}
}

// stream serves a streaming call, on a connection that is for nothing else.
func (n *session) stream(ctx context.Context, r *bufio.Reader, f frame) error {
	q, err := parseRequest(f.rest)
	if err != nil {
		return err
	}
	ctx, cancel := withLeft(ctx, q.left)
	defer cancel()
	n.wg.Go(func() { // the caller sends nothing more: what ends this is that it is gone
		_, _ = r.ReadByte()
		cancel()
	})
	w := &streamWriter{conn: n.conn, call: f.call}
	h := n.s.streams[q.name]
	switch {
	case h == nil:
		err = n.s.unknown(q.name)
	case !take(n.s.flowing):
		n.s.count.refused.Add(1)
		err = &Error{Code: CodeBusy, Text: "too many streams in progress"}
	default:
		n.s.count.streams.Add(1)
		err = h(ctx, n.from, q.body, w)
		<-n.s.flowing
	}
	if w.err != nil {
		return w.err
	}
	last := appendFrame(nil, kindEnd, f.call)
	if err != nil {
		n.s.count.failed.Add(1)
		last = appendFrame(nil, kindError, f.call, errorOf(err).encode())
	}
	_ = n.conn.SetWriteDeadline(time.Now().Add(writeTimeout))
	if _, err := n.conn.Write(last); err != nil {
		return err
	}
	return io.EOF
}

// streamWriter makes frames of what a handler writes.
type streamWriter struct {
	conn net.Conn
	call uint32
	buf  []byte
	err  error
}

// Write sends b. It waits as long as the reader takes something now and then.
func (w *streamWriter) Write(b []byte) (n int, err error) {
	for len(b) > 0 && w.err == nil {
		k := min(len(b), chunkSize)
		w.buf = appendFrame(w.buf[:0], kindData, w.call, b[:k])
		_ = w.conn.SetWriteDeadline(time.Now().Add(writeTimeout))
		if _, w.err = w.conn.Write(w.buf); w.err == nil {
			n += k
			b = b[k:]
		}
	}
	return n, w.err
}

func withLeft(ctx context.Context, left time.Duration) (context.Context, context.CancelFunc) {
	if left == 0 {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, left)
}

// take takes a token if there is one left.
func take(tokens chan struct{}) bool {
	select {
	case tokens <- struct{}{}:
		return true
	default:
		return false
	}
}
