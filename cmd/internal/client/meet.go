package client

import (
	"fmt"
	"net/netip"

	"github.com/rootd/rootd/packetpath/vl1"
)

// Meet makes a peer known without asking for it, and the endpoint, if there is one, a path to it from the first socket:
// for benchmarks, that want to begin in the middle.
func (c *Client) Meet(e *Env, id vl1.Identity, at netip.AddrPort) error {
	r := c.addPeer(id)
	if r == nil {
		return fmt.Errorf("client %v: no key with %v", c.addr, id.Address)
	}
	r.lastReceive = e.Now
	if at.IsValid() {
		p := c.path(0, at)
		p.lastIn = e.Now
		r.set(len(r.slots), p, e.Now, 1)
	}
	return nil
}
