package client

import (
	"fmt"
	"slices"

	"github.com/rootd/rootd/packetpath/vl1"
)

// network is a joined virtual network.
type network struct {
	id        uint64
	announced int64 // last announcement of all groups to the roots
	groups    []group
}

type group struct {
	vl1.Group
	subscribed bool
	gathered   int64         // last explicit GATHER
	members    []vl1.Address // as roots told
}

const (
	frameHeader = 8 + 2  // network and EtherType, bytes
	etherType   = 0x88b5 // of frames that the model makes: local experiments
	// MaxFrame is the largest payload of a frame, bytes.
	MaxFrame = maxPacket - 28 - frameHeader - 64
)

func (c *Client) network(id uint64) *network {
	for i := range c.networks {
		if c.networks[i].id == id {
			return &c.networks[i]
		}
	}
	return nil
}

// SendFrame sends data to another member of a joined network, directly or through the best root. Like a real client it
// keeps the packet for up to five seconds while it asks for the identity of the other.
func (c *Client) SendFrame(e *Env, net uint64, to vl1.Address, data []byte) error {
	if c.network(net) == nil {
		return fmt.Errorf("client %v: not in network %016x", c.addr, net)
	}
	if len(data) > MaxFrame {
		return fmt.Errorf("client %v: frame of %d bytes: at most %d", c.addr, len(data), MaxFrame)
	}
	c.stats.FramesSent++
	f := vl1.Frame{Network: net, EtherType: etherType, Payload: data}
	pkt := vl1.AppendFrame(c.begin(e, to, vl1.VerbFrame), &f)
	if c.send(e, pkt, false) {
		c.keepSent(pkt)
	}
	return nil
}

func (c *Client) onFrame(e *Env, p *path, r *peer, pkt vl1.Packet) {
	f, err := vl1.DecodeFrame(pkt)
	if err != nil {
		c.stats.Dropped++
		return
	}
	if c.network(f.Network) != nil {
		r.lastTrusted = e.Now
		c.stats.FramesRecv++
		if pkt.Hops() == 0 {
			c.stats.FramesDirect++
		}
		if e.Deliver != nil {
			e.Deliver(c, pkt.Source(), pkt.Hops(), f.Payload)
		}
	}
	c.heard(e, p, r, pkt.Hops(), vl1.VerbFrame)
}

// Subscribe joins a multicast group and tells all roots at once.
func (c *Client) Subscribe(e *Env, g vl1.Group) error {
	n := c.network(g.Network)
	if n == nil {
		return fmt.Errorf("client %v: not in network %016x", c.addr, g.Network)
	}
	n.group(g).subscribed = true
	for _, r := range c.peers {
		if r.root {
			c.announce(e, n, r.peer, &g)
		}
	}
	return nil
}

// Unsubscribe leaves a group: it is not announced any more.
func (c *Client) Unsubscribe(g vl1.Group) {
	if n := c.network(g.Network); n != nil {
		n.group(g).subscribed = false
	}
}

func (n *network) group(g vl1.Group) *group {
	for i := range n.groups {
		if n.groups[i].Group == g {
			return &n.groups[i]
		}
	}
	n.groups = append(n.groups, group{Group: g})
	return &n.groups[len(n.groups)-1]
}

// announceGroups sends the whole list of each network to every root, once per period.
func (c *Client) announceGroups(e *Env) {
	for i := range c.networks {
		n := &c.networks[i]
		if e.Now-n.announced < c.fam.LikePeriod {
			continue
		}
		n.announced = e.Now
		for _, r := range c.peers {
			if r.root {
				c.announce(e, n, r.peer, nil)
			}
		}
	}
}

// announce sends MULTICAST_LIKE with one group, or with all.
func (c *Client) announce(e *Env, n *network, to *peer, only *vl1.Group) {
	const tuple = 18
	pkt := c.begin(e, to.id.Address, vl1.VerbMulticastLike)
	flush := func() {
		if len(pkt) > vl1.HeaderLen {
			c.send(e, vl1.Compress(pkt, e.unpack[:]), false)
		}
	}
	for i := range n.groups {
		g := &n.groups[i]
		if !g.subscribed || only != nil && g.Group != *only {
			continue
		}
		if len(pkt)+tuple+6 >= maxPacket {
			flush()
			pkt = c.begin(e, to.id.Address, vl1.VerbMulticastLike)
		}
		pkt = vl1.AppendMulticastLike(pkt, g.Group)
	}
	flush()
}

// Gather asks the best root for members of a group, at most once a minute unless none is known, as a client does
// when it sends a multicast. It reports whether it asked.
func (c *Client) Gather(e *Env, g vl1.Group, limit uint32) bool {
	n := c.network(g.Network)
	up := c.upstream(e.Now)
	if n == nil || up == nil {
		return false
	}
	s := n.group(g)
	if len(s.members) > 0 && e.Now-s.gathered < gatherPeriod || len(s.members) >= int(limit) {
		return false
	}
	s.gathered = e.Now
	q := vl1.Gather{Group: g, Limit: limit - uint32(len(s.members)) + 1}
	pkt := vl1.AppendMulticastGather(c.begin(e, up.id.Address, vl1.VerbMulticastGather), &q)
	c.send(e, pkt, true)
	return true
}

// Members returns the members of a group that roots named.
func (c *Client) Members(g vl1.Group) []vl1.Address {
	if n := c.network(g.Network); n != nil {
		return n.group(g).members
	}
	return nil
}

func (c *Client) onGathered(e *Env, r *peer, body []byte) {
	ok, err := vl1.DecodeOKGather(body)
	if err != nil {
		return
	}
	n := c.network(ok.Group.Network)
	if n == nil {
		return
	}
	s := n.group(ok.Group)
	for i := range ok.Members.Len() {
		if a := ok.Members.At(i); a != c.addr && !slices.Contains(s.members, a) {
			s.members = append(s.members, a)
		}
	}
	e.notice(c, Notice{Kind: Gathered, Peer: r.id.Address, Value: int64(ok.Members.Len())})
}
