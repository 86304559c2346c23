package link

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync/atomic"
)

// maxMembers bounds the members of a link.
const maxMembers = 512

// Member is another member and where its link listens.
type Member struct {
	ID        uint16
	Endpoints []netip.AddrPort // any number up to 16, of any family; those we have no socket for are left out
}

const maxEndpoints = 16

// memberList is who is there. It never changes: SetMembers makes a new one.
type memberList struct {
	byID []*member // index is the ID; nil for none
	all  []*member // by ID
}

func (ml *memberList) get(id uint16) *member {
	if int(id) < len(ml.byID) {
		return ml.byID[id]
	}
	return nil
}

// member is what the link knows of another member. It lives as long as the member is in the list.
type member struct {
	link *Link
	id   uint16

	sending  atomic.Pointer[session] // what to encrypt with; nil if there are no keys
	route    atomic.Pointer[path]    // where to send; nil if there is no endpoint we can reach
	paths    atomic.Pointer[[]*path] // never changes in place
	heard    atomic.Int64            // link's clock when the last authentic datagram came, 0 never
	received atomic.Uint64           // authentic datagrams

	// Guarded by the link's mutex.
	sessions   []*session
	generation uint32 // highest in its epoch
	epoch      uint64 // that its sessions were agreed in
	sentBefore uint64 // datagrams of dropped sessions
	lastPath   byte   // number of the path that came last
	removed    bool
	exchanging bool
	failures   int   // exchanges in a row that came to nothing
	nextTry    int64 // no exchange before this moment, link's clock
	offers     int64 // link's clock when all offers that it made so far are paid for
}

// SetMembers says who the other members are. Those who stay keep their keys, and the measurements of endpoints that
// stay; those who are gone are forgotten at once: after it has returned nothing is sent to them, but what is in a
// sender's batch already, and nothing accepted from them, but what is in a reader's batch. This member itself is left
// out if it is in the list.
func (l *Link) SetMembers(members []Member) error {
	if err := l.checkMembers(members); err != nil {
		return fmt.Errorf("link: members: %w", err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return ErrClosed
	}
	old, next := l.members.Load(), &memberList{}
	for _, m := range members {
		if m.ID == l.o.Self {
			continue
		}
		entry := old.get(m.ID)
		if entry == nil {
			entry = &member{link: l, id: m.ID}
		}
		entry.setPaths(m.Endpoints)
		next.all = append(next.all, entry)
	}
	slices.SortFunc(next.all, func(a, b *member) int { return int(a.id) - int(b.id) })
	if n := len(next.all); n > 0 {
		next.byID = make([]*member, int(next.all[n-1].id)+1)
	}
	for _, m := range next.all {
		next.byID[m.id] = m
	}
	l.members.Store(next)
	for _, m := range old.all {
		if next.get(m.id) == nil {
			l.dropMember(m)
		}
	}
	l.poke()
	return nil
}

func (l *Link) checkMembers(members []Member) error {
	if len(members) > maxMembers {
		return fmt.Errorf("%d of them, at most %d", len(members), maxMembers)
	}
	seen := make(map[uint16]bool, len(members))
	for _, m := range members {
		switch {
		case m.ID == 0:
			return errors.New("number 0 is nobody's")
		case seen[m.ID]:
			return fmt.Errorf("number %d twice", m.ID)
		case len(m.Endpoints) > maxEndpoints:
			return fmt.Errorf("number %d has %d endpoints, at most %d", m.ID, len(m.Endpoints), maxEndpoints)
		}
		seen[m.ID] = true
	}
	return nil
}

// dropMember forgets a member's keys. The link is locked.
func (l *Link) dropMember(m *member) {
	m.removed = true
	l.dropSessions(m, func(*session) bool { return true })
}

// setPaths takes over the endpoints of a member that we can reach. The link is locked.
func (m *member) setPaths(endpoints []netip.AddrPort) {
	var old []*path
	if p := m.paths.Load(); p != nil {
		old = *p
	}
	var paths []*path
	for _, e := range endpoints {
		e = netip.AddrPortFrom(e.Addr().Unmap().WithZone(""), e.Port())
		port := m.link.portOf(e.Addr().Is4())
		if !e.IsValid() || port < 0 || slices.ContainsFunc(paths, func(p *path) bool { return p.addr == e }) {
			continue
		}
		i := slices.IndexFunc(old, func(p *path) bool { return p.addr == e })
		if i >= 0 {
			paths = append(paths, old[i])
			continue
		}
		m.lastPath++
		paths = append(paths, &path{number: m.lastPath, addr: e, port: port, space: m.link.ports[port].space})
	}
	m.paths.Store(&paths)
	if at := m.route.Load(); at == nil || !slices.Contains(paths, at) {
		at = nil
		if len(paths) > 0 {
			at = paths[0]
		}
		m.route.Store(at)
	}
}

// pathTo returns the path to an endpoint, else the route: an answer goes back by the way of the question, but never to
// where a datagram only claims to come from.
func (m *member) pathTo(addr netip.AddrPort) *path {
	for _, p := range *m.paths.Load() {
		if p.addr == addr {
			return p
		}
	}
	return m.route.Load()
}

// pathNumber returns the path that a probe was sent by, nil if it is gone.
func (m *member) pathNumber(number byte) *path {
	for _, p := range *m.paths.Load() {
		if p.number == number {
			return p
		}
	}
	return nil
}
