package sim

// event is something that happens at a time. Events of one time happen in the order in which they were made.
type event struct {
	at  int64 // ms
	seq uint64
	// what: exactly one of these
	node *Node  // its timer
	fn   func() // a step of a scenario
	pkt  *datagram
}

func (e *event) before(o *event) bool { return e.at < o.at || e.at == o.at && e.seq < o.seq }

// queue is a binary heap of events.
type queue struct {
	h   []event
	seq uint64
}

func (q *queue) push(e event) {
	q.seq++
	e.seq = q.seq
	q.h = append(q.h, e)
	for i := len(q.h) - 1; i > 0; {
		up := (i - 1) / 2
		if !q.h[i].before(&q.h[up]) {
			break
		}
		q.h[i], q.h[up] = q.h[up], q.h[i]
		i = up
	}
}

func (q *queue) pop() event {
	top := q.h[0]
	n := len(q.h) - 1
	q.h[0] = q.h[n]
	q.h[n] = event{}
	q.h = q.h[:n]
	for i := 0; ; {
		kid := 2*i + 1
		if kid >= n {
			break
		}
		if kid+1 < n && q.h[kid+1].before(&q.h[kid]) {
			kid++
		}
		if !q.h[kid].before(&q.h[i]) {
			break
		}
		q.h[i], q.h[kid] = q.h[kid], q.h[i]
		i = kid
	}
	return top
}
