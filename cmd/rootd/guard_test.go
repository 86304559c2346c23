package main

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/rootd/rootd/packetpath/vl1"
	"github.com/rootd/rootd/transport/join"
)

// TestCarried: one other root that answers at more than half of its endpoints is enough; nobody is asked for what cannot be told.
func TestCarried(t *testing.T) {
	root := func(answers string) neighbour {
		n := neighbour{who: vl1.Identity{Address: 0x0102030405}}
		for i, a := range answers {
			n.probes = append(n.probes, join.Probe{Endpoint: netip.MustParseAddrPort(fmt.Sprintf("192.0.2.%d:9993", i+1)), OK: a == 'y'})
		}
		return n
	}
	for _, c := range []struct {
		roots []string
		want  string
	}{
		{nil, ""},
		{[]string{""}, ""}, // of a family that this host does not have
		{[]string{"yyy"}, ""},
		{[]string{"yny"}, ""},
		{[]string{"n"}, "0102030405 answers at 0 of 1 endpoints, not at 192.0.2.1:9993"},
		{[]string{"yn"}, "answers at 1 of 2 endpoints, not at 192.0.2.2:9993"},
		{[]string{"nny"}, "answers at 1 of 3 endpoints, not at 192.0.2.1:9993, 192.0.2.2:9993"},
		{[]string{"nnn", "y"}, ""},
		{[]string{"nnn", "n"}, "of 3 endpoints, not at 192.0.2.1:9993, 192.0.2.2:9993, 192.0.2.3:9993; root "},
	} {
		var all []neighbour
		for _, r := range c.roots {
			all = append(all, root(r))
		}
		if err := carried("drain member", all); (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v: %v, want %q", c.roots, err, c.want)
		}
	}
}
