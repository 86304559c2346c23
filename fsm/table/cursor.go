package table

import (
	"unsafe"

	"github.com/rootd/rootd/packetpath/prefetch"
	"github.com/rootd/rootd/packetpath/vl1"
)

// A Cursor goes through peers in a given order, for the writer, who may change each when it is its turn. While one peer is at hand, the
// memory of the next ones is on its way: a change waits for none of its cache misses, unless others keep the memory busy.
//
// Between Next and the Set or Delete that follows, nothing else may change the table.
type Cursor struct {
	t     *Table
	as    []vl1.Address
	next  int // of as
	ring  [ringSize]spot
	lines prefetch.Lines

	// What Next found.
	seg   *segment
	slot  uint32
	known bool
	hash  uint64
	place placement
	held  Words
	now   Words
}

// A spot is what a cursor knows of a peer whose turn comes.
type spot struct {
	hash  uint64
	seg   *segment
	moves uint64 // Table.moves when seg was current
	slot  uint32 // home, then where the peer is, if it was found
	found bool
}

// A peer's memory is asked for in four steps, each when the one before should have been answered: its segment, which is too much for a
// processor's cache if there are thousands; its home; where the home says that the peer is; and its entry. A group of peers takes a step
// together, since a processor goes on past few instructions only that wait for an address to be translated.
const (
	group    = 16 // peers
	ringSize = 4 * group
)

// Visit makes c go through these peers.
func (t *Table) Visit(c *Cursor, as []vl1.Address) {
	c.t, c.as, c.next = t, as, 0
	for i := -3 * group; i < 0; i += group {
		c.ask(i)
	}
}

// ask takes the next steps of the group that begins at i, which needs its entries now, and of the three that follow it.
func (c *Cursor) ask(i int) {
	for n := i + 3*group; n < min(i+4*group, len(c.as)); n++ {
		c.askSegment(n)
	}
	for n := max(0, i+2*group); n < min(i+3*group, len(c.as)); n++ {
		c.askHome(n)
	}
	for n := max(0, i+group); n < min(i+2*group, len(c.as)); n++ {
		c.askSlot(n)
	}
	for n := max(0, i); n < min(i+group, len(c.as)); n++ {
		c.askEntry(n)
	}
	c.lines.Fetch()
}

func (c *Cursor) spot(i int) *spot { return &c.ring[i%ringSize] }

func (c *Cursor) askSegment(i int) {
	p := c.spot(i)
	h := Hash(c.as[i])
	s := c.t.dir.Load().segment(h)
	p.hash, p.seg, p.moves, p.found = h, s, c.t.moves, false
	c.lines.Add(unsafe.Pointer(s))
	c.lines.Add(unsafe.Pointer(&s.used))
}

func (c *Cursor) askHome(i int) {
	p := c.spot(i)
	if s := p.seg; s.slots != 0 {
		p.slot = s.home(p.hash)
		c.lines.Add(unsafe.Pointer(s.slot(p.slot)))
	}
}

// askSlot asks for the first slots that the peer may be in, if it is not at home.
func (c *Cursor) askSlot(i int) {
	p := c.spot(i)
	s := p.seg
	if s.slots == 0 {
		return
	}
	w0 := s.slot(p.slot)[0].Load()
	if addressOf(w0) == c.as[i] {
		p.found = true
		c.lines.Add(unsafe.Pointer(&s.cold[s.placeOf(p.slot).unit()/blockUnits%maxEntryBlocks]))
		return
	}
	h := hopsOf(w0)
	if !h.near() { // it is new, and comes here, or it is far away
		c.lines.Add(unsafe.Pointer(&s.cold[uint32(s.used)/blockUnits%maxEntryBlocks]))
		if w0 != 0 {
			h |= 1<<0 | 1<<1
		}
	}
	for h.near() {
		var d uint32
		d, h = h.first()
		c.lines.Add(unsafe.Pointer(s.slot(after(p.slot, d, s.slots))))
	}
}

func (c *Cursor) askEntry(i int) {
	p := c.spot(i)
	s := p.seg
	if s.slots == 0 {
		return
	}
	if !p.found {
		var at uint32
		if at, _, p.found = s.hot.search(p.slot, s.slots, c.as[i]); !p.found {
			s.prefetchNext(&c.lines)
			return
		}
		p.slot = at
	}
	s.prefetchEntry(s.slot(p.slot), &c.lines)
}

// Next fills r with the next peer, and reports whether the table has it. If not, r has the address and nothing else. There must be a next one.
func (c *Cursor) Next(r *Record) bool {
	i := c.next
	c.next++
	if i%group == 0 {
		c.ask(i)
	}
	a, p := c.as[i], c.spot(i)
	s := p.seg
	if p.moves != c.t.moves {
		s, p.found = c.t.dir.Load().segment(p.hash), false
	}
	c.seg, c.hash, c.slot = s, p.hash, p.slot
	c.known = p.found && addressOf(s.slot(c.slot)[0].Load()) == a
	if !c.known {
		c.known = s.slots != 0 && !a.Reserved()
		if c.known {
			c.slot, c.known = s.find(p.hash, a)
		}
	}
	if !c.known {
		*r = Record{Address: a}
		return false
	}
	w := c.held.slot()
	var e entry
	s.slot(c.slot).load(w)
	c.place = w.place()
	s.loadEntry(c.place, &e)
	r.unpack(w)
	e.unpack(r)
	w[0] = 0
	w.setPlace(0)
	*c.held.handoff() = *e.handoff()
	return true
}

// Held is the known peer that Next found.
func (c *Cursor) Held() *Words { return &c.held }

// Now is what Set made of it.
func (c *Cursor) Now() *Words { return &c.now }

// Set stores the peer that Next found: all but the key of a known one is replaced, and an unknown one is inserted. The error is as of Put.
func (c *Cursor) Set(r *Record) error {
	t := c.t
	if err := r.check(); err != nil {
		return err
	}
	if t.closed {
		return ErrClosed
	}
	t.reap()
	if !c.known && t.peers.Load() >= t.maxPeers {
		return ErrFull
	}
	r.Words(&c.now)
	w := *c.now.slot()
	if c.known && *c.now.handoff() == *c.held.handoff() { // the entry stays
		w.setPlace(c.place)
		t.keep(&w, c.seg, c.slot)
		return nil
	}
	var e entry
	if c.known {
		c.seg.loadEntry(c.place, &e)
	} else {
		e.packKey(&r.Key)
	}
	*e.handoff() = *c.now.handoff()
	return t.put(r.Address, &w, &e, c.seg, c.hash, c.slot, c.known)
}

// Delete forgets the peer that Next found.
func (c *Cursor) Delete() {
	if c.known {
		c.t.remove(c.seg, c.slot)
	}
}
