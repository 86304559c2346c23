package vl1

import "net/netip"

const (
	assemblyExpiry = 1000 // milliseconds after the first piece

	defaultAssemblies          = 64
	defaultAssembliesPerSource = 16
)

// Assembler puts fragmented packets together. It holds a bounded number of packets, in all and for
// each IP address they come from, and drops the oldest for a new one; a piece of a packet that is
// not complete after a second is dropped. One goroutine at a time.
//
// Pieces belong together by packet ID and destination. Neither is authenticated: the MAC of the whole
// packet says whether the pieces were good.
type Assembler struct {
	slots     []assembly
	perSource int
	out       []byte
}

// assembly is a packet of which some pieces are there.
type assembly struct {
	id     uint64
	dest   Address
	source netip.Addr // where the first piece came from
	born   int64      // milliseconds; when the first piece came
	live   bool
	total  int // 0: only the head is there, and it does not tell
	have   int // number of pieces
	pieces [MaxPieces][]byte
}

// NewAssembler returns an assembler for at most n packets at a time, and perSource from one IP
// address; 0 means a default.
func NewAssembler(n, perSource int) *Assembler {
	if n <= 0 {
		n = defaultAssemblies
	}
	if perSource <= 0 {
		perSource = defaultAssembliesPerSource
	}
	return &Assembler{slots: make([]assembly, n), perSource: perSource}
}

// Head takes the head of a fragmented packet that came from source. If that completes the packet it
// returns it, else nil. now is in milliseconds, on any clock that does not go back. The result is
// valid until the next call.
func (a *Assembler) Head(p Packet, source netip.Addr, now int64) Packet {
	s := a.slot(p.ID(), p.Dest(), source, now)
	return a.add(s, 0, p)
}

// Fragment takes a fragment, like [Assembler.Head]. Fragments with bad numbers are ignored, and so
// are those that contradict earlier ones of the packet.
func (a *Assembler) Fragment(f Fragment, source netip.Addr, now int64) Packet {
	if f.Check() != nil {
		return nil
	}
	s := a.slot(f.ID(), f.Dest(), source, now)
	if s.total == 0 {
		s.total = f.Total()
	}
	if s.total != f.Total() {
		return nil
	}
	return a.add(s, f.No(), f.Data())
}

// slot finds the packet's slot, or takes one for it: a free or expired one, or the oldest of the
// source if it has too many, or the oldest of all.
func (a *Assembler) slot(id uint64, dest Address, source netip.Addr, now int64) *assembly {
	var free, oldest, oldestOfSource *assembly
	ofSource := 0
	for i := range a.slots {
		s := &a.slots[i]
		if !s.live || now-s.born > assemblyExpiry {
			free = s
			continue
		}
		if s.id == id && s.dest == dest {
			return s
		}
		if oldest == nil || s.born < oldest.born {
			oldest = s
		}
		if s.source == source {
			ofSource++
			if oldestOfSource == nil || s.born < oldestOfSource.born {
				oldestOfSource = s
			}
		}
	}
	s := free
	switch {
	case ofSource >= a.perSource:
		s = oldestOfSource
	case free == nil:
		s = oldest
	}
	for i := range s.pieces {
		s.pieces[i] = s.pieces[i][:0]
	}
	*s = assembly{id: id, dest: dest, source: source, born: now, live: true, pieces: s.pieces}
	return s
}

// add keeps a piece and returns the packet if it was the last that was missing.
func (a *Assembler) add(s *assembly, no int, data []byte) Packet {
	if len(s.pieces[no]) > 0 || len(data) > MaxPacket {
		return nil
	}
	s.pieces[no] = append(s.pieces[no], data...)
	s.have++
	if s.have != s.total {
		return nil
	}
	s.live = false
	a.out = a.out[:0]
	for _, piece := range s.pieces[:s.total] {
		a.out = append(a.out, piece...)
	}
	if len(a.out) > MaxPacket {
		return nil
	}
	return a.out
}
