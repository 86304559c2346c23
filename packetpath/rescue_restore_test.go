package packetpath_test

import (
	"encoding/binary"
	"net/netip"
	"testing"
	"time"

	"github.com/rootd/rootd/fsm"
	"github.com/rootd/rootd/fsm/table"
	"github.com/rootd/rootd/packetpath"
	"github.com/rootd/rootd/packetpath/vl1"
)

// restore begins an epoch with the first member alone, as much later by the time of the log as the archive is old.
func (l *lab) restore(old time.Duration) {
	l.Helper()
	l.apply(&fsm.MemberUp{ID: 1, Name: "m1", Endpoints: []netip.AddrPort{l.nodes[0].v4, l.nodes[0].v6}, KeyHash: fsm.KeyHash{1}})
	epoch := fsm.Epoch{Number: 1}
	binary.BigEndian.PutUint64(epoch.ID[:], uint64(time.Now().Unix())<<24)
	l.ahead = old
	l.apply(&fsm.NewEpoch{Epoch: epoch, ID: 1, Name: "m1", Endpoints: []netip.AddrPort{l.nodes[0].v4, l.nodes[0].v6}, KeyHash: fsm.KeyHash{1}})
	l.apply(&fsm.MemberUp{ID: 1, Name: "m1", Endpoints: []netip.AddrPort{l.nodes[0].v4, l.nodes[0].v6}, KeyHash: fsm.KeyHash{1}})
}

// attachedTo returns the member that the log has the client at, 0: none.
func (c *client) attachedTo() table.MemberID {
	var r table.Record
	state := c.fsm.View().State()
	if !state.Peer(c.id.Address, &r) {
		return 0
	}
	id, _ := state.Attached(&r, !c.addr.Addr().Is4())
	return id
}

// word returns the next packet that does not come by the client's asking, before it answers anything.
func (c *client) word() (p vl1.Packet, from netip.AddrPort) {
	c.Helper()
	b, from := c.datagram()
	if b == nil {
		return nil, from
	}
	p, err := vl1.ParsePacket(b)
	if err != nil || vl1.Dearmor(p, &c.key) != nil {
		c.Fatalf("%v: %x", err, b)
	}
	return p, from
}

// asked reports whether the first member says something to the client.
func (c *client) asked() bool {
	for p, from := c.word(); p != nil; p, from = c.word() {
		if from == c.nodes[0].v4 {
			return true
		}
	}
	return false
}

// A client whose address is back with another member behind it says nothing by itself: it is asked, and attached.
func TestPeersAreAskedAfterARestore(t *testing.T) {
	inCluster(t, 3, nil, func(l *lab) {
		other := l.rescuers()
		c := l.clientAt(2, 1, "192.0.2.7:40000").attach()
		l.restore(0)
		c.at = l.nodes[0]
		p, from := c.word()
		if p == nil || p.Verb() != vl1.VerbWhois || from != l.nodes[0].v4 {
			t.Fatalf("%v from %v", p, from)
		}
		c.send(vl1.AppendOKWhois(c.packet(vl1.VerbOK), p.ID(), &l.self.Identity))
		for p := c.next(); p != nil; p = c.next() { // it answers what else is asked
			if p.Verb() != vl1.VerbPushDirectPaths || p.Hops() != 1 || c.push(p) != l.nodes[0].v4 {
				t.Errorf("%v with %d hops", p.Verb(), p.Hops())
			}
		}
		if at := c.attachedTo(); at != 1 {
			t.Errorf("it is at member %d", at)
		}
		if p, _ := c.relayed(other, time.Second); c.push(p) != l.nodes[0].v4 {
			t.Error("nothing by way of the other root")
		}
		if r := l.rescues(); r.Dead != 0 || r.Peers != 1 || r.Arrived != 1 {
			t.Errorf("%+v", r)
		}
	})
}

// A client whose address is gone greets whoever speaks to it from an address that its planet lists; and it follows a redirect by way of another root.
func TestPeersAreRescuedAfterARestore(t *testing.T) {
	inCluster(t, 3, nil, func(l *lab) {
		other := l.rescuers()
		c := l.clientAt(2, 1, "[fd00:2::7]:40000").attach()
		l.restore(0)
		if p, from := c.relayed(other, time.Second); c.push(p) != l.nodes[0].v6 || from != l.nodes[0].v4 && from != l.nodes[0].v6 {
			t.Errorf("redirected by %v", from)
		}
		c.at = l.nodes[0]
		c.hello(nil)
		pins := 0
		for p := c.next(); p != nil; p = c.next() {
			if p.Verb() == vl1.VerbPushDirectPaths {
				pins++
			}
		}
		if at := c.attachedTo(); at != 1 || pins != fsm.RescuePins {
			t.Errorf("it is at member %d, pinned %d times", at, pins)
		}
		if p, _ := c.relayed(other, 10*time.Minute); p != nil {
			t.Error("a redirect after it had come")
		}
		if r := l.rescues(); r.Peers != 1 || r.Arrived != 1 || r.Pushed != 1 {
			t.Errorf("%+v", r)
		}
	})
}

// Who was not active when the archive was made is left alone; so are all when it is old.
func TestNobodyIsLookedForWhoIsLongGone(t *testing.T) {
	inCluster(t, 3, nil, func(l *lab) {
		other := l.rescuers()
		l.apply(&fsm.Set{Key: "keep_alive", Value: "10m"})
		gone := l.clientAt(2, 1, "192.0.2.7:40000").attach()
		time.Sleep(25 * time.Minute)
		here := l.clientAt(2, 2, "192.0.2.8:40000").attach()
		l.restore(6 * 24 * time.Hour)
		if !here.asked() {
			t.Error("who was active is not asked")
		}
		if gone.asked() {
			t.Error("who was not is asked")
		}
		if p, _ := here.relayed(other, time.Second); p == nil {
			t.Error("no redirect")
		}
		if r := l.rescues(); r.Peers != 1 {
			t.Errorf("%+v", r)
		}
	})
	inCluster(t, 3, nil, func(l *lab) {
		l.rescuers()
		c := l.clientAt(2, 1, "192.0.2.7:40000").attach()
		l.restore(8 * 24 * time.Hour)
		if c.asked() {
			t.Error("asked after a week")
		}
		if n := l.sum(packetpath.RescuesBegun); n != 0 {
			t.Errorf("%d begun", n)
		}
	})
}

// Who does not come is asked a few times, as the word may get lost while all come at once.
func TestTheSilentAreAskedAgainAfterARestore(t *testing.T) {
	inCluster(t, 3, nil, func(l *lab) {
		l.rescuers()
		c := l.clientAt(2, 1, "192.0.2.7:40000").attach()
		l.restore(0)
		began, words := time.Now(), []time.Duration(nil)
		for time.Since(began) < 12*time.Minute {
			if p, _ := c.word(); p != nil {
				words = append(words, time.Since(began).Round(time.Second))
			}
		}
		if len(words) != 3 || words[0] > time.Second || words[2] < 40*time.Second {
			t.Errorf("asked after %v", words)
		}
		if r := l.rescues(); r.GivenUp != 1 || r.Waiting() != 0 {
			t.Errorf("%+v", r)
		}
	})
}
