package fsm_test

import (
	"errors"
	"testing"
	"time"

	"github.com/rootd/rootd/fsm"
)

func TestSteeringSettings(t *testing.T) {
	m := newMachine(t)
	for _, c := range []struct {
		key, value, text string // text "": refused
	}{
		{"steering", "shadow", "shadow"},
		{"steering", "maybe", ""},
		{"steering_margin", "20ms", "20ms"},
		{"steering_margin", "20", ""},
		{"steering_margin_percent", "91", ""},
		{"steering_moves_per_second", "7", "7"},
		{"steering_measured", "off", "off"},
		{"steering_measured", "no", ""},
		{"steering_load_full", "60", ""}, // not above steering_load_from
		{"steering_load_from", "50", "50"},
		{"steering_load_full", "60", "60"},
		{"steering_shadow", " margin=5ms   dwell=5m ", "dwell=5m0s margin=5ms"},
		{"steering_shadow", "margin", ""},
		{"steering_shadow", "margin=", ""},
		{"steering_shadow", "margins=5ms", ""},
		{"steering_shadow", "voters=3", ""},
		{"steering_shadow", "shadow=margin=5ms", ""},
		{"steering_shadow", " ", ""},
		{"steering_shadow", "dwell=5m margin=5ms rtt_age=5h hold_down=5h load_penalty=5ms", ""}, // too long once written out
	} {
		r := m.do(&fsm.Set{Key: c.key, Value: c.value})
		if (r.Err == nil) != (c.text != "") || r.Err != nil && !errors.Is(r.Err, fsm.ErrSetting) {
			t.Errorf("%s = %q: %v", c.key, c.value, r.Err)
		}
		st := m.View().State().Settings
		if text, _ := st.Value(c.key); r.Err == nil && text != c.text {
			t.Errorf("%s = %q, expected %q", c.key, text, c.text)
		}
	}
	st := m.View().State().Settings
	s := &st.Steering
	shadow, ok := s.ShadowRules()
	if s.Mode != fsm.SteeringShadow || s.Margin != 20*time.Millisecond || s.Measured || s.LoadFull != 60 || !ok || shadow.Margin != 5*time.Millisecond || shadow.Dwell != 5*time.Minute || shadow.LoadFull != 60 {
		t.Errorf("%+v, in the shadow %v %+v", s, ok, shadow)
	}
	other := newFSM(t)
	if err := restore(other, snapshotOf(t, m.FSM)); err != nil {
		t.Fatal(err)
	}
	if got := other.View().State().Settings; got.Steering != st.Steering {
		t.Errorf("%+v, restored %+v", st.Steering, got.Steering)
	}
	m.must(&fsm.Set{Key: "steering_shadow", Value: ""})
	st = m.View().State().Settings
	if _, ok := st.Steering.ShadowRules(); ok {
		t.Error("there is still a shadow")
	}
}

// TestSettingKeys: every key's default is accepted, canonical, and in force before anything is set.
func TestSettingKeys(t *testing.T) {
	last := ""
	for _, k := range fsm.SettingKeys() {
		if k.Key <= last {
			t.Errorf("%s after %s", k.Key, last)
		}
		last = k.Key
		s, err := fsm.DefaultSettings().With(k.Key, k.Default)
		if err != nil {
			t.Errorf("default of %s: %v", k.Key, err)
		}
		if text, _ := s.Value(k.Key); text != k.Default {
			t.Errorf("default of %s is %q, written %q", k.Key, k.Default, text)
		}
		d := fsm.DefaultSettings()
		if s.Steering != d.Steering || s.Voters != d.Voters || s.PeerExpiry != d.PeerExpiry {
			t.Errorf("the default of %s is not in force", k.Key)
		}
	}
}
