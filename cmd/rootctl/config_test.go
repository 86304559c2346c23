package main

import (
	"context"
	"time"

	"github.com/rootd/rootd/transport/admin"
)

var _ admin.SettingsEditor = (*fakeMember)(nil)

// ChangeSettings implements [admin.SettingsEditor].
func (s *fakeMember) ChangeSettings(ctx context.Context, set []admin.SettingValue) ([]admin.SettingChange, error) {
	for _, v := range set {
		if v.Value == "many" {
			return nil, &admin.Error{Status: 409, Why: "setting refused: voters: \"many\" is not a number"}
		}
	}
	changes := []admin.SettingChange{}
	for _, v := range set {
		if _, err := s.SetSetting(ctx, v.Key, v.Value); err != nil {
			return nil, err
		}
		changes = append(changes, admin.SettingChange{Key: v.Key, New: v.Value, By: "m1"})
	}
	return changes, nil
}

// SettingsHistory implements [admin.SettingsEditor].
func (*fakeMember) SettingsHistory(context.Context) ([]admin.SettingChange, error) {
	at := time.Date(2026, 5, 1, 10, 0, 0, 0, time.UTC)
	return []admin.SettingChange{{Time: at, Key: "voters", New: "3", By: "m1"}, {Time: at.Add(time.Hour), Key: "voters", Old: "3", By: "anna via m2"}}, nil
}
