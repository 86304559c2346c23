package fsm_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/rootd/rootd/fsm"
)

func TestSettingsChangeTogether(t *testing.T) {
	m := newMachine(t)
	// One by one these would not fit what is there; together they fit each other.
	m.must(&fsm.SetMany{By: "anna", Settings: []fsm.KeyValue{{Key: "member_down_after", Value: "5m"}, {Key: "member_suspect_after", Value: "2m"}}})
	m.must(&fsm.SetMany{By: "anna", Settings: []fsm.KeyValue{{Key: "member_down_after", Value: "20s"}, {Key: "member_suspect_after", Value: "5s"}}})
	for name, kvs := range map[string][]fsm.KeyValue{
		"one is wrong":    {{Key: "rescue_rate", Value: "1"}, {Key: "voters", Value: "many"}},
		"one is unknown":  {{Key: "nonsense", Value: "1"}, {Key: "voters", Value: "3"}},
		"they do not fit": {{Key: "member_down_after", Value: "5s"}, {Key: "member_suspect_after", Value: "9s"}, {Key: "voters", Value: "3"}},
	} {
		set := &fsm.SetMany{Settings: kvs}
		if r := m.do(set); r.Err == nil {
			t.Errorf("%s: taken", name)
		}
	}
	if r := m.do(&fsm.SetMany{Settings: []fsm.KeyValue{{Key: "voters", Value: "many"}}}); !errors.Is(r.Err, fsm.ErrSetting) {
		t.Errorf("refused with %v", r.Err)
	}
	if s := m.View().State().Settings; len(s.Explicit()) != 2 {
		t.Errorf("something of what was refused is set: %v", s.Explicit())
	}
	for range 2 { // the second time nothing changes, and nothing is remembered
		m.must(&fsm.SetMany{By: "bert", Settings: []fsm.KeyValue{{Key: "member_down_after"}}})
	}
	want := []fsm.SettingChange{
		{Time: m.now, Key: "member_down_after", New: "5m0s", By: "anna"},
		{Time: m.now, Key: "member_suspect_after", New: "2m0s", By: "anna"},
		{Time: m.now, Key: "member_down_after", Old: "5m0s", New: "20s", By: "anna"},
		{Time: m.now, Key: "member_suspect_after", Old: "2m0s", New: "5s", By: "anna"},
		{Time: m.now, Key: "member_down_after", Old: "20s", By: "bert"},
	}
	if d := cmp.Diff(want, m.View().State().History); d != "" {
		t.Error(d)
	}
	again := newFSM(t)
	if err := restore(again, snapshotOf(t, m.FSM)); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, again.View().State().History); d != "" || again.Hash() != m.Hash() {
		t.Errorf("after a snapshot: %s", d)
	}
}

func TestTheLastHundredChangesAreRemembered(t *testing.T) {
	m := newMachine(t)
	for i := range 150 {
		m.must(&fsm.SetMany{Settings: []fsm.KeyValue{{Key: "rescue_rate", Value: fmt.Sprint(i + 1)}}})
	}
	h := m.View().State().History
	if len(h) != 100 || h[0].New != "51" || h[99].Old != "149" || h[99].New != "150" {
		t.Errorf("%d changes from %+v", len(h), h[0])
	}
}
