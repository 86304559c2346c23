// Package packetpath serves ZeroTier devices over UDP as a root does: it answers HELLO, WHOIS, ECHO and
// multicast gathers, introduces peers to each other, and relays for them until they have a direct path.
//
// Datagrams flow in from packetpath/udp in batches and leave in batches. What the cluster knows comes from an
// [fsm.View], read without a lock; what this member learns leaves as [fsm.Sighting] values through a [Sink].
// Nothing here waits for Raft, a disk or another goroutine.
//
// # Goroutines
//
// A [Root] runs four kinds of goroutine, all started and awaited by [Root.Run]:
//
//   - a reader for each socket: one batch in, the memory that its packets will need asked for all at once (foresee.go),
//     all its replies and relays out, then the next batch;
//   - newcomer workers: everything that costs more than a packet may (key agreement, the memory-hard hash),
//     fed through two bounded queues, known peers first;
//   - one keeper: keep-warm, expiry of sessions and multicast state, and the book of measured round trips, which it fills
//     from a ring of each worker and offers the log from time to time;
//   - nothing else: the proposer behind the Sink is not ours.
//
// Each of them owns a worker: its buffers, outboxes, random source and counters. Nothing in a worker is shared.
//
// # Shared state
//
// The compiled rules of steering and the peers to be measured for other members are immutable values behind atomic
// pointers; whoever meets a newer state replaces the first (rules), the receiver and the keeper the second (expected).
//
// Sessions (what this member holds for a peer: the agreed key, paths, limits) are found without a lock. A packet
// on a known path of a known peer writes only atomics; the session's mutex is taken to learn, confirm or forget
// a path. See [session] and [sessionTable] for who writes what.
//
// # Invariants
//
//   - A session exists only for an identity that is valid and whose owner proved its key (a good MAC).
//   - Nobody's packets are relayed to, and no reply larger than its request is sent to, an endpoint that has not
//     answered a challenge: an ECHO whose random packet ID must come back authentically (path confirmation).
//   - A replayed packet cannot move a peer: only a confirmed path carries relays, and a replayer cannot confirm.
//   - Where a peer should be is decided from one state of the view alone: members that applied the same index agree.
//   - A relayed datagram leaves as it came, but for the three hop bits.
package packetpath
