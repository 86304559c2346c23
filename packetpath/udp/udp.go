// Package udp moves datagrams between sockets and buffers, many at a time.
//
// What it is: a leaf. A [Conn] is one socket. [Conn.Read] fills a batch of [Message] values from one or few system
// calls, a [Sender] empties one the same way. [Listen] opens real sockets, [Network.Listen] those of a network in
// memory, for tests; both have the same signature, and what is built on one runs on the other.
//
// Words, smallest to largest: a message is one datagram with its two ends; a run is some messages with the same ends
// and size that pass the kernel as one; a batch is a slice of messages; a call is one system call, which carries up to
// 32 messages or runs of a batch.
//
// Who may call what: Read belongs to one goroutine. Each goroutine that writes has its own Sender. Everything else may
// be called from any goroutine at any time. The package starts no goroutines.
//
// Invariants:
//   - The caller owns the buffers. The package does not touch one after a call has returned.
//   - No allocation per batch, once a Conn or Sender has seen its largest batch.
//   - Addresses are plain: IPv4 is never 4-in-6, IPv6 has no zone. A socket has one family; IPv6 sockets are V6ONLY.
//   - One packet's trouble is its own: an ICMP error, a destination the kernel rejects, a datagram larger than its
//     buffer are counted in [Stats] and stop nothing.
//   - Write never waits. A full send buffer is a full queue as in any router: what does not fit is dropped and counted.
//   - Only [Conn.Close] ends a reader: with [net.ErrClosed].
//
// Linux has the fast path: recvmmsg and sendmmsg as raw non-blocking calls under Go's poller, and segmentation offload
// (UDP_SEGMENT, and UDP_GRO where asked for). Every other system has a portable one, correct but slow, that does not
// know [Message.Local] on wildcard sockets and allows one socket per port.
package udp

import (
	"errors"
	"fmt"
	"net/netip"
	"syscall"
	"time"
)

// Message is one datagram of a batch.
type Message struct {
	// Buf is the caller's memory: space for a datagram when reading, Buf[:N] is the datagram when writing.
	Buf []byte
	// N is the length of the datagram in bytes. After a Read it is 0 for an empty datagram, and for one that was
	// larger than Buf: both are to be skipped.
	N int
	// Addr is the other end: the sender of a received datagram, the destination of one to be sent.
	Addr netip.AddrPort
	// Local is this end: the address that a datagram came to, or that one must leave from. When writing it matters
	// only on sockets bound to the wildcard address; if it is invalid or of the other family, the kernel chooses.
	// So a reply made in the Message of its request leaves from the address that was asked.
	Local netip.Addr
}

// Conn is one UDP socket.
type Conn interface {
	// Read waits for a datagram (but see [Options.NoWait]), takes those that are there up to len(batch), and returns how many messages of the
	// batch it has filled. The number may be 0 without an error. Errors: [net.ErrClosed] after Close,
	// [os.ErrDeadlineExceeded] after the deadline, anything else means that the socket is beyond use.
	Read(batch []Message) (n int, err error)
	// SetReadDeadline makes a Read that waits, and those to come, return after t. The zero time means never.
	SetReadDeadline(t time.Time) error
	// NewSender returns a Sender of this socket with scratch memory for batches of the given length. Longer batches
	// are welcome too: it grows once.
	NewSender(batch int) Sender
	// LocalAddr is the address the socket is bound to, with the port the kernel chose if 0 was asked for.
	LocalAddr() netip.AddrPort
	// Stats returns the counters of the socket.
	Stats() Stats
	// Close ends a waiting Read and releases the socket. A second Close returns [net.ErrClosed].
	Close() error
}

// Sender sends batches. It belongs to one goroutine.
type Sender interface {
	// Write sends Buf[:N] of every message to its Addr, those to one Addr in order. It returns how many the kernel took; those it
	// rejected, or had no room for, are skipped and counted in [Stats]. The error is [net.ErrClosed] after Close, or
	// says that the socket is beyond use.
	Write(batch []Message) (sent int, err error)
}

