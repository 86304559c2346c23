package link

import (
	"encoding/binary"

	"github.com/rootd/rootd/packetpath/udp"
)

// Sender encrypts into a batch of its own and sends it when it is full or flushed. It belongs to one goroutine.
type Sender struct {
	link  *Link
	out   []outbox // one for each port
	nonce nonce
	tally tally
}

// outbox is a batch under way to one port.
type outbox struct {
	to    udp.Sender
	batch []udp.Message // with buffers of bufferLen
	n     int           // filled
}

// NewSender returns a sender. They are counted for as long as the link lives, so one belongs to a worker, not to a task.
func (l *Link) NewSender() *Sender {
	s := &Sender{link: l, out: make([]outbox, len(l.ports))}
	for i := range s.out {
		s.out[i] = outbox{to: l.ports[i].conn.NewSender(l.o.Batch), batch: newBatch(l.o.Batch)}
	}
	l.register(&s.tally)
	return s
}

// newBatch returns messages with buffers that lie side by side.
func newBatch(n int) []udp.Message {
	batch, memory := make([]udp.Message, n), make([]byte, n*bufferLen)
	for i := range batch {
		batch[i].Buf = memory[i*bufferLen : (i+1)*bufferLen : (i+1)*bufferLen]
	}
	return batch
}

// Send queues a packet for a peer that is attached to another member. It keeps nothing of payload. Errors are
// [ErrUnknownMember], [ErrNoKey], [ErrNoRoute] and [ErrTooLong], unwrapped; they are counted as well.
func (s *Sender) Send(member uint16, peer uint64, payload []byte) error {
	k, at, err := s.target(member)
	if err != nil {
		return err
	}
	if len(payload) > at.space-overhead-relayLen {
		return s.sendPieces(k, at, peer, payload)
	}
	counter, ok := k.take(1)
	if !ok {
		s.tally.add(countNoKey, 1)
		return ErrNoKey
	}
	b := s.buffer(at)
	b[headerLen] = typeRelay
	putAddress(b[headerLen+1:], peer)
	n := headerLen + relayLen + copy(b[headerLen+relayLen:], payload)
	s.finish(k, at, b, n, counter)
	s.tally.relayed(len(payload))
	return nil
}

// Notify queues a notification. Errors are those of Send.
func (s *Sender) Notify(member uint16, kind byte, body []byte) error {
	k, at, err := s.target(member)
	if err != nil {
		return err
	}
	return s.message(k, at, [requestLen]byte{typeNotification, kind}, notificationLen, body)
}

// Flush sends what is queued. What the kernel does not take is counted and lost, as on any network.
func (s *Sender) Flush() {
	for i := range s.out {
		if s.out[i].n > 0 {
			s.flush(&s.out[i])
		}
	}
}

func (s *Sender) flush(o *outbox) {
	sent, _ := o.to.Write(o.batch[:o.n]) // what was not sent is counted, whatever the reason
	s.tally.add(countSent, uint64(sent))
	s.tally.add(countUnsent, uint64(o.n-sent))
	o.n = 0
}

// target looks up what is needed to send to a member.
func (s *Sender) target(id uint16) (*session, *path, error) {
	m := s.link.members.Load().get(id)
	if m == nil {
		s.tally.add(countUnknownMember, 1)
		return nil, nil, ErrUnknownMember
	}
	return s.wayTo(m, m.route.Load())
}

func (s *Sender) wayTo(m *member, at *path) (*session, *path, error) {
	k := m.sending.Load()
	switch {
	case k == nil:
		s.tally.add(countNoKey, 1)
		return nil, nil, ErrNoKey
	case at == nil:
		s.tally.add(countNoRoute, 1)
		return nil, nil, ErrNoRoute
	}
	return k, at, nil
}

// buffer returns the buffer for the next datagram.
func (s *Sender) buffer(at *path) []byte {
	o := &s.out[at.port]
	if o.n == len(o.batch) {
		s.flush(o)
	}
	return o.batch[o.n].Buf
}

// finish encrypts the datagram in the buffer, of which b[headerLen:n] is the content, and queues it.
func (s *Sender) finish(k *session, at *path, b []byte, n int, counter uint64) {
	o := &s.out[at.port]
	m := &o.batch[o.n]
	m.N, m.Addr = k.encrypt(b, n, counter, &s.nonce), at.addr
	o.n++
}

// sendPieces queues a packet that does not fit one datagram, in pieces of equal size.
func (s *Sender) sendPieces(k *session, at *path, peer uint64, payload []byte) error {
	if len(payload) > MaxPayload {
		s.tally.add(countTooLong, 1)
		return ErrTooLong
	}
	room := at.space - overhead - pieceLen
	count := (len(payload) + room - 1) / room
	size := pieceSize(len(payload), count)
	counter, ok := k.take(uint64(count))
	if !ok {
		s.tally.add(countNoKey, 1)
		return ErrNoKey
	}
	rest := payload
	for no := range count {
		b := s.buffer(at)
		p := b[headerLen:]
		p[0] = typePiece
		putAddress(p[1:], peer)
		p[6] = byte(no<<4 | count)
		binary.BigEndian.PutUint16(p[7:], uint16(len(payload)))
		n := copy(p[pieceLen:], rest[:min(size, len(rest))])
		rest = rest[n:]
		s.finish(k, at, b, headerLen+pieceLen+n, counter+uint64(no))
	}
	s.tally.relayed(len(payload))
	s.tally.add(countSplit, 1)
	return nil
}

// message queues a small message: the first n bytes of head, then the body.
func (s *Sender) message(k *session, at *path, head [requestLen]byte, n int, body []byte) error {
	if len(body) > MaxBody {
		s.tally.add(countTooLong, 1)
		return ErrTooLong
	}
	counter, ok := k.take(1)
	if !ok {
		s.tally.add(countNoKey, 1)
		return ErrNoKey
	}
	b := s.buffer(at)
	n = headerLen + copy(b[headerLen:], head[:n])
	n += copy(b[n:], body)
	s.finish(k, at, b, n, counter)
	return nil
}

// probe queues a probe of a path, or the echo of one.
func (s *Sender) probe(k *session, at *path, what, number byte, sequence uint32, sent int64) {
	counter, ok := k.take(1)
	if !ok {
		return
	}
	b := s.buffer(at)
	p := b[headerLen:]
	p[0], p[1] = what, number
	binary.BigEndian.PutUint32(p[2:], sequence)
	binary.BigEndian.PutUint64(p[6:], uint64(sent))
	s.finish(k, at, b, headerLen+probeLen, counter)
}
