package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"sync"
	"time"

	"github.com/rootd/rootd/packetpath/udp"
	"github.com/rootd/rootd/packetpath/vl1"
)

// device is a ZeroTier client of few words, in the city of the member that it speaks to: it asks, and notes what is
// answered and when. Nothing between it and its member is ever lost, so that silence has a reason.
type device struct {
	w    *world
	n    int
	id   *vl1.SecretIdentity
	key  vl1.Key
	at   *host
	root netip.AddrPort
	addr netip.AddrPort
	conn udp.Conn

	mu   sync.Mutex // guards the following
	out  udp.Sender
	open map[uint64]question
	met  map[vl1.Address]netip.AddrPort // by RENDEZVOUS
	gap  time.Duration                  // the longest between two answers of the root
	last time.Time                      // an answer of the root
}

// question is a packet that should bring about another one.
type question struct {
	kind     int
	from, to int // members
	at       time.Time
}

const (
	askHello = iota
	askWhois
	askRelay
	askPass
	kinds
)

func kindName(k int) string {
	return [...]string{"HELLO", "WHOIS", "relayed here", "relayed to another member"}[k]
}

func (q *question) promise() string {
	if q.kind == askPass {
		return "P5"
	}
	return "P4"
}

func (q *question) String() string {
	return fmt.Sprintf("%s at m%d, m%d", kindName(q.kind), q.from+1, q.to+1)
}

// deviceWait is how long a device waits for an answer.
const deviceWait = 2 * time.Second

// device puts a device next to a member, in a family.
func (w *world) device(h *host, v6 bool) *device {
	w.Helper()
	n := w.devices
	w.devices++
	d := &device{
		w: w, n: n, at: h, id: identities(w, identityOfDevices+n, 1)[0], open: map[uint64]question{}, met: map[vl1.Address]netip.AddrPort{},
		root: h.endpoints()[0], addr: netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 1, byte(n >> 8), byte(n)}), clientPort),
	}
	if v6 {
		d.root, d.addr = h.endpoints()[1], netip.AddrPortFrom(netip.AddrFrom16([16]byte{0: 0xfd, 1: 1, 14: byte(n >> 8), 15: byte(n)}), clientPort)
	}
	var err error
	if d.key, err = d.id.Agree(&w.identity.Key); err != nil {
		w.Fatal(err)
	}
	w.place(h.city, false, d.addr.Addr())
	if d.conn, err = w.udp.Listen(d.addr, udp.Options{}); err != nil {
		w.Fatal(err)
	}
	d.out = d.conn.NewSender(1)
	w.ending.Go(d.listen)
	w.closers = append(w.closers, func() { _ = d.conn.Close() })
	return d
}

func (d *device) listen() {
	batch := make([]udp.Message, 8)
	for i := range batch {
		batch[i].Buf = make([]byte, 2048)
	}
	for {
		n, err := d.conn.Read(batch)
		if err != nil {
			return
		}
		for i := range batch[:n] {
			d.hear(batch[i].Buf[:batch[i].N])
		}
	}
}

func (d *device) hear(b []byte) {
	p, err := vl1.ParsePacket(b)
	if err != nil {
		return
	}
	rootOf := d.w.root().Address
	d.mu.Lock()
	defer d.mu.Unlock()
	if p.Source() != rootOf {
		d.w.arrived(p.ID())
		return
	}
	id := p.ID()
	if vl1.Dearmor(p, &d.key) != nil {
		return
	}
	now := time.Now()
	switch p.Verb() {
	case vl1.VerbEcho:
		d.send(vl1.AppendOKEcho(d.packet(vl1.VerbOK), id, p.Payload()), vl1.SuiteSalsa)
	case vl1.VerbRendezvous:
		if r, err := vl1.DecodeRendezvous(p); err == nil {
			d.met[r.Peer] = r.Endpoint
		}
	case vl1.VerbOK:
		if _, to, _, err := vl1.DecodeOK(p); err == nil {
			delete(d.open, to)
		}
		if !d.last.IsZero() {
			d.gap = max(d.gap, now.Sub(d.last))
		}
		d.last = now
	}
}

