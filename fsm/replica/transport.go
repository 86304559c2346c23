package replica

import (
	"errors"
	"io"
	"sync/atomic"

	"github.com/hashicorp/raft"
)

// errCut is what Raft sees of the network once this member has been cut off.
var errCut = errors.New("this member has cut itself off")

// maxMessage is how many bytes of entries one message has at most, unless a single entry is larger. Raft bounds only their
// number, and 512 full entries are 50 MB: over a slow line these take longer than a message may, each attempt is
// in vain, and a member that lags behind never catches up.
const maxMessage = 4 << 20

// transport is the transport that Raft sees. It outlives one run of Raft, which would close it otherwise, and can be
// cut: then this member, whose Raft no longer reacts, also stops claiming that it leads. It also keeps messages short: Raft
// goes on after the last entry of what it sent.
type transport struct {
	raft.Transport
	isCut atomic.Bool
}

var (
	_ raft.Transport   = (*transport)(nil)
	_ raft.WithPreVote = (*transport)(nil)
)

func (t *transport) cut() { t.isCut.Store(true) }

// close closes the transport below, if it can be closed.
func (t *transport) close() {
	if c, ok := t.Transport.(raft.WithClose); ok {
		_ = c.Close() // nothing is under way any more
	}
}

// AppendEntries implements [raft.Transport]: heartbeats, too.
func (t *transport) AppendEntries(id raft.ServerID, to raft.ServerAddress, args *raft.AppendEntriesRequest, resp *raft.AppendEntriesResponse) error {
	if t.isCut.Load() {
		return errCut
	}
	shorten(args)
	return t.Transport.AppendEntries(id, to, args, resp)
}

// AppendEntriesPipeline implements [raft.Transport].
func (t *transport) AppendEntriesPipeline(id raft.ServerID, to raft.ServerAddress) (raft.AppendPipeline, error) {
	if t.isCut.Load() {
		return nil, errCut
	}
	p, err := t.Transport.AppendEntriesPipeline(id, to)
	if err != nil {
		return nil, err
	}
	return &pipeline{p, t}, nil
}

// pipeline is one of a transport: it also carries empty entries, which followers take for a sign of life.
type pipeline struct {
	raft.AppendPipeline
	transport *transport
}

// AppendEntries implements [raft.AppendPipeline].
func (p *pipeline) AppendEntries(args *raft.AppendEntriesRequest, resp *raft.AppendEntriesResponse) (raft.AppendFuture, error) {
	if p.transport.isCut.Load() {
		return nil, errCut
	}
	shorten(args)
	return p.AppendPipeline.AppendEntries(args, resp)
}

// shorten takes the entries off the end of a message that are too many.
func shorten(args *raft.AppendEntriesRequest) {
	size := 0
	for i, e := range args.Entries {
		if size += len(e.Data); size > maxMessage && i > 0 {
			args.Entries = args.Entries[:i]
			return
		}
	}
}

// InstallSnapshot implements [raft.Transport].
func (t *transport) InstallSnapshot(id raft.ServerID, to raft.ServerAddress, args *raft.InstallSnapshotRequest, resp *raft.InstallSnapshotResponse, data io.Reader) error {
	if t.isCut.Load() {
		return errCut
	}
	return t.Transport.InstallSnapshot(id, to, args, resp, data)
}

// RequestPreVote implements [raft.WithPreVote].
func (t *transport) RequestPreVote(id raft.ServerID, to raft.ServerAddress, args *raft.RequestPreVoteRequest, resp *raft.RequestPreVoteResponse) error {
	v, ok := t.Transport.(raft.WithPreVote)
	if !ok {
		return raft.ErrUnsupportedProtocol // Open refuses such a transport
	}
	return v.RequestPreVote(id, to, args, resp)
}
