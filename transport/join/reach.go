package join

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/rootd/rootd/packetpath/vl1"
)

// probeProtocol is the protocol version that probes and their answers state.
const probeProtocol = 11

// maxDatagram is more than a HELLO or its answer takes.
const maxDatagram = 2048

// NewProbeIdentity returns an identity for the two ends of a probe: good keys under an address that does not belong to
// them, made in no time. A root takes it for a client only after validation, which it fails: to probe a root, use a real one.
func NewProbeIdentity() (*vl1.SecretIdentity, error) {
	k, err := vl1.GenerateSigningKey() // has the same two halves
	if err != nil {
		return nil, fmt.Errorf("make probe identity: %w", err)
	}
	return vl1.ParseSecretIdentity("00000" + k.Public().String()[:5] + ":0:" + k.SecretString())
}

// Responder answers HELLOs at the endpoints of a machine that is joining, as the root that it will be would. It has an
// identity of its own: the root's comes only when the machine is a member.
type Responder struct {
	id *vl1.SecretIdentity

	conns []*net.UDPConn // set by Listen, before Run
}

// NewResponder returns a responder that listens nowhere.
func NewResponder() (*Responder, error) {
	id, err := NewProbeIdentity()
	if err != nil {
		return nil, err
	}
	return &Responder{id: id}, nil
}

// Identity is what it answers as: Options.Probe.
func (r *Responder) Identity() *vl1.Identity { return &r.id.Identity }

// Listen opens a socket for each endpoint: on its address if the machine has it, else on all addresses of its family (the
// machine is behind NAT, or the address comes later). A port in use is an error: something that is to be stopped runs there.
func (r *Responder) Listen(endpoints []netip.AddrPort) error {
	var open []netip.AddrPort
	for _, ap := range endpoints {
		family, wildcard := "udp4", netip.AddrPortFrom(netip.IPv4Unspecified(), ap.Port())
		if ap.Addr().Is6() {
			family, wildcard = "udp6", netip.AddrPortFrom(netip.IPv6Unspecified(), ap.Port())
		}
		if slices.Contains(open, wildcard) {
			continue
		}
		at := ap
		c, err := net.ListenUDP(family, net.UDPAddrFromAddrPort(at))
		if errors.Is(err, syscall.EADDRNOTAVAIL) {
			at = wildcard
			c, err = net.ListenUDP(family, net.UDPAddrFromAddrPort(at))
		}
		if err != nil {
			return errors.Join(fmt.Errorf("open endpoint %v: %w", ap, err), r.Close())
		}
		open = append(open, at)
		r.conns = append(r.conns, c)
	}
	return nil
}

// Run answers until ctx ends, and closes the sockets.
func (r *Responder) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	for _, c := range r.conns {
		wg.Go(func() { r.answer(c) })
	}
	<-ctx.Done()
	err := r.Close()
	wg.Wait()
	return err
}

// Close closes the sockets. It may be called twice.
func (r *Responder) Close() error {
	for _, c := range r.conns {
		_ = c.Close() // nothing was promised
	}
	return nil
}

// answer answers HELLOs that come in at c until it is closed.
func (r *Responder) answer(c *net.UDPConn) {
	in, out := make([]byte, maxDatagram), make([]byte, maxDatagram)
	for {
		n, from, err := c.ReadFromUDPAddrPort(in)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			continue // an ICMP error of an earlier answer
		}
		from = netip.AddrPortFrom(from.Addr().Unmap(), from.Port())
		if p, ok := r.reply(in[:n], from, out); ok {
			_, _ = c.WriteToUDPAddrPort(p, from) // who asked will ask again
		}
	}
}

// reply answers one datagram if it is a HELLO for us whose sender has the key it names.
func (r *Responder) reply(in []byte, from netip.AddrPort, out []byte) (vl1.Packet, bool) {
	p, err := vl1.ParsePacket(in)
	if err != nil || vl1.IsFragment(in) || p.Dest() != r.id.Address || p.Suite() != vl1.SuitePoly1305 {
		return nil, false
	}
	_, sender, err := vl1.PeekHello(p)
	if err != nil {
		return nil, false
	}
	key, err := r.id.Agree(&sender.Key)
	if err != nil || vl1.Dearmor(p, &key) != nil {
		return nil, false
	}
	var h vl1.Hello
	if vl1.DecodeHello(p, &key, &h) != nil {
		return nil, false
	}
	ok := vl1.NewPacket(out, randomID(), sender.Address, r.id.Address, vl1.VerbOK)
	ok = vl1.AppendOKHello(ok, p.ID(), &vl1.OKHello{Clock: h.Clock, Protocol: probeProtocol, SeenAt: from})
	vl1.Armor(ok, &key, vl1.SuiteSalsa)
	return ok, true
}

