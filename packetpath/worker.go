package packetpath

import (
	"crypto/rand"
	"errors"
	mathrand "math/rand/v2"
	"net"
	"runtime"

	"github.com/rootd/rootd/fsm"
	"github.com/rootd/rootd/fsm/table"
	"github.com/rootd/rootd/packetpath/udp"
	"github.com/rootd/rootd/packetpath/vl1"
)

const (
	batchSize   = 32     // limits.md of the kernel's UDP: larger batches bring nothing and hold up the collector
	recvSize    = 10_304 // the largest packet, vl1.MaxPacket, and some: an odd number of cache lines, see worker.read
	outboxSize  = 4 * batchSize
	arenaSize   = 64 << 10
	packetSpace = vl1.MaxPacket + 64 // what a packet under construction may need

	// yieldEvery is how long, in ms, a reader keeps its processor: the runtime's monitor takes it from whoever has it for 10 ms,
	// and then comes back every 20 µs to take it again. Not more often than that asks for: to yield costs some 20 µs, as the
	// runtime wakes another thread, which may have something to do.
	yieldEvery = 8
)

// worker handles packets. It belongs to one goroutine: a reader, a newcomer worker or the keeper, and so does
// everything it holds except root.
type worker struct {
	*counters
	root *Root
	out  []outbox // one for each listen address

	arena []byte // packets under construction since the last flush
	used  int

	plain   []byte // a decompressed payload
	random  *mathrand.ChaCha8
	link    LinkSender // nil: this member is alone
	sights  []fsm.Sighting
	rtts    *rttRing
	ahead   ahead
	hints   []*session   // that should go elsewhere
	waiting []*session   // for the mover
	rec     table.Record // scratch: a record that steering looks at
	moving  bool         // this worker is the mover: it may speak to peers that are away

	now    int64 // ms, of this batch
	budget int   // bytes that may still go back to an unconfirmed sender of the packet in hand
	engine bool  // this worker may do expensive things: it is no reader
	hasher *vl1.Hasher
}

// outbox is the batch of datagrams that wait to leave through one socket.
type outbox struct {
	sender udp.Sender
	batch  []udp.Message
	n      int
}

func (r *Root) newWorker(group int) *worker {
	var seed [32]byte
	_, _ = rand.Read(seed[:]) // never fails: it ends the program instead
	w := &worker{
		counters: &counters{},
		root:     r,
		arena:    make([]byte, arenaSize),
		plain:    make([]byte, vl1.MaxPacket),
		random:   mathrand.NewChaCha8(seed),
		sights:   make([]fsm.Sighting, 0, 4*batchSize),
		rtts:     &rttRing{},
		hints:    make([]*session, 0, 4*batchSize),
		waiting:  make([]*session, 0, 4*batchSize),
	}
	for _, l := range r.sockets.listeners {
		w.out = append(w.out, outbox{
			sender: l.conns[group%len(l.conns)].NewSender(outboxSize),
			batch:  make([]udp.Message, outboxSize),
		})
	}
	if r.link != nil {
		w.link = r.link()
	}
	r.counting.Lock()
	defer r.counting.Unlock()
	r.counters = append(r.counters, w.counters)
	r.rings = append(r.rings, w.rtts)
	return w
}

// read is the life of a reader: it ends when its socket is closed.
func (w *worker) read(conn udp.Conn, port int) error {
	// The buffers begin in different places of the cache, as their beginnings are what most packets fill.
	batch := make([]udp.Message, batchSize)
	buffers := make([]byte, batchSize*recvSize)
	for i := range batch {
		batch[i].Buf = buffers[i*recvSize : (i+1)*recvSize : (i+1)*recvSize]
	}
	for yielded := int64(0); ; {
		n, err := conn.Read(batch)
		if errors.Is(err, net.ErrClosed) {
			return nil
		}
		if err != nil {
			return err
		}
		w.begin()
		if w.now-yielded >= yieldEvery {
			yielded = w.now
			runtime.Gosched()
		}
		if w.root.fenced.Load() {
			w.add(FencedDropped, n)
			w.end()
			continue
		}
		w.foresee(batch[:n])
		for i := range batch[:n] {
			m := &batch[i]
			w.inc(Received)
			w.add(ReceivedBytes, m.N)
			w.datagram(m.Buf[:m.N], origin{addr: m.Addr, local: m.Local, port: port})
		}
		w.end()
	}
}

