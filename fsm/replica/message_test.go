package replica_test

import (
	"sync/atomic"
	"testing"

	"github.com/hashicorp/raft"

	"github.com/rootd/rootd/fsm"
	"github.com/rootd/rootd/fsm/replica"
)

// sizes is a transport that notes the largest message.
type sizes struct {
	*raft.InmemTransport
	entries, bytes atomic.Int64
}

func (s *sizes) AppendEntries(id raft.ServerID, to raft.ServerAddress, args *raft.AppendEntriesRequest, resp *raft.AppendEntriesResponse) error {
	size := 0
	for _, e := range args.Entries {
		size += len(e.Data)
	}
	raise(&s.entries, int64(len(args.Entries)))
	raise(&s.bytes, int64(size))
	return s.InmemTransport.AppendEntries(id, to, args, resp)
}

func (*sizes) AppendEntriesPipeline(raft.ServerID, raft.ServerAddress) (raft.AppendPipeline, error) {
	return nil, raft.ErrPipelineReplicationNotSupported
}

// A server that has much to catch up with gets it in messages of a size that a slow line carries in time, and all of it.
func TestMessagesAreBounded(t *testing.T) {
	first, second := &sizes{InmemTransport: transport("a")}, transport("b")
	first.Connect("b", second)
	second.Connect("a", first.InmemTransport)
	n := alone(t, t.TempDir(), func(o *replica.Options) { patient(o); o.Transport = first })
	for k := range 80 {
		cs := make(fsm.Changes, fsm.MaxChanges)
		for i := range cs {
			p := k*len(cs) + i
			cs[i] = fsm.Change{Address: labPeer(p), HasKey: true, Key: labKey(p)}
		}
		n.must(t, cs)
	}
	late := open(t, t.TempDir(), "b", func(o *replica.Options) { patient(o); o.Transport = second }).run(t)
	if err := n.AddNonvoter(t.Context(), "b", "b"); err != nil {
		t.Fatal(err)
	}
	until(t, "equal states", func() bool { return late.fsm.Hash() == n.fsm.Hash() })
	if most := first.bytes.Load(); most > 4<<20 || most < 3<<20 {
		t.Errorf("a message of %d bytes", most)
	}
	if most := first.entries.Load(); most >= 80 || most < 40 {
		t.Errorf("a message of %d entries", most)
	}
}
