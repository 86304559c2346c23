package rpc

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"math"
	"net"
	"sync"
	"time"
)

// callConn is the caller's end of a connection.
type callConn struct {
	*wire
	o    *CallerOptions
	turn chan struct{} // a token per call in progress

	mu      sync.Mutex // guards what follows
	pending map[uint32]chan outcome
	next    uint32
	heard   time.Time // when a frame came last
	waiting time.Time // since when there is a call in progress without a break
	used    time.Time // when the last call ended
	retired bool      // no more calls
}

type outcome struct {
	answer []byte
	err    error
}

func newCallConn(c net.Conn, o *CallerOptions) *callConn {
	now := time.Now()
	return &callConn{
		wire: newWire(c), o: o, turn: make(chan struct{}, o.MaxInFlight),
		pending: map[uint32]chan outcome{}, heard: now, waiting: now, used: now,
	}
}

// call makes one call. It reports whether anything of it may have been sent.
func (k *callConn) call(ctx context.Context, name string, body []byte) (answer []byte, sent bool, err error) {
	select {
	case k.turn <- struct{}{}:
		defer func() { <-k.turn }()
	case <-k.done:
		return nil, false, k.lost()
	case <-ctx.Done():
		return nil, false, ctx.Err()
	}
	q := request{name: name}
	if end, ok := ctx.Deadline(); ok {
		if q.left = time.Until(end); q.left <= 0 {
			return nil, false, context.DeadlineExceeded
		}
	}
	id, reply := k.begin()
	if reply == nil {
		<-k.done // very soon
		return nil, false, k.lost()
	}
	defer k.finish(id)
	select {
	case k.queue <- appendFrame(nil, kindCall, id, q.head(), body):
	case <-k.done:
		return nil, false, k.lost()
	case <-ctx.Done():
		return nil, false, ctx.Err()
	}
	select {
	case out := <-reply:
		return out.answer, true, out.err
	case <-k.done:
		select {
		case out := <-reply: // it came just before the end
			return out.answer, true, out.err
		default:
		}
		return nil, true, k.lost()
	case <-ctx.Done():
		k.post(appendFrame(nil, kindCancel, id))
		return nil, true, ctx.Err()
	}
}

func (k *callConn) lost() error {
	if errors.Is(k.err, ErrClosed) {
		return ErrClosed
	}
	return fmt.Errorf("%w: %w", ErrLost, k.err)
}

// begin makes a place for the outcome of a call; nil if the connection is about to be closed, not having been used.
func (k *callConn) begin() (uint32, chan outcome) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.retired {
		return 0, nil
	}
	if len(k.pending) == 0 {
		k.waiting = time.Now()
	}
	for k.next++; k.pending[k.next] != nil; k.next++ { // after four billion calls
	}
	reply := make(chan outcome, 1)
	k.pending[k.next] = reply
	return k.next, reply
}

func (k *callConn) finish(id uint32) {
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(k.pending, id)
	k.used = time.Now()
}

// read takes frames until the connection ends.
func (k *callConn) read() {
	r := bufio.NewReaderSize(k.conn, bufSize)
	for {
		f, err := readFrame(r, k.o.MaxBody+slack)
		if err == nil {
			err = k.take(f)
		}
		if err != nil {
			k.end(err)
			return
		}
	}
}

// take hands an outcome to the call that waits for it. One that nobody waits for came too late.
func (k *callConn) take(f frame) error {
	var out outcome
	switch f.kind {
	case kindAnswer:
		out.answer = f.rest
	case kindError:
		e, err := parseError(f.rest)
		if err != nil {
			return err
		}
		out.err = e
	case kindPong:
	default:
		return fmt.Errorf("frame of kind %d does not belong here", f.kind)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.heard = time.Now()
	if reply := k.pending[f.call]; reply != nil && f.kind != kindPong {
		delete(k.pending, f.call)
		reply <- out // has room: there is one outcome
	}
	return nil
}

// mind gives up a connection that is dead, or that nobody needs.
func (k *callConn) mind() {
	tick := time.NewTicker(pingAfter)
	defer tick.Stop()
	for {
		select {
		case <-k.done:
			return
		case <-tick.C:
		}
		k.mu.Lock()
		idle, since := len(k.pending) == 0, k.heard
		if k.waiting.After(since) {
			since = k.waiting
		}
		silent := time.Since(since)
		k.retired = idle && time.Since(k.used) >= k.o.IdleTimeout
		retired := k.retired
		k.mu.Unlock()
		switch {
		case retired:
			k.end(errIdle)
			return
		case idle:
		case silent >= SilenceLimit:
			k.end(errSilent)
		case silent >= pingAfter:
			k.post(appendFrame(nil, kindPing, math.MaxUint32))
		}
	}
}
