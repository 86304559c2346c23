package fsm

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Settings are the cluster's settings: they live in the log, so that all members agree. Immutable.
type Settings struct {
	// PeerExpiry is how long a peer that nobody sees stays known. Key "peer_expiry".
	PeerExpiry time.Duration
	// KeepAlive is the least time between two log entries that only say that a peer is still there; large
	// clusters wait longer. Key "keep_alive".
	KeepAlive time.Duration
	// MaxPeers is how many peers the cluster knows at most: new ones beyond are refused, known ones keep being
	// updated. Key "max_peers".
	MaxPeers int
	// MemberSuspectAfter is how long a member may be silent before it is suspect, MemberDownAfter before it is
	// declared down. Keys "member_suspect_after", "member_down_after".
	MemberSuspectAfter, MemberDownAfter time.Duration
	// MemberLostAfter is how long most of the others must hear nothing of a member before it is declared down, 0: they
	// are not asked. Key "member_lost_after".
	MemberLostAfter time.Duration
	// PlanetAuto says that a leader which keeps the planet's signing key publishes what the members' endpoints call for. Key
	// "planet_auto".
	PlanetAuto bool
	// FeatureLevel is what the cluster uses of what its members understand (feature.go). Key "feature_level".
	FeatureLevel int
	// FeatureRaiseAfter is how long all members must have understood a higher level before the cluster raises its own
	// by itself, 0: never. Key "feature_raise_after".
	FeatureRaiseAfter time.Duration
	// RescueRate is how many peers of dead members one member redirects to itself per second, 0: none. Key "rescue_rate".
	RescueRate int
	// Voters is how many members vote at most; the others stand by. Key "voters".
	Voters int
	// Steering are the rules of handing peers off. Keys "steering", "steering_...".
	Steering Steering

	explicit []KeyValue // what was set, ascending by key; canonical values
}

// KeyValue is one setting as text.
type KeyValue struct{ Key, Value string }

// SettingKey describes a setting.
type SettingKey struct {
	Level   uint16 // feature level from which on it may be set: that of the release that adds it, see [State.CheckLevel]
	Key     string
	Default string
	Help    string
}

// ErrSetting is wrapped by refusals of a [Set].
var ErrSetting = errors.New("setting refused")

// DefaultSettings are in force before anything is set.
func DefaultSettings() Settings {
	return Settings{
		PeerExpiry: 30 * 24 * time.Hour, KeepAlive: 6 * time.Hour, MaxPeers: 50_000_000,
		MemberSuspectAfter: 10 * time.Second, MemberDownAfter: 30 * time.Second, MemberLostAfter: 3 * time.Second, RescueRate: 2000, FeatureLevel: 1, Voters: 5, PlanetAuto: true,
		Steering: defaultSteering(),
	}
}

// SettingKeys lists the known settings, ascending by key.
func SettingKeys() []SettingKey {
	d := DefaultSettings()
	keys := []SettingKey{
		{1, "feature_level", strconv.Itoa(d.FeatureLevel), "what the cluster uses of what its members understand; rootctl upgrade finalize raises it (1 to 65535, never lowered)"},
		{1, "feature_raise_after", d.FeatureRaiseAfter.String(), "how long all members must understand a higher feature level before the cluster raises its own by itself (0s to 2160h; 0s: never)"},
		{1, "keep_alive", d.KeepAlive.String(), "least time between two log entries that only say that a peer is still there (10m to 72h)"},
		{1, "max_peers", strconv.Itoa(d.MaxPeers), "most peers that the cluster knows; new ones beyond are refused (1 to 1000000000)"},
		{1, "member_down_after", d.MemberDownAfter.String(), "how long a member may be silent before it is declared down (5s to 1h)"},
		{1, "member_lost_after", d.MemberLostAfter.String(), "how long most of the others must hear nothing of a member before it is declared down (1s to 1m; 0s: they are not asked)"},
		{1, "member_suspect_after", d.MemberSuspectAfter.String(), "how long a member may be silent before it is suspect (2s to 10m)"},
		{1, "peer_expiry", d.PeerExpiry.String(), "how long a peer that nobody sees stays known (1h to 87600h)"},
		{1, "planet_auto", onOff(d.PlanetAuto), "whether the leader publishes the planet that the members' endpoints call for, if it keeps the signing key (on, off)"},
		{1, "rescue_rate", strconv.Itoa(d.RescueRate), "peers of dead members that one member redirects to itself per second, by way of another root (0 to 100000; 0: none)"},
		{1, "voters", strconv.Itoa(d.Voters), "most members that vote; the others stand by (1 to 9)"},
	}
	keys = append(keys, steeringKeys()...)
	slices.SortFunc(keys, func(a, b SettingKey) int { return strings.Compare(a.Key, b.Key) })
	return keys
}

