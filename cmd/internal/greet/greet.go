// Package greet says HELLO to a root's endpoint as a client would: whether a root answers is seen from outside, or not at all.
//
// An identity and an endpoint flow in, the round trip or why there was no answer flows out. A [Greeter] makes an identity of its own
// when it first needs one, which takes about a second of computing; roots know a greeting from a client's and do not remember it.
// Any goroutine may use it; it starts none that outlive a call.
package greet

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/rootd/rootd/packetpath/vl1"
)

const (
	tries  = 3
	wait   = 700 * time.Millisecond // for each try
	repeat = 1100 * time.Millisecond
)

// ErrSilent is returned when a root did not answer any HELLO.
var ErrSilent = errors.New("no answer to a HELLO")

// Greeter greets.
type Greeter struct {
	dial func(to netip.AddrPort) (net.Conn, error)

	mu sync.Mutex // guards id while it is made
	id *vl1.SecretIdentity
}

// New returns a greeter. dial opens a UDP socket that is connected to an endpoint; nil: one of this machine.
func New(dial func(to netip.AddrPort) (net.Conn, error)) *Greeter {
	if dial == nil {
		dial = func(to netip.AddrPort) (net.Conn, error) {
			return net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(to))
		}
	}
	return &Greeter{dial: dial}
}

// Become makes the greeter greet as id, where the time to make an identity is not to be had.
func (g *Greeter) Become(id *vl1.SecretIdentity) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.id = id
}

func (g *Greeter) identity() (*vl1.SecretIdentity, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.id == nil {
		id, err := vl1.NewHasher().Generate()
		if err != nil {
			return nil, err
		}
		g.id = id
	}
	return g.id, nil
}

// Greet says HELLO up to three times, a little more than a second apart, and returns the round trip of the first answer that only
// the owner of the identity can have given. It takes four seconds at most.
func (g *Greeter) Greet(ctx context.Context, who vl1.Identity, at netip.AddrPort) (time.Duration, error) {
	self, err := g.identity()
	if err != nil {
		return 0, err
	}
	key, err := self.Agree(&who.Key)
	if err != nil {
		return 0, err
	}
	conn, err := g.dial(at)
	if err != nil {
		return 0, fmt.Errorf("no way there: %w", errors.Unwrap(err))
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { _ = conn.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	for range tries {
		began := time.Now()
		h := vl1.Hello{Protocol: 11, Clock: uint64(began.UnixMilli()), Identity: self.Identity, SentTo: at}
		hello := vl1.AppendHello(vl1.NewPacket(nil, rand.Uint64(), who.Address, self.Address, vl1.VerbHello), &h, &key)
		vl1.Armor(hello, &key, vl1.SuitePoly1305)
		if _, err := conn.Write(hello); err != nil {
			return 0, fmt.Errorf("nothing listens there: %w", err)
		}
		_ = conn.SetReadDeadline(began.Add(wait))
		if answered(conn, hello.ID(), &key) {
			return time.Since(began), nil
		}
		select {
		case <-ctx.Done():
			return 0, ctx.Err()
		case <-time.After(time.Until(began.Add(repeat))): // a root answers one a second
		}
	}
	return 0, ErrSilent
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
