package stream

import (
	"context"
	"errors"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"

	"github.com/rootd/rootd/transport/mux"
	"github.com/rootd/rootd/transport/pki"
)

// Options are the needs of a transport. The first three are required, of the others 0 means the default.
type Options struct {
	Mux       *mux.Mux
	Advertise string                            // host:port of this member, as others dial it
	Lookup    func(pki.MemberID) (string, bool) // where a member is, from memory; see [Addresses]
	Logger    hclog.Logger                      // nil: nothing is logged

	Timeout        time.Duration // 10 s: of a dial, of a request; more for snapshots, by their size
	MaxPool        int           // 4 connections kept per member
	MaxRPCInFlight int           // 8 pipelined AppendEntries, see docs/transport.md
}

// New returns a transport for raft.NewRaft. Its connections end with its Close, or with the context.
func New(ctx context.Context, o Options) (*raft.NetworkTransport, error) {
	if o.Mux == nil || o.Lookup == nil {
		return nil, errors.New("raft transport without mux or directory of members")
	}
	if o.Timeout == 0 {
		o.Timeout = 10 * time.Second
	}
	if o.MaxPool == 0 {
		o.MaxPool = 4
	}
	if o.MaxRPCInFlight == 0 {
		o.MaxRPCInFlight = 8
	}
	if o.Logger == nil {
		o.Logger = hclog.NewNullLogger()
	}
	l, err := NewLayer(ctx, o.Mux, o.Advertise)
	if err != nil {
		return nil, err
	}
	return raft.NewNetworkTransportWithConfig(&raft.NetworkTransportConfig{
		Stream:                  l,
		ServerAddressProvider:   Addresses{Self: o.Mux.Self().ID, Lookup: o.Lookup},
		Logger:                  o.Logger,
		MaxPool:                 o.MaxPool,
		MaxRPCsInFlight:         o.MaxRPCInFlight,
		Timeout:                 o.Timeout,
		MsgpackUseNewTimeFormat: true,
	}), nil
}
