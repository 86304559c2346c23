package gather

import "github.com/rootd/rootd/packetpath/vl1"

// none is the end of a group's list.
const none = int32(-1)

// group is the members of one group: an array without order or gaps, and through it a list in the order of the last
// LIKE. Times along the list never decrease. Its owner keeps the index from peers to places.
type group struct {
	members    []member
	head, tail int32 // longest ago, most recent
}

type member struct {
	peer       vl1.Address
	seen       int64 // time of the last LIKE, milliseconds
	prev, next int32 // neighbours in the list
}

func newGroup() *group { return &group{head: none, tail: none} }

// oldest returns the member whose last LIKE is longest ago. There must be one.
func (g *group) oldest() *member { return &g.members[g.head] }

// add appends a new member and returns its place.
func (g *group) add(peer vl1.Address, now int64) int32 {
	i := int32(len(g.members))
	g.members = append(g.members, member{peer: peer})
	g.push(i, now)
	return i
}

// touch makes the member at place i the most recent.
func (g *group) touch(i int32, now int64) {
	g.unlink(i)
	g.push(i, now)
}

// push puts place i at the recent end of the list. Callers' clocks may differ a little: one that is behind counts as
// the time of the LIKE before it, so that the list stays in order.
func (g *group) push(i int32, now int64) {
	m := &g.members[i]
	m.seen, m.prev, m.next = now, g.tail, none
	if g.tail == none {
		g.head = i
	} else {
		before := &g.members[g.tail]
		m.seen = max(now, before.seen)
		before.next = i
	}
	g.tail = i
}

// unlink takes place i out of the list.
func (g *group) unlink(i int32) {
	m := &g.members[i]
	if m.prev == none {
		g.head = m.next
	} else {
		g.members[m.prev].next = m.next
	}
	if m.next == none {
		g.tail = m.prev
	} else {
		g.members[m.next].prev = m.prev
	}
}

// removeOldest removes the oldest member. The last one of the array moves to its place: if that is another one, it and
// its new place are returned.
func (g *group) removeOldest() (moved vl1.Address, to int32, ok bool) {
	to = g.head
	g.unlink(to)
	last := int32(len(g.members)) - 1
	if to != last {
		m := g.members[last]
		g.members[to] = m
		if m.prev == none {
			g.head = to
		} else {
			g.members[m.prev].next = to
		}
		if m.next == none {
			g.tail = to
		} else {
			g.members[m.next].prev = to
		}
		moved, ok = m.peer, true
	}
	g.members = g.members[:last]
	return moved, to, ok
}
