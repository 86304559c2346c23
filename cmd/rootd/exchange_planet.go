package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"time"

	"github.com/rootd/rootd/fsm"
	"github.com/rootd/rootd/packetpath"
	"github.com/rootd/rootd/packetpath/vl1"
)

const (
	exchangeEvery = time.Minute
	exchangeWait  = 3 * time.Second
	exchangeTries = 2
	guestsMost    = 4 // places where a root is looked for
)

// exchangePlanets keeps the clusters of a fleet at one planet, at the leader. Each cluster changes the planet when its
// members change, and knows nothing of what the other has just changed. So the leader greets the other roots as a
// client with our planet does, and is handed a newer one as any client is: it needs no more trust than a client has,
// because only the signing key makes a planet. What the newer one lacks of our own endpoints is added to it as after a join.
//
// A root that was restored on other machines is at none of the endpoints that the others know. But it greets them, and says that its
// planet is newer: whichever member it greets looks for it where it came from.
func (n *neighbours) exchangePlanets(ctx context.Context) error {
	last := time.Now().Add(-exchangeEvery) // soon after the start, and after a change of leader
	for sleep(ctx, exchangeEvery/6) {
		n.takeFrom(ctx, n.guests)
		if n.m.replica.IsLeader() && time.Since(last) >= exchangeEvery {
			last = time.Now()
			n.takeFrom(ctx, n.answering)
		}
	}
	return nil
}

// answering is the endpoint of a root that answers best.
func (n *neighbours) answering(r *vl1.Root) []netip.AddrPort {
	best := n.via()
	if at := slices.IndexFunc(best, func(e netip.AddrPort) bool { return slices.Contains(r.Endpoints, e) }); at >= 0 {
		return best[at : at+1]
	}
	return nil
}

// guests are the places where a root may be that has greeted this member from, with a newer planet than ours, and that answers at no
// endpoint that we know.
func (n *neighbours) guests(r *vl1.Root) (all []netip.AddrPort) {
	p, ok := n.m.root.Peer(r.Identity.Address)
	if !ok || p.PlanetTimestamp <= n.m.fsm.View().State().Planet.World.Timestamp || len(n.answering(r)) > 0 {
		return nil
	}
	return placesOf(p.Paths, r)
}

// placesOf are the addresses that a root speaks from, with the ports that it serves at.
func placesOf(paths []packetpath.PathInfo, r *vl1.Root) (all []netip.AddrPort) {
	for _, from := range paths {
		for _, e := range r.Endpoints {
			if at := netip.AddrPortFrom(from.Endpoint.Addr(), e.Port()); !slices.Contains(all, at) && len(all) < guestsMost {
				all = append(all, at)
			}
		}
	}
	return all
}

// takeFrom asks each other root where it may be, and publishes the newest planet.
func (n *neighbours) takeFrom(ctx context.Context, where func(*vl1.Root) []netip.AddrPort) {
	held := n.m.fsm.View().State().Planet
	if held == nil {
		return
	}
	for i := range held.World.Roots {
		r := &held.World.Roots[i]
		for _, at := range where(r) {
			ours := n.m.fsm.View().State().Planet.World // the root before may have had a newer one
			raw, err := n.ask(ctx, r.Identity, at, ours)
			if err == nil && raw != nil {
				_, err = n.m.propose(ctx, &fsm.PublishPlanet{World: raw})
			}
			switch {
			case err != nil:
				n.m.log.Warn("planet of another root not taken", "root", r.Identity.Address.String(), "error", err)
			case raw != nil:
				n.m.log.Info("planet of another root taken", "root", r.Identity.Address.String())
			}
			if raw != nil {
				break
			}
		}
	}
}

