package fsm

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Steering are the rules by which peers are handed off, as the settings "steering" and "steering_..." have them. A plain
// value, comparable.
type Steering struct {
	// Mode says whether decisions are carried out. Key "steering".
	Mode SteeringMode
	// Margin and MarginPercent are the least gain of a move, in round trip and in percent of the present cost: the
	// greater counts. Keys "steering_margin", "steering_margin_percent".
	Margin        time.Duration
	MarginPercent int
	// Dwell is the least time between two moves of a peer, MovesPerHour how many there may be. Keys
	// "steering_dwell", "steering_moves_per_hour".
	Dwell        time.Duration
	MovesPerHour int
	// HoldDown is how long a member to which a handoff failed is left out for the peer. Key "steering_hold_down".
	HoldDown time.Duration
	// MovesPerSecond is how many handoffs one member begins in a second, for any reason. Key "steering_moves_per_second".
	MovesPerSecond int
	// Inflation is the round trip in percent of that of light in fibre over the distance. Key "steering_inflation".
	Inflation int
	// LoadFrom is the load, in percent, from which a member becomes dearer, LoadFull that from which it takes no more
	// peers, LoadPenalty what that costs. Keys "steering_load_from", "steering_load_full", "steering_load_penalty".
	LoadFrom, LoadFull int
	LoadPenalty        time.Duration
	// Measured says whether measured round trips count, RTTAge for how long. Keys "steering_measured", "steering_rtt_age".
	Measured bool
	RTTAge   time.Duration
	// Probes says whether members may have a peer measured by another one. Key "steering_probes".
	Probes bool
	// Shadow are other rules, tried on paper: "key=value" pairs with spaces between, the keys without "steering_".
	// Key "steering_shadow".
	Shadow string
}

// SteeringMode says what becomes of decisions.
type SteeringMode uint8

// The modes of steering.
const (
	SteeringOn     SteeringMode = iota
	SteeringShadow              // decisions are counted, not carried out; drains are
	SteeringOff                 // only drains are carried out
)

func (m SteeringMode) String() string { return [...]string{"on", "shadow", "off"}[m] }

func defaultSteering() Steering {
	return Steering{
		Margin: 10 * time.Millisecond, MarginPercent: 5, Dwell: 10 * time.Minute, MovesPerHour: 4, HoldDown: 10 * time.Minute, MovesPerSecond: 200,
		Inflation: 170, LoadFrom: 70, LoadFull: 95, LoadPenalty: 50 * time.Millisecond, Measured: true, RTTAge: 7 * 24 * time.Hour, Probes: true,
	}
}

const steeringPrefix = "steering_"

// steeringKeys lists the settings of steering, ascending by key.
func steeringKeys() []SettingKey {
	d := defaultSteering()
	return []SettingKey{
		{1, "steering", d.Mode.String(), "whether peers are handed off to better members: on, off (drains only), shadow (decided and counted, not done)"},
		{1, "steering_dwell", d.Dwell.String(), "least time between two moves of a peer; doubles with each further one (1m to 24h)"},
		{1, "steering_hold_down", d.HoldDown.String(), "how long a member to which a handoff failed is left out for the peer; doubles with each failure (1m to 24h)"},
		{1, "steering_inflation", strconv.Itoa(d.Inflation), "round trip in percent of that of light in fibre over the distance (100 to 400)"},
		{1, "steering_load_from", strconv.Itoa(d.LoadFrom), "load in percent from which a member becomes dearer (10 to 99)"},
		{1, "steering_load_full", strconv.Itoa(d.LoadFull), "load in percent from which a member takes no more peers (20 to 100)"},
		{1, "steering_load_penalty", d.LoadPenalty.String(), "what a member costs more at steering_load_full, in proportion from steering_load_from on (0s to 1s)"},
		{1, "steering_margin", d.Margin.String(), "least gain of a move, in round trip (1ms to 1s)"},
		{1, "steering_margin_percent", strconv.Itoa(d.MarginPercent), "least gain of a move, in percent of the present cost (0 to 90)"},
		{1, "steering_measured", onOff(d.Measured), "whether measured round trips count, or distances alone: on, off"},
		{1, "steering_moves_per_hour", strconv.Itoa(d.MovesPerHour), "most moves of one peer (1 to 20)"},
		{1, "steering_moves_per_second", strconv.Itoa(d.MovesPerSecond), "handoffs that one member begins in a second (1 to 100000)"},
		{1, "steering_probes", onOff(d.Probes), "whether members may have a peer measured by another member when the choice is close: on, off"},
		{1, "steering_rtt_age", d.RTTAge.String(), "how long a measured round trip counts (1h to 720h)"},
		{1, "steering_shadow", d.Shadow, `other rules to try on paper, such as "margin=20ms dwell=5m"; empty: none`},
	}
}

