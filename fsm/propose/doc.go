// Package propose makes few and full log entries out of many sightings.
//
// In: sightings of authenticated packets, from the packet path's workers through [Proposer.Offer]. Out: entries of
// [fsm.Changes], [fsm.KeepAlive] and, at the leader, [fsm.Expire] to an [Applier]. Most sightings say what the view says
// already, and end there; what is left is merged per peer and goes out when there are enough for an entry or the
// first of them has waited long enough, several entries at a time.
//
// A change of a peer's endpoint also says where on the Earth the peer is, as [Options.Locator] knows it, if that is news. When the
// locator learned other places, [Proposer.Relocate] walks over the peers of this member, slowly.
//
// [Supervisor] does the same for the health of the members, at the leader.
//
// The Applier may be far away: at a follower it forwards entries to the leader. An entry that failed may have been applied all
// the same; what it said is compared with the view before it is said again. Should it be applied even later, after newer facts,
// the next sighting of the peer puts it right.
//
// Goroutines: Offer, Relocate and Metrics are for anyone. Offer waits for nothing: it pushes onto a lock-free stack, which
// the goroutine of Run empties. Everything else belongs to that goroutine; it starts one more for each entry under way.
//
// Invariants: nothing offered is lost to a failed entry, a change of leader or a time without one; the
// newest fact per peer and family wins. Memory is bounded by [Options.MaxPending]: beyond it new facts are dropped and
// counted, which costs a delay, because a peer that is still there is sighted again. A peer is in at most one entry
// under way, so entries may be committed in any order.
package propose
