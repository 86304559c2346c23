package main

// timer is when a member has something to do, ms since 1970.
type timer struct {
	due int64
	m   *member
}

// timers is a heap of four kids a node. The times are in the heap itself, so that ordering touches no member: with
// tens of thousands of them each touch is a cache miss.
type timers []timer

const kids = 4

func (t *timers) push(m *member, due int64) {
	m.at = len(*t)
	*t = append(*t, timer{due, m})
	t.up(m.at)
}

// set changes when a member is due.
func (t timers) set(m *member, due int64) {
	old := t[m.at].due
	t[m.at].due = due
	if due < old {
		t.up(m.at)
	} else {
		t.down(m.at)
	}
}

func (t timers) up(i int) {
	x := t[i]
	for i > 0 {
		above := (i - 1) / kids
		if t[above].due <= x.due {
			break
		}
		t[i] = t[above]
		t[i].m.at = i
		i = above
	}
	t[i] = x
	x.m.at = i
}

func (t timers) down(i int) {
	x := t[i]
	for {
		first := kids*i + 1
		if first >= len(t) {
			break
		}
		least := first
		for k := first + 1; k < min(first+kids, len(t)); k++ {
			if t[k].due < t[least].due {
				least = k
			}
		}
		if t[least].due >= x.due {
			break
		}
		t[i] = t[least]
		t[i].m.at = i
		i = least
	}
	t[i] = x
	x.m.at = i
}

// agenda is a heap of four kids a node without a way back from a member to its place: only the first entry is ever
// changed. So ordering touches no member at all.
type agenda []timer

func (a *agenda) push(m *member, due int64) {
	*a = append(*a, timer{due, m})
	h, i := *a, len(*a)-1
	for i > 0 && h[(i-1)/kids].due > due {
		h[i] = h[(i-1)/kids]
		i = (i - 1) / kids
	}
	h[i] = timer{due, m}
}

// postpone makes the first entry due later.
func (a agenda) postpone(due int64) {
	x := timer{due, a[0].m}
	i := 0
	for {
		first := kids*i + 1
		if first >= len(a) {
			break
		}
		least := first
		for k := first + 1; k < min(first+kids, len(a)); k++ {
			if a[k].due < a[least].due {
				least = k
			}
		}
		if a[least].due >= x.due {
			break
		}
		a[i] = a[least]
		i = least
	}
	a[i] = x
}
