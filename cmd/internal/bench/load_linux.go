package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"time"

	"github.com/rootd/rootd/packetpath/udp"
	"github.com/rootd/rootd/packetpath/vl1"
)

const (
	sendBatch  = 64
	frameSize  = 200 // bytes of a relayed packet
	bufferSize = 33 * 64
)

// load is the clients of a root, as far as a benchmark needs them: they say HELLO, answer the root's ECHOs, and send what
// they are told. It belongs to one goroutine.
type load struct {
	conn    udp.Conn
	sender  udp.Sender
	clients []peer
	byAddr  map[vl1.Address]*peer
	root    vl1.Identity
	rootAt  netip.AddrPort
	rng     rand.PCG

	in, out  []udp.Message
	n        int // messages in out
	frames   []byte
	next     int // client whose turn it is
	current  *peer
	late     []int64 // ns that packets took, as long as timed is set
	timed    bool
	nap      time.Duration // between packets sent at a rate; 0: never off the core
	away     time.Duration // the longest that it did not look, in open
	lenient  bool          // an OK is enough to know a client: not every root asks back
	answered int           // OKs of the root
	relayed  int           // packets of clients, be it from the root or from the reflector
	asked    int           // ECHOs of the root that were answered
}

type peer struct {
	number int
	id     *vl1.SecretIdentity
	key    vl1.Key // with the root
	at     netip.Addr
	known  bool  // the root's ECHO was answered, or its OK came
	sent   int64 // ns since 1970 of the packet under way; 0: none, or nobody asks
}

func newLoad(ids []*vl1.SecretIdentity, root vl1.Identity) (*load, error) {
	conn, err := udp.Listen(netip.AddrPortFrom(netip.IPv4Unspecified(), 0), udp.Options{
		RecvBuffer: 16 << 20, SendBuffer: 16 << 20, NoWait: true, Whole: true,
	})
	if err != nil {
		return nil, err
	}
	l := &load{
		conn: conn, sender: conn.NewSender(sendBatch), root: root, rng: *rand.NewPCG(rand.Uint64(), 1),
		byAddr: make(map[vl1.Address]*peer, len(ids)), clients: make([]peer, len(ids)),
		in: messages(), out: messages(), frames: make([]byte, len(ids)*frameSize),
	}
	for i, id := range ids {
		key, err := id.Agree(&root.Key)
		if err != nil {
			return nil, err
		}
		n := uint32(i*257+1) & (1<<22 - 1) // as rootswarm's clients, neighbors are in different networks
		l.clients[i] = peer{number: i, id: id, key: key, at: netip.AddrFrom4([4]byte{127, 64 | byte(n>>16), byte(n >> 8), byte(n)})}
		l.byAddr[id.Address] = &l.clients[i]
		// What it relays is noise to the root.
		to := ids[(i+len(ids)/2)%len(ids)]
		f := vl1.NewPacket(l.frames[i*frameSize:i*frameSize:(i+1)*frameSize], l.rng.Uint64(), to.Address, id.Address, vl1.VerbFrame)
		for len(f) < frameSize {
			f = append(f, byte(l.rng.Uint64()))
		}
	}
	return l, nil
}

func messages() []udp.Message {
	m := make([]udp.Message, sendBatch)
	b := make([]byte, sendBatch*bufferSize)
	for i := range m {
		m[i].Buf = b[i*bufferSize : (i+1)*bufferSize : (i+1)*bufferSize]
	}
	return m
}

// post puts a datagram of a client into the batch.
func (l *load) post(from *peer, to netip.AddrPort, b []byte) {
	m := &l.out[l.n]
	m.N, m.Addr, m.Local = copy(m.Buf, b), to, from.at
	if l.n++; l.n == len(l.out) {
		l.flush()
	}
}

func (l *load) flush() {
	_, _ = l.sender.Write(l.out[:l.n]) // what is not sent does not come back, and is counted so
	l.n = 0
}

// turn returns the next client.
func (l *load) turn() *peer {
	l.current = &l.clients[l.next]
	if l.next++; l.next == len(l.clients) {
		l.next = 0
	}
	return l.current
}

