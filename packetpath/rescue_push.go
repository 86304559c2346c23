package packetpath

import (
	"net/netip"

	"github.com/rootd/rootd/fsm"
	"github.com/rootd/rootd/fsm/table"
	"github.com/rootd/rootd/packetpath/vl1"
)

// work does what is due: pins before further pushes before first ones.
func (c *Rescuer) work() {
	rate := float64(c.w.root.view.State().Settings.RescueRate)
	perTick := rate * rescueTick.Seconds()
	c.spare = min(c.spare+perTick, max(1, 2*perTick))
	via := c.via()
	for _, q := range [...]*fifo{&c.pinning, &c.patient} {
		for o, ok := q.pop(c.w.now); ok; o, ok = q.pop(c.w.now) {
			c.pin(o)
		}
	}
	for o, ok := c.settling.pop(c.w.now); ok; o, ok = c.settling.pop(c.w.now) {
		c.settle(c.w.root.view.State(), o)
	}
	for try := len(c.pushing) - 1; try >= 0; try-- {
		for o, ok := c.pushing[try].pop(c.w.now); ok; o, ok = c.pushing[try].pop(c.w.now) {
			c.again(o, try, via)
		}
	}
	for c.spare >= 1 && len(c.waiting) > 0 {
		o := orphan{lost: c.waiting[len(c.waiting)-1], since: c.w.now}
		if c.waiting = c.waiting[:len(c.waiting)-1]; len(c.waiting) == 0 {
			c.waiting = nil // what was begun is free
		}
		if at, ok := c.settledAt(&o); ok {
			c.found(&o, at)
			continue
		}
		c.push(o, 0, via)
	}
}

// again looks at an orphan some time after a push.
func (c *Rescuer) again(o orphan, try int, via []netip.AddrPort) {
	at, settled := c.settledAt(&o)
	switch {
	case c.arrived(&o):
		c.w.inc(Rescued)
		o.of.Arrived++
		c.pin(o)
	case settled:
		c.found(&o, at)
	case c.w.now-o.since >= rescueGiveUp:
		c.w.inc(RescuesGivenUp)
		o.of.GivenUp++
	case o.stuck && len(via) > 0:
		c.push(o, try, via)
	case try+1 < len(rescueTries) && c.w.now-o.since >= o.tries()[try+1]:
		c.push(o, try+1, via)
	default:
		c.wait(o, try)
	}
}

func (o *orphan) tries() *[len(rescueTries)]int64 {
	if o.blind {
		return &blindTries
	}
	return &rescueTries
}

// wait puts an orphan among those that had so many pushes. Who has had several comes late, if at all.
func (c *Rescuer) wait(o orphan, try int) {
	o.due = c.w.now + rescueTick.Milliseconds()
	switch since := c.w.now - o.since; {
	case since > 2*rescueTries[3]:
		o.due = c.w.now + 100*rescueTick.Milliseconds()
	case since > 2*rescueTries[2]:
		o.due = c.w.now + 20*rescueTick.Milliseconds()
	}
	c.pushing[try].push(o)
}

// found counts one that needs no help any more: it is at another member, 0: at none, or came here by itself before its turn.
func (c *Rescuer) found(o *orphan, at table.MemberID) {
	if at == c.w.root.member {
		c.w.inc(Rescued)
		o.of.Arrived++
		return
	}
	c.w.inc(RescuedElsewhere)
	o.of.Elsewhere++
}

// arrived reports whether the peer has spoken to this member since its first push.
func (c *Rescuer) arrived(o *orphan) bool {
	s := c.w.root.sessions.get(o.peer)
	if s == nil || s.heard.Load() < o.since {
		return false
	}
	at := s.route(c.w.now)
	return at != nil && at.heard.Load() >= o.since
}

// settledAt reports whether the log has found the peer at a member that lives, and which, or has forgotten it.
func (c *Rescuer) settledAt(o *orphan) (at table.MemberID, ok bool) {
	var r table.Record
	state := c.w.root.view.State()
	if !state.PeerKeyless(o.peer, &r) {
		return 0, true
	}
	return attachedAnywhere(state, &r)
}

// push sends an orphan a redirect to this member, by way of another root unless it was heard here a moment ago, and a direct
// word.
func (c *Rescuer) push(o orphan, try int, via []netip.AddrPort) {
	w := c.w
	var rec table.Record
	if !w.root.view.Peer(o.peer, &rec) {
		c.found(&o, 0)
		return
	}
	word := try == 0
	if o.of.Dead == restored {
		to, listed := c.heirs.of(rec.Planet, o.v4, o.v6)
		if to != w.root.member {
			o.of.Peers-- // it falls to another one now
			return
		}
		o.blind = !listed
		word = listed && (try == 0 || try == 2 || try == 3) // it may get lost while all come at once, and clients before 1.6.3 wait for the old path to fall silent
	}
	if o.stuck = len(via) == 0; o.stuck && !word && try > 0 {
		c.wait(o, try)
		return
	}
	key, err := w.root.self.Agree(&rec.Key)
	if err != nil {
		c.found(&o, 0) // nobody could speak to it
		return
	}
	c.spare--
	if c.mayPush(&o, &rec) {
		if c.carry(&o, try, via, &key) {
			if o.last == 0 {
				o.of.Pushed++
			}
			o.last = w.now
			o.row++
			w.inc(RescuePushes)
			o.stuck = false
		}
	}
	c.wait(o, try)
	if word {
		c.speak(&o, &rec, &key)
	}
}

