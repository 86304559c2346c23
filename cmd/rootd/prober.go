package main

import (
	"context"
	"encoding/json"
	"errors"
	"net/netip"
	"sync"

	"github.com/rootd/rootd/cmd/internal/greet"
	"github.com/rootd/rootd/fsm/table"
	"github.com/rootd/rootd/packetpath/vl1"
	"github.com/rootd/rootd/transport/join"
	"github.com/rootd/rootd/transport/pki"
)

// callProbe is answered with a list of join.Probe.
const callProbe = "probe/1" // probeQuestion

// prober greets many endpoints at the same time.
type prober struct{ greeter *greet.Greeter }

// probe says HELLO at all endpoints, and waits for an answer that only the owner of the identity can give.
func (p *prober) probe(ctx context.Context, who vl1.Identity, endpoints []netip.AddrPort) []join.Probe {
	found := make([]join.Probe, len(endpoints))
	var wg sync.WaitGroup
	for i, e := range endpoints {
		wg.Go(func() {
			rtt, err := p.greeter.Greet(ctx, who, e)
			found[i] = join.Probe{Endpoint: e, OK: err == nil, RTTMillis: float64(rtt.Microseconds()) / 1000}
			if err != nil {
				found[i].Why = err.Error()
			}
		})
	}
	wg.Wait()
	return found
}

type probeQuestion struct {
	Who       vl1.Identity     `json:"who"`
	Endpoints []netip.AddrPort `json:"endpoints"`
}

// askProbe has another member probe. If it cannot be asked, that is what it found.
func (c *cluster) askProbe(ctx context.Context, member table.MemberID, who vl1.Identity, endpoints []netip.AddrPort) []join.Probe {
	var found []join.Probe
	body, err := json.Marshal(probeQuestion{who, endpoints})
	if err == nil {
		var b []byte
		if b, err = c.call(ctx, member, callProbe, body); err == nil {
			err = json.Unmarshal(b, &found)
		}
	}
	if err != nil || len(found) != len(endpoints) {
		c.m.log.Warn("member could not probe", "member", uint16(member), "error", err)
		return nil
	}
	return found
}

func (c *cluster) handleProbe(ctx context.Context, _ pki.Peer, body []byte) ([]byte, error) {
	var q probeQuestion
	if err := json.Unmarshal(body, &q); err != nil {
		return nil, err
	}
	if len(q.Endpoints) > vl1.MaxEndpoints {
		return nil, errors.New("too many endpoints")
	}
	return json.Marshal(c.m.prober.probe(ctx, q.Who, q.Endpoints))
}
