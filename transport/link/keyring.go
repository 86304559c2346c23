package link

import "sync/atomic"

// keyringSlots bounds the number of sessions; a power of two. A member has four at most for a time, usually one.
const keyringSlots = 4096

// keyring finds the session of a datagram by the index in its header. The low bits of an index are a slot, the others
// are random, so that datagrams of an earlier session do not meet a later one.
//
// Readers load a slot: no lock. Slots are reserved, filled and emptied under the link's mutex.
type keyring struct {
	slots    [keyringSlots]atomic.Pointer[session]
	reserved [keyringSlots]bool
	hint     uint32 // where to look for a free slot
}

// find returns the session with an index, or nil.
func (k *keyring) find(index uint32) *session {
	if s := k.slots[index%keyringSlots].Load(); s != nil && s.local == index {
		return s
	}
	return nil
}

// reserve returns an index that nothing else has; false if all are taken.
func (k *keyring) reserve() (index uint32, ok bool) {
	for range keyringSlots {
		k.hint = (k.hint + 1) % keyringSlots
		if !k.reserved[k.hint] {
			k.reserved[k.hint] = true
			return uint32(random64())&^(keyringSlots-1) | k.hint, true
		}
	}
	return 0, false
}

// put makes a session findable by the index it has reserved.
func (k *keyring) put(s *session) { k.slots[s.local%keyringSlots].Store(s) }

// release frees an index, and forgets the session that has it.
func (k *keyring) release(index uint32) {
	k.slots[index%keyringSlots].Store(nil)
	k.reserved[index%keyringSlots] = false
}

// install adds a new session of a member. The link is locked.
//
// The one who offered may send with it at once, because the answer says that the other side has it. The one who
// answered waits until it has heard on it. Sessions that were never heard on give way to a new one of the same side:
// the exchange that made them came to nothing.
func (l *Link) install(s *session, epoch uint64) {
	m := s.member
	if m.epoch != epoch { // the member has restarted, and knows none of the earlier keys
		l.dropSessions(m, func(*session) bool { return true })
		m.epoch, m.generation = epoch, 0
	}
	l.dropSessions(m, func(o *session) bool { return !o.heard.Load() && o.offerer == s.offerer })
	for len(m.sessions) >= maxSessions {
		oldest := m.sessions[0]
		l.dropSessions(m, func(o *session) bool { return o == oldest })
	}
	s.until.Store(s.created + lifetimes*int64(l.o.RotateAfter) + int64(l.o.Overlap))
	m.generation = max(m.generation, s.generation)
	m.sessions = append(m.sessions, s)
	l.keys.put(s)
	l.choose(m)
	l.tally.add(countAgreed, 1)
}

// lifetimes is for how many times RotateAfter a session is used if no other takes its place.
const lifetimes = 6

// maxSessions is how many sessions a member may have at a time: the one in use, one being agreed from each side,
// others that have just been replaced.
const maxSessions = 8

// confirm notes that a datagram came by a session for the first time: it may be used from now on, and the other side
// will not use earlier ones any more, so what is under way with them is waited for and no longer.
func (l *Link) confirm(s *session, now int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if s.heard.Swap(true) {
		return
	}
	end := now + int64(l.o.Overlap)
	for _, o := range s.member.sessions {
		if s.after(o) && o.until.Load() > end {
			o.until.Store(end)
		}
	}
	l.choose(s.member)
}

// choose selects the session to send with: the last of those that the other side is known to have and that are not too
// old. The link is locked.
func (l *Link) choose(m *member) {
	var best *session
	oldest := l.now() - lifetimes*int64(l.o.RotateAfter)
	for _, s := range m.sessions {
		if (s.heard.Load() || s.offerer == l.o.Self) && s.created > oldest && s.after(best) {
			best = s
		}
	}
	m.sending.Store(best)
}

// dropSessions forgets the sessions that which selects, at once. The link is locked.
func (l *Link) dropSessions(m *member, which func(*session) bool) {
	kept := make([]*session, 0, len(m.sessions)+1)
	for _, s := range m.sessions {
		if !which(s) {
			kept = append(kept, s)
			continue
		}
		l.keys.release(s.local)
		m.sentBefore += s.counter.Load()
	}
	if len(kept) != len(m.sessions) {
		m.sessions = kept
		l.choose(m)
	}
}
