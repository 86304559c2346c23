package link

import (
	"context"
	"net/netip"

	"github.com/rootd/rootd/packetpath/udp"
)

// Window is a replay window.
type Window struct{ w window }

// Take notes a counter; false if it is not new.
func (w *Window) Take(counter uint64) bool { return w.w.take(counter) }

// Reader handles batches as the goroutine of a socket does, but when it is told to.
type Reader struct{ r *reader }

// NewReader returns a reader of one of the link's sockets.
func (l *Link) NewReader() *Reader { return &Reader{newReader(l, l.o.Conns[0])} }

// Take handles a batch.
func (r *Reader) Take(batch []udp.Message) { r.r.take(batch) }

// Content handles a datagram's content as if it had come from a member with the given counter; false if it is malformed.
func (r *Reader) Content(from uint16, counter uint64, b []byte, addr netip.AddrPort) bool {
	r.r.now = r.r.link.now()
	ok := r.r.content(r.r.link.members.Load().get(from).sending.Load(), counter, b, addr)
	r.r.deliver()
	r.r.replies.Flush()
	return ok
}

// Agree makes keys with another member, without Run.
func (l *Link) Agree(ctx context.Context, member uint16) error {
	return l.offer(ctx, l.members.Load().get(member))
}

// LastRequest returns the id of the last request.
func (l *Link) LastRequest() uint32 {
	l.calls.mu.Lock()
	defer l.calls.mu.Unlock()
	return l.calls.last
}
