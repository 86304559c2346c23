package rpc

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"github.com/rootd/rootd/transport/mux"
)

// Stream calls a member whose answer is a stream. The stream ends with [io.EOF] once it is complete, else with an error
// that wraps what Call's do. It lives on a connection of its own, until it is closed or the context ends. One goroutine
// may read it.
func (c *Caller) Stream(ctx context.Context, to Target, name string, body []byte) (io.ReadCloser, error) {
	s, err := c.stream(ctx, to, name, body)
	if err != nil {
		return nil, fmt.Errorf("stream %s of member %d: %w", name, to.ID, err)
	}
	return s, nil
}

func (c *Caller) stream(ctx context.Context, to Target, name string, body []byte) (_ *stream, err error) {
	if !validName(name) {
		return nil, errors.New("no name of a call")
	}
	if len(body) > c.o.MaxBody {
		return nil, fmt.Errorf("%w: %d bytes, at most %d", ErrTooLarge, len(body), c.o.MaxBody)
	}
	dialing, cancel := context.WithTimeout(ctx, c.o.DialTimeout)
	defer cancel()
	conn, err := c.o.Mux.Dial(dialing, mux.RPC, to.Address, to.ID)
	if err != nil {
		return nil, err
	}
	q := request{name: name}
	if end, ok := ctx.Deadline(); ok {
		q.left = max(time.Until(end), time.Millisecond)
	}
	s := &stream{ctx: ctx, conn: conn, r: bufio.NewReaderSize(conn, 2*chunkSize), name: name, to: to}
	s.close = sync.OnceFunc(func() { _ = conn.Close() })
	s.detach = context.AfterFunc(ctx, s.close)
	_ = conn.SetWriteDeadline(time.Now().Add(writeTimeout))
	if _, err = conn.Write(appendFrame(nil, kindStream, 1, q.head(), body)); err != nil {
		err = s.lost(err)
	} else {
		err = s.next()
	}
	if err != nil && !errors.Is(err, io.EOF) {
		_ = s.Close()
		return nil, err
	}
	s.err = err
	return s, nil
}

// stream is the reader's end.
type stream struct {
	ctx    context.Context
	conn   net.Conn
	r      *bufio.Reader
	chunk  []byte // what is left of the last data frame
	err    error  // what ended it
	name   string
	to     Target
	close  func()
	detach func() bool
}

// Read returns what has come.
func (s *stream) Read(b []byte) (int, error) {
	for len(s.chunk) == 0 {
		if s.err == nil {
			s.err = s.next()
		}
		if errors.Is(s.err, io.EOF) {
			return 0, io.EOF
		}
		if s.err != nil {
			return 0, fmt.Errorf("stream %s of member %d: %w", s.name, s.to.ID, s.err)
		}
	}
	n := copy(b, s.chunk)
	s.chunk = s.chunk[n:]
	return n, nil
}

// next reads a frame. It returns [io.EOF] at the end of a complete stream only.
func (s *stream) next() error {
	f, err := readFrame(s.r, max(chunkSize, slack))
	if err != nil {
		return s.lost(err)
	}
	switch f.kind {
	case kindData:
		s.chunk = f.rest
		return nil
	case kindEnd:
		return io.EOF
	case kindError:
		e, err := parseError(f.rest)
		if err != nil {
			return s.lost(err)
		}
		return e
	}
	return s.lost(fmt.Errorf("frame of kind %d does not belong here", f.kind))
}

func (s *stream) lost(err error) error {
	if s.ctx.Err() != nil {
		return s.ctx.Err()
	}
	return fmt.Errorf("%w: %w", ErrLost, noEOF(err))
}

// Close ends the stream; the member that sends it is told.
func (s *stream) Close() error {
	s.detach()
	s.close()
	return nil
}