// hello is a keep-alive HELLO of a client, with a new packet ID and time.
func (l *load) hello(p *peer, buf []byte) []byte {
	h := vl1.Hello{
		Protocol: 13, Major: 1, Minor: 14, Clock: uint64(time.Now().UnixMilli()), Identity: p.id.Identity, SentTo: l.rootAt,
		HasPlanet: true, PlanetID: 1, PlanetTimestamp: 1, // some other planet's: the root has nothing newer for it
	}
	pkt := vl1.AppendHello(vl1.NewPacket(buf[:0], l.rng.Uint64(), l.root.Address, p.id.Address, vl1.VerbHello), &h, &p.key)
	vl1.Armor(pkt, &p.key, vl1.SuitePoly1305)
	return pkt
}

// request is an ECHO or a WHOIS of a client.
func (l *load) request(p *peer, v vl1.Verb, buf []byte) []byte {
	pkt := vl1.NewPacket(buf[:0], l.rng.Uint64(), l.root.Address, p.id.Address, v)
	if v == vl1.VerbWhois {
		pkt = vl1.AppendWhois(pkt, l.clients[l.rng.Uint64()%uint64(len(l.clients))].id.Address)
	}
	vl1.Armor(pkt, &p.key, vl1.SuiteSalsa)
	return pkt
}

// receive takes what came. From the root's ECHOs on it keeps its clients alive.
func (l *load) receive() (any bool) {
	for {
		n, err := l.conn.Read(l.in)
		if err != nil {
			return any
		}
		any = any || n > 0
		for i := range l.in[:n] {
			l.take(&l.in[i])
		}
		if n < len(l.in) {
			return any
		}
	}
}

func (l *load) take(m *udp.Message) {
	pkt, err := vl1.ParsePacket(m.Buf[:m.N])
	if err != nil {
		return
	}
	late := m.Addr != l.rootAt          // for the server that had its turn before
	if pkt.Source() != l.root.Address { // relayed, or our own from the reflector
		if late {
			return
		}
		l.relayed++
		if l.timed {
			l.arrived(pkt.Source())
		}
		return
	}
	p := l.byAddr[pkt.Dest()]
	if p == nil {
		return
	}
	if vl1.Dearmor(pkt, &p.key) != nil {
		return
	}
	switch pkt.Verb() {
	case vl1.VerbOK:
		if !late {
			l.answered++
			if l.timed {
				l.arrived(pkt.Dest())
			}
		}
		p.known = p.known || l.lenient
		return
	case vl1.VerbEcho:
	default: // RENDEZVOUS
		return
	}
	p.known = true
	if !late {
		l.asked++
	}
	ok := vl1.AppendOKEcho(vl1.NewPacket(make([]byte, 0, 128), l.rng.Uint64(), l.root.Address, p.id.Address, vl1.VerbOK), pkt.ID(), pkt.Payload())
	vl1.Armor(ok, &p.key, vl1.SuiteSalsa)
	l.post(p, m.Addr, ok)
}

// at turns the load to another server.
func (l *load) at(root netip.AddrPort) {
	l.rootAt, l.late, l.timed = root, l.late[:0], false
	l.away = 0
}

// arrived notes how long the packet of a client took, or the answer to it.
func (l *load) arrived(from vl1.Address) {
	if p := l.byAddr[from]; p != nil && p.sent > 0 {
		l.late = append(l.late, time.Now().UnixNano()-p.sent)
		p.sent = 0
	}
}

// introduce makes all clients known to the root, at a rate that it can follow.
func (l *load) introduce(ctx context.Context, root netip.AddrPort, lenient bool) error {
	l.at(root)
	for i := range l.clients {
		l.clients[i].known = false
	}
	l.lenient = lenient
	buf := make([]byte, 0, bufferSize)
	for deadline := time.Now().Add(2 * time.Minute); ; {
		unknown := 0
		for i := range l.clients {
			if p := &l.clients[i]; !p.known {
				unknown++
				l.post(p, l.rootAt, l.hello(p, buf))
				if unknown%sendBatch == 0 {
					l.flush()
					if err := pause(ctx, 10*time.Millisecond); err != nil {
						return err
					}
					l.receive()
				}
			}
		}
		l.flush()
		for range 60 { // the root answers a client once a second
			if err := pause(ctx, 20*time.Millisecond); err != nil {
				return err
			}
			l.receive()
			l.flush()
		}
		if unknown == 0 {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("the root does not answer %d of %d clients: %w", unknown, len(l.clients), errors.New("give it fewer, or look at its log"))
		}
	}
}
