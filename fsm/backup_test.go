package fsm_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/rootd/rootd/fsm"
)

func TestBackups(t *testing.T) {
	m := newMachine(t)
	m.now = began + 10_000
	plain := func(at int64) *fsm.Backup {
		return &fsm.Backup{Index: 7, Taken: at, Where: "a.rootd", Holds: fsm.HoldsIdentity}
	}
	full := func(at int64) *fsm.Backup {
		b := plain(at)
		b.Holds, b.PlanetKey = b.Holds|fsm.HoldsPlanetKey, [32]byte{5}
		return b
	}
	check := func(what string, last, key fsm.Backup) {
		t.Helper()
		if d := cmp.Diff(fsm.Backups{Last: last, Key: key}, m.View().State().Backups); d != "" {
			t.Errorf("%s (-want +got):\n%s", what, d)
		}
		again := newFSM(t)
		if err := restore(again, snapshotOf(t, m.FSM)); err != nil {
			t.Fatal(err)
		}
		if again.Hash() != m.Hash() || again.View().State().Backups != m.View().State().Backups {
			t.Errorf("%s: a snapshot changes it", what)
		}
	}
	check("none", fsm.Backup{}, fsm.Backup{})
	before := m.Hash()
	m.must(plain(began))
	check("first", *plain(began), fsm.Backup{})
	if m.Hash() == before {
		t.Error("the hash does not cover it")
	}
	m.must(full(began + 5))
	check("with the key", *full(began + 5), *full(began + 5))
	m.must(plain(began + 9))
	check("later without", *plain(began + 9), *full(began + 5))
	m.must(full(began + 2))
	check("older", *plain(began + 9), *full(began + 5))
	m.must(plain(began + 1_000_000_000))
	check("of the future", *plain(m.now), *full(began + 5))
}