// begin starts a batch: the one look at the clock.
func (w *worker) begin() { w.now = w.root.clock() }

// end sends what the batch brought about.
func (w *worker) end() {
	w.flush()
	if w.link != nil {
		w.link.Flush()
	}
	if len(w.sights) > 0 {
		w.add(SightingsOffered, len(w.sights))
		w.root.sink.Offer(w.sights)
		clear(w.sights)
		w.sights = w.sights[:0]
	}
	if len(w.hints)+len(w.waiting) > 0 {
		w.hintAll()
	}
	w.publish()
}

// flush sends all outboxes. Buffers that messages refer to are free afterwards.
func (w *worker) flush() {
	for i := range w.out {
		o := &w.out[i]
		if o.n == 0 {
			continue
		}
		bytes := 0
		for j := range o.batch[:o.n] {
			bytes += o.batch[j].N
		}
		sent, _ := o.sender.Write(o.batch[:o.n]) // an error means closed: the reader sees it too
		w.add(Sent, sent)
		w.add(SentBytes, bytes)
		w.add(SendErrors, o.n-sent)
		clear(o.batch[:o.n]) // keep no buffer alive
		o.n = 0
	}
	w.used = 0
}

// post puts a datagram into the outbox of its socket. b must stay as it is until the next flush.
func (w *worker) post(to origin, b []byte) {
	o := &w.out[to.port]
	if o.n == len(o.batch) {
		// The arena is still in use by what was posted after b was built; only the messages go.
		w.flushKeepingArena()
	}
	o.batch[o.n] = udp.Message{Buf: b, N: len(b), Addr: to.addr, Local: to.local}
	o.n++
}

func (w *worker) flushKeepingArena() {
	used := w.used
	w.flush()
	w.used = used
}

// packet begins a packet from us: its header in the arena, with room for the largest payload. Only what is sealed
// before the next call keeps its place.
func (w *worker) packet(dst vl1.Address, verb vl1.Verb) vl1.Packet {
	if len(w.arena)-w.used < 2*packetSpace { // twice: a large packet is copied into its fragments
		w.flush()
	}
	buf := w.arena[w.used : w.used : w.used+packetSpace]
	return vl1.NewPacket(buf, w.random.Uint64(), dst, w.root.self.Address, verb)
}

// seal armors p for the session's peer, sends it, and returns the packet ID as it is on the wire.
func (w *worker) seal(to origin, s *session, p vl1.Packet) uint64 {
	if !w.moving && s.away(to.addr.Addr(), w.now) {
		w.inc(HandoffMuted)
		return 0
	}
	return w.sealWith(to, &s.key, w.suiteFor(s), p)
}

func (w *worker) sealWith(to origin, key *vl1.Key, suite vl1.Suite, p vl1.Packet) uint64 {
	if len(p) <= vl1.MTU {
		vl1.Armor(p, key, suite)
		w.used += len(p)
		w.post(to, p)
		return p.ID()
	}
	p.SetFragmented(true)
	vl1.Armor(p, key, suite)
	w.used += len(p)
	id := p.ID()
	// Our own packets are far below the seven pieces that are allowed.
	_ = vl1.Split(p, vl1.MTU, func(b []byte) {
		c := append(w.arena[w.used:w.used], b...)
		w.used += len(c)
		w.post(to, c)
	})
	return id
}

// suiteFor says how to encrypt for a peer: AES only where it is switched on and the peer's own HELLO allowed it.
func (w *worker) suiteFor(s *session) vl1.Suite {
	if w.root.aes && s.protocol() >= 12 {
		return vl1.SuiteAES
	}
	return vl1.SuiteSalsa
}

// answer seals p as a reply to the packet in hand, unless the sender's path is unconfirmed and the reply would
// make us send it more than it sent us.
func (w *worker) answer(to origin, s *session, p vl1.Packet) bool {
	if len(p) > w.budget {
		w.inc(UnconfirmedWithheld)
		return false
	}
	w.budget -= len(p)
	w.seal(to, s, p)
	return true
}
