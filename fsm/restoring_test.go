package fsm_test

import (
	"bytes"
	"errors"
	"testing"

	"github.com/hashicorp/raft"
	"pgregory.net/rapid"

	"github.com/rootd/rootd/fsm"
	"github.com/rootd/rootd/fsm/table"
)

// steps are the entries that bring the peers and settings of m back.
func steps(m *machine, id byte) []fsm.Command {
	st := m.View().State()
	var all []table.Record
	for cursor, done := uint64(0), false; !done; {
		cursor, done = st.Table().Scan(cursor, 1000, func(r *table.Record) { all = append(all, *r) })
	}
	out := []fsm.Command{&fsm.Restore{ID: fsm.RestoreID{id}, Step: fsm.RestoreBegin, Peers: uint64(len(all)), Settings: st.Settings.Explicit()}}
	for seq := uint32(0); len(all) > 0; seq++ {
		n := min(len(all), 3)
		out = append(out, &fsm.Restore{ID: fsm.RestoreID{id}, Step: fsm.RestorePart, Seq: seq, Records: all[:n]})
		all = all[n:]
	}
	return append(out, &fsm.Restore{ID: fsm.RestoreID{id}, Step: fsm.RestoreEnd, Peers: uint64(st.Peers), Sum: st.PeersSum()})
}

// A cluster gets back the peers and settings of a former state; what it is made of stays.
func TestRestoreSteps(t *testing.T) {
	then := populated(t)
	then.must(newPeers(0, 10))
	then.must(&fsm.Set{Key: "peer_expiry", Value: "48h"})
	todo := steps(then, 1)

	m := populated(t)
	m.must(newPeers(5, 100))
	m.must(&fsm.MemberUp{ID: 1, Name: "ams"}) // another life
	members, tokens := m.View().State().Members, m.View().State().Tokens
	before := m.Hash()
	m.must(todo[0])
	if _, err := m.Snapshot(); !errors.Is(err, fsm.ErrRestoring) {
		t.Errorf("snapshot meanwhile: %v", err)
	}
	for i := len(todo) - 2; i > 0; i-- { // in any order, and more than once
		m.must(todo[i])
		m.must(todo[i])
	}
	if m.Hash() != before || !m.Restoring() {
		t.Error("something has changed before the end")
	}
	var live table.Record
	if !m.View().Peer(address(50), &live) {
		t.Error("a peer is not found meanwhile")
	}
	old := m.View().State()
	m.must(todo[len(todo)-1])
	st := m.View().State()
	if st.PeersSum() != then.View().State().PeersSum() || st.Peers != 10 || st.Settings.PeerExpiry.Hours() != 48 || st.Cluster.Restored != m.now || m.Restoring() {
		t.Errorf("%d peers, settings %v", st.Peers, st.Settings.Explicit())
	}
	if len(st.Members) != len(members) || len(st.Tokens) != len(tokens) || st.Members[0].Epoch != members[0].Epoch {
		t.Errorf("members %+v", st.Members)
	}
	r := m.peer(address(3))
	if _, ok := st.Attached(&r, false); ok {
		t.Error("attached to a life of its member that is over")
	}
	if !old.Peer(address(50), &live) {
		t.Error("who still reads the old state misses a peer")
	}
	again := newFSM(t)
	if err := restore(again, snapshotOf(t, m.FSM)); err != nil || again.Hash() != m.Hash() {
		t.Errorf("after a snapshot: %v", err)
	}
}

func TestRestoreStepsRefused(t *testing.T) {
	then := populated(t)
	then.must(newPeers(0, 10))
	todo := steps(then, 1)
	end := *todo[len(todo)-1].(*fsm.Restore)
	m := populated(t)
	m.must(newPeers(5, 20))
	peers := m.View().State().PeersSum()
	refused := func(what string, c fsm.Command) {
		t.Helper()
		if r := m.do(c); !errors.Is(r.Err, fsm.ErrRestoring) {
			t.Errorf("%s: %v", what, r.Err)
		}
	}
	refused("a part of nothing", todo[1])
	begin := func() {
		for _, c := range todo[:len(todo)-1] {
			m.must(c)
		}
	}
	begin()
	wrong := end
	wrong.Sum[3]++
	refused("another sum", &wrong)
	refused("the end after that", &end)
	for _, c := range todo[:len(todo)-2] {
		m.must(c)
	}
	refused("a part is missing", &end)
	begin()
	other := end
	other.ID[0]++
	refused("another restore", &other)
	m.must(&fsm.Restore{ID: fsm.RestoreID{1}, Step: fsm.RestoreAbandon})
	refused("the end of one given up", &end)
	begin()
	m.now += 61_000
	m.must(&fsm.Health{})
	refused("the end after a minute", &end)
	refused("more than max_peers", &fsm.Restore{ID: fsm.RestoreID{2}, Step: fsm.RestoreBegin, Peers: 60_000_000})
	if m.View().State().PeersSum() != peers {
		t.Error("peers have changed")
	}
}

// However a log with restores in it is cut into batches, and wherever it is replayed from a snapshot, it gives the same state.
func TestRestoreStepsInAnyLog(t *testing.T) {
	then := populated(t)
	then.must(newPeers(0, 9))
	todo := steps(then, 1)
	rapid.Check(t, func(rt *rapid.T) {
		cmds := []fsm.Command{bootstrap(), &fsm.MemberUp{ID: 1, Name: "ams"}}
		for _, c := range todo {
			if rapid.IntRange(0, 20).Draw(rt, "lost") > 0 {
				cmds = append(cmds, c)
			}
			cmds = append(cmds, rapid.SliceOfN(commands(), 0, 3).Draw(rt, "between")...)
		}
		one, other := newFSM(t), newFSM(t)
		var logs []*raft.Log
		now := began
		for i, c := range cmds {
			now += rapid.Int64Range(0, 20_000).Draw(rt, "pass")
			logs = append(logs, &raft.Log{Index: uint64(i + 1), Type: raft.LogCommand, Data: entry(t, c, now)})
			one.Apply(logs[i])
		}
		for i := 0; i < len(logs); {
			n := min(rapid.IntRange(1, 9).Draw(rt, "batch"), len(logs)-i)
			other.ApplyBatch(logs[i : i+n])
			i += n
			if rapid.Bool().Draw(rt, "snapshot") && !other.Restoring() {
				b := snapshotOf(t, other)
				other = newFSM(t)
				if err := restore(other, b); err != nil {
					rt.Fatal(err)
				}
			}
		}
		if one.Hash() != other.Hash() || one.Restoring() != other.Restoring() {
			rt.Fatal("the same log made two states")
		}
		if !one.Restoring() && !bytes.Equal(snapshotOf(t, one), snapshotOf(t, other)) {
			rt.Fatal("one state has two snapshots")
		}
	})
}
