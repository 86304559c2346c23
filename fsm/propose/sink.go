package propose

import "github.com/rootd/rootd/fsm"

// Sink takes sightings from the packet path.
type Sink interface {
	// Offer hands over what one worker saw. It never waits, keeps nothing of the slice, and may be called by any
	// goroutine. What the log says already costs one lookup.
	Offer([]fsm.Sighting)
}
