package main

import (
	"bufio"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"sync"

	"github.com/rootd/rootd/cmd/internal/client"
	"github.com/rootd/rootd/packetpath/vl1"
)

const (
	traceEvery = 100   // ms between two looks at which paths clients use: that also changes while nothing arrives
	traceHeard = 5_000 // ms between two lines that say that a client hears who it uses
)

// using is the path that a client uses to a root.
type using struct {
	at    netip.AddrPort
	heard int64 // as was last said
}

// trace is the file of -trace, what happens between each client and each root, one line an event:
//
//	TIME CLIENT FAMILY ROOT EVENT ENDPOINT VALUE
//
// TIME is in ms since 1970. Events: "answered" a HELLO, VALUE is the latency in ms; "redirected" it to ENDPOINT, VALUE is the
// priority of the path; "refused", a push that came too soon after others; "uses": where packets to the root go from now on, "-"
// if nowhere; "hears": from there, at the time VALUE, said every few seconds.
type trace struct {
	mu   sync.Mutex // guards what follows
	file *os.File
	w    *bufio.Writer
}

// newTrace makes the file, or nothing without a name.
func newTrace(name string) (*trace, error) {
	if name == "" {
		return nil, nil
	}
	f, err := os.Create(name)
	if err != nil {
		return nil, fmt.Errorf("-trace: %w", err)
	}
	return &trace{file: f, w: bufio.NewWriterSize(f, 1<<16)}, nil
}

func (t *trace) line(now int64, c *client.Client, root vl1.Address, event string, at netip.AddrPort, value int64) {
	where := "-"
	if at.IsValid() {
		where = at.String()
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	_, _ = fmt.Fprintln(t.w, now, c.Address(), c.Family(), root, event, where, value) // close says what went wrong
}

// flush lets others read what was written so far.
func (t *trace) flush() {
	t.mu.Lock()
	defer t.mu.Unlock()
	_ = t.w.Flush() // close says so, too
}

func (t *trace) close() error {
	if t == nil {
		return nil
	}
	if err := errors.Join(t.w.Flush(), t.file.Close()); err != nil {
		return fmt.Errorf("-trace: %w", err)
	}
	return nil
}

// noted writes a notice to the trace.
func (s *shard) noted(c *client.Client, n client.Notice) {
	switch n.Kind {
	case client.Answered:
		s.trace.line(s.env.Now, c, n.Peer, "answered", n.At, n.Value)
	case client.Redirected:
		s.trace.line(s.env.Now, c, n.Peer, "redirected", n.At, n.Value)
	case client.PushRefused:
		s.trace.line(s.env.Now, c, n.Peer, "refused", n.At, 0)
	}
}

// follow writes to the trace which clients use other paths than when it was last asked.
func (s *shard) follow() {
	if s.trace == nil || s.env.Now < s.nextTrace {
		return
	}
	s.nextTrace = s.env.Now + traceEvery
	for _, m := range s.members {
		if m.uses == nil {
			m.uses = make([]using, len(s.traffic.rootList))
		}
		for i, root := range s.traffic.rootList {
			u := &m.uses[i]
			at, heard := m.c.Route(root, s.env.Now)
			if at != u.at {
				*u = using{at: at}
				s.trace.line(s.env.Now, m.c, root, "uses", at, 0)
			}
			if heard > 0 && heard >= u.heard+traceHeard {
				u.heard = heard
				s.trace.line(s.env.Now, m.c, root, "hears", at, heard)
			}
		}
	}
	s.trace.flush()
}
