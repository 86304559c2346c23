package packetpath_test

import (
	"bytes"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rootd/rootd/fsm"
	"github.com/rootd/rootd/fsm/table"
	"github.com/rootd/rootd/packetpath"
	"github.com/rootd/rootd/packetpath/vl1"
)

// pair returns two clients, attached to two members, in the family of the given form of address.
func (l *lab) pair(form string) (a, b *client) {
	a = l.clientAt(0, 1, fmt.Sprintf(form, 7)).attach()
	b = l.clientAt(1, 2, fmt.Sprintf(form, 8)).attach()
	return a, b
}

var forms = map[string]string{"v4": "192.0.2.%d:40000", "v6": "[fd00:2::%d]:40000"}

func TestRelayAcrossMembersCostsOneHop(t *testing.T) {
	for family, form := range forms {
		t.Run(family, func(t *testing.T) {
			inCluster(t, 3, nil, func(l *lab) {
				a, b := l.pair(form)
				for i, sent := range [][]byte{frame(a, b, 0), fragment(a, b, 0), frame(a, b, 2)} {
					at := []int{18, 15, 18}[i]
					a.raw(append([]byte(nil), sent...))
					got, from := b.datagram()
					for got != nil && len(got) != len(sent) { // RENDEZVOUS comes first
						got, from = b.datagram()
					}
					want := append([]byte(nil), sent...)
					want[at]++
					if !bytes.Equal(got, want) || from != b.rootAddr() {
						t.Errorf("from %v\n got %x\nwant %x", from, got, want)
					}
				}
				a.raw(frame(a, b, 3))
				if n := l.count(packetpath.RelayHopLimit); n != 1 {
					t.Errorf("a packet with 3 hops went on")
				}
			})
		})
	}
}

func TestIntroductionAcrossMembers(t *testing.T) {
	for family, form := range forms {
		t.Run(family, func(t *testing.T) {
			inCluster(t, 2, nil, func(l *lab) {
				a, b := l.pair(form)
				a.raw(frame(a, b, 0))
				for _, c := range []struct{ told, about *client }{{a, b}, {b, a}} {
					p := c.told.next()
					for p != nil && p.Source() != l.self.Address {
						p = c.told.next()
					}
					if p == nil {
						t.Fatalf("%v was not told", c.told.id.Address)
					}
					r, err := vl1.DecodeRendezvous(p)
					if err != nil || r.Peer != c.about.id.Address || r.Endpoint != c.about.addr {
						t.Errorf("%v was told %+v, %v", c.told.id.Address, r, err)
					}
				}
				b.raw(frame(b, a, 0))
				if p := a.next(); p == nil || p.Source() != b.id.Address {
					t.Errorf("got %v", p)
				}
				synctest.Wait()
			})
		})
	}
}

func TestWhoisAcrossMembers(t *testing.T) {
	inCluster(t, 2, nil, func(l *lab) {
		a, b := l.pair(forms["v4"])
		id := a.send(vl1.AppendWhois(a.packet(vl1.VerbWhois), b.id.Address))
		if got, err := vl1.DecodeOKWhois(a.ok(vl1.VerbWhois, id)); err != nil || got != b.id.Identity {
			t.Errorf("got %v, %v", got, err)
		}
	})
}

func TestPeerThatMovesIsFoundAtOnce(t *testing.T) {
	inCluster(t, 2, nil, func(l *lab) {
		a, b := l.pair(forms["v4"])
		time.Sleep(5 * time.Second)
		b.at = l.nodes[0] // the same device, the same socket, another member
		b.attach()
		a.raw(frame(a, b, 1))
		if got, from := b.datagram(); got == nil || from != l.nodes[0].v4 {
			t.Errorf("got %d bytes from %v", len(got), from)
		}
		time.Sleep(5 * time.Second)
		b.at = l.nodes[1]
		b.attach()
		a.raw(frame(a, b, 1)) // the first member still has a session with it, with a path that was heard not long ago
		if got, from := b.datagram(); got == nil || from != l.nodes[1].v4 {
			t.Errorf("got %d bytes from %v", len(got), from)
		}
	})
}