func onOff(v bool) string {
	if v {
		return "on"
	}
	return "off"
}

// assign is [Settings.assign] for the keys of steering.
func (s *Steering) assign(key, value string) (string, error) {
	d := defaultSteering()
	switch key {
	case "steering":
		return s.assignMode(value)
	case "steering_dwell":
		return assignDuration(&s.Dwell, key, value, d.Dwell, time.Minute, 24*time.Hour)
	case "steering_hold_down":
		return assignDuration(&s.HoldDown, key, value, d.HoldDown, time.Minute, 24*time.Hour)
	case "steering_inflation":
		return assignInt(&s.Inflation, key, value, d.Inflation, 100, 400)
	case "steering_load_from":
		return assignInt(&s.LoadFrom, key, value, d.LoadFrom, 10, 99)
	case "steering_load_full":
		return assignInt(&s.LoadFull, key, value, d.LoadFull, 20, 100)
	case "steering_load_penalty":
		return assignDuration(&s.LoadPenalty, key, value, d.LoadPenalty, 0, time.Second)
	case "steering_margin":
		return assignDuration(&s.Margin, key, value, d.Margin, time.Millisecond, time.Second)
	case "steering_margin_percent":
		return assignInt(&s.MarginPercent, key, value, d.MarginPercent, 0, 90)
	case "steering_measured":
		return assignBool(&s.Measured, key, value, d.Measured)
	case "steering_moves_per_hour":
		return assignInt(&s.MovesPerHour, key, value, d.MovesPerHour, 1, 20)
	case "steering_moves_per_second":
		return assignInt(&s.MovesPerSecond, key, value, d.MovesPerSecond, 1, 100_000)
	case "steering_probes":
		return assignBool(&s.Probes, key, value, d.Probes)
	case "steering_rtt_age":
		return assignDuration(&s.RTTAge, key, value, d.RTTAge, time.Hour, 720*time.Hour)
	case "steering_shadow":
		return s.assignShadow(value)
	}
	return "", fmt.Errorf("%w: unknown key %q", ErrSetting, key)
}

func (s *Steering) assignMode(value string) (string, error) {
	if value == "" {
		value = defaultSteering().Mode.String()
	}
	for m := SteeringOn; m <= SteeringOff; m++ {
		if m.String() == value {
			s.Mode = m
			return value, nil
		}
	}
	return "", fmt.Errorf("%w: steering: %q is not on, off or shadow", ErrSetting, value)
}

func (s *Steering) assignShadow(value string) (string, error) {
	var pairs []string
	next := *s
	for pair := range strings.FieldsSeq(value) {
		key, v, ok := strings.Cut(pair, "=")
		if !ok || v == "" || key == "shadow" {
			return "", fmt.Errorf("%w: steering_shadow: %q is not of the form margin=20ms", ErrSetting, pair)
		}
		text, err := next.assign(steeringPrefix+key, v)
		if err != nil {
			return "", fmt.Errorf("steering_shadow: %w", err)
		}
		pairs = append(pairs, key+"="+text)
	}
	slices.Sort(pairs)
	text := strings.Join(pairs, " ")
	if len(text) > maxText || text == "" && value != "" {
		return "", fmt.Errorf("%w: steering_shadow: %q is not one or more of margin=20ms, of at most %d characters together", ErrSetting, value, maxText)
	}
	s.Shadow = text
	return text, nil
}

// ShadowRules returns the rules that steering_shadow describes; false if there are none. They cannot be wrong but in a
// combination: then they are left out as well.
func (s *Steering) ShadowRules() (Steering, bool) {
	next := *s
	next.Shadow = ""
	for pair := range strings.FieldsSeq(s.Shadow) {
		key, v, _ := strings.Cut(pair, "=")
		if _, err := next.assign(steeringPrefix+key, v); err != nil {
			return Steering{}, false
		}
	}
	return next, s.Shadow != "" && next.check() == nil
}

func (s *Steering) check() error {
	if s.LoadFrom >= s.LoadFull {
		return fmt.Errorf("%w: steering_load_from (%d) must be less than steering_load_full (%d)", ErrSetting, s.LoadFrom, s.LoadFull)
	}
	return nil
}

func assignBool(dst *bool, key, value string, def bool) (string, error) {
	switch value {
	case "":
		*dst = def
	case "on", "off":
		*dst = value == "on"
	default:
		return "", fmt.Errorf("%w: %s: %q is not on or off", ErrSetting, key, value)
	}
	return onOff(*dst), nil
}
