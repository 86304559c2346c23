// Package steer decides at which member a peer should be: stay, or be handed off to another one, and why.
//
// It is a pure function. In: a [Table], compiled once from the members and the settings, and a [Peer], what the log says
// about one peer at one index. Out: a [Decision], or with the same calculation an [Explanation], term by term. There is
// no clock, no state, no I/O. Decide allocates nothing and takes no lock; a Table is immutable and for any goroutine.
//
// The cost of a member is in microseconds of round trip:
//
//	cost = round trip * 100 / weight + load penalty
//
// where the round trip is what the member measured of the peer's neighbourhood, or of the wider one around it, and
// otherwise the distance at the speed of light in fibre, times an inflation for the detours of cables. To a distance
// comes the part of what others measured that their own distance does not explain: the way from the peer to its first
// exchange, which is the same to all members (the least over all that measured).
//
// A peer moves if the gain is at least the greatest of a margin, a part of the present cost, three times the deviation of
// what was measured, and what the radius of the position's error means; if it has rested since its last move; and if it
// is not one that places itself. A drain needs no gain and no rest, only an open push gate.
//
// Invariants, each with a property test: equal arguments give equal decisions, whatever the order of the members and
// the processor (whole numbers; the only operations on floating point are one square root and one product, both exactly
// rounded). The target is never dead, draining, full, unpublished for the peer's planet, of the other family, or
// one that just failed. After a decision was followed the next one with the same facts is to stay.
package steer