// speak sends a direct word to where the log saw an orphan.
func (c *Rescuer) speak(o *orphan, rec *table.Record, key *vl1.Key) {
	w := c.w
	for i, to := range [2]netip.AddrPort{rec.V4, rec.V6} {
		if port, ok := w.root.portFor(to); ok && [2]bool{o.v4, o.v6}[i] {
			p := w.packet(o.peer, vl1.VerbNop)
			if o.of.Dead == restored { // it may know this address, and would say nothing
				p = vl1.AppendWhois(w.packet(o.peer, vl1.VerbWhois), w.root.self.Address)
			}
			w.sealWith(origin{addr: to, port: port}, key, vl1.SuiteSalsa, p)
		}
	}
}

// mayPush reports whether the client takes a push now, and then the pins: it counts all that come in a row, also those that it
// refuses. rec has what the log knows of earlier ones.
func (c *Rescuer) mayPush(o *orphan, rec *table.Record) bool {
	if c.w.now-o.last > gateReopens {
		o.row = 0
	}
	if o.row == 0 {
		o.row = int8(fsm.PushesTaken - fsm.PushRoom(rec, c.w.root.view.State().Seconds()))
	}
	o.prio = max(rec.Handoff.Prio(false), rec.Handoff.Prio(true))
	return o.row+1+fsm.RescuePins <= fsm.PushesTaken
}

// carry sends a redirect on its way.
func (c *Rescuer) carry(o *orphan, try int, via []netip.AddrPort, key *vl1.Key) bool {
	w := c.w
	if s := w.root.sessions.get(o.peer); s != nil && try == 0 {
		if at := s.route(w.now); at != nil && w.now-at.heard.Load() < heardHere {
			p := c.redirect(o)
			if p != nil {
				p.SetHops(1) // or it would greet us once more
				w.seal(at.origin, s, p)
			}
			return p != nil
		}
	}
	if len(via) == 0 {
		return false
	}
	to := via[try%len(via)]
	port, ok := w.root.portFor(to)
	p := c.redirect(o)
	if !ok || p == nil {
		return false
	}
	w.sealWith(origin{addr: to, port: port}, key, vl1.SuiteSalsa, p)
	return true
}

// redirect returns a redirect of an orphan to this member, in the families that it had at the dead one, or nil if the
// planet does not list us there.
func (c *Rescuer) redirect(o *orphan) vl1.Packet {
	var paths [2]vl1.DirectPath
	n := 0
	for i, had := range [2]bool{o.v4, o.v6} {
		if e := c.self(i == 1); had && e.IsValid() {
			paths[n] = vl1.DirectPath{Flags: vl1.PathRedirect, Endpoint: e}
			n++
		}
	}
	if n == 0 {
		return nil
	}
	return vl1.AppendPushDirectPaths(c.w.packet(o.peer, vl1.VerbPushDirectPaths), paths[:n]...)
}

// pin redirects a peer that has come to where it is: that erases the dead path.
func (c *Rescuer) pin(o orphan) {
	w := c.w
	s := w.root.sessions.get(o.peer)
	if s == nil {
		return
	}
	if w.now-o.last > gateReopens {
		o.row = 0
	}
	if o.row >= fsm.PushesTaken {
		o.due = w.now + gateReopens + 1
		c.patient.push(o)
		return
	}
	for _, v6 := range [2]bool{false, true} {
		at := s.heardSince(v6, max(o.since, w.now-pathExpiry))
		if at == nil || o.row >= fsm.PushesTaken {
			continue
		}
		to := c.self(v6)
		if !to.IsValid() {
			continue
		}
		s.main[index(v6)].Store(at) // further ones go there, too: on another socket's path a redirect begins with the lowest priority again
		p := w.packet(o.peer, vl1.VerbPushDirectPaths)
		p = vl1.AppendPushDirectPaths(p, vl1.DirectPath{Flags: vl1.PathRedirect, Endpoint: to})
		p.SetHops(1) // or the peer would greet us once more
		w.seal(at.origin, s, p)
		o.last = w.now
		o.row++
		w.inc(RescuePins)
	}
	if o.pinned == 0 {
		o.pins = max(fsm.RescuePins, int8((o.prio-min(o.prio, 1))/2))
	}
	o.due = w.now + pinAgain
	if o.pinned++; o.pinned < o.pins {
		c.pinning.push(o)
	} else {
		o.since = w.now
		c.settling.push(o)
	}
}

// settle tells the log, once it has the peer here, which priority its path has now and how many pushes it had: what the next handoff
// has to know.
func (c *Rescuer) settle(state *fsm.State, o orphan) {
	var r table.Record
	if !state.Peer(o.peer, &r) {
		return
	}
	told := false
	for _, v6 := range [2]bool{false, true} {
		if id, ok := state.Attached(&r, v6); ok && id == c.w.root.member {
			c.steps = append(c.steps, fsm.Handoff{Address: o.peer, Step: fsm.HandoffRescued, V6: v6, From: id, Epoch: epochOf(&r, v6)})
			told = true
		}
	}
	if o.due = c.w.now + rescueTick.Milliseconds(); !told && c.w.now-o.since < settleFor {
		c.settling.push(o)
	}
}

// self returns the endpoint of this member that clients find in their planet.
func (c *Rescuer) self(v6 bool) netip.AddrPort {
	state := c.w.root.view.State()
	if m, ok := state.Member(c.w.root.member); ok {
		at, _ := state.PublishedEndpoint(m, v6)
		return at
	}
	return netip.AddrPort{}
}