func randomID() uint64 {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails
	return binary.BigEndian.Uint64(b[:])
}

// ProbeTimeout is how long [ProbeEndpoints] waits for answers, ProbeEvery how often it asks meanwhile.
const (
	ProbeTimeout = 3 * time.Second
	ProbeEvery   = 500 * time.Millisecond
)

// ProbeEndpoints says HELLO to the identity at each of the endpoints, in parallel, and reports who answered: one Probe
// per endpoint, in their order, with member as the name of the prober. Nothing answers for another: each HELLO names
// its endpoint by its clock field, and is believed only under the key agreed with the identity.
func ProbeEndpoints(ctx context.Context, member string, from *vl1.SecretIdentity, to *vl1.Identity, endpoints []netip.AddrPort) ([]Probe, error) {
	key, err := from.Agree(&to.Key)
	if err != nil {
		return nil, fmt.Errorf("probe endpoints: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, ProbeTimeout)
	defer cancel()
	out := make([]Probe, len(endpoints))
	var wg sync.WaitGroup
	for i, ap := range endpoints {
		out[i] = Probe{Member: member, Endpoint: ap}
		wg.Go(func() { out[i].probe(ctx, from, to, &key) })
	}
	wg.Wait()
	return out, nil
}

// probe asks one endpoint through a socket of its own until it answers or ctx ends.
func (r *Probe) probe(ctx context.Context, from *vl1.SecretIdentity, to *vl1.Identity, key *vl1.Key) {
	c, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(r.Endpoint))
	if err != nil {
		r.Why = "no way to it: " + reason(err)
		return
	}
	defer c.Close()
	stop := context.AfterFunc(ctx, func() { _ = c.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	clock, sent := randomID(), map[uint64]time.Time{}
	in, buf := make([]byte, maxDatagram), make([]byte, maxDatagram)
	for ctx.Err() == nil {
		p := vl1.NewPacket(buf, randomID(), to.Address, from.Address, vl1.VerbHello)
		p = vl1.AppendHello(p, &vl1.Hello{Protocol: probeProtocol, Clock: clock, Identity: from.Identity, SentTo: r.Endpoint}, key)
		vl1.Armor(p, key, vl1.SuitePoly1305)
		sent[p.ID()] = time.Now()
		if _, err := c.Write(p); err != nil {
			r.Why = reason(err)
		}
		for next := time.Now().Add(ProbeEvery); ; {
			_ = c.SetReadDeadline(next)
			if ctx.Err() != nil { // its deadline may have been overwritten
				break
			}
			n, err := c.Read(in)
			if errors.Is(err, syscall.ECONNREFUSED) {
				r.Why = "nothing listens there"
				continue
			}
			if err != nil {
				break // time to ask again
			}
			if at, ok := answered(in[:n], to, key, clock, sent); ok {
				r.OK, r.Why, r.RTTMillis = true, "", float64(time.Since(at))/float64(time.Millisecond)
				return
			}
		}
	}
	if r.Why == "" {
		r.Why = "no answer"
	}
}

// answered reports whether a datagram answers one of the HELLOs sent, and when that was.
func answered(in []byte, to *vl1.Identity, key *vl1.Key, clock uint64, sent map[uint64]time.Time) (time.Time, bool) {
	p, err := vl1.ParsePacket(in)
	if err != nil || vl1.IsFragment(in) || p.Source() != to.Address || vl1.Dearmor(p, key) != nil {
		return time.Time{}, false
	}
	inRe, id, body, err := vl1.DecodeOK(p)
	var ok vl1.OKHello
	if err != nil || inRe != vl1.VerbHello || vl1.DecodeOKHello(body, &ok) != nil || ok.Clock != clock {
		return time.Time{}, false
	}
	at, known := sent[id]
	return at, known
}

// reason is the cause of a network error without the addresses around it.
func reason(err error) string {
	if e, ok := errors.AsType[*net.OpError](err); ok {
		return e.Err.Error()
	}
	return err.Error()
}
