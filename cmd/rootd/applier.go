package main

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/rootd/rootd/fsm"
	"github.com/rootd/rootd/fsm/table"
	"github.com/rootd/rootd/transport/pki"
	"github.com/rootd/rootd/transport/rpc"
)

// applyAnswer is what became of an entry at the leader.
type applyAnswer struct {
	Epoch  uint16         `json:"epoch,omitempty"`
	Member table.MemberID `json:"member,omitempty"`
	Index  uint64         `json:"index"`
}

func (c *cluster) handleApply(ctx context.Context, _ pki.Peer, entry []byte) ([]byte, error) {
	if err := c.m.fsm.View().State().CheckLevel(entry); err != nil {
		return nil, &rpc.Error{Code: codeRefused, Text: err.Error()}
	}
	r, err := c.m.replica.Apply(ctx, entry)
	switch {
	case r.Err != nil:
		return nil, &rpc.Error{Code: codeRefused, Text: r.Err.Error()}
	case err != nil:
		return nil, err
	}
	return json.Marshal(applyAnswer{r.Epoch, r.Member, r.Index})
}

// applier puts entries into the log from wherever the leader is. It is what the proposer and all commands use.
type applier struct{ m *member }

// IsLeader implements [propose.Applier].
func (a applier) IsLeader() bool { return a.m.replica.IsLeader() }

// Apply implements [propose.Applier].
func (a applier) Apply(ctx context.Context, entry []byte) (fsm.Response, error) {
	if err := a.m.fsm.View().State().CheckLevel(entry); err != nil {
		return fsm.Response{Err: err}, err
	}
	if a.m.cluster == nil || a.m.replica.IsLeader() {
		return a.m.replica.Apply(ctx, entry)
	}
	b, err := a.m.cluster.callLeader(ctx, callApply, entry)
	if err != nil {
		if rpc.CodeOf(err) == codeRefused {
			return fsm.Response{Err: err}, err
		}
		return fsm.Response{}, err
	}
	var answer applyAnswer
	if err := json.Unmarshal(b, &answer); err != nil {
		return fsm.Response{}, fmt.Errorf("answer of the leader: %w", err)
	}
	// Whoever changed something here should see it here.
	if err := a.m.replica.WaitApplied(ctx, answer.Index); err != nil {
		return fsm.Response{}, err
	}
	return fsm.Response{Epoch: answer.Epoch, Member: answer.Member, Index: answer.Index}, nil
}
