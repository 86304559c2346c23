package fsm_test

import (
	"testing"

	"github.com/hashicorp/raft"

	"github.com/rootd/rootd/fsm"
)

// Members that batch differently, one of which began with a snapshot, know the same hashes.
func TestHashesAtIndexes(t *testing.T) {
	one, two, three := newMachine(t), newMachine(t), newFSM(t)
	var logs []*raft.Log
	index := one.index
	for range 700 {
		if index++; index%7 == 0 {
			index += 300 // entries of Raft's own, which no state machine sees
		}
		one.now += 1000
		logs = append(logs, &raft.Log{Index: index, Type: raft.LogCommand, Data: entry(t, &fsm.MemberUp{ID: 1, Name: "ams"}, one.now)})
	}
	for i, l := range logs {
		one.Apply(l)
		if i == 400 {
			if err := restore(three, snapshotOf(t, one.FSM)); err != nil {
				t.Fatal(err)
			}
		}
	}
	for len(logs) > 0 {
		n := min(len(logs), 13)
		two.ApplyBatch(logs[:n])
		three.ApplyBatch(logs[:n])
		logs = logs[n:]
	}
	hashes := one.Hashes()
	if len(hashes) != 64 {
		t.Fatalf("%d hashes", len(hashes))
	}
	for i, h := range hashes {
		if h.Index%fsm.HashInterval != 0 || i > 0 && h.Index <= hashes[i-1].Index {
			t.Errorf("hash at %d", h.Index)
		}
		for _, f := range []*fsm.FSM{two.FSM, three} {
			if got, ok := f.HashAt(h.Index); ok && got != h.Hash || !ok && f == two.FSM {
				t.Errorf("hash at %d: %v, %v, want %v", h.Index, got, ok, h.Hash)
			}
		}
	}
	if n := len(three.Hashes()); n < 30 {
		t.Errorf("the restored one knows %d hashes", n)
	}
	if _, ok := one.HashAt(1); ok {
		t.Error("a hash at index 1")
	}
}

func TestHashAtTheLastEntryBeforeAMultiple(t *testing.T) {
	m := newMachine(t)
	for m.index < fsm.HashInterval {
		m.must(&fsm.MemberUp{ID: 1, Name: "ams"})
	}
	want := m.Hash()
	m.must(&fsm.MemberUp{ID: 1, Name: "ams"})
	if got, ok := m.HashAt(fsm.HashInterval); !ok || got != want {
		t.Errorf("hash %v, %v, want %v", got, ok, want)
	}
}
