package main

import (
	"sync"
	"sync/atomic"

	"github.com/rootd/rootd/fsm"
	"github.com/rootd/rootd/fsm/table"
	"github.com/rootd/rootd/packetpath"
)

// earlySightings is how many sightings are kept between the start and the announcement of this life of the member.
const earlySightings = 100_000

// epochSink stamps the sightings of the packet path with this member's ID and epoch. The packet path serves before
// the log has given the member its epoch; what it sees until then waits here, bounded.
type epochSink struct {
	next   packetpath.Sink
	member table.MemberID
	epoch  atomic.Uint32 // 0: none yet

	mu    sync.Mutex // guards early
	early []fsm.Sighting
}

var _ packetpath.Sink = (*epochSink)(nil)

// Offer implements [packetpath.Sink].
func (s *epochSink) Offer(sightings []fsm.Sighting) {
	if s.epoch.Load() == 0 && s.wait(sightings) {
		return
	}
	s.pass(sightings)
}

// wait keeps the sightings unless the epoch has come meanwhile.
func (s *epochSink) wait(sightings []fsm.Sighting) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.epoch.Load() != 0 {
		return false
	}
	room := earlySightings - len(s.early)
	s.early = append(s.early, sightings[:min(room, len(sightings))]...)
	return true
}

func (s *epochSink) pass(sightings []fsm.Sighting) {
	epoch := uint16(s.epoch.Load())
	for i := range sightings {
		sightings[i].Member, sightings[i].Epoch = s.member, epoch
	}
	s.next.Offer(sightings)
}

// begin lets everything pass from now on.
func (s *epochSink) begin(epoch uint16) {
	s.mu.Lock()
	early := s.early
	s.early = nil
	s.epoch.Store(uint32(epoch))
	s.mu.Unlock()
	s.pass(early)
}
