package main

import (
	"time"

	"github.com/rootd/rootd/cmd/internal/client"
)

// counters are one shard's, read under its lock.
type counters struct {
	sent, received, unsent, stray            uint64
	filtered                                 uint64 // of stray: by NATs
	framesSent, framesReceived, framesDirect uint64
	online                                   int
	notices                                  [32]uint64
	latency                                  hist
}

func (c *counters) merge(o *counters) {
	c.sent += o.sent
	c.received += o.received
	c.unsent += o.unsent
	c.stray += o.stray
	c.filtered += o.filtered
	c.framesSent += o.framesSent
	c.framesReceived += o.framesReceived
	c.framesDirect += o.framesDirect
	c.online += o.online
	for i, n := range o.notices {
		c.notices[i] += n
	}
	c.latency.merge(&o.latency)
}

// Report is what a run found, as printed with -json. Durations are in microseconds or milliseconds as their names say.
type Report struct {
	Clients      int     `json:"clients"`
	Online       int     `json:"online"`
	Seconds      float64 `json:"seconds"` // the measured part
	Sent         uint64  `json:"datagrams_sent"`
	Received     uint64  `json:"datagrams_received"`
	Unsent       uint64  `json:"datagrams_unsent"`   // refused by the local kernel
	Filtered     uint64  `json:"datagrams_filtered"` // by the clients' NATs
	FramesSent   uint64  `json:"frames_sent"`
	FramesGot    uint64  `json:"frames_received"`
	FramesDirect uint64  `json:"frames_direct"` // received without a relay
	FramesLost   float64 `json:"frames_lost"`   // share, 0 to 1
	P50          int64   `json:"latency_p50_us"`
	P90          int64   `json:"latency_p90_us"`
	P99          int64   `json:"latency_p99_us"`
	P999         int64   `json:"latency_p999_us"`
	Max          int64   `json:"latency_max_us"`
	Outage       int64   `json:"longest_outage_ms"`     // of any client: asked a root and got no answer
	OutageP50    int64   `json:"longest_outage_p50_ms"` // over clients
	OutageP99    int64   `json:"longest_outage_p99_ms"` // over clients
	Hellos       uint64  `json:"hellos"`
	Echoes       uint64  `json:"echoes"`
	Whoises      uint64  `json:"whoises"`
	OKs          uint64  `json:"oks"`
	Redirects    uint64  `json:"redirects"`
	Rendezvous   uint64  `json:"rendezvous"`
	Resets       uint64  `json:"resets"`
	Planets      uint64  `json:"planets_taken"`
	BadMAC       uint64  `json:"bad_mac"`
	SwarmCPU     float64 `json:"swarm_cpu_seconds"`
	RootCPU      float64 `json:"root_cpu_seconds,omitempty"` // of -pid

	Families map[string]int `json:"families"`
	NATs     map[string]int `json:"nats"`
}

func (r *Report) fill(c *counters, clients []client.Stats, outages *hist) {
	r.Sent, r.Received, r.Unsent, r.Filtered = c.sent, c.received, c.unsent, c.filtered
	r.FramesSent, r.FramesGot, r.FramesDirect = c.framesSent, c.framesReceived, c.framesDirect
	if c.framesSent > 0 {
		r.FramesLost = 1 - min(float64(c.framesReceived)/float64(c.framesSent), 1)
	}
	us := func(q float64) int64 { return c.latency.quantile(q).Microseconds() }
	r.P50, r.P90, r.P99, r.P999, r.Max = us(0.5), us(0.9), us(0.99), us(0.999), c.latency.max.Microseconds()
	for i := range clients {
		s := &clients[i]
		r.Hellos += s.Hellos
		r.Echoes += s.Echoes
		r.Whoises += s.Whoises
		r.OKs += s.OKs
		r.Redirects += s.Redirects
		r.Rendezvous += s.Rendezvous
		r.Resets += s.Resets
		r.Planets += s.PlanetsTaken
		r.BadMAC += s.BadMAC
		outages.add(time.Duration(s.LongestSilence) * time.Millisecond)
	}
	r.Outage = outages.max.Milliseconds()
	r.OutageP50 = outages.quantile(0.5).Milliseconds()
	r.OutageP99 = outages.quantile(0.99).Milliseconds()
}
