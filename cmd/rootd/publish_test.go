package main

import (
	"testing"

	"github.com/rootd/rootd/cmd/internal/datadir"
	"github.com/rootd/rootd/fsm"
	"github.com/rootd/rootd/packetpath/vl1"
)

func TestWhoPublishesThePlanet(t *testing.T) {
	newKey := func() *vl1.SigningKey {
		k, err := vl1.GenerateSigningKey()
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	key := newKey()
	for _, c := range []struct {
		name   string
		key    *vl1.SigningKey
		change func(*fsm.State)
		want   bool
	}{
		{"with the key", key, func(*fsm.State) {}, true},
		{"planet_auto off", key, func(s *fsm.State) { s.Settings, _ = s.Settings.With("planet_auto", "off") }, false},
		{"without the key", nil, func(*fsm.State) {}, false},
		{"with another key", newKey(), func(*fsm.State) {}, false},
		{"alone", key, func(s *fsm.State) { s.Members = s.Members[:1] }, false},
		{"before the first planet", key, func(s *fsm.State) { s.Planet = nil }, false},
	} {
		s := &fsm.State{
			Settings: fsm.DefaultSettings(), Members: []fsm.Member{{ID: 1}, {ID: 2}},
			Planet: &fsm.Planet{World: &vl1.World{UpdateKey: key.Public()}},
		}
		c.change(s)
		m := &member{dir: &datadir.Dir{SigningKey: c.key}}
		if got := m.publishes(s); got != c.want {
			t.Errorf("%s: %v", c.name, got)
		}
	}
}
