// Package fsm is what the cluster's log means: the deterministic state machine under Raft, and the view of it that
// the packet path reads.
//
// In: committed log entries, each one [Command] in the compact encoding of [Encode]; time comes only from the entry,
// as its leader stamped it. Out: a [View], whose [State] is replaced once per batch of entries, and whose peers live in
// a [table.Table]; a [Response] per entry; snapshots; and a state hash that members compare.
//
// Goroutines: Raft calls Apply, ApplyBatch, StoreConfiguration, Snapshot and Restore from one goroutine (or before
// it starts, the replica does); Persist of a snapshot runs beside them and makes none of them wait. Freeze, View, State and
// Hash are for anyone.
//
// Invariants: the same log gives the same state, byte for byte, however it is cut into batches and wherever a snapshot
// was taken and restored. An entry acts wholly or not at all, except that each change in a [Changes] entry stands
// for itself. The first validated identity of an address wins for as long as the peer is known. An entry that this binary cannot read
// (newer, or damaged on this disk) is never skipped: the machine halts before it and serves on from what it has.
//
// No command touches two addresses atomically, so that the peers can be split into several Raft groups.
package fsm

import (
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"

	"github.com/hashicorp/raft"

	"github.com/rootd/rootd/fsm/table"
	"github.com/rootd/rootd/packetpath/vl1"
)

// Options are what an FSM needs.
type Options struct {
	Logger *slog.Logger  // nil: none
	Table  table.Options // of the peer table. Its cap must not differ in effect between members: limit peers by the max_peers setting
}

// Response is what applying an entry returned, as raft.ApplyFuture.Response has it.
type Response struct {
	// Err is why the entry was refused: all members refused it alike.
	Err error
	// Epoch is the new epoch of the member, of a [MemberUp].
	Epoch uint16
	// Index is that of the entry, filled in by the replica that appended it.
	Index uint64
	// Member is the ID that the new member has, of a [MemberJoin].
	Member table.MemberID
}

// FSM is the state machine.
type FSM struct {
	log  *slog.Logger
	opts Options
	view View

	// mu keeps entries from being applied while the state is frozen. Nobody waits for it who handles packets.
	mu sync.Mutex

	// The following belong to the goroutine that applies, which changes st under mu.
	st  State // what is published next
	dec decoder
	rec table.Record  // scratch
	as  []vl1.Address // of the entry that is applied
	// staged is the restore that goes on; nil: none does.
	staged *staged
	at     uint64 // index of the entry that is applied

	hashes     hashRing
	restoredAt atomic.Uint64 // see [FSM.RestoredAt]
}

var (
	_ raft.BatchingFSM        = (*FSM)(nil)
	_ raft.ConfigurationStore = (*FSM)(nil)
)

// New returns a state machine at the beginning of the log.
func New(o Options) (*FSM, error) {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	t, err := table.New(o.Table)
	if err != nil {
		return nil, fmt.Errorf("make peer table: %w", err)
	}
	f := &FSM{log: o.Logger, opts: o, st: State{Settings: DefaultSettings(), peers: t}}
	f.publish()
	return f, nil
}

// View returns the view, which is the same for the life of the FSM.
func (f *FSM) View() *View { return &f.view }

// Hash returns the hash of the current state: equal on two members exactly if their states are equal. Compare it
// at the same index.
func (f *FSM) Hash() Hash { return f.view.State().Hash() }

// HashAt returns the hash of the state at an index, if it is one of the last multiples of [HashInterval] that this
// machine has passed. Any goroutine.
func (f *FSM) HashAt(index uint64) (Hash, bool) { return f.hashes.at(index) }

// Hashes returns the hashes that [FSM.HashAt] knows, ascending by index. Any goroutine.
func (f *FSM) Hashes() []IndexedHash { return f.hashes.list() }

// Apply implements [raft.FSM]. The result is a [Response].
func (f *FSM) Apply(l *raft.Log) any { return f.ApplyBatch([]*raft.Log{l})[0] }

// ApplyBatch implements [raft.BatchingFSM]: it publishes one state for the whole batch. Entries that were applied
// before, which happens after a restart, are skipped.
func (f *FSM) ApplyBatch(logs []*raft.Log) []any {
	out := make([]any, len(logs))
	f.mu.Lock()
	defer f.mu.Unlock()
	for i, l := range logs {
		out[i] = f.applyLog(l)
	}
	f.publish()
	return out
}

// StoreConfiguration implements [raft.ConfigurationStore].
func (f *FSM) StoreConfiguration(index uint64, c raft.Configuration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if index > f.st.Index && f.st.Halted == "" {
		f.hashes.pass(&f.st, index)
		f.configure(index, c)
		f.publish()
	}
}

// applyLog applies one Raft entry to f.st.
func (f *FSM) applyLog(l *raft.Log) Response {
	switch {
	case f.st.Halted != "":
		return Response{Err: fmt.Errorf("%w: %s", ErrHalted, f.st.Halted)}
	case l.Index <= f.st.Index:
		return Response{}
	}
	f.hashes.pass(&f.st, l.Index)
	switch l.Type {
	case raft.LogConfiguration:
		f.configure(l.Index, raft.DecodeConfiguration(l.Data))
		return Response{}
	case raft.LogCommand:
		f.at = l.Index
		resp := f.apply(l.Data)
		if f.st.Halted == "" {
			f.st.Index = l.Index
		} else {
			f.log.Error("log application halted", "index", l.Index, "reason", f.st.Halted)
		}
		return resp
	}
	return Response{}
}

func (f *FSM) configure(index uint64, c raft.Configuration) {
	servers := make([]Server, len(c.Servers))
	for i, s := range c.Servers {
		servers[i] = Server{ID: string(s.ID), Address: string(s.Address), Voter: s.Suffrage == raft.Voter}
	}
	f.st.Voters = Configuration{Index: index, Servers: servers}
	f.st.Index = index
}

// publish makes f.st what readers see. Slices and pointers in it are never changed after this, only replaced.
func (f *FSM) publish() {
	st := f.st
	f.view.state.Store(&st)
}
