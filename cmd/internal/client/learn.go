package client

// knows refreshes the entry of a path on which an authentic packet with hops 0 came. It reports whether the path is
// known, or is not to be learned because it is a second port of a living one.
func (r *peer) knows(f *Family, p *path, now int64) bool {
	for i := range r.slots {
		s := &r.slots[i]
		if s.p == p {
			s.learned = now
			return true
		}
		if f.Learn == LearnOneSocket && sameIP(s.p.addr, p.addr) && s.p.sock == p.sock && s.p.alive(now) {
			return true
		}
	}
	return false
}

// place finds the entry that a path to be learned takes: an index into the table, or one past its end; -1 if the path
// is not wanted.
func (r *peer) place(f *Family, p *path, now int64) int {
	switch f.Learn {
	case LearnSticky:
		if r.redundant(p, now) {
			return -1
		}
		for i := range r.slots {
			if sameNet(r.slots[i].p.addr, p.addr) {
				return i
			}
		}
		return r.freeOrWorst(f, now, false)
	case LearnStickyFirstDead:
		if r.redundant(p, now) {
			return -1
		}
		return r.freeOrWorst(f, now, true)
	case LearnFirstDead:
		for i := range r.slots {
			if s := &r.slots[i]; !s.p.alive(now) || sameIP(s.p.addr, p.addr) {
				return i
			}
		}
		return r.freeOrWorst(f, now, false)
	case LearnLast:
		for i := range r.slots {
			if q := r.slots[i].p; familyOf(q.addr) == familyOf(p.addr) {
				if q.addr == r.preferred[familyOf(q.addr)] && now-q.lastIn <= lastAlive {
					return -1
				}
				return i
			}
		}
		return len(r.slots)
	case LearnFreeFirst:
		return r.freeOrLongestDead(f, p, now)
	default:
		return r.freeOrOldest(f, p, now)
	}
}

// lastAlive is how long after the last datagram a client of LearnLast holds a path for alive.
const lastAlive = 45_000

// redundant: a living path has the same socket and address family, or the same network.
func (r *peer) redundant(p *path, now int64) bool {
	for i := range r.slots {
		q := r.slots[i].p
		if q.alive(now) && (q.sock == p.sock && familyOf(q.addr) == familyOf(p.addr) || sameNet(q.addr, p.addr)) {
			return true
		}
	}
	return false
}

// freeOrWorst returns the first dead entry if firstDead is set, else a free one, else the worst.
func (r *peer) freeOrWorst(f *Family, now int64, firstDead bool) int {
	at, worst := -1, int64(0)
	for i := range r.slots {
		s := &r.slots[i]
		q := s.p.quality(now)
		if f.Learn == LearnFirstDead {
			q /= int64(s.priority)
		}
		if q > worst {
			at, worst = i, q
			if firstDead && !s.p.alive(now) {
				return i
			}
		}
	}
	if len(r.slots) < f.MaxPaths {
		return len(r.slots)
	}
	return at
}

// freeOrLongestDead scores a full table: seconds of death, and one point each for the same IP, port, socket.
func (r *peer) freeOrLongestDead(f *Family, p *path, now int64) int {
	if len(r.slots) < f.MaxPaths {
		return len(r.slots)
	}
	at, most := -1, int64(0)
	worst, worstAt := int64(0), -1
	for i := range r.slots {
		s := &r.slots[i]
		score := int64(0)
		if !s.p.alive(now) {
			score = (now - s.p.lastIn) / 1000
		}
		if sameIP(s.p.addr, p.addr) {
			score++
			if s.p.addr.Port() == p.addr.Port() {
				score++
				if s.p.sock == p.sock {
					score++
				}
			}
		}
		if score > most {
			at, most = i, score
		}
		if q := s.p.quality(now) / int64(s.priority); q > worst {
			worstAt, worst = i, q
		}
	}
	if most == 0 {
		return worstAt
	}
	return at
}

// freeOrOldest returns the dead entry with the same IP and socket, else a free one, else the one silent for longest.
func (r *peer) freeOrOldest(f *Family, p *path, now int64) int {
	oldest, age := -1, int64(0)
	for i := range r.slots {
		q := r.slots[i].p
		if a := now - q.lastIn; a > age {
			oldest, age = i, a
		}
		if sameIP(q.addr, p.addr) && q.sock == p.sock && !q.alive(now) {
			return i
		}
	}
	if len(r.slots) < f.MaxPaths {
		return len(r.slots)
	}
	return oldest
}
