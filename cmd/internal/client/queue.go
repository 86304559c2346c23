package client

import (
	"net/netip"

	"github.com/rootd/rootd/packetpath/vl1"
)

// queueLength is the number of packets that wait for identities, in each direction.
const queueLength = 32

// queued is a packet to a peer whose identity, or a path to it, is not known yet.
type queued struct {
	at     int64
	expect bool
	pkt    vl1.Packet
}

// received is a datagram from a peer whose identity is not known yet.
type received struct {
	at   int64
	sock Socket
	from netip.AddrPort
	b    []byte
}

// whoisEntry is when an address was last asked for.
type whoisEntry struct {
	addr vl1.Address
	at   int64
}

// requestWhois asks the best root for an identity, at most once per address and 500 ms.
func (c *Client) requestWhois(e *Env, a vl1.Address) {
	if a == c.addr {
		return
	}
	at := -1
	for i := range c.whois {
		if c.whois[i].addr == a {
			if e.Now-c.whois[i].at < queuePeriod {
				return
			}
			at = i
		}
	}
	if at < 0 {
		fresh := c.whois[:0]
		for _, w := range c.whois {
			if e.Now-w.at <= 2*queuePeriod {
				fresh = append(fresh, w)
			}
		}
		c.whois = append(fresh, whoisEntry{addr: a})
		at = len(c.whois) - 1
	}
	c.whois[at].at = e.Now
	up := c.upstream(e.Now)
	if up == nil {
		return
	}
	c.stats.Whoises++
	c.send(e, vl1.AppendWhois(c.begin(e, up.id.Address, vl1.VerbWhois), a), true)
}

// resolved is called when an identity has become known: what waited for it goes on.
func (c *Client) resolved(e *Env, r *peer) {
	for i := range c.whois {
		if c.whois[i].addr == r.id.Address {
			c.whois[i].at = 0
		}
	}
	e.notice(c, Notice{Kind: Resolved, Peer: r.id.Address})
	c.retryReceived(e)
	kept := c.txQueue[:0]
	for _, q := range c.txQueue {
		if q.pkt.Dest() != r.id.Address || !c.retry(e, &q) {
			kept = append(kept, q)
		}
	}
	clear(c.txQueue[len(kept):])
	c.txQueue = kept
}

// retry tries a queued packet again. Only a copy is armored.
func (c *Client) retry(e *Env, q *queued) bool {
	return c.trySend(e, append(vl1.Packet(e.build[:0]), q.pkt...), q.expect)
}

// retryReceived looks again at datagrams of peers that were unknown.
func (c *Client) retryReceived(e *Env) {
	waiting := c.rxQueue
	c.rxQueue = nil
	for _, q := range waiting {
		src := vl1.Packet(q.b).Source()
		if c.peer(src) == nil {
			if e.Now-q.at <= queueTimeout {
				c.rxQueue = append(c.rxQueue, q)
			} else {
				c.stats.Dropped++
			}
			continue
		}
		c.process(e, c.path(q.sock, q.from), q.b)
	}
}

// checkQueues runs every 500 ms while something waits.
func (c *Client) checkQueues(e *Env) {
	c.nextQueue = e.Now + queuePeriod
	var need []vl1.Address
	waiting := c.txQueue
	c.txQueue = nil
	for i := range waiting {
		q := &waiting[i]
		switch {
		case c.retry(e, q):
		case e.Now-q.at > queueTimeout:
			c.stats.FramesLost++
		default:
			c.txQueue = append(c.txQueue, *q)
			if c.peer(q.pkt.Dest()) == nil {
				need = append(need, q.pkt.Dest())
			}
		}
	}
	for _, a := range need {
		c.requestWhois(e, a)
	}
	c.retryReceived(e)
	for _, q := range c.rxQueue {
		c.requestWhois(e, vl1.Packet(q.b).Source())
	}
}
