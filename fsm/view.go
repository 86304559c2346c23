package fsm

import (
	"sync/atomic"

	"github.com/rootd/rootd/fsm/table"
	"github.com/rootd/rootd/packetpath/vl1"
)

// View is what the packet path reads: the result of applying the log. All methods may be called by any goroutine,
// take no lock and do not allocate.
//
// One writer, the goroutine that applies the log, replaces the state once per batch of entries; readers load one
// atomic pointer. Load the state once per batch of packets and use its methods: then all of them see the same members.
type View struct {
	state atomic.Pointer[State]
}

// State returns the current state. It is never nil.
func (v *View) State() *State { return v.state.Load() }

// Peer fills r with what the log says about a peer.
func (v *View) Peer(a vl1.Address, r *table.Record) bool { return v.state.Load().peers.Lookup(a, r) }

// PeerHot is Peer without the key and the handoff: one cache line instead of two.
func (v *View) PeerHot(a vl1.Address, w *table.Words) bool {
	return v.state.Load().peers.LookupHot(a, w)
}
