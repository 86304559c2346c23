package main

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/rootd/rootd/cmd/internal/build"
	"github.com/rootd/rootd/fsm"
)

func hashes(at ...fsm.IndexedHash) []fsm.IndexedHash { return at }

func hashAt(index uint64, b byte) fsm.IndexedHash {
	return fsm.IndexedHash{Index: index, Hash: fsm.Hash{b}}
}

func TestCompare(t *testing.T) {
	for name, row := range map[string]struct {
		mine, theirs []fsm.IndexedHash
		index        uint64
		differs      bool
	}{
		"nothing":            {nil, nil, 0, false},
		"nothing in common":  {hashes(hashAt(256, 1)), hashes(hashAt(512, 2), hashAt(768, 3)), 0, false},
		"equal":              {hashes(hashAt(256, 1), hashAt(512, 2)), hashes(hashAt(256, 1), hashAt(512, 2)), 512, false},
		"behind":             {hashes(hashAt(256, 1), hashAt(512, 2)), hashes(hashAt(512, 2), hashAt(768, 3), hashAt(1024, 4)), 512, false},
		"ahead":              {hashes(hashAt(512, 2), hashAt(768, 3)), hashes(hashAt(256, 1), hashAt(512, 2)), 512, false},
		"different":          {hashes(hashAt(256, 1), hashAt(512, 9)), hashes(hashAt(256, 1), hashAt(512, 2)), 512, true},
		"different once":     {hashes(hashAt(256, 9), hashAt(512, 2)), hashes(hashAt(256, 1), hashAt(512, 2)), 512, false},
		"different, gaps":    {hashes(hashAt(256, 9), hashAt(768, 2)), hashes(hashAt(256, 1), hashAt(512, 2)), 256, true},
		"leader knows none":  {hashes(hashAt(256, 9)), nil, 0, false},
		"different at last":  {hashes(hashAt(256, 1), hashAt(512, 9)), hashes(hashAt(512, 2), hashAt(768, 3)), 512, true},
		"everything is zero": {hashes(hashAt(256, 0)), hashes(hashAt(256, 0)), 256, false},
	} {
		got := compare(row.mine, row.theirs)
		if got.index != row.index || got.differs() != row.differs {
			t.Errorf("%s: at %d, differs %v; want %d, %v", name, got.index, got.differs(), row.index, row.differs)
		}
	}
}

// TestComparer: a follower that differs raises the alarm, stays under it while nothing can be compared, gives the
// leadership away if it gets it, and is well again only when a comparison says so.
func TestComparer(t *testing.T) {
	var leads bool
	var alarms []comparison
	var yields int
	theirs, err := hashAnswer{build.Current().Version, hashes(hashAt(256, 1))}, error(nil)
	c := &comparer{
		leads: func() bool { return leads }, mine: func() []fsm.IndexedHash { return hashes(hashAt(256, 9), hashAt(512, 2)) },
		leader: func(context.Context) (hashAnswer, error) {
			b, jerr := json.Marshal(theirs) // as it crosses the wire
			if jerr != nil {
				t.Fatal(jerr)
			}
			var over hashAnswer
			jerr = json.Unmarshal(b, &over)
			return over, errors.Join(err, jerr)
		},
		yield: func(context.Context) error { yields++; return nil },
		alarm: func(d comparison) { alarms = append(alarms, d) },
	}
	step := func(what string, wantDiffers bool, wantAlarms, wantYields int) {
		t.Helper()
		c.once(t.Context())
		if got := c.latest.Load().differs(); got != wantDiffers || len(alarms) != wantAlarms || yields != wantYields {
			t.Errorf("%s: differs %v, %d alarms, yielded %d times; want %v, %d, %d", what, got, len(alarms), yields, wantDiffers, wantAlarms, wantYields)
		}
	}
	theirs.Version = "another"
	step("another version", false, 0, 0)
	theirs.Version = build.Current().Version
	step("differs", true, 1, 0)
	if p := c.latest.Load().problem(); !strings.Contains(p, "state differs from the leader's at index 256: 0900000") {
		t.Errorf("problem: %s", p)
	}
	err = errors.New("no leader")
	step("no leader", true, 1, 0)
	leads = true
	step("leads", true, 1, 1)
	leads, err = false, nil
	theirs.Hashes = hashes(hashAt(768, 1))
	step("nothing in common", true, 1, 1)
	theirs.Hashes = hashes(hashAt(512, 2))
	step("equal", false, 1, 1)
	leads = true
	step("leads, well", false, 1, 1)
}
