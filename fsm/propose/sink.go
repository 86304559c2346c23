package propose

import (
	"context"

	"github.com/rootd/rootd/fsm"
)

// Sink takes sightings from the packet path. [Proposer] is one.
type Sink interface {
	// Offer hands over what one worker saw. It never waits, keeps nothing of the slice, and may be called by any
	// goroutine. What the log says already costs one lookup.
	Offer([]fsm.Sighting)
}

// Applier appends entries to the log. The replica is one.
type Applier interface {
	// Apply returns when the entry is committed and applied here, also if another member leads: a change that is not in
	// the view yet would be proposed again. After an error it may still be committed.
	Apply(ctx context.Context, entry []byte) (fsm.Response, error)
	// IsLeader reports whether this member leads; only then does it propose expiry and look after members.
	IsLeader() bool
}