// Clients before 1.10.3 greet all members at random. They stay where they are as long as they are heard there.
func TestOldClientDoesNotBounce(t *testing.T) {
	inCluster(t, 2, nil, func(l *lab) {
		old := func(h *vl1.Hello) { h.Major, h.Minor, h.Revision = 1, 8, 4 }
		home, other := l.clientAt(0, 1, "192.0.2.7:40000"), l.clientAt(1, 1, "192.0.2.7:40001")
		attachedTo := func() (id table.MemberID) {
			synctest.Wait()
			var rec table.Record
			l.fsm.View().Peer(home.id.Address, &rec)
			return rec.V4Member
		}
		for range 5 {
			home.okHello(home.hello(old))
			home.silence()
			other.okHello(other.hello(old))
			other.silence()
			if m := attachedTo(); m != 1 {
				t.Fatalf("attached to %d", m)
			}
			time.Sleep(10 * time.Second)
		}
		for range 8 { // the first member does not hear it any more
			other.okHello(other.hello(old))
			other.silence()
			time.Sleep(5 * time.Second)
		}
		if m := attachedTo(); m != 2 {
			t.Errorf("still attached to %d", m)
		}
	})
}

func TestStaleAttachmentIsNotUsed(t *testing.T) {
	inCluster(t, 2, nil, func(l *lab) {
		a, b := l.pair(forms["v4"])
		l.apply(&fsm.MemberUp{ID: 2, Name: "m2", Version: "test"}) // restarted: a new epoch
		a.raw(frame(a, b, 1))
		if got, _ := b.datagram(); got != nil {
			t.Error("relayed on an attachment of an epoch that is over")
		}
	})
}

func TestMulticastAcrossMembers(t *testing.T) {
	inCluster(t, 5, nil, func(l *lab) {
		const groups = 40
		var clients []*client
		for i := range 5 {
			clients = append(clients, l.clientAt(i, i+1, fmt.Sprintf("192.0.2.%d:1", 10+i)).attach())
		}
		all := make([]vl1.Group, groups)
		for i := range all {
			all[i] = vl1.Group{Network: 0x8056c2e21c000001, ADI: uint32(i)}
		}
		for _, c := range clients {
			c.send(vl1.AppendMulticastLike(c.packet(vl1.VerbMulticastLike), all...))
		}
		synctest.Wait()
		asker := clients[0]
		for _, g := range all {
			id := asker.send(vl1.AppendMulticastGather(asker.packet(vl1.VerbMulticastGather), &vl1.Gather{Group: g, Limit: 33}))
			got := map[vl1.Address]bool{}
			for p := asker.next(); p != nil; p = asker.next() {
				_, re, body, err := vl1.DecodeOK(p)
				if err != nil || re != id {
					t.Fatalf("%v, in re %x", err, re)
				}
				m, err := vl1.DecodeOKGather(body)
				if err != nil || m.Group != g {
					t.Fatalf("%+v, %v", m, err)
				}
				for i := range m.Members.Len() {
					got[m.Members.At(i)] = true
				}
			}
			if len(got) != 4 || got[asker.id.Address] {
				t.Errorf("group %d: %v", g.ADI, got)
			}
			time.Sleep(time.Second)
		}
		// Each group has two homes, whichever member its subscribers are at.
		for i, n := range l.nodes {
			if held := n.root.Stats().Groups.Pairs; held == 0 || held == groups*5 {
				t.Errorf("member %d holds %d of %d subscriptions", i+1, held, groups*5)
			}
		}
	})
}

// A member that is down keeps no groups: what clients say again goes to those that are up.
func TestMulticastLeavesAMemberThatIsDown(t *testing.T) {
	inCluster(t, 3, nil, func(l *lab) {
		const groups = 40
		time.Sleep(time.Minute)
		l.apply(&fsm.Health{Reports: []fsm.HealthReport{{Member: 1, Epoch: 1}, {Member: 2, Epoch: 1}}})
		l.apply(&fsm.MemberDown{ID: 3, Epoch: 1})
		c := l.clientAt(0, 1, "192.0.2.7:1").attach()
		all := make([]vl1.Group, groups)
		for i := range all {
			all[i] = vl1.Group{Network: 0x8056c2e21c000001, ADI: uint32(i)}
		}
		c.send(vl1.AppendMulticastLike(c.packet(vl1.VerbMulticastLike), all...))
		synctest.Wait()
		for i, want := range []int{groups, groups, 0} {
			if held := l.nodes[i].root.Stats().Groups.Pairs; held != want {
				t.Errorf("member %d holds %d groups, want %d", i+1, held, want)
			}
		}
	})
}

func TestFencedMemberIsSilent(t *testing.T) {
	inCluster(t, 2, nil, func(l *lab) {
		a, b := l.pair(forms["v4"])
		l.nodes[0].root.Fence(true)
		a.hello(nil)
		a.silence()
		b.raw(frame(b, a, 1))
		a.silence()
		l.nodes[0].root.Fence(false)
		a.okHello(a.hello(nil))
	})
}