func (d *device) packet(v vl1.Verb) vl1.Packet {
	return vl1.NewPacket(make([]byte, 0, 512), rand.Uint64(), d.w.root().Address, d.id.Address, v)
}

func (d *device) send(p vl1.Packet, s vl1.Suite) {
	vl1.Armor(p, &d.key, s)
	d.raw(p)
}

func (d *device) raw(b []byte) {
	_, _ = d.out.Write([]udp.Message{{Buf: b, N: len(b), Addr: d.root}})
}

// ask sends a question.
func (d *device) ask(k int, about *device) {
	d.mu.Lock()
	defer d.mu.Unlock()
	q := question{kind: k, from: d.at.number, to: d.at.number, at: time.Now()}
	switch k {
	case askHello:
		h := vl1.Hello{
			Protocol: 11, Major: 1, Minor: 12, Clock: uint64(time.Now().UnixMilli()), Identity: d.id.Identity, SentTo: d.root,
			HasPlanet: true, PlanetID: 1, PlanetTimestamp: 1,
		}
		p := vl1.AppendHello(d.packet(vl1.VerbHello), &h, &d.key)
		d.open[p.ID()] = q
		d.send(p, vl1.SuitePoly1305)
	case askWhois:
		p := vl1.AppendWhois(d.packet(vl1.VerbWhois), about.id.Address)
		d.open[p.ID()] = q
		d.send(p, vl1.SuiteSalsa)
	default:
		q.to = about.at.number
		p := vl1.NewPacket(make([]byte, 0, 100), rand.Uint64(), about.id.Address, d.id.Address, vl1.VerbFrame)
		d.open[p.ID()] = q
		d.w.carry(p.ID(), d)
		d.raw(append(p, "for the other one alone"...))
	}
}

// carry notes who waits for a packet's arrival at another device.
func (w *world) carry(id uint64, d *device) {
	w.talking.Lock()
	defer w.talking.Unlock()
	w.carried[id] = d
}

func (w *world) arrived(id uint64) {
	w.talking.Lock()
	d := w.carried[id]
	delete(w.carried, id)
	w.talking.Unlock()
	if d != nil {
		go func() { // two devices are never locked at a time
			d.mu.Lock()
			defer d.mu.Unlock()
			delete(d.open, id)
		}()
	}
}

// gather counts the questions whose time is over.
func (d *device) gather() {
	d.mu.Lock()
	defer d.mu.Unlock()
	for id, q := range d.open {
		if time.Since(q.at) < deviceWait {
			continue
		}
		delete(d.open, id)
		d.w.talking.Lock()
		delete(d.w.carried, id)
		d.w.talking.Unlock()
		d.w.truth.lose(q)
	}
}

func (t *truth) lose(q question) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.lost = append(t.lost, q)
}

func (t *truth) ask(k, at int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.asked[k][at]++
}

// talk makes devices ask all the time, every kind of question once in the given time, until ctx ends.
func (w *world) talk(ctx context.Context, all []*device, every time.Duration) {
	for i, d := range all {
		w.ending.Go(func() {
			rnd := rand.New(rand.NewPCG(w.seed, uint64(i)))
			if !sleep(ctx, time.Duration(rnd.Int64N(int64(every)))) {
				return
			}
			for begun := time.Now(); ; {
				for k := range kinds {
					other := all[rnd.IntN(len(all))]
					switch {
					case k != askHello && time.Since(begun) < 15*time.Second:
						other = nil // not everybody is known yet
					case k == askRelay:
						other = d.near(all)
					case k == askPass && other.at == d.at:
						other = nil
					}
					if other != nil && other != d {
						d.ask(k, other)
						w.truth.ask(k, d.at.number)
					}
					if !sleep(ctx, every/kinds) {
						return
					}
					d.gather()
				}
			}
		})
	}
}

// near returns another device of the same member.
func (d *device) near(all []*device) *device {
	for i := range all {
		if o := all[(d.n+1+i)%len(all)]; o != d && o.at == d.at {
			return o
		}
	}
	return nil
}
