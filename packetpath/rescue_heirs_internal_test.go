package packetpath

import (
	"testing"

	"github.com/rootd/rootd/fsm/table"
)

// The one that has been up longest takes all whose planet lists it, and those whose planet lists nobody.
func TestHeirs(t *testing.T) {
	all := heirs{
		{id: 5, up: 10, planet: [2]uint64{2000, 0}},    // at a new address
		{id: 6, up: 20, planet: [2]uint64{1000, 1000}}, // at an old one
		{id: 7, up: 30, planet: [2]uint64{1000, 0}},    // at another old one
	}
	for _, c := range []struct {
		what   string
		planet uint64
		v4, v6 bool
		want   table.MemberID
		listed bool
	}{
		{"old planet", 1000, true, false, 6, true},
		{"new planet", 2000, true, false, 5, true},
		{"planet unknown", 0, true, false, 5, true},
		{"both families", 1000, true, true, 6, true},
		{"IPv6 alone", 1000, false, true, 6, true},
		{"older than all", 999, true, false, 5, false},
		{"older than all, IPv6", 999, false, true, 6, false},
		{"no address", 2000, false, false, 0, false},
	} {
		if got, listed := all.of(c.planet, c.v4, c.v6); got != c.want || listed != c.listed {
			t.Errorf("%s: member %d, listed %v, want %d", c.what, got, listed, c.want)
		}
	}
	if got, _ := (heirs{}).of(1, true, true); got != 0 {
		t.Errorf("member %d of none", got)
	}
}
