package replica

import (
	"strconv"

	"github.com/rootd/rootd/fsm"
	"github.com/rootd/rootd/fsm/table"
)

// wish is what operators want of a server, as the log has it.
type wish struct {
	vote     fsm.Vote
	priority uint8
	drains   bool
}

// leads reports whether it should lead at all.
func (w wish) leads() bool { return w.vote != fsm.VoteStandby && !w.drains }

// wish returns what operators want of the server with the ID.
func (o *MembershipOptions) wish(server string) wish {
	id, err := strconv.ParseUint(server, 10, 16)
	if err != nil {
		return wish{}
	}
	m, ok := o.View.State().Member(table.MemberID(id))
	if !ok {
		return wish{}
	}
	return wish{m.Vote, m.Priority, m.Draining()}
}
