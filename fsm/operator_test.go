package fsm_test

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/rootd/rootd/fsm"
)

func TestOperators(t *testing.T) {
	m := newMachine(t)
	ann := &fsm.SetOperator{KeyHash: fsm.KeyHash{9}, Name: "ann", Expires: m.now + 1000, ReadOnly: true}
	bob := &fsm.SetOperator{KeyHash: fsm.KeyHash{3}, Name: "bob", Expires: m.now + 5000}
	m.must(ann)
	m.must(bob)
	m.must(bob) // again
	check := func(what string, want ...fsm.Operator) {
		t.Helper()
		if d := cmp.Diff(want, append([]fsm.Operator(nil), m.View().State().Operators...)); d != "" {
			t.Errorf("%s (-want +got):\n%s", what, d)
		}
		again := newFSM(t)
		if err := restore(again, snapshotOf(t, m.FSM)); err != nil {
			t.Fatal(err)
		}
		if again.Hash() != m.Hash() {
			t.Errorf("%s: another hash after a restore", what)
		}
	}
	check("two", *bob, *ann)
	st := m.View().State()
	if o, ok := st.Operator(ann.KeyHash, m.now); !ok || o.Name != "ann" {
		t.Errorf("%+v, %v", o, ok)
	}
	if _, ok := st.Operator(ann.KeyHash, ann.Expires); ok {
		t.Error("let in at its end")
	}
	if _, ok := st.Operator(fsm.KeyHash{1}, m.now); ok {
		t.Error("a stranger is let in")
	}
	m.now += 2000
	longer := *bob
	longer.Expires += 9000
	m.must(&longer)
	check("the expired one is forgotten", longer)
	m.must(&fsm.SetOperator{KeyHash: fsm.KeyHash{77}, Name: "late", Expires: m.now})
	m.must(&fsm.SetOperator{KeyHash: bob.KeyHash, Name: "bob"})
	check("revoked")
	m.must(&fsm.SetOperator{KeyHash: bob.KeyHash, Name: "bob"})
	for i := range fsm.MaxOperators {
		m.must(&fsm.SetOperator{KeyHash: fsm.KeyHash{1, byte(i)}, Name: "x", Expires: m.now + 1})
	}
	if r := m.do(ann); r.Err != nil { // it has expired: there is nothing to do
		t.Error(r.Err)
	}
	if r := m.do(&longer); !errors.Is(r.Err, fsm.ErrOperatorsFull) {
		t.Errorf("one too many: %v", r.Err)
	}
	m.now++
	m.must(&longer)
	m.must(newEpoch(1, 9))
	if n := len(m.View().State().Operators); n != 0 {
		t.Errorf("%d operators after a restore", n)
	}
}
