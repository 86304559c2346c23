package packetpath_test

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rootd/rootd/fsm"
	"github.com/rootd/rootd/fsm/table"
	"github.com/rootd/rootd/packetpath"
	"github.com/rootd/rootd/packetpath/udp"
	"github.com/rootd/rootd/packetpath/vl1"
)

var otherRoot = netip.MustParseAddrPort("10.0.9.9:9993")

// rescuers starts one at each member; the planet lists all of them. It returns the socket of the other root.
func (l *lab) rescuers() udp.Conn {
	l.Helper()
	var endpoints []netip.AddrPort
	for _, n := range l.nodes {
		endpoints = append(endpoints, n.v4, n.v6)
	}
	w := &vl1.World{
		Type: vl1.WorldPlanet, ID: 0xdecade, Timestamp: 1000, UpdateKey: l.signs.Public(),
		Roots: []vl1.Root{{Identity: l.self.Identity, Endpoints: endpoints}},
	}
	w.Sign(l.signs)
	l.apply(&fsm.PublishPlanet{World: w.AppendBinary(nil)})
	other, err := l.net.Listen(otherRoot, udp.Options{})
	if err != nil {
		l.Fatal(err)
	}
	l.Cleanup(func() { _ = other.Close() })
	for _, n := range l.nodes {
		ctx, cancel := context.WithCancel(context.Background())
		r := n.root.NewRescuer(func() []netip.AddrPort { return []netip.AddrPort{otherRoot} })
		done := make(chan struct{})
		go func() { defer close(done); r.Run(ctx) }()
		l.Cleanup(func() { cancel(); <-done })
		l.saviours = append(l.saviours, r)
	}
	time.Sleep(time.Second) // they have seen all members up
	return other
}

// rescues is what all members report about the last death.
func (l *lab) rescues() (sum packetpath.Rescue) {
	for _, r := range l.saviours {
		if all := r.Rescues(); len(all) > 0 {
			o := all[0]
			sum.Dead, sum.Epoch, sum.At = o.Dead, o.Epoch, o.At
			sum.Peers, sum.Pushed, sum.Arrived, sum.Elsewhere, sum.GivenUp = sum.Peers+o.Peers, sum.Pushed+o.Pushed, sum.Arrived+o.Arrived, sum.Elsewhere+o.Elsewhere, sum.GivenUp+o.GivenUp
		}
	}
	return sum
}

// lose makes the log believe that a member died.
func (l *lab) lose(id table.MemberID) {
	l.Helper()
	down := &fsm.MemberDown{ID: id, Epoch: 1, Cause: fsm.DownLost}
	for _, n := range l.nodes {
		if n.id != id {
			down.Witnesses = append(down.Witnesses, n.id)
		}
	}
	l.apply(down)
}

// relayed returns the next packet that came to the other root for the client, decrypted, or nil if none comes in time.
func (c *client) relayed(other udp.Conn, within time.Duration) (p vl1.Packet, from netip.AddrPort) {
	c.Helper()
	batch := []udp.Message{{Buf: make([]byte, vl1.MaxPacket)}}
	_ = other.SetReadDeadline(time.Now().Add(within))
	if n, _ := other.Read(batch); n == 0 {
		return nil, from
	}
	p, err := vl1.ParsePacket(batch[0].Buf[:batch[0].N])
	if err != nil || p.Dest() != c.id.Address || p.Source() != c.self.Address || p.Hops() != 0 {
		c.Fatalf("%v: %x", err, batch[0].Buf[:batch[0].N])
	}
	if err := vl1.Dearmor(p, &c.key); err != nil {
		c.Fatal(err)
	}
	return p, batch[0].Addr
}

// push returns the one endpoint of a redirect.
func (c *client) push(p vl1.Packet) netip.AddrPort {
	c.Helper()
	if p == nil {
		c.Fatal("no redirect")
	}
	paths, err := vl1.DecodePushDirectPaths(p, nil)
	if err != nil || len(paths) != 1 || paths[0].Flags != vl1.PathRedirect {
		c.Fatalf("%v: %+v", err, paths)
	}
	return paths[0].Endpoint
}

// lines are the steps of handoffs that members proposed.
type lines struct {
	mu  sync.Mutex // guards all
	all []fsm.Handoff
}

// OfferHandoffs implements [packetpath.HandoffSink].
func (n *lines) OfferHandoffs(steps []fsm.Handoff) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.all = append(n.all, steps...)
}

func (n *lines) of(a vl1.Address) (steps []fsm.Handoff) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, h := range n.all {
		if h.Address == a {
			steps = append(steps, h)
		}
	}
	return steps
}

func (l *lab) sum(c packetpath.Counter) (n int) {
	synctest.Wait()
	for _, m := range l.nodes {
		n += int(m.root.Stats().Counters[c])
	}
	return n
}

