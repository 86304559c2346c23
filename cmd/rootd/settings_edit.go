package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/rootd/rootd/fsm"
	"github.com/rootd/rootd/transport/admin"
)

var _ admin.SettingsEditor = source{}

// ChangeSettings implements [admin.SettingsEditor]. Everything is checked here, together, before the log hears of it: the operator
// gets all mistakes at once.
func (s source) ChangeSettings(ctx context.Context, set []admin.SettingValue) ([]admin.SettingChange, error) {
	const what = "change settings"
	if len(set) == 0 {
		return []admin.SettingChange{}, nil
	}
	c := &fsm.SetMany{By: s.caller(ctx)}
	for _, v := range set {
		c.Settings = append(c.Settings, fsm.KeyValue{Key: v.Key, Value: v.Value})
	}
	slices.SortFunc(c.Settings, func(a, b fsm.KeyValue) int { return strings.Compare(a.Key, b.Key) })
	for i := range c.Settings[1:] {
		if c.Settings[i].Key == c.Settings[i+1].Key {
			return nil, refused(what, c.Settings[i].Key+" is there twice", "")
		}
	}
	before := s.m.fsm.View().State().Settings
	if _, err := before.WithAll(c.Settings); err != nil {
		return nil, refused(what, err.Error(), "rootctl config list shows what there is")
	}
	answer, err := s.m.propose(ctx, c)
	if err := changed(what, answer, err); err != nil {
		return nil, err
	}
	after := s.m.fsm.View().State().Settings
	changes := []admin.SettingChange{}
	for _, kv := range c.Settings {
		if was, is := explicit(&before, kv.Key), explicit(&after, kv.Key); was != is {
			changes = append(changes, admin.SettingChange{Key: kv.Key, Old: was, New: is, By: c.By})
		}
	}
	return changes, nil
}

func explicit(s *fsm.Settings, key string) string {
	for _, kv := range s.Explicit() {
		if kv.Key == key {
			return kv.Value
		}
	}
	return ""
}

// caller says who asks, for people: this member, or somebody from afar.
func (s source) caller(ctx context.Context) string {
	if c, remote := admin.CallerOf(ctx); remote {
		return fmt.Sprintf("%.30s via %.29s", c.Name, s.m.name)
	}
	return s.m.name
}

// SettingsHistory implements [admin.SettingsEditor].
func (s source) SettingsHistory(context.Context) ([]admin.SettingChange, error) {
	changes := []admin.SettingChange{}
	for _, c := range s.m.fsm.View().State().History {
		changes = append(changes, admin.SettingChange{Time: time.UnixMilli(c.Time).UTC(), Key: c.Key, Old: c.Old, New: c.New, By: c.By})
	}
	return changes, nil
}
