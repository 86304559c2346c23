package link

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"time"
)

// maxCalls bounds the requests that wait for an answer.
const maxCalls = 4096

// Times between two tries of a request: measured round trip and four deviations, doubled each time.
const (
	firstTry = 250 * time.Millisecond // while nothing is measured
	minTry   = 20 * time.Millisecond
	maxTry   = 2 * time.Second
)

// RefusedError is the answer of a member that could not do what was asked.
type RefusedError struct {
	Member uint16
	Reason string // as its [Options.Asked] put it
}

func (e *RefusedError) Error() string { return fmt.Sprintf("member %d: %s", e.Member, e.Reason) }

// calls are the requests that wait, and the sender of those who have none.
type calls struct {
	mu      sync.Mutex // guards the following fields
	sender  *Sender
	waiting map[uint32]call
	last    uint32
	closed  bool
}

type call struct {
	member uint16
	result chan result // room for one
}

type result struct {
	body []byte
	err  error
}

func (c *calls) init(l *Link) {
	c.sender, c.waiting, c.last = l.NewSender(), make(map[uint32]call), uint32(random64())
}

// Notify sends a notification at once: a message of at most MaxBody bytes that may be lost. Errors are those of
// [Sender.Send]. Goroutines that have a Sender use [Sender.Notify] instead.
func (l *Link) Notify(member uint16, kind byte, body []byte) error {
	l.calls.mu.Lock()
	defer l.calls.mu.Unlock()
	if l.calls.closed {
		return ErrClosed
	}
	defer l.calls.sender.Flush()
	return l.calls.sender.Notify(member, kind, body)
}

// Request asks a member and waits for the answer, or until ctx ends. It asks again when no answer comes in time, so
// that the other side may see the request more than once. Errors: a [RefusedError], [ErrUnknownMember], [ErrTooLong],
// [ErrBusy], [ErrClosed], or that of ctx.
func (l *Link) Request(ctx context.Context, member uint16, kind byte, body []byte) ([]byte, error) {
	id, answered, err := l.calls.begin(member)
	if err != nil {
		return nil, err
	}
	defer l.calls.end(id)
	wait := l.patience(member)
	again := time.NewTimer(0)
	defer again.Stop()
	for {
		select {
		case a := <-answered:
			return a.body, a.err
		case <-ctx.Done():
			return nil, fmt.Errorf("request to member %d: %w", member, ctx.Err())
		case <-again.C:
		}
		// Keys that are still to come are as good as a datagram that was lost.
		if err := l.calls.ask(member, kind, id, body); err != nil && !errors.Is(err, ErrNoKey) {
			return nil, fmt.Errorf("request to member %d: %w", member, err)
		}
		again.Reset(wait)
		wait = min(2*wait, maxTry)
	}
}

// patience is how long to wait for a first answer.
func (l *Link) patience(member uint16) time.Duration {
	rtt, ok := l.RTT(member)
	if !ok || rtt.Smoothed == 0 {
		return firstTry
	}
	return min(max(rtt.Smoothed+4*rtt.Deviation, minTry), maxTry)
}

func (c *calls) begin(member uint16) (id uint32, answered chan result, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.closed:
		return 0, nil, ErrClosed
	case len(c.waiting) >= maxCalls:
		return 0, nil, ErrBusy
	}
	for c.last++; ; c.last++ {
		if _, taken := c.waiting[c.last]; !taken {
			break
		}
	}
	answered = make(chan result, 1)
	c.waiting[c.last] = call{member: member, result: answered}
	return c.last, answered, nil
}

func (c *calls) end(id uint32) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.waiting, id)
}

func (c *calls) ask(member uint16, kind byte, id uint32, body []byte) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	k, at, err := c.sender.target(member)
	if err != nil {
		return err
	}
	head := [requestLen]byte{typeRequest, kind}
	binary.BigEndian.PutUint32(head[2:], id)
	defer c.sender.Flush()
	return c.sender.message(k, at, head, requestLen, body)
}

// answer ends a request, if the one who was asked answers it.
func (c *calls) answer(from uint16, id uint32, refused bool, body []byte) {
	r := result{body: append([]byte(nil), body...)}
	if refused {
		r = result{err: &RefusedError{Member: from, Reason: string(body)}}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if w, ok := c.waiting[id]; ok && w.member == from {
		w.finish(r)
	}
}

// finish hands over the result, unless there is one: the first counts.
func (w call) finish(r result) {
	select {
	case w.result <- r:
	default:
	}
}

// close ends what waits.
func (c *calls) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	for _, w := range c.waiting {
		w.finish(result{err: ErrClosed})
	}
}
