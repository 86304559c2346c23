package fsm_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/rootd/rootd/fsm"
)

// TestLevelsOfSettings: every setting says its level, and an entry with settings is looked at before it is proposed. What a higher
// level does is tried with a build that has one: TestNextVersion of rootctl.
func TestLevelsOfSettings(t *testing.T) {
	st := &fsm.State{Settings: fsm.DefaultSettings()}
	for _, k := range fsm.SettingKeys() {
		if k.Level < 1 {
			t.Errorf("%s has no level", k.Key)
		}
		for _, c := range []fsm.Command{&fsm.Set{Key: k.Key, Value: k.Default}, &fsm.SetMany{Settings: []fsm.KeyValue{{Key: k.Key, Value: k.Default}}}} {
			err := st.CheckLevel(entry(t, c, began))
			if int(k.Level) > st.Settings.FeatureLevel {
				if !errors.Is(err, fsm.ErrFeature) || !strings.Contains(err.Error(), k.Key) {
					t.Errorf("%s in a %s entry: %v", k.Key, c.Kind(), err)
				}
			} else if err != nil {
				t.Errorf("%s in a %s entry: %v", k.Key, c.Kind(), err)
			}
		}
	}
	if err := st.CheckLevel([]byte("no entry")); !errors.Is(err, fsm.ErrDamaged) {
		t.Error(err)
	}
}