// ask greets a root with our planet and returns the newer one that it hands us, or nil.
func (n *neighbours) ask(ctx context.Context, who vl1.Identity, at netip.AddrPort, ours *vl1.World) ([]byte, error) {
	self := n.m.dir.Identity
	key, err := self.Agree(&who.Key)
	if err != nil {
		return nil, err
	}
	conn, err := n.m.platform.dialUDP(at)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { _ = conn.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	g := guest{conn: conn, self: self, root: who, key: &key, assembler: vl1.NewAssembler(4, 4)}
	for range exchangeTries {
		if err := g.hello(at, ours); err != nil {
			return nil, err
		}
		_ = conn.SetReadDeadline(time.Now().Add(exchangeWait))
		raw, err := g.worlds()
		if err == nil {
			return newer(ours, raw)
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
	}
	return nil, nil
}

// newer returns the planet at the start of raw if it replaces ours.
func newer(ours *vl1.World, raw []byte) ([]byte, error) {
	w, size, err := vl1.DecodeWorld(raw)
	if err != nil {
		return nil, err
	}
	if err := ours.ReplacedBy(w); err != nil {
		return nil, err
	}
	return raw[:size], nil
}

// guest speaks to another root as a client does.
type guest struct {
	conn      net.Conn
	self      *vl1.SecretIdentity
	root      vl1.Identity
	key       *vl1.Key
	assembler *vl1.Assembler
}

func (g *guest) hello(at netip.AddrPort, ours *vl1.World) error {
	h := vl1.Hello{
		Protocol: 11, Clock: uint64(time.Now().UnixMilli()), Identity: g.self.Identity, SentTo: at,
		HasPlanet: true, PlanetID: ours.ID, PlanetTimestamp: ours.Timestamp,
	}
	p := vl1.AppendHello(g.packet(vl1.VerbHello), &h, g.key)
	vl1.Armor(p, g.key, vl1.SuitePoly1305)
	if _, err := g.conn.Write(p); err != nil {
		return fmt.Errorf("greet %v: %w", at, err)
	}
	return nil
}

func (g *guest) packet(v vl1.Verb) vl1.Packet {
	return vl1.NewPacket(nil, rand.Uint64(), g.root.Address, g.self.Address, v)
}

// worlds waits for an OK(HELLO) that carries worlds. The root sends them only to who answers its ECHO.
func (g *guest) worlds() ([]byte, error) {
	buf := make([]byte, 2*vl1.MaxPacket)
	for {
		n, err := g.conn.Read(buf)
		if err != nil {
			return nil, err
		}
		p := g.whole(buf[:n])
		if len(p) < vl1.HeaderLen || p.Source() != g.root.Address || vl1.Dearmor(p, g.key) != nil {
			continue
		}
		if p.Compressed() {
			if p, err = vl1.Decompress(p, make([]byte, vl1.MaxPacket)); err != nil {
				continue
			}
		}
		switch p.Verb() {
		case vl1.VerbEcho:
			ok := vl1.AppendOKEcho(g.packet(vl1.VerbOK), p.ID(), p.Payload())
			vl1.Armor(ok, g.key, vl1.SuiteSalsa)
			if _, err := g.conn.Write(ok); err != nil && !errors.Is(err, net.ErrClosed) {
				return nil, err
			}
		case vl1.VerbOK:
			if verb, _, body, err := vl1.DecodeOK(p); err == nil && verb == vl1.VerbHello {
				var m vl1.OKHello
				if vl1.DecodeOKHello(body, &m) == nil && len(m.Worlds) > 0 {
					return m.Worlds, nil
				}
			}
		}
	}
}

// whole returns the packet that a datagram is or completes, or nil.
func (g *guest) whole(b []byte) vl1.Packet {
	from, _ := netip.ParseAddrPort(g.conn.RemoteAddr().String())
	now := time.Now().UnixMilli()
	switch {
	case len(b) < vl1.MinDatagram:
		return nil
	case vl1.IsFragment(b):
		return g.assembler.Fragment(vl1.Fragment(b), from.Addr(), now)
	}
	p, err := vl1.ParsePacket(b)
	if err != nil {
		return nil
	}
	if p.Fragmented() {
		return g.assembler.Head(p, from.Addr(), now)
	}
	return p
}
