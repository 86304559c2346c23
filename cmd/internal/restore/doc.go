// Package restore makes a cluster that is gone begin again: on new machines from an archive ([FromArchive]), or from the data
// directory of its last member ([FromMember]).
//
// In flow an archive or a stopped member's directory; out flows a plan, which changes nothing, and then a data directory that
// rootd starts as the first member of the cluster's next epoch: with the same ZeroTier identity, planet signing key,
// authority, peers and settings, and with no other member. Everyone else joins as usual, and gets the state as a snapshot:
// the log behind it is empty.
//
// Invariants: nothing is written before everything that can be refused was looked at. What is interrupted is either not done, and begins
// anew, or done: the old state is never half replaced. A quorum that is alive is not superseded unless the operator insists. The certificates of
// the new epoch are signed by the cluster's own authority, so that members of the old one believe that it is over.
//
// Functions may be called from one goroutine at a time for one directory. They start goroutines only while they ask other
// members whether they are alive.
package restore