// ListenFunc opens a socket. [Listen] is one, the Listen method of a [Network] another.
type ListenFunc func(addr netip.AddrPort, o Options) (Conn, error)

// Options of a socket. The zero value is a single socket with the system's default buffers.
type Options struct {
	// ReusePort lets several sockets share one address (SO_REUSEPORT): the kernel spreads the peers over them.
	// All of them must set it.
	ReusePort bool
	// RecvBuffer and SendBuffer are the wanted sizes of the kernel's buffers in bytes; 0 keeps the default. The
	// kernel may grant less: see [Stats].
	RecvBuffer, SendBuffer int
	// Coalesce lets the kernel join datagrams that come in a row from one sender (UDP_GRO), where it can. The socket
	// then needs up to two megabytes of memory, and copies each datagram once more, which is a hundredth of what the
	// kernel does for it.
	Coalesce bool
	// Alone makes every datagram leave with a header of its own, never in a run.
	Alone bool
	// NoWait makes Read return at once, with 0 messages, when nothing is there: for a caller that looks at its sockets
	// at times of its own choosing. No arrival wakes anybody then, which is most of what a datagram costs a process
	// that is not busy.
	NoWait bool
	// Blocking makes Read wait in the kernel, on the thread that it runs on, and not in Go's poller: no other thread takes
	// part in a wake-up then, and no call looks in vain. Meanwhile it keeps one of Go's processors, so the process needs as
	// many more of them (GOMAXPROCS) as it has such readers: where none is idle, the runtime takes it away at each wait.
	// SetReadDeadline does not work. Linux only.
	Blocking bool
	// Whole keeps IPv4 datagrams in one piece (DF), where the system can say so: one larger than the way carries is
	// rejected or lost. Linux spends a fourteenth of a datagram's cost on the number by which pieces are put together.
	Whole bool
}

// Stats are counters of one socket since it was opened, and what its kernel buffers are.
type Stats struct {
	RecvBuffer, SendBuffer int    // bytes granted; Linux grants double what is asked, for its own bookkeeping
	Overflowed             uint64 // datagrams that came and found the receive buffer full
	Truncated              uint64 // datagrams larger than the buffer they were read into
	RecvErrors             uint64 // errors on receipt that concern one datagram, such as ICMP messages
	Rejected               uint64 // messages the kernel refused to send: no route, bad address, too long, firewall
	SendFull               uint64 // messages dropped because the send buffer was full
	Segmented              uint64 // messages sent in runs
	Coalesced              uint64 // datagrams received in runs
	CanSegment             bool   // the kernel takes runs; it may be found out later that it does not
	CanCoalesce            bool   // the kernel hands out runs, and may
}

// ErrReusePort is returned for [Options.ReusePort] where the system cannot spread peers over sockets.
var ErrReusePort = errors.New("several sockets on one port need Linux: use one worker")

// listenError says what was to be opened, why it failed and, where it is known, the way out.
func listenError(addr netip.AddrPort, err error) error {
	switch {
	case isInUse(err):
		return fmt.Errorf("listen udp %v: %w: another root or zerotier-one has it; stop it or choose another port", addr, err)
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return fmt.Errorf("listen udp %v: %w: no interface has this address; add it or listen on another", addr, err)
	case errors.Is(err, syscall.EACCES):
		return fmt.Errorf("listen udp %v: %w: ports below 1024 need a privilege; choose a higher port", addr, err)
	}
	return fmt.Errorf("listen udp %v: %w", addr, err)
}

// plainAddr brings an address into the form that the package promises: IPv4 as such, no zone.
func plainAddr(a netip.AddrPort) netip.AddrPort {
	return netip.AddrPortFrom(a.Addr().Unmap().WithZone(""), a.Port())
}
