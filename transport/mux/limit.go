package mux

import (
	"sync"
	"time"

	"github.com/rootd/rootd/transport/pki"
)

// quota bounds how many of something there are, in total and per source address.
type quota struct {
	total, each int

	mu   sync.Mutex // guards what follows
	all  int
	held map[string]int // by source; no zeros
}

// take reports whether there may be one more, and counts it.
func (q *quota) take(source string) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.all >= q.total || q.held[source] >= q.each {
		return false
	}
	q.all++
	q.held[source]++
	return true
}

// give undoes a take.
func (q *quota) give(source string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.all--
	if q.held[source]--; q.held[source] == 0 {
		delete(q.held, source)
	}
}

func (q *quota) len() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.all
}

// complaint is what is logged about a member.
type complaint struct {
	member pki.MemberID
	code   Code
}

// throttle lets the same complaint pass once in a while: a removed member may come back every second.
type throttle struct {
	mu   sync.Mutex
	last map[complaint]time.Time
}

const (
	complainEvery = 10 * time.Minute
	maxComplaints = 256
)

func (t *throttle) pass(c complaint, now time.Time) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if at, ok := t.last[c]; ok && now.Sub(at) < complainEvery {
		return false
	}
	if len(t.last) >= maxComplaints {
		clear(t.last)
	}
	t.last[c] = now
	return true
}
