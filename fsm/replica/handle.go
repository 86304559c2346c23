package replica

import (
	"strconv"
	"time"

	"github.com/hashicorp/raft"
	autopilot "github.com/hashicorp/raft-autopilot"
)

// ServerStats returns how far this server is, for the leader. Zero with a negative contact: Raft does not run.
func (r *Replica) ServerStats() ServerStats {
	node := r.raft.Load()
	if node == nil {
		return ServerStats{LastContact: -1}
	}
	s := ServerStats{LastIndex: node.LastIndex()}
	s.LastTerm, _ = strconv.ParseUint(node.Stats()["last_log_term"], 10, 64) // Raft writes a number
	if node.State() == raft.Leader {
		return s
	}
	if s.LastContact = -1; !node.LastContact().IsZero() {
		s.LastContact = time.Since(node.LastContact())
	}
	return s
}

// handle is Raft for autopilot: that of the moment, also after it was started anew.
type handle struct{ r *Replica }

var _ autopilot.Raft = (*handle)(nil)

// failed is a future of what could not begin.
type failed struct{ err error }

func (f failed) Error() error                          { return f.err }
func (failed) Index() uint64                           { return 0 }
func (failed) Configuration() raft.Configuration       { return raft.Configuration{} }
func (h *handle) node() (*raft.Raft, raft.IndexFuture) { return h.r.raft.Load(), failed{ErrNotRunning} }

// AddNonvoter implements [autopilot.Raft].
func (h *handle) AddNonvoter(id raft.ServerID, a raft.ServerAddress, prev uint64, timeout time.Duration) raft.IndexFuture {
	node, fail := h.node()
	if node == nil {
		return fail
	}
	return node.AddNonvoter(id, a, prev, timeout)
}

// AddVoter implements [autopilot.Raft].
func (h *handle) AddVoter(id raft.ServerID, a raft.ServerAddress, prev uint64, timeout time.Duration) raft.IndexFuture {
	node, fail := h.node()
	if node == nil {
		return fail
	}
	return node.AddVoter(id, a, prev, timeout)
}

// DemoteVoter implements [autopilot.Raft].
func (h *handle) DemoteVoter(id raft.ServerID, prev uint64, timeout time.Duration) raft.IndexFuture {
	node, fail := h.node()
	if node == nil {
		return fail
	}
	return node.DemoteVoter(id, prev, timeout)
}

// RemoveServer implements [autopilot.Raft].
func (h *handle) RemoveServer(id raft.ServerID, prev uint64, timeout time.Duration) raft.IndexFuture {
	node, fail := h.node()
	if node == nil {
		return fail
	}
	return node.RemoveServer(id, prev, timeout)
}

// LeadershipTransferToServer implements [autopilot.Raft].
func (h *handle) LeadershipTransferToServer(id raft.ServerID, a raft.ServerAddress) raft.Future {
	node, fail := h.node()
	if node == nil {
		return fail
	}
	return node.LeadershipTransferToServer(id, a)
}

// GetConfiguration implements [autopilot.Raft].
func (h *handle) GetConfiguration() raft.ConfigurationFuture {
	node, _ := h.node()
	if node == nil {
		return failed{ErrNotRunning}
	}
	return node.GetConfiguration()
}

// LastIndex implements [autopilot.Raft].
func (h *handle) LastIndex() uint64 {
	if node, _ := h.node(); node != nil {
		return node.LastIndex()
	}
	return 0
}

// Leader implements [autopilot.Raft].
func (h *handle) Leader() raft.ServerAddress {
	_, addr := h.r.Leader()
	return raft.ServerAddress(addr)
}

// Stats implements [autopilot.Raft].
func (h *handle) Stats() map[string]string {
	if node, _ := h.node(); node != nil {
		return node.Stats()
	}
	return nil
}

// State implements [autopilot.Raft].
func (h *handle) State() raft.RaftState {
	if node, _ := h.node(); node != nil {
		return node.State()
	}
	return raft.Shutdown
}
