package main

import (
	"encoding/binary"
	"math"
	"time"

	"github.com/rootd/rootd/cmd/internal/client"
	"github.com/rootd/rootd/packetpath/vl1"
)

// A frame of a flow, the payload that one client sends to its partner:
//
//	offset  size  field
//	0       4     magic "swrm"
//	4       1     1 while the swarm measures, 0 while it warms up
//	5       3     0
//	8       8     time of sending, ns on the swarm's monotonic clock
//	16      4     number of the frame in its flow
//	20      ..    zeros up to the wanted size
const (
	frameMagic = 0x7377726d
	frameMin   = 20
	bulkSize   = 1350 // the largest that needs no fragments, with room to spare
)

// flow is the traffic that a client sends to its partner.
type flow struct {
	to     vl1.Address
	every  time.Duration // 0: none
	exact  float64       // when the next is due, ms
	frames int           // due now
	seq    uint32
	begun  bool // its frames have been made since measuring began
	size   int  // payload of a frame, bytes
}

// never is a time that does not come.
const never = math.MaxInt64

// traffic is what all flows share; it is set before the shards run, and phase is changed under their locks.
type traffic struct {
	network  uint64
	roots    map[vl1.Address]bool
	rootList []vl1.Address // the same, in the planet's order
	size     int           // of the largest frame, bytes
	fresh    uint32
	start    time.Time
	measure  bool
	stop     bool
}

// plan notes how many frames of a member are due, and returns when to ask again, ms.
func (s *shard) plan(m *member) (next int64) {
	f := &m.flow
	f.frames = 0
	if s.traffic.stop || f.every == 0 {
		return never
	}
	now := float64(s.env.Now)
	if !m.online { // the first path to a root starts it
		f.exact = now + 200
		return s.env.Now + 200
	}
	every := float64(f.every) / float64(time.Millisecond)
	if now-f.exact > 1000 { // do not make up for a second of sleep
		f.exact = now
	}
	for ; f.exact <= now; f.exact += every {
		f.frames++
	}
	return int64(math.Ceil(f.exact))
}

// drive sends the frames that were planned.
func (s *shard) drive(m *member) {
	for f := &m.flow; f.frames > 0; f.frames-- {
		if s.traffic.measure {
			s.count.framesSent++
		}
		if f.seq%s.traffic.fresh == 0 || f.begun != s.traffic.measure || !m.c.Repeat(&s.env, f.to) {
			f.begun = s.traffic.measure
			s.make(m)
		}
		f.seq++
	}
}

// make sends a frame that says when it was sent.
func (s *shard) make(m *member) {
	f := &m.flow
	b := s.frame[:f.size]
	binary.BigEndian.PutUint32(b, frameMagic)
	b[4] = 0
	if f.begun {
		b[4] = 1
	}
	binary.BigEndian.PutUint64(b[8:], uint64(s.stamp))
	binary.BigEndian.PutUint32(b[16:], f.seq)
	if m.c.SendFrame(&s.env, s.traffic.network, f.to, b) != nil {
		s.count.unsent++
	}
}

func (s *shard) deliver(_ *client.Client, _ vl1.Address, hops uint8, b []byte) {
	if len(b) < frameMin || binary.BigEndian.Uint32(b) != frameMagic || b[4] == 0 {
		return
	}
	s.count.framesReceived++
	if hops == 0 {
		s.count.framesDirect++
	}
	if s.env.Repeated {
		return // it says when the first of its kind was sent
	}
	s.count.latency.add(time.Duration(s.stamp - int64(binary.BigEndian.Uint64(b[8:]))))
}

func (s *shard) notice(c *client.Client, n client.Notice) {
	s.count.notices[n.Kind]++
	if s.trace != nil {
		s.noted(c, n)
	}
	if m := s.members[c.Label()]; n.Kind == client.Learned && !m.online && s.traffic.roots[n.Peer] {
		m.online = true
		s.count.online++
	}
}
