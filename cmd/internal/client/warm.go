package client

// WarmSteps is the number of steps of [Client.Warm].
const WarmSteps = 5

// Warm reads some of what the next packet of the client is going to need, and nothing else: for callers with packets of
// many clients at hand. What a step reads was found in the step before. So if all clients go through a step before any
// goes through the next, the waits for memory, which are most of what a packet costs, overlap. The result is a number
// without meaning.
func (c *Client) Warm(step int) (n int) {
	switch step {
	case 0:
		return int(c.addr) + int(c.stats.SentPackets) + int(c.nextTick)
	case 1:
		for i := range c.peers[:min(len(c.peers), warmPeers)] {
			n += int(c.peers[i].addr)
		}
		if c.recent != nil {
			n += int(c.recent.lastIn)
		}
	case 2:
		for i := range c.peers[:min(len(c.peers), warmPeers)] {
			r := c.peers[i].peer
			n += int(r.lastReceive) + len(r.again.sent) + len(r.again.open)
		}
	case 3:
		for i := range c.peers[:min(len(c.peers), warmPeers)] {
			r := c.peers[i].peer
			if len(r.slots) > 0 {
				n += int(r.slots[0].learned)
			}
			if b := r.again.sent; len(b) > 128 {
				n += int(b[0]) + int(b[64]) + int(b[128])
			}
			if b := r.again.got; len(b) > 128 {
				n += int(b[0]) + int(b[64]) + int(b[128])
			}
		}
	case 4:
		for i := range c.peers[:min(len(c.peers), warmPeers)] {
			r := c.peers[i].peer
			if len(r.slots) > 0 {
				n += int(r.slots[0].p.lastIn)
			}
		}
	}
	return n
}

// warmPeers is how many peers Warm looks at: the root and one or two that frames go to or come from.
const warmPeers = 3
