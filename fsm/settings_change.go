package fsm

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// MaxSettings is the most settings in one [SetMany].
const MaxSettings = MaxGeoOverrides + 200

// maxHistory is how many changes of settings are remembered.
const maxHistory = 100

// SetMany changes settings together: all of them, or none if one is refused or if they do not fit each other. An empty
// value restores a default. At most [MaxSettings], ascending by key.
//
//	..  text: who changes them; may be empty
//	2   number, at least 1, then for each: text: key, text: value
type SetMany struct {
	By       string // who changes them, for people
	Settings []KeyValue
}

// SettingChange is a change of a setting by a [SetMany]. The log remembers the last hundred.
type SettingChange struct {
	Time     int64 // ms since 1970
	Key      string
	Old, New string // "": its default
	By       string // who changed it, for people
}

// Kind implements [Command].
func (*SetMany) Kind() Kind { return KindSettings }

func (c *SetMany) appendPayload(b []byte) ([]byte, error) {
	if n := len(c.Settings); n == 0 || n > MaxSettings {
		return b, fmt.Errorf("%w: %d settings, not 1 to %d", ErrMalformed, n, MaxSettings)
	}
	b, err := appendText(b, c.By, 0)
	if err != nil {
		return b, err
	}
	b = binary.BigEndian.AppendUint16(b, uint16(len(c.Settings)))
	for i, kv := range c.Settings {
		if i > 0 && kv.Key <= c.Settings[i-1].Key {
			return b, fmt.Errorf("%w: setting %s does not come after %s", ErrMalformed, kv.Key, c.Settings[i-1].Key)
		}
		if b, err = appendText(b, kv.Key, 1); err != nil {
			return b, err
		}
		if b, err = appendText(b, kv.Value, 0); err != nil {
			return b, err
		}
	}
	return b, nil
}

func readSetMany(r *reader) *SetMany {
	c := &SetMany{By: r.text(0)}
	n := int(r.uint16())
	if n == 0 || n > MaxSettings {
		r.fail("wrong number of settings")
	}
	for i := 0; i < n && r.bad == ""; i++ {
		kv := KeyValue{r.text(1), r.text(0)}
		if i > 0 && kv.Key <= c.Settings[i-1].Key {
			r.fail("settings out of order")
		}
		c.Settings = append(c.Settings, kv)
	}
	return c
}

// WithAll returns the settings with some of them replaced, or the reasons why they may not be. An empty value restores a
// default.
func (s Settings) WithAll(kvs []KeyValue) (Settings, error) {
	next := s
	var refusals []error
	for _, kv := range kvs { // those that leave first: there may be no room for others before
		if kv.Value == "" {
			next, refusals = next.try(kv, refusals)
		}
	}
	for _, kv := range kvs {
		if kv.Value != "" {
			next, refusals = next.try(kv, refusals)
		}
	}
	if len(refusals) == 0 {
		refusals = append(refusals, next.check())
	}
	if err := errors.Join(refusals...); err != nil {
		return s, err
	}
	return next, nil
}

func (s Settings) try(kv KeyValue, refusals []error) (Settings, []error) {
	next, err := s.With(kv.Key, kv.Value)
	if err != nil {
		refusals = append(refusals, err)
	}
	return next, refusals
}

// set changes settings.
func (f *FSM) set(kvs []KeyValue) error {
	if err := f.st.checkKeys(kvs); err != nil {
		return err
	}
	next, err := f.st.Settings.WithAll(kvs)
	if err == nil {
		err = f.st.raises(&next)
	}
	if err == nil {
		f.st.Settings = next
	}
	return err
}

// setMany changes settings for somebody, and remembers what changed.
func (f *FSM) setMany(c *SetMany) error {
	before := f.st.Settings
	if err := f.set(c.Settings); err != nil {
		return err
	}
	history := append([]SettingChange(nil), f.st.History...)
	for _, kv := range c.Settings {
		if was, is := before.explicitValue(kv.Key), f.st.Settings.explicitValue(kv.Key); was != is {
			history = append(history, SettingChange{f.st.Time, kv.Key, was, is, c.By})
		}
	}
	f.st.History = history[max(0, len(history)-maxHistory):]
	return nil
}

// explicitValue returns a setting that was set, "" if it was not.
func (s *Settings) explicitValue(key string) string {
	if i, ok := s.find(key); ok {
		return s.explicit[i].Value
	}
	return ""
}

// appendHistory appends the remembered changes of settings, since version 3 of the snapshot: their number (2), oldest
// first, then for each: time (8), text: key, text: before, text: after, text: by.
func appendHistory(b []byte, s *State) []byte {
	b = binary.BigEndian.AppendUint16(b, uint16(len(s.History)))
	for i := range s.History {
		c := &s.History[i]
		b = binary.BigEndian.AppendUint64(b, uint64(c.Time))
		for _, text := range []string{c.Key, c.Old, c.New, c.By} {
			b = append(append(b, byte(len(text))), text...)
		}
	}
	return b
}

func (s *State) readHistory(r *reader) {
	n := int(r.uint16())
	if n > maxHistory {
		r.fail("too many changes of settings")
	}
	for ; n > 0 && r.bad == ""; n-- {
		s.History = append(s.History, SettingChange{Time: r.time(), Key: r.text(1), Old: r.text(0), New: r.text(0), By: r.text(0)})
	}
}
