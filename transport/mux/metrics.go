package mux

import (
	"slices"
	"sync/atomic"
)

const protos = 4

func index(p Proto) int { return slices.Index(Protos(), p) }

// counters are written by handshakes and dials, with atomics; nothing here is hot.
type counters struct {
	accepted, timeouts, notTLS, failed, cut, dialsFailed atomic.Uint64

	refused        [codes]atomic.Uint64 // by Code
	served, dialed [protos]atomic.Uint64
}

// Metrics is a snapshot of what the port did since it was made, and of what it does now.
type Metrics struct {
	Accepted   uint64 // TCP connections
	Timeouts   uint64 // handshakes that took too long
	NotTLS     uint64 // connections that did not speak TLS
	Failed     uint64 // handshakes that failed for another reason: no common protocol or version, no certificate, gone
	Cut        uint64 // connections closed because their peer is not welcome any more
	DialFailed uint64

	RefusedBusy        uint64 // connections closed since there were too many
	RefusedUntrusted   uint64 // certificates that no CA of the cluster has signed
	RefusedNotAdmitted uint64 // certificates of removed members
	RefusedTime        uint64 // expired or not yet valid
	RefusedNotServed   uint64
	RefusedSuperseded  uint64 // certificates of an epoch of the cluster that is over

	Served, Dialed map[Proto]uint64 // connections accepted and dialed
	Open           map[Proto]int    // now, both directions
	Handshakes     int              // in progress now, as a server
	Guests         int              // connections without client certificate now
}

// Metrics returns a snapshot.
func (m *Mux) Metrics() Metrics {
	c := &m.count
	s := Metrics{
		Accepted: c.accepted.Load(), Timeouts: c.timeouts.Load(), NotTLS: c.notTLS.Load(), Failed: c.failed.Load(),
		Cut: c.cut.Load(), DialFailed: c.dialsFailed.Load(),
		RefusedBusy: c.refused[Busy].Load(), RefusedUntrusted: c.refused[Untrusted].Load(),
		RefusedNotAdmitted: c.refused[NotAdmitted].Load(), RefusedTime: c.refused[Expired].Load() + c.refused[NotYetValid].Load(),
		RefusedNotServed: c.refused[NotServed].Load(), RefusedSuperseded: c.refused[Superseded].Load(),
		Served: map[Proto]uint64{}, Dialed: map[Proto]uint64{}, Open: map[Proto]int{},
		Handshakes: m.handshakes.len(), Guests: m.guests.len(),
	}
	for i, p := range Protos() {
		s.Served[p], s.Dialed[p] = c.served[i].Load(), c.dialed[i].Load()
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for c := range m.conns {
		if c.proto != "" {
			s.Open[c.proto]++
		}
	}
	return s
}