// Explicit returns the settings that were set, ascending by key. The caller must not change them.
func (s *Settings) Explicit() []KeyValue { return s.explicit }

// Value returns a setting as text, its default if it was never set.
func (s *Settings) Value(key string) (string, bool) {
	if i, ok := s.find(key); ok {
		return s.explicit[i].Value, true
	}
	for _, k := range SettingKeys() {
		if k.Key == key {
			return k.Default, true
		}
	}
	return "", false
}

// With returns the settings with one of them replaced, or an error wrapping [ErrSetting] that names the key, the
// reason and the range. An empty value restores the default.
func (s Settings) With(key, value string) (Settings, error) {
	next := s
	text, err := next.assign(key, value)
	if err != nil {
		return s, err
	}
	next.explicit = slices.Clone(s.explicit)
	i, found := next.find(key)
	switch {
	case value == "" && found:
		next.explicit = slices.Delete(next.explicit, i, i+1)
	case value == "":
	case found:
		next.explicit[i].Value = text
	default:
		next.explicit = slices.Insert(next.explicit, i, KeyValue{key, text})
	}
	return next, nil
}

// assign parses value into the field that key stands for and returns its canonical text.
func (s *Settings) assign(key, value string) (string, error) {
	if strings.HasPrefix(key, GeoPrefix) {
		return s.assignGeo(key, value)
	}
	d := DefaultSettings()
	switch key {
	case "feature_level":
		return assignInt(&s.FeatureLevel, key, value, d.FeatureLevel, 1, 65_535)
	case "feature_raise_after":
		return assignDuration(&s.FeatureRaiseAfter, key, value, d.FeatureRaiseAfter, 0, 2160*time.Hour)
	case "keep_alive":
		return assignDuration(&s.KeepAlive, key, value, d.KeepAlive, 10*time.Minute, 72*time.Hour)
	case "max_peers":
		return assignInt(&s.MaxPeers, key, value, d.MaxPeers, 1, 1_000_000_000)
	case "member_down_after":
		return assignDuration(&s.MemberDownAfter, key, value, d.MemberDownAfter, 5*time.Second, time.Hour)
	case "member_lost_after":
		return assignDuration(&s.MemberLostAfter, key, value, d.MemberLostAfter, 0, time.Minute)
	case "member_suspect_after":
		return assignDuration(&s.MemberSuspectAfter, key, value, d.MemberSuspectAfter, 2*time.Second, 10*time.Minute)
	case "peer_expiry":
		return assignDuration(&s.PeerExpiry, key, value, d.PeerExpiry, time.Hour, 87_600*time.Hour)
	case "planet_auto":
		return assignBool(&s.PlanetAuto, key, value, d.PlanetAuto)
	case "rescue_rate":
		return assignInt(&s.RescueRate, key, value, d.RescueRate, 0, 100_000)
	case "voters":
		return assignInt(&s.Voters, key, value, d.Voters, 1, 9)
	}
	return s.Steering.assign(key, value)
}

// check says whether the settings fit each other. Only a [Set] asks: a snapshot is taken as it is.
func (s *Settings) check() error {
	if s.MemberSuspectAfter >= s.MemberDownAfter {
		return fmt.Errorf("%w: member_suspect_after (%s) must be less than member_down_after (%s)", ErrSetting, s.MemberSuspectAfter, s.MemberDownAfter)
	}
	if s.MemberLostAfter > 0 && s.MemberLostAfter < time.Second {
		return fmt.Errorf("%w: member_lost_after: %s is less than 1s, and not 0s", ErrSetting, s.MemberLostAfter)
	}
	return s.Steering.check()
}

func assignDuration(dst *time.Duration, key, value string, def, least, most time.Duration) (string, error) {
	v := def
	if value != "" {
		var err error
		if v, err = time.ParseDuration(value); err != nil {
			return "", fmt.Errorf("%w: %s: %q is not a duration such as 36h", ErrSetting, key, value)
		}
	}
	if v < least || v > most {
		return "", fmt.Errorf("%w: %s: %s is not between %s and %s", ErrSetting, key, v, least, most)
	}
	*dst = v
	return v.String(), nil
}

func assignInt(dst *int, key, value string, def, least, most int) (string, error) {
	v := def
	if value != "" {
		var err error
		if v, err = strconv.Atoi(value); err != nil {
			return "", fmt.Errorf("%w: %s: %q is not a number", ErrSetting, key, value)
		}
	}
	if v < least || v > most {
		return "", fmt.Errorf("%w: %s: %d is not between %d and %d", ErrSetting, key, v, least, most)
	}
	*dst = v
	return strconv.Itoa(v), nil
}

func (s *Settings) find(key string) (int, bool) {
	return slices.BinarySearchFunc(s.explicit, key, func(kv KeyValue, key string) int {
		switch {
		case kv.Key < key:
			return -1
		case kv.Key > key:
			return 1
		}
		return 0
	})
}
