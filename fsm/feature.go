package fsm

import (
	"errors"
	"fmt"
)

// A cluster runs with members of two versions of the software while it is upgraded, and all of them apply the same log. So
// what a new version adds to the log has a feature level, the next one, and is proposed only once the cluster uses that
// level: the setting "feature_level", which can be raised when every member understands the new one, and never be lowered.
// A member that does not understand it may not begin a life any more.

// ErrFeature is wrapped by refusals that have to do with the cluster's feature level.
var ErrFeature = errors.New("feature level")

// Level returns the feature level from which on entries of the kind may be in the log. A new kind takes the level of the
// release that adds it; so does a new setting ([SettingKey]). A field or a value that older software would not read needs a
// new kind, or a new setting.
func (k Kind) Level() uint16 { return 1 }

// CheckLevel says why an entry may not be proposed yet, nil if it may.
func (s *State) CheckLevel(entry []byte) error {
	k, _, _, err := splitEntry(entry)
	if err != nil {
		return err
	}
	if used := s.Feature(); k.Level() > used {
		return fmt.Errorf("%w: a %s entry needs %d, the cluster uses %d: rootctl upgrade finalize", ErrFeature, k, k.Level(), used)
	}
	if k != KindSetting && k != KindSettings {
		return nil
	}
	e, err := Decode(entry)
	if err != nil {
		return err
	}
	switch c := e.Command.(type) {
	case *Set:
		return s.checkKeys([]KeyValue{{c.Key, c.Value}})
	case *SetMany:
		return s.checkKeys(c.Settings)
	}
	return nil
}

// checkKeys says why settings may not be set yet. Applying asks, too: what a member refuses because it is of a higher level than the
// cluster uses, an older one refuses because it does not know it.
func (s *State) checkKeys(kvs []KeyValue) error {
	var refusals []error
	for _, kv := range kvs {
		if level := settingLevel(kv.Key); level > s.Feature() {
			refusals = append(refusals, fmt.Errorf("%w: setting %s needs %d, the cluster uses %d: rootctl upgrade finalize", ErrFeature, kv.Key, level, s.Feature()))
		}
	}
	return errors.Join(refusals...)
}

// settingLevel is the level of a setting; that of one which nobody knows is no reason.
func settingLevel(key string) uint16 {
	for _, k := range SettingKeys() {
		if k.Key == key {
			return k.Level
		}
	}
	return 1
}

// Feature returns the feature level that the cluster uses.
func (s *State) Feature() uint16 { return uint16(s.Settings.FeatureLevel) }

// format is the version of the snapshots that are written of the state: the latest that every software reads which understands the level
// in use. Until that is raised, any member may be of the version before, or go back to it.
func (s *State) format() uint16 {
	if s.Feature() < 2 {
		return hashesFrom - 1
	}
	return snapshotVersion
}

// Understood returns the highest feature level that every member understands, and a member that understands no more, nil
// if none says what it understands.
func (s *State) Understood() (level uint16, by *Member) {
	for i := range s.Members {
		if m := &s.Members[i]; m.Feature != 0 && (by == nil || m.Feature < level) {
			level, by = m.Feature, m
		}
	}
	return max(level, s.Feature()), by
}

// raises checks a change of the feature level.
func (s *State) raises(next *Settings) error {
	if next.FeatureLevel < s.Settings.FeatureLevel {
		return fmt.Errorf("%w: the cluster uses %d, which cannot be lowered to %d: entries of it may be in the log", ErrFeature, s.Settings.FeatureLevel, next.FeatureLevel)
	}
	for i := range s.Members {
		if m := &s.Members[i]; next.FeatureLevel > s.Settings.FeatureLevel && m.Feature != 0 && int(m.Feature) < next.FeatureLevel {
			return fmt.Errorf("%w: member %s (rootd %s) understands %d, not %d: upgrade it, or remove it", ErrFeature, m.Name, m.Version, m.Feature, next.FeatureLevel)
		}
	}
	return nil
}

// understands checks the software of a member that begins a life or joins.
func (s *State) understands(name, version string, feature uint16) error {
	if used := s.Feature(); feature < used {
		return fmt.Errorf("%w: member %s (rootd %s) understands %d, the cluster uses %d: install the version of the other members", ErrFeature, name, version, feature, used)
	}
	return nil
}
