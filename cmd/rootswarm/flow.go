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
	to    vl1.Address
	every time.Duration // 0: none
	next  int64         // ms
	exact float64       // ms, for rates that are no whole number of ms
	seq   uint32
	size  int // payload of a frame, bytes
}

// never is a time that does not come.
const never = math.MaxInt64

// traffic is what all flows share; it is set before the shards run, and phase is changed under their locks.
type traffic struct {
	network uint64
	roots   map[vl1.Address]bool
	size    int // of the largest frame, bytes
	start   time.Time
	measure bool
	stop    bool
}

// drive sends the frames that are due.
func (s *shard) drive(m *member) {
	f := &m.flow
	if f.next > s.env.Now {
		return
	}
	if s.traffic.stop || f.every == 0 {
		f.next = never
		return
	}
	if !m.online { // the first path to a root starts it
		f.exact = float64(s.env.Now) + 200
		f.next = s.env.Now + 200
		return
	}
	every := float64(f.every) / float64(time.Millisecond)
	if behind := float64(s.env.Now) - f.exact; behind > 1000 { // do not make up for a second of sleep
		f.exact = float64(s.env.Now)
	}
	for f.exact <= float64(s.env.Now) {
		b := s.frame[:f.size]
		binary.BigEndian.PutUint32(b, frameMagic)
		b[4] = 0
		if s.traffic.measure {
			b[4] = 1
			s.count.framesSent++
		}
		binary.BigEndian.PutUint64(b[8:], uint64(s.stamp))
		binary.BigEndian.PutUint32(b[16:], f.seq)
		f.seq++
		if m.c.SendFrame(&s.env, s.traffic.network, f.to, b) != nil {
			s.count.unsent++
		}
		f.exact += every
	}
	f.next = int64(math.Ceil(f.exact))
}

func (s *shard) deliver(_ *client.Client, _ vl1.Address, hops uint8, b []byte) {
	if len(b) < frameMin || binary.BigEndian.Uint32(b) != frameMagic || b[4] == 0 {
		return
	}
	s.count.framesReceived++
	if hops == 0 {
		s.count.framesDirect++
	}
	s.count.latency.add(time.Duration(s.stamp - int64(binary.BigEndian.Uint64(b[8:]))))
}

func (s *shard) notice(c *client.Client, n client.Notice) {
	s.count.notices[n.Kind]++
	if m := s.members[c.Label()]; n.Kind == client.Learned && !m.online && s.traffic.roots[n.Peer] {
		m.online = true
		s.count.online++
	}
}
