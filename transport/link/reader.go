package link

import (
	"encoding/binary"
	"net/netip"

	"github.com/rootd/rootd/packetpath/udp"
)

// reader takes datagrams from one socket.
type reader struct {
	link    *Link
	conn    udp.Conn
	batch   []udp.Message
	inbound []Inbound // packets of this turn
	turn    uint64    // from 1; ends when the packets are handed over
	now     int64     // link's clock, of this batch
	pieces  *assembler
	replies *Sender
	answer  []byte // scratch of Asked
	nonce   nonce
	tally   tally
}

func newReader(l *Link, c udp.Conn) *reader {
	r := &reader{
		link: l, conn: c, batch: newBatch(l.o.Batch), inbound: make([]Inbound, 0, l.o.Batch), turn: 1,
		pieces: new(assembler), replies: l.NewSender(), answer: make([]byte, 0, MaxBody),
	}
	l.register(&r.tally)
	return r
}

// run reads until the socket is closed.
func (r *reader) run() error {
	for {
		n, err := r.conn.Read(r.batch)
		if err != nil {
			return err
		}
		r.take(r.batch[:n])
	}
}

// take handles one batch.
func (r *reader) take(batch []udp.Message) {
	r.now = r.link.now()
	for i := range batch {
		r.datagram(batch[i].Buf[:batch[i].N], batch[i].Addr)
	}
	r.deliver()
	r.replies.Flush()
}

// deliver ends a turn: the packets are handed over, their memory may be used again.
func (r *reader) deliver() {
	if len(r.inbound) > 0 {
		r.link.o.Handler(r.inbound)
		clear(r.inbound)
		r.inbound = r.inbound[:0]
	}
	r.turn++
}

// datagram authenticates, and only then believes anything. Whatever is wrong ends in a counter and nowhere else.
func (r *reader) datagram(b []byte, from netip.AddrPort) {
	if len(b) <= overhead {
		r.tally.add(countShort, 1)
		return
	}
	index, counter, ok := parseHeader(b)
	if !ok {
		r.tally.add(countVersion, 1)
		return
	}
	k := r.link.keys.find(index)
	if k == nil {
		r.tally.add(countUnknownKey, 1)
		return
	}
	if r.now >= k.until.Load() {
		r.tally.add(countExpired, 1)
		return
	}
	content, err := k.decrypt(b, counter, &r.nonce)
	if err != nil {
		r.tally.add(countForged, 1)
		return
	}
	if !k.fresh(counter) {
		r.tally.add(countReplayed, 1)
		return
	}
	r.tally.add(countReceived, 1)
	m := k.member
	m.received.Add(1)
	if m.heard.Load() != r.now {
		m.heard.Store(r.now)
	}
	if !k.heard.Load() {
		r.link.confirm(k, r.now)
	}
	if !r.content(k, counter, content, from) {
		r.tally.add(countMalformed, 1)
	}
}

// content handles what an authentic datagram says; false if that makes no sense.
func (r *reader) content(k *session, counter uint64, b []byte, from netip.AddrPort) bool {
	what, b := b[0], b[1:]
	m := k.member
	switch what {
	case typeRelay:
		if len(b) < relayLen-1 {
			return false
		}
		r.relayed(m, parseAddress(b), b[relayLen-1:])
	case typePiece:
		return r.piece(k, counter, b)
	case typeNotification:
		if len(b) < notificationLen-1 {
			return false
		}
		r.tally.add(countNotified, 1)
		r.link.o.Notified(m.id, b[0], b[notificationLen-1:])
	case typeRequest:
		if len(b) < requestLen-1 {
			return false
		}
		r.request(m, b[0], [4]byte(b[1:]), b[requestLen-1:], from)
	case typeAnswer:
		if len(b) < answerLen-1 || b[4] > answerRefused {
			return false
		}
		r.link.calls.answer(m.id, binary.BigEndian.Uint32(b), b[4] == answerRefused, b[answerLen-1:])
	case typeProbe, typeEcho:
		if len(b) != probeLen-1 {
			return false
		}
		r.probe(m, what, b[0], binary.BigEndian.Uint32(b[1:]), int64(binary.BigEndian.Uint64(b[5:])), from)
	default:
		return false
	}
	return true
}

func (r *reader) relayed(m *member, peer uint64, payload []byte) {
	r.tally.add(countInbound, 1)
	r.tally.add(countInboundBytes, uint64(len(payload)))
	r.inbound = append(r.inbound, Inbound{Member: m.id, Peer: peer, Payload: payload})
}

func (r *reader) piece(k *session, counter uint64, b []byte) bool {
	p, ok := parsePiece(b, k.local, counter)
	if !ok {
		return false
	}
	if r.pieces.clashes(&p, r.turn) {
		r.deliver()
	}
	packet, lost := r.pieces.add(&p, r.turn)
	if lost {
		r.tally.add(countIncomplete, 1)
	}
	if packet != nil {
		r.relayed(k.member, p.peer, packet)
	}
	return true
}

// request lets the consumer answer, and answers.
func (r *reader) request(m *member, kind byte, id [4]byte, body []byte, from netip.AddrPort) {
	r.tally.add(countAsked, 1)
	status := byte(answerOK)
	answer, err := r.link.o.Asked(m.id, kind, body, r.answer[:0])
	if err == nil && len(answer) > MaxBody {
		err = ErrTooLong
	}
	if err != nil {
		status, answer = answerRefused, append(r.answer[:0], err.Error()...)
		answer = answer[:min(len(answer), MaxBody)]
	}
	k, at, err := r.replies.wayTo(m, m.pathTo(from))
	if err != nil {
		return // counted; the other side will ask again
	}
	head := [requestLen]byte{typeAnswer, id[0], id[1], id[2], id[3], status}
	r.replies.message(k, at, head, answerLen, answer) //nolint:errcheck // likewise
}

// probe returns a probe to where it came from, or takes in one that was returned.
func (r *reader) probe(m *member, what, number byte, sequence uint32, sent int64, from netip.AddrPort) {
	if what == typeEcho {
		if p := m.pathNumber(number); p != nil {
			p.echo(sequence, sent, r.now)
		}
		return
	}
	if k, at, err := r.replies.wayTo(m, m.pathTo(from)); err == nil {
		r.replies.probe(k, at, typeEcho, number, sequence, sent)
	}
}
