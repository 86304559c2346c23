package client

// Bits of what a visit sent: the address families that got something.
const (
	sentV4 = 1 << iota
	sentV6
)

// pingAncient is ping of ancient clients, which look after the best path only.
func (c *Client) pingAncient(e *Env, r *peer) (sent int) {
	for i := 0; i < len(r.slots); {
		if e.Now-r.slots[i].learned >= ancientHello+3*ancientTick {
			r.drop(i)
		} else {
			i++
		}
	}
	p := r.best(e.Now, false)
	switch {
	case p == nil:
		return 0
	case e.Now-p.lastIn >= ancientHello:
		c.hello(e, r, p.sock, p.addr)
		p.lastOut = e.Now
	case e.Now-p.lastOut >= ancientJunk:
		c.emit(e, p.sock, p.addr, 0, nil)
		p.lastOut = e.Now
	}
	return sentV4 | sentV6
}

// ping keeps the paths of a peer open, forgets those that expired or were overridden by a redirect, and returns the
// address families on which it sent something. Only paths of the highest priority in the table are pinged.
func (c *Client) ping(e *Env, r *peer) (sent int) {
	if c.fam.Ancient {
		return c.pingAncient(e, r)
	}
	full := e.Now-r.lastVisit >= fullPingPeriod
	if full || c.fam.HelloOnce {
		r.lastVisit = e.Now
	}
	highest := int32(0)
	for i := range r.slots {
		highest = max(highest, r.slots[i].priority)
	}
	good := func(s *slot) bool { return e.Now-s.learned < pathExpiry && s.priority == highest }
	touch := func(s *slot) {
		if !full && e.Now-s.p.lastOut < heartbeat {
			return
		}
		c.contact(e, r, s.p.sock, s.p.addr, full)
		s.p.lastOut = e.Now
		sent |= sentV4 << familyOf(s.p.addr)
	}

	switch c.fam.Prune {
	case PruneSkip:
		for i := range r.slots {
			if !good(&r.slots[i]) {
				r.drop(i)
				break // everything behind it moved forward one place and waits for the next visit
			}
			touch(&r.slots[i])
		}
	default:
		j := 0
		for i := range r.slots {
			s := r.slots[i]
			if !good(&s) {
				continue
			}
			touch(&s)
			if i != j {
				s.p.refs++
				r.slots[j].p.refs--
				r.slots[j] = s
			}
			j++
		}
		if c.fam.Prune == PruneDrop {
			for len(r.slots) > j {
				r.drop(len(r.slots) - 1)
			}
		}
	}
	return sent
}

// visit is what every background tick does for one root.
func (c *Client) visit(e *Env, r *peer, best *peer) {
	if c.fam.RootGate {
		gate := int64(rootGate)
		if c.fam.PathlessRetry && len(r.slots) == 0 {
			gate = 0
		}
		if e.Now-r.lastVisit <= gate {
			// Not visited: real clients then ask for the root's identity, which they have.
			c.leftOver = append(c.leftOver, r.id.Address)
			return
		}
	}
	sent := c.ping(e, r)
	contacted := sent != 0
	for fam := range 2 {
		if sent&(sentV4<<fam) != 0 {
			continue
		}
		if ap, ok := c.stableEndpoint(r.id.Address, fam); ok {
			c.hello(e, r, anySocket, ap)
			contacted = true
		}
	}
	if !contacted && best != nil {
		if up := best.best(e.Now, true); up != nil {
			c.hello(e, r, up.sock, up.addr)
		}
	}
}

// tick visits every root, keeps paths to peers with traffic open, and asks for what is left.
func (c *Client) tick(e *Env) {
	c.leftOver = c.leftOver[:0]
	best := c.upstream(e.Now)
	for _, r := range c.peers {
		switch {
		case r.root:
			c.visit(e, r.peer, best)
		case e.Now-r.lastNontrivial < peerTimeout:
			c.ping(e, r.peer)
		}
	}
	for _, a := range c.leftOver {
		c.requestWhois(e, a)
	}
	c.announceGroups(e)
	c.updateOnline(e)
}
