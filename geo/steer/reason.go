package steer

// Reason is why a peer stays or moves.
type Reason uint8

// Reasons to stay, then reasons to move. The numbers are not part of any format.
const (
	StayBest        Reason = iota // its member is the best one
	StayMargin                    // another is better, by too little
	StayUnknown                   // its position is not known and nothing was measured
	StayNobody                    // no member may take it
	StaySelfPlacing               // its software finds the nearest member by itself
	StayVersion                   // its software is not known
	StayUnderWay                  // a handoff is under way
	StayPushGate                  // it was redirected a moment ago and would not listen
	StayDwell                     // it moved not long ago
	StayBudget                    // it moved too often
	StaySettling                  // the best member came up not long ago
	MoveCost                      // another member is better
	MoveDrain                     // its member is being drained, or gone
	MoveBalance                   // its member carries too much
	MovePlace                     // it is attached nowhere
)

// Moves reports whether r is a reason to move.
func (r Reason) Moves() bool { return r >= MoveCost }

// String returns the reason as people read it.
func (r Reason) String() string {
	return [...]string{
		"best", "gain too small", "position unknown", "no candidate", "places itself", "software unknown", "handoff under way",
		"push gate closed", "dwell time", "move budget used up", "best member came up not long ago", "lower cost", "drain", "balance", "not attached",
	}[r]
}
