package main

import (
	"context"
	"encoding/json"
	"net/netip"
	"runtime"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/rootd/rootd/fsm"
	"github.com/rootd/rootd/fsm/table"
	"github.com/rootd/rootd/packetpath"
	"github.com/rootd/rootd/transport/pki"
)

const (
	callHealth  = "health/1" // fsm.HealthReport for the leader; no answer
	reportEvery = 2 * time.Second
	probeEvery  = 15 * time.Second // each member greets the public endpoints of every other one this often
)

// health observes this member for the others.
type health struct {
	m *member

	mu     sync.Mutex // guards the following
	report fsm.HealthReport
	probes map[table.MemberID]fsm.Probe

	cpu      time.Duration // of the process, at the last observation
	received uint64        // packets, at the last observation
	at       time.Time     // of the last observation
}

// latest returns the last observation, in the current epoch.
func (h *health) latest() (fsm.HealthReport, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	r := h.report
	r.Probes = nil
	for _, p := range h.probes {
		r.Probes = append(r.Probes, p)
	}
	slices.SortFunc(r.Probes, func(a, b fsm.Probe) int { return int(a.Member) - int(b.Member) })
	return r, r.Epoch != 0
}

// run observes and, where another member leads, reports.
func (h *health) run(ctx context.Context) error {
	tick := time.NewTicker(reportEvery)
	defer tick.Stop()
	for {
		h.observe()
		if r, ok := h.latest(); ok && !h.m.replica.IsLeader() {
			h.send(ctx, &r)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

func (h *health) send(ctx context.Context, r *fsm.HealthReport) {
	body, err := json.Marshal(r)
	if err != nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, 2*reportEvery)
	defer cancel()
	if _, err := h.m.cluster.callLeader(ctx, callHealth, body); err != nil && ctx.Err() == nil {
		h.m.log.Debug("health not reported", "error", err)
	}
}

func (c *cluster) handleHealth(_ context.Context, from pki.Peer, body []byte) ([]byte, error) {
	var r fsm.HealthReport
	if err := json.Unmarshal(body, &r); err != nil {
		return nil, err
	}
	r.Member = table.MemberID(from.ID) // nobody speaks for another one
	c.supervisor.Report(r)
	return nil, nil
}

func (h *health) observe() {
	m := h.m
	now := time.Now()
	stats, log := m.root.Stats(), m.replica.Stats()
	used := m.platform.usage()
	received := stats.Counters[packetpath.Received]

	h.mu.Lock()
	defer h.mu.Unlock()
	r := fsm.HealthReport{
		Member: m.id, Epoch: uint16(m.sightings.epoch.Load()), RSS: used.resident, Sessions: uint32(stats.Sessions),
		LogLag: uint32(log.LastIndex - min(log.LastIndex, log.AppliedIndex)), DiskFree: diskFree(m.dir.Path),
	}
	if d := now.Sub(h.at); !h.at.IsZero() && d > 0 {
		r.CPU = uint16(min(1000, float64(used.cpu-h.cpu)/float64(d)/float64(runtime.NumCPU())*1000))
		r.PPS = uint32(float64(received-h.received) / d.Seconds())
	}
	r.Geo = m.atlas.database()
	r.Load = r.CPU // what a member can carry is bounded by its processors first
	h.cpu, h.received, h.at, h.report = used.cpu, received, now, r
}

// look greets the public endpoints of all other members, one member at a time, spread over the interval.
func (h *health) look(ctx context.Context) error {
	for {
		s := h.m.fsm.View().State()
		others := slices.DeleteFunc(slices.Clone(s.Members), func(o fsm.Member) bool {
			return o.ID == h.m.id || len(o.Endpoints) == 0 || o.Status != fsm.StatusUp
		})
		pause := probeEvery / time.Duration(max(1, len(others)))
		for _, o := range others {
			h.probe(ctx, &o)
			if !sleep(ctx, pause) {
				return nil
			}
		}
		h.forget(others)
		if len(others) == 0 && !sleep(ctx, pause) {
			return nil
		}
	}
}

// sleep waits, and returns false if ctx ended.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

func (h *health) probe(ctx context.Context, o *fsm.Member) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	asked := slices.DeleteFunc(slices.Clone(o.Endpoints), func(e netip.AddrPort) bool { return !h.m.has(e) })
	p := fsm.Probe{Member: o.ID}
	for _, found := range h.m.prober.probe(ctx, h.m.dir.Identity.Identity, asked) {
		bit := uint32(1) << slices.Index(o.Endpoints, found.Endpoint)
		p.Asked |= bit
		if found.OK {
			p.Answered |= bit
			if rtt := uint32(found.RTTMillis * 1000); p.RTT == 0 || rtt < p.RTT {
				p.RTT = max(1, rtt)
			}
		}
	}
	if rtt, ok := h.m.cluster.link.RTT(uint16(o.ID)); ok { // better than a HELLO: it is measured all the time
		p.RTT = max(1, uint32(rtt.Min.Microseconds())) // one that stands still for a moment is not farther away
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.probes == nil {
		h.probes = map[table.MemberID]fsm.Probe{}
	}
	h.probes[o.ID] = p
}

// forget drops what was found of members that are not there any more.
func (h *health) forget(there []fsm.Member) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for id := range h.probes {
		if !slices.ContainsFunc(there, func(o fsm.Member) bool { return o.ID == id }) {
			delete(h.probes, id)
		}
	}
}

// has reports whether this member serves the family of an endpoint, and so can greet it.
func (m *member) has(e netip.AddrPort) bool {
	return slices.ContainsFunc(m.sockets.Addrs(), func(a netip.AddrPort) bool { return a.Addr().Is4() == e.Addr().Is4() })
}

// diskFree is the room for the log, 0 if the system does not tell.
func diskFree(dir string) uint64 {
	var fs syscall.Statfs_t
	if syscall.Statfs(dir, &fs) != nil {
		return 0
	}
	return uint64(fs.Bavail) * uint64(fs.Bsize) //nolint:unconvert // signed on some systems
}
