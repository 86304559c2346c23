package main

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/rootd/rootd/fsm/table"
	"github.com/rootd/rootd/transport/pki"
	"github.com/rootd/rootd/transport/rpc"
)

// changeKind is a change of Raft's own membership, which only the leader can make.
type changeKind string

const (
	changePromote  changeKind = "promote"
	changeDemote   changeKind = "demote"
	changeTransfer changeKind = "transfer" // of leadership; member 0: to whom it fits best
	changeReadmit  changeKind = "readmit"  // of a member whose log is gone: takes its vote

	callChange = "change/1" // changeRequest for the leader; no answer
)

type changeRequest struct {
	Kind   changeKind     `json:"kind"`
	Member table.MemberID `json:"member"`
}

// change changes Raft's membership from wherever the leader is.
func (m *member) change(ctx context.Context, kind changeKind, id table.MemberID) error {
	if m.cluster == nil || m.replica.IsLeader() {
		return m.changeHere(ctx, kind, id)
	}
	body, err := json.Marshal(changeRequest{kind, id})
	if err != nil {
		return err
	}
	_, err = m.cluster.callLeader(ctx, callChange, body)
	return err
}

func (m *member) changeHere(ctx context.Context, kind changeKind, id table.MemberID) error {
	server := fmt.Sprint(id)
	switch kind {
	case changePromote:
		return m.replica.Promote(ctx, server)
	case changeDemote:
		return m.replica.Demote(ctx, server)
	case changeTransfer:
		if id == 0 {
			server = ""
		}
		_, err := m.replica.TransferLeadership(ctx, server)
		return err
	case changeReadmit:
		if m.cluster != nil {
			return m.cluster.readmit(ctx, id)
		}
	}
	return &rpc.Error{Code: rpc.CodeUnknownCall, Text: fmt.Sprintf("change %q is not known here", kind)}
}

func (c *cluster) handleChange(ctx context.Context, _ pki.Peer, body []byte) ([]byte, error) {
	var r changeRequest
	if err := json.Unmarshal(body, &r); err != nil {
		return nil, err
	}
	return nil, c.m.changeHere(ctx, r.Kind, r.Member)
}
