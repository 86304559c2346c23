package main

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/rootd/rootd/fsm/replica"
	"github.com/rootd/rootd/packetpath"
	"github.com/rootd/rootd/transport/admin"
)

// rateWindow is what the rates of the status are averaged over.
const rateWindow = 10 * time.Second

// rates keeps the latest averages for the status.
type rates struct {
	latest atomic.Pointer[admin.Rates]
}

// run samples until ctx ends: twice a window, so that the first figures come early.
func (r *rates) run(ctx context.Context, root *packetpath.Root, log *replica.Replica) error {
	tick := time.NewTicker(rateWindow / 2)
	defer tick.Stop()
	type sample struct {
		at    time.Time
		s     packetpath.Stats
		index uint64
	}
	samples := []sample{{time.Now(), root.Stats(), log.Stats().AppliedIndex}}
	for {
		select {
		case <-ctx.Done():
			return nil
		case at := <-tick.C:
			samples = append(samples, sample{at, root.Stats(), log.Stats().AppliedIndex})
			first, last := samples[0], samples[len(samples)-1]
			d := last.at.Sub(first.at)
			now := ratesBetween(&first.s, &last.s, d)
			now.LogEntries = float64(last.index-first.index) / d.Seconds()
			r.latest.Store(now)
			if len(samples) > 2 {
				samples = samples[1:]
			}
		}
	}
}

func ratesBetween(a, b *packetpath.Stats, d time.Duration) *admin.Rates {
	per := func(counters ...packetpath.Counter) (rate float64) {
		for _, c := range counters {
			rate += float64(b.Counters[c]-a.Counters[c]) / d.Seconds()
		}
		return rate
	}
	return &admin.Rates{
		Window:          d.Seconds(),
		PacketsReceived: per(packetpath.Received), PacketsSent: per(packetpath.Sent),
		BytesReceived: per(packetpath.ReceivedBytes), BytesSent: per(packetpath.SentBytes),
		Hellos: per(packetpath.HelloReceived), Whois: per(packetpath.WhoisReceived),
		Relayed: per(packetpath.Relayed), Introductions: per(packetpath.Introductions),
		Dropped: per(drops[:]...),
	}
}

// drops are the counters of packets that a client might have wanted to see answered or relayed.
var drops = [...]packetpath.Counter{
	packetpath.Junk, packetpath.RelayNoRoute, packetpath.RelayHopLimit, packetpath.RelayLimited,
	packetpath.FragmentsDropped, packetpath.HelloLimited, packetpath.HelloOld, packetpath.BadMAC, packetpath.BadPacket,
	packetpath.UnknownPeer, packetpath.SuiteRefused, packetpath.UnconfirmedWithheld, packetpath.Replayed,
	packetpath.NewcomersLimited, packetpath.NewcomersDropped, packetpath.NewcomersInvalid, packetpath.KnownDropped,
	packetpath.SessionsFull, packetpath.WhoisLimited, packetpath.EchoLimited, packetpath.GatherLimited,
}
