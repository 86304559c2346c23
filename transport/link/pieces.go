package link

// assemblySlots is how many packets can be incomplete at a time, for each reader. Pieces of a packet follow each other,
// so that more than a few are incomplete only when datagrams were lost.
const assemblySlots = 1 << assemblyBits

const assemblyBits = 8

// assembler joins the pieces of packets. It belongs to one reader.
//
// A packet is known by the session and the counter of its first piece, which are never used twice: no clock is needed,
// an incomplete packet simply stays until another one needs its slot.
type assembler struct {
	slots [assemblySlots]assembly
}

type assembly struct {
	session uint32 // local index
	base    uint64 // counter of piece 0
	peer    uint64
	length  int
	count   int
	have    uint16 // bit n: piece n is here; 0: the slot is empty
	turn    uint64 // in which it was completed: the slot is not to be touched in this turn
	buf     [MaxPayload]byte
}

// piece is what one datagram says.
type piece struct {
	session uint32
	base    uint64
	peer    uint64
	length  int
	no      int
	count   int
	data    []byte
}

// pieceSize is the length of all pieces of a packet but the last.
func pieceSize(length, count int) int { return (length + count - 1) / count }

// parsePiece reads the content of a datagram, after the type. It is strict: the sender can have sent this piece of
// this packet with this counter.
func parsePiece(b []byte, session uint32, counter uint64) (p piece, ok bool) {
	if len(b) < pieceLen-1 {
		return p, false
	}
	p = piece{
		session: session, peer: parseAddress(b),
		no: int(b[5] >> 4), count: int(b[5] & 15),
		length: int(b[6])<<8 | int(b[7]), data: b[pieceLen-1:],
	}
	p.base = counter - uint64(p.no)
	if p.count < 2 || p.no >= p.count || uint64(p.no) > counter || p.length > MaxPayload {
		return p, false
	}
	size := pieceSize(p.length, p.count)
	want := min(size, p.length-p.no*size)
	return p, want > 0 && len(p.data) == want
}

func (a *assembler) slot(p *piece) *assembly {
	h := (p.base ^ uint64(p.session)<<32) * 0x9E3779B97F4A7C15
	return &a.slots[h>>(64-assemblyBits)]
}

// clashes reports whether the slot of a piece holds another packet that was completed in this turn: it must be handed
// over first.
func (a *assembler) clashes(p *piece, turn uint64) bool {
	s := a.slot(p)
	return s.have != 0 && s.turn == turn && !s.is(p)
}

func (s *assembly) is(p *piece) bool { return s.session == p.session && s.base == p.base }

func (s *assembly) complete() bool { return s.have == 1<<s.count-1 }

// add takes in a piece. It returns the packet if it is complete: valid until the turn is over. Lost reports that an
// incomplete packet had to go.
func (a *assembler) add(p *piece, turn uint64) (packet []byte, lost bool) {
	s := a.slot(p)
	if s.have == 0 || !s.is(p) {
		lost = s.have != 0 && !s.complete()
		s.session, s.base, s.peer, s.length, s.count = p.session, p.base, p.peer, p.length, p.count
		s.have, s.turn = 0, 0
	}
	if s.peer != p.peer || s.length != p.length || s.count != p.count { // no member of ours sends this
		return nil, lost
	}
	copy(s.buf[p.no*pieceSize(p.length, p.count):], p.data)
	s.have |= 1 << p.no
	if !s.complete() {
		return nil, lost
	}
	s.turn = turn
	return s.buf[:s.length], lost
}
