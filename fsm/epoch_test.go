package fsm_test

import (
	"errors"
	"testing"

	"github.com/rootd/rootd/fsm"
	"github.com/rootd/rootd/fsm/table"
)

func TestNewEpoch(t *testing.T) {
	m := populated(t) // members 1, 2 and 4 are up, 5 joins, 3 was removed
	m.must(newPeers(0, 10))
	before, contents := m.Hash(), m.View().State().Contents()
	record := m.peer(address(3))
	if v4, ok := m.View().State().Attached(&record, false); !ok || v4 != 1 {
		t.Fatalf("attached to %d, %v", v4, ok)
	}
	m.must(newEpoch(2, 9))
	st := m.View().State()
	if len(st.Members) != 1 || st.Members[0].Status != fsm.StatusJoining || st.Members[0].Epoch != 0 || len(st.Tokens) != 0 || len(st.Removed) != 5 {
		t.Errorf("members %+v, removed %+v, tokens %v", st.Members, st.Removed, st.Tokens)
	}
	if st.Contents() != contents || m.Hash() == before {
		t.Error("contents changed, or members did not")
	}
	if _, ok := st.Attached(&record, false); ok || m.peer(address(3)) != record {
		t.Error("attached to a member of the old epoch, or the record changed")
	}
	if st.NextMemberID() != 10 || st.Cluster.Epoch.String() != "2.0200000000000000" || st.Cluster.Restored != m.now {
		t.Errorf("next member %d, cluster %+v", st.NextMemberID(), st.Cluster)
	}
	for name, c := range map[string]struct {
		cmd  fsm.Command
		want error
	}{
		"the same epoch again":   {newEpoch(2, 10), fsm.ErrEpochOld},
		"an older epoch":         {newEpoch(1, 10), fsm.ErrEpochOld},
		"a former member":        {newEpoch(3, 2), fsm.ErrMemberRemoved},
		"a former member's key":  {&fsm.NewEpoch{Epoch: fsm.Epoch{Number: 3, ID: [8]byte{3}}, ID: 11, KeyHash: join(2).KeyHash, Name: "x", Address: "a:1"}, fsm.ErrMemberRemoved},
		"the ID with a new key":  {&fsm.NewEpoch{Epoch: fsm.Epoch{Number: 3, ID: [8]byte{3}}, ID: 9, KeyHash: fsm.KeyHash{77}, Name: "x", Address: "a:1"}, fsm.ErrMemberID},
		"the key with a new ID":  {&fsm.NewEpoch{Epoch: fsm.Epoch{Number: 3, ID: [8]byte{3}}, ID: 11, KeyHash: join(9).KeyHash, Name: "x", Address: "a:1"}, fsm.ErrMemberKey},
		"an old member comes up": {&fsm.MemberUp{ID: 2, Name: "m2", Address: "b:1", KeyHash: join(2).KeyHash}, fsm.ErrMemberRemoved},
	} {
		if r := m.do(c.cmd); !errors.Is(r.Err, c.want) {
			t.Errorf("%s: %v, want %v", name, r.Err, c.want)
		}
	}
	m.must(&fsm.MemberUp{ID: 9, Name: "m9", Address: "192.0.2.9:9995", KeyHash: join(9).KeyHash, Feature: 1})
	again := newFSM(t)
	if err := restore(again, snapshotOf(t, m.FSM)); err != nil || again.Hash() != m.Hash() || again.View().State().Cluster != m.View().State().Cluster {
		t.Errorf("after a snapshot: %v, %+v", err, again.View().State().Cluster)
	}
}

// The last member stays the member that it was, in its next life.
func TestNewEpochOfTheLastMember(t *testing.T) {
	m := populated(t)
	old, _ := m.View().State().Member(2)
	m.must(newEpoch(1, 2))
	st := m.View().State()
	if got := st.Members; len(got) != 1 || got[0].ID != 2 || got[0].Status != fsm.StatusDown || got[0].Epoch != old.Epoch+1 || got[0].Health != nil {
		t.Errorf("%+v", got)
	}
	if r := m.must(&fsm.MemberUp{ID: 2, Name: "m2", Address: old.Address, KeyHash: old.KeyHash}); r.Epoch != old.Epoch+2 {
		t.Errorf("epoch %d", r.Epoch)
	}
	if got, _ := m.View().State().Member(table.MemberID(2)); got.Status != fsm.StatusUp {
		t.Errorf("%+v", got)
	}
}