func TestPeersOfADeadMemberAreRescued(t *testing.T) {
	for family, form := range forms {
		t.Run(family, func(t *testing.T) {
			told := &lines{}
			inCluster(t, 3, func(o *packetpath.Options) { o.Handoffs = told }, func(l *lab) {
				other := l.rescuers()
				c := l.clientAt(0, 1, fmt.Sprintf(form, 7)).attach()
				l.clientAt(1, 2, fmt.Sprintf(form, 8)).attach() // not concerned
				l.lose(1)
				p, from := c.relayed(other, time.Second)
				to := c.push(p)
				var saviour *node
				for _, n := range l.nodes[1:] {
					if to == n.v4 || to == n.v6 {
						saviour = n
					}
				}
				if saviour == nil || from != saviour.v4 || to.Addr().Is4() != c.addr.Addr().Is4() {
					t.Fatalf("redirected to %v by %v", to, from)
				}
				c.at = saviour
				id := c.hello(nil)
				// What the dead member's successor said directly may be there, too; pins follow the answer.
				var pinned []netip.AddrPort
				answered := false
				for p := c.next(); p != nil; p = c.next() {
					switch p.Verb() {
					case vl1.VerbOK:
						_, re, _, _ := vl1.DecodeOK(p)
						answered = answered || re == id
					case vl1.VerbPushDirectPaths:
						if p.Hops() != 1 {
							t.Errorf("a pin with %d hops", p.Hops())
						}
						pinned = append(pinned, c.push(p))
					}
				}
				if !answered || len(pinned) != fsm.RescuePins || slices.ContainsFunc(pinned, func(p netip.AddrPort) bool { return p != to }) {
					t.Errorf("answered %v, pinned to %v", answered, pinned)
				}
				if p, _ := c.relayed(other, 10*time.Second); p != nil {
					t.Errorf("a redirect after it had come: %v", p)
				}
				if n := l.sum(packetpath.Rescued); n != 1 {
					t.Errorf("%d rescued", n)
				}
				want := fsm.Handoff{Address: c.id.Address, Step: fsm.HandoffRescued, V6: family == "v6", From: saviour.id, Epoch: 1}
				if steps := told.of(c.id.Address); len(steps) != 1 || steps[0] != want {
					t.Errorf("the log was told %+v", steps)
				}
			})
		})
	}
}

// The pins of a client with several sockets all go to one of them: clients give a path that a redirect came on two more than it had, and one
// of another socket has nothing yet.
func TestPinsGoToOneSocket(t *testing.T) {
	inCluster(t, 3, nil, func(l *lab) {
		other := l.rescuers()
		c := l.clientAt(0, 1, "192.0.2.7:40000").attach()
		l.lose(1)
		p, _ := c.relayed(other, time.Second)
		to := c.push(p)
		for _, n := range l.nodes[1:] {
			if to == n.v4 {
				c.at = n
			}
		}
		c.hello(nil)
		for p = c.next(); p != nil && p.Verb() != vl1.VerbPushDirectPaths; p = c.next() {
		}
		c.push(p)
		second := c.from("192.0.2.7:40001").attach()
		pins := 1
		for p = c.next(); p != nil; p = c.next() {
			if p.Verb() == vl1.VerbPushDirectPaths {
				pins++
			}
		}
		if p = second.next(); p != nil || pins != fsm.RescuePins {
			t.Errorf("%d pins, and to the second socket: %v", pins, p)
		}
	})
}

func TestRescueGivesUp(t *testing.T) {
	inCluster(t, 3, nil, func(l *lab) {
		other := l.rescuers()
		c := l.clientAt(0, 1, "192.0.2.7:40000").attach()
		l.lose(1)
		began := time.Now()
		var at []time.Duration
		for p, _ := c.relayed(other, 200*time.Second); p != nil; p, _ = c.relayed(other, 200*time.Second) {
			at = append(at, time.Since(began).Truncate(time.Second/2))
		}
		if fmt.Sprint(at) != "[0s 1.5s 4s 40s 2m0s 5m0s]" {
			t.Errorf("redirects after %v", at)
		}
		if r := l.rescues(); r.Peers != 1 || r.Pushed != 1 || r.Waiting() != 1 || r.Dead != 1 || r.Epoch != 1 {
			t.Errorf("after eight minutes: %+v", r)
		}
		time.Sleep(2 * time.Minute)
		if begun, gone := l.sum(packetpath.RescuesBegun), l.sum(packetpath.RescuesGivenUp); begun != 1 || gone != 1 {
			t.Errorf("%d begun, %d given up", begun, gone)
		}
		if r := l.rescues(); r.GivenUp != 1 || r.Waiting() != 0 {
			t.Errorf("in the end: %+v", r)
		}
	})
}

// A client that found another member by itself is left alone; one whose planet lists nobody else cannot be helped.
func TestNobodyIsRescuedWhoNeedsNoHelp(t *testing.T) {
	inCluster(t, 3, nil, func(l *lab) {
		other := l.rescuers()
		c := l.clientAt(0, 1, "192.0.2.7:40000").attach()
		l.apply(&fsm.Set{Key: "rescue_rate", Value: "0"})
		l.lose(1)
		if p, _ := c.relayed(other, 10*time.Second); p != nil {
			t.Error("rescued although that is switched off")
		}
	})
	inCluster(t, 3, nil, func(l *lab) {
		other := l.rescuers()
		c := l.clientAt(0, 1, "192.0.2.7:40000").attach()
		l.lose(1)
		if p, _ := c.relayed(other, time.Second); p == nil {
			t.Fatal("no redirect")
		}
		l.apply(fsm.Changes{{Address: c.id.Address, Key: c.id.Key, Member: 2, Epoch: 1, V4: c.addr}})
		l.apply(fsm.Changes{{Address: c.id.Address, Key: c.id.Key, Member: 3, Epoch: 1, V4: c.addr}})
		if p, _ := c.relayed(other, 10*time.Second); p != nil {
			t.Error("a redirect although it is at a member that lives")
		}
		if n := l.sum(packetpath.RescuedElsewhere); n != 1 {
			t.Errorf("%d found elsewhere", n)
		}
	})
}
