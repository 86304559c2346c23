package main

import (
	"context"
	"strconv"
	"time"

	"github.com/rootd/rootd/fsm"
)

const raiseEvery = 10 * time.Second

// raise raises the cluster's feature level, at the leader, once all members have understood a higher one for the setting
// feature_raise_after.
func (c *cluster) raise(ctx context.Context) error {
	for sleep(ctx, raiseEvery) {
		state := c.m.fsm.View().State()
		level, due := raiseDue(state)
		if !due || !c.m.replica.IsLeader() {
			continue
		}
		if _, err := c.m.propose(ctx, &fsm.Set{Key: "feature_level", Value: strconv.Itoa(int(level))}); err != nil {
			c.m.log.Warn("feature level not raised", "error", err)
			continue
		}
		c.m.log.Info("feature level raised", "level", level)
	}
	return nil
}

// raiseDue is a function of the log alone: what counts is how long ago, in its time, the last member began its life.
func raiseDue(s *fsm.State) (level uint16, due bool) {
	after := s.Settings.FeatureRaiseAfter
	level, _ = s.Understood()
	if after == 0 || level <= s.Feature() {
		return level, false
	}
	for i := range s.Members {
		m := &s.Members[i]
		if m.Status != fsm.StatusUp || s.Time-m.Up < after.Milliseconds() {
			return level, false
		}
	}
	return level, true
}
