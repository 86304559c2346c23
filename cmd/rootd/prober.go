package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/rootd/rootd/fsm/table"
	"github.com/rootd/rootd/packetpath/vl1"
	"github.com/rootd/rootd/transport/join"
	"github.com/rootd/rootd/transport/pki"
)

const (
	callProbe   = "probe/1" // probeQuestion; answer: list of join.Probe
	probeTries  = 3
	probeWait   = 700 * time.Millisecond // for each try
	probeRepeat = 1100 * time.Millisecond
)

// prober greets endpoints as a client would: whether a root answers is seen from outside or not at all. It has an
// identity of its own for that, made when it is first needed and known to the cluster as any client's is.
type prober struct {
	dial func(to netip.AddrPort) (net.Conn, error)

	mu sync.Mutex // guards id while it is made
	id *vl1.SecretIdentity
}

func (p *prober) identity() (*vl1.SecretIdentity, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.id == nil {
		id, err := vl1.NewHasher().Generate()
		if err != nil {
			return nil, err
		}
		p.id = id
	}
	return p.id, nil
}

// probe says HELLO at all endpoints at the same time, and waits for an answer that only the owner of the identity can
// give.
func (p *prober) probe(ctx context.Context, who vl1.Identity, endpoints []netip.AddrPort) []join.Probe {
	found := make([]join.Probe, len(endpoints))
	var wg sync.WaitGroup
	for i, e := range endpoints {
		wg.Go(func() {
			rtt, err := p.greet(ctx, who, e)
			found[i] = join.Probe{Endpoint: e, OK: err == nil, RTTMillis: float64(rtt.Microseconds()) / 1000}
			if err != nil {
				found[i].Why = err.Error()
			}
		})
	}
	wg.Wait()
	return found
}

func (p *prober) greet(ctx context.Context, who vl1.Identity, at netip.AddrPort) (time.Duration, error) {
	self, err := p.identity()
	if err != nil {
		return 0, err
	}
	key, err := self.Agree(&who.Key)
	if err != nil {
		return 0, err
	}
	conn, err := p.dial(at)
	if err != nil {
		return 0, fmt.Errorf("no way there: %w", errors.Unwrap(err))
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { _ = conn.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	for range probeTries {
		began := time.Now()
		h := vl1.Hello{Protocol: 11, Clock: uint64(began.UnixMilli()), Identity: self.Identity, SentTo: at}
		hello := vl1.AppendHello(vl1.NewPacket(nil, rand.Uint64(), who.Address, self.Address, vl1.VerbHello), &h, &key)
		vl1.Armor(hello, &key, vl1.SuitePoly1305)
		if _, err := conn.Write(hello); err != nil {
			return 0, fmt.Errorf("nothing listens there: %w", err)
		}
		_ = conn.SetReadDeadline(began.Add(probeWait))
		if answered(conn, hello.ID(), &key) {
			return time.Since(began), nil
		}
		select {
		case <-ctx.Done():
			return 0, ctx.Err()
		case <-time.After(time.Until(began.Add(probeRepeat))): // a root answers one a second
		}
	}
	return 0, errors.New("no answer to a HELLO")
}

// answered reads until the answer has come, or the deadline.
func answered(conn net.Conn, helloID uint64, key *vl1.Key) bool {
	buf := make([]byte, vl1.MaxPacket)
	for {
		n, err := conn.Read(buf)
		if err != nil {
			return false
		}
		p, err := vl1.ParsePacket(buf[:n])
		if err != nil || vl1.Dearmor(p, key) != nil || p.Verb() != vl1.VerbOK {
			continue
		}
		if verb, id, _, err := vl1.DecodeOK(p); err == nil && verb == vl1.VerbHello && id == helloID {
			return true
		}
	}
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
