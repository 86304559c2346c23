package main

import (
	"testing"
	"time"

	"github.com/rootd/rootd/fsm"
)

func TestFeatureLevelIsRaisedWhenAllHaveUnderstoodForLong(t *testing.T) {
	const minute = 60_000
	member := func(feature uint16, up int64, status fsm.Status) fsm.Member {
		return fsm.Member{ID: 1, Feature: feature, Up: up, Status: status}
	}
	for name, c := range map[string]struct {
		after   time.Duration
		members []fsm.Member
		level   uint16
		due     bool
	}{
		"never":            {0, []fsm.Member{member(2, 0, fsm.StatusUp)}, 2, false},
		"nothing to raise": {time.Hour, []fsm.Member{member(1, 0, fsm.StatusUp)}, 1, false},
		"one is older":     {time.Hour, []fsm.Member{member(2, 0, fsm.StatusUp), member(1, 0, fsm.StatusUp)}, 1, false},
		"one is down":      {time.Hour, []fsm.Member{member(2, 0, fsm.StatusUp), member(2, 0, fsm.StatusDown)}, 2, false},
		"too early":        {time.Hour, []fsm.Member{member(2, 0, fsm.StatusUp), member(2, 41*minute, fsm.StatusUp)}, 2, false},
		"due":              {time.Hour, []fsm.Member{member(3, 0, fsm.StatusUp), member(2, 40*minute, fsm.StatusUp)}, 2, true},
	} {
		t.Run(name, func(t *testing.T) {
			s := &fsm.State{Time: 100 * minute, Members: c.members, Settings: fsm.DefaultSettings()}
			s.Settings.FeatureRaiseAfter = c.after
			if level, due := raiseDue(s); level != c.level || due != c.due {
				t.Errorf("level %d, due %v", level, due)
			}
		})
	}
}
